use super::*;

/// One that is good, and says only what it must.
pub(crate) const GOOD: &str = r#"
        [http]
        listen = "127.0.0.1:8080"
        public_origin = "https://app.example.test"
        [database]
        url = "postgresql://studio_app@/studio"
        [clerk]
        issuer = "https://clerk.example.test"
        jwks_url = "https://clerk.example.test/jwks.json"
        authorized_parties = ["https://app.example.test"]
        [keys]
        location = "keys.toml"
    "#;

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let file = std::env::temp_dir().join(format!(
        "studio-config-{}",
        watertight_terms::Random::system().uuid()
    ));
    crate::commands::write_private(&file, text).unwrap();
    let pairs = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config::read(&file, pairs).map_err(|error| error.to_string());
    std::fs::remove_file(file).unwrap();
    config
}

#[test]
fn a_good_configuration_is_read_and_the_environment_lies_over_it() {
    assert_eq!(read(GOOD, &[]).unwrap().database.pool_max, 16);
    let config = read(
        GOOD,
        &[("STUDIO_DATABASE_POOL_MAX", "4"), ("STUDIO_CONFIG", "x")],
    )
    .unwrap();
    assert_eq!(config.database.pool_max, 4);
}

#[test]
fn what_is_unknown_missing_or_out_of_bounds_is_fatal() {
    for (text, environment, why) in [
        (GOOD.replace("issuer", "isuer"), vec![], "isuer"),
        (GOOD.replace("127.0.0.1", "0.0.0.0"), vec![], "loopback"),
        (
            GOOD.to_owned(),
            vec![("STUDIO_HTTP_TLS_CERT", "cert.pem")],
            "both tls_cert",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_DATABASE_POOL_MAX", "0")],
            "pool_max",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_DATABASE_POOL_MIX", "4")],
            "pool_mix",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_LIMITS_REQUESTS_AT_ONCE", "0")],
            "requests_at_once",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_LIMITS_PER_MEMBER_S", "0")],
            "rates of 1",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_LIMITS_RATE_URL", "http://:secret@host")],
            "rate_url: give redis",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_LIMITS_OVERRIDES", "[{ organization = \"org_1\" }]")],
            "overrides",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_HTTP_TRUSTED_PROXIES", "[\"10.0.0.0/99\"]")],
            "trusted_proxies",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_LEDGER_SEAL_LAG_MS", "1001")],
            "seal_lag_ms",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_WATCH_DORMANT_DAYS", "6")],
            "dormant_days: give 7 to 365",
        ),
        (
            format!("{GOOD}[alerts]\nwebhook_url = \"https://hooks.example.com/ops\"\n"),
            vec![],
            "webhook_secret_file: give it together",
        ),
        (
            format!(
                "{GOOD}[alerts]\nwebhook_url = \"http://127.0.0.1:1/x\"\nwebhook_secret_file = \"a\"\n"
            ),
            vec![],
            "[alerts] webhook_url: give an https address",
        ),
        (
            GOOD.to_owned(),
            vec![("STUDIO_ALERTS_MAIL", "ops@example.com")],
            "[alerts] mail: name a relay",
        ),
        (
            format!(
                "{GOOD}[mail]\nhost = \"127.0.0.1\"\nsecurity = \"none\"\nfrom = \"a@example.com\"\n"
            ),
            vec![("STUDIO_ALERTS_MAIL", "a@example.com, b@example.com")],
            "[alerts] mail: give one address",
        ),
        (GOOD.replace("jwks_url", "# "), vec![], "jwks_url"),
        (
            GOOD.to_owned(),
            vec![(
                "STUDIO_CLERK_FURTHER_INSTANCES",
                "[{ issuer = \"https://clerk.former.test\" }]",
            )],
            "jwks_url",
        ),
        // All studios' archives and evidence would be opened by the same.
        (
            format!("{GOOD}[backup]\nrecipients_file = \"recipients\"\n"),
            vec![],
            "{studio}",
        ),
        ("[http".to_owned(), vec![], "configuration"),
    ] {
        let error = read(&text, &environment).unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn a_configuration_that_others_may_read_is_refused_and_no_value_is_repeated() {
    let file = std::env::temp_dir().join(format!(
        "studio-config-{}",
        watertight_terms::Random::system().uuid()
    ));
    std::fs::write(&file, GOOD).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Config::read(&file, std::iter::empty())
        .unwrap_err()
        .to_string();
    std::fs::remove_file(file).unwrap();
    assert!(refused.contains("mode 644"), "{refused}");
    let misplaced = [("STUDIO_DATABASE_POOL_MAX", "postgresql://app:hunter2@/x")];
    let refused = read(GOOD, &misplaced).unwrap_err();
    assert!(!refused.contains("hunter2"), "{refused}");
}
