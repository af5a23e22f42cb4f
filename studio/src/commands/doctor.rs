use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use jiff::{civil::Date, tz::TimeZone};
use serde_json::json;
use watertight_custody::archive::{Folder, Recipients};
use watertight_tenancy::{Finding, Severity};
use watertight_terms::{Clock, Random, TenantId};

use super::{Failure, Output};
use crate::{
    app::{self, App},
    config::Config,
    jobs::archive,
};

/// Examines the database: 0 when nothing refuses, 1 when something does.
pub(super) async fn run(config: &Config, output: &Output) -> Result<u8, Failure> {
    output.progress("examining roles, tables, policies, keys and the server's version");
    let clock = Clock::system();
    let mut findings = app::findings(config, &clock, &Random::system())
        .await
        .map_err(|error| Failure::setup(error.to_string()))?;
    let today = clock.now().to_zoned(TimeZone::UTC).date();
    findings.extend(unattacked(config.pentest.reports.as_deref(), today));
    findings.extend(archives(config.backup.folder.as_deref()));
    findings.extend(shared(config.backup.recipients_file.as_deref()));
    findings.extend(unwatched(config));
    if !refuses(&findings) {
        let verifier = super::verifier(config, clock.clone())?;
        let app = App::new(config.clone(), verifier, clock, Random::system());
        let app = app.map_err(|error| Failure::setup(error.to_string()))?;
        findings.extend(locked(&app).await);
        findings.extend(unarchived(&app).await);
    }
    let refuses = refuses(&findings);
    output.result(&text(&findings), &value(&findings, refuses));
    Ok(u8::from(refuses))
}

fn refuses(findings: &[Finding]) -> bool {
    let mut all = findings.iter();
    all.any(|finding| finding.severity == Severity::Refuses)
}

/// That the key-encryption keys are not those that this database was sealed with: each opens the value that was
/// noted when it was first used.
async fn locked(app: &App) -> Option<Finding> {
    let checked = app.desk.vault.check(&app.tenancy).await;
    checked.err().map(|fault| Finding {
        check: "vault-keys",
        severity: Severity::Refuses,
        what: fault.to_string(),
        fix: "give back the key-encryption keys that `[keys]` named when personal fields were sealed",
    })
}

/// That nobody would notice what goes wrong, or that others than this machine may look.
fn unwatched(config: &Config) -> Vec<Finding> {
    let gap = |what: String, fix| Finding {
        check: "watching",
        severity: Severity::Gap,
        what,
        fix,
    };
    let metrics = match config.http.metrics_listen {
        None => Some(gap(
            "nobody is told how the server does".to_owned(),
            "serve metrics on `[http] metrics_listen`, and see deploy/prometheus",
        )),
        Some(listen) if !listen.ip().is_loopback() => Some(gap(
            format!("metrics are served at {listen} to whoever can connect"),
            "name an address of this machine alone, or see to it that only the monitoring reaches that one",
        )),
        Some(_) => None,
    };
    let mails = config.mail.host.is_none().then(|| {
        gap(
            "owners are not mailed when something looks wrong in their studio".to_owned(),
            "name a relay in `[mail]`",
        )
    });
    let operators = config.alerts.webhook_url.is_none() && config.alerts.mail.is_none();
    let operators = operators.then(|| {
        gap(
            "operators are not told when something looks wrong".to_owned(),
            "name a webhook or an address in `[alerts]`",
        )
    });
    metrics.into_iter().chain(mails).chain(operators).collect()
}

/// A report of an attack may be so old.
const ATTACKED_WITHIN_DAYS: i32 = 30;

/// That nobody has attacked a copy for long, by the dated reports of a folder.
fn unattacked(reports: Option<&Path>, today: Date) -> Option<Finding> {
    let what = match reports.map(last_report) {
        None => "no folder of attack reports is named".to_owned(),
        Some(Err(error)) => format!("the folder of attack reports cannot be read: {error}"),
        Some(Ok(None)) => "no attack is reported".to_owned(),
        Some(Ok(Some(last))) => {
            let days = (today - last).get_days();
            if days <= ATTACKED_WITHIN_DAYS {
                return None;
            }
            format!("the last attack is reported of {last}, {days} days ago")
        }
    };
    Some(Finding {
        check: "pentest",
        severity: Severity::Gap,
        what,
        fix: "run `cargo x pentest` against a copy, by a timer, and name its folder in `[pentest] reports`",
    })
}

/// An archive may be so old.
const ARCHIVED_WITHIN_HOURS: u32 = 8 * 24;
const ARCHIVE_AGAIN: &str = "run `studio backup` by a timer";

/// That studios have no archive, or none that is young enough.
async fn unarchived(app: &App) -> Option<Finding> {
    // Where it cannot be read, or has none at all, that was said.
    let newest = archive::folder(&app.config).ok()?.newest().ok()?;
    if newest.is_empty() {
        return None;
    }
    let ages = archive::ages(&app.tenancy, newest, ARCHIVED_WITHIN_HOURS).await;
    let what = match ages {
        Ok(ages) if ages.missing == 0 => return None,
        Ok(ages) => format!(
            "{} studios have no archive of the last {} days; {}",
            ages.missing,
            ARCHIVED_WITHIN_HOURS / 24,
            ages.oldest.map_or_else(String::new, |at| format!(
                "the oldest of their newest is of {at}"
            ))
        ),
        Err(error) => error.to_string(),
    };
    Some(Finding {
        check: "backup",
        severity: Severity::Gap,
        what,
        fix: ARCHIVE_AGAIN,
    })
}

/// That one secret opens the archives of several studios: nobody is to be above them. `named` is the path of a studio's file.
fn shared(named: Option<&str>) -> Option<Finding> {
    let mut studios = BTreeMap::<String, BTreeSet<TenantId>>::new();
    for (studio, path) in recipient_files(named?) {
        // What is no list of recipients encrypts nothing; `studio backup` says so.
        let read = fs::read_to_string(path).ok();
        let recipients = read.and_then(|text| Recipients::parse(&text).ok());
        for recipient in recipients.iter().flat_map(Recipients::names) {
            studios.entry(recipient).or_default().insert(studio);
        }
    }
    let (recipient, studios) = studios.into_iter().find(|(_, studios)| studios.len() > 1)?;
    Some(Finding {
        check: "recipients",
        severity: Severity::Gap,
        what: format!(
            "`{recipient}` opens the archives and the evidence of {} studios",
            studios.len()
        ),
        fix: "give each studio a recipient of its own, of which the studio alone has the secret",
    })
}

/// The files of recipients that are there, by their studio: the first `{studio}` is looked for in its folder.
fn recipient_files(named: &str) -> Vec<(TenantId, PathBuf)> {
    let Some((before, after)) = named.split_once("{studio}") else {
        return Vec::new();
    };
    let (folder, begins) = before.rsplit_once('/').unwrap_or((".", before));
    let folder = if folder.is_empty() { "/" } else { folder };
    let ends = after.split('/').next().unwrap_or_default();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let studio = name.strip_prefix(begins)?.strip_suffix(ends)?;
        let path = named.replace("{studio}", studio);
        Some((studio.parse().ok()?, path.into()))
    });
    found.collect()
}

/// What others can get at of the folder of archives, and that there are none.
fn archives(folder: Option<&Path>) -> Option<Finding> {
    let gap = |what, fix| {
        Some(Finding {
            check: "backup",
            severity: Severity::Gap,
            what,
            fix,
        })
    };
    const NAME: &str = "name the folder of the studios' archives in `[backup] folder`, and make it with `studio backup`";
    const OWN: &str = "give it to who runs `studio`: `chown -R`, then `chmod -R go=`";
    let Some(folder) = folder.map(Folder::new) else {
        return gap("no folder of archives is named".to_owned(), NAME);
    };
    let (open, newest) = match folder
        .too_open()
        .and_then(|open| Ok((open, folder.newest()?)))
    {
        Ok(found) => found,
        Err(error) => return gap(error.to_string(), NAME),
    };
    if let Some(first) = open.first() {
        let what = format!(
            "others can get at `{first}` and {} more archives",
            open.len() - 1
        );
        return gap(what, OWN);
    }
    if newest.is_empty() {
        return gap("there is no archive".to_owned(), ARCHIVE_AGAIN);
    }
    None
}

fn last_report(folder: &Path) -> std::io::Result<Option<Date>> {
    let mut last = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let day = name.to_str().and_then(|name| name.strip_suffix(".md"));
        last = last.max(day.and_then(|day| day.parse().ok()));
    }
    Ok(last)
}

fn text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "healthy: nothing to mend".to_owned();
    }
    let lines = findings.iter().map(|finding| {
        let mark = match finding.severity {
            Severity::Refuses => "refuses to start",
            Severity::Gap => "accepted gap",
        };
        format!(
            "{mark}  {}: {}\n    {}",
            finding.check, finding.what, finding.fix
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn value(findings: &[Finding], refuses: bool) -> serde_json::Value {
    let listed = findings.iter().map(|finding| {
        json!({
            "check": finding.check,
            "severity": match finding.severity { Severity::Refuses => "refuses", Severity::Gap => "gap" },
            "what": finding.what,
            "fix": finding.fix,
        })
    });
    json!({
        "verdict": if refuses { "refuses" } else { "healthy" },
        "findings": listed.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::config::tests::GOOD;

    fn what(reports: Option<&Path>, today: Date) -> Option<String> {
        unattacked(reports, today).map(|finding| finding.what)
    }

    #[test]
    fn an_attack_that_is_long_ago_is_warned_of() {
        let name = format!("attacks-{}", Random::system().uuid().simple());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        let today = date(2026, 11, 27);
        assert!(what(None, today).unwrap().contains("no folder"));
        assert!(
            what(Some(&folder.join("absent")), today)
                .unwrap()
                .contains("cannot be read")
        );
        fs::write(folder.join("notes.md"), "").unwrap();
        assert_eq!(what(Some(&folder), today).unwrap(), "no attack is reported");
        for day in ["2026-10-27.md", "2026-09-01.md"] {
            fs::write(folder.join(day), "").unwrap();
        }
        let old = what(Some(&folder), today).unwrap();
        assert_eq!(
            old,
            "the last attack is reported of 2026-10-27, 31 days ago"
        );
        assert_eq!(what(Some(&folder), date(2026, 11, 26)), None);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn metrics_that_others_reach_or_nobody_does_and_who_is_not_told_are_warned_of() {
        let mut config: Config = toml::from_str(GOOD).unwrap();
        let what = |config: &Config| {
            let found = unwatched(config).into_iter();
            found.map(|finding| finding.what).collect::<Vec<_>>()
        };
        let [nobody, mails, operators] = what(&config).try_into().unwrap();
        assert!(nobody.contains("nobody is told") && mails.contains("not mailed"));
        assert!(operators.contains("operators are not told"));
        config.alerts.mail = Some("operators@example.com".to_owned());
        config.mail.host = Some("127.0.0.1".to_owned());
        config.http.metrics_listen = Some("127.0.0.1:9464".parse().unwrap());
        assert_eq!(what(&config), Vec::<String>::new());
        for open in ["0.0.0.0:9464", "192.0.2.7:9464", "[::]:9464"] {
            config.http.metrics_listen = Some(open.parse().unwrap());
            let [others] = what(&config).try_into().unwrap();
            assert!(others.contains(open), "{others}");
        }
    }

    #[test]
    fn archives_that_others_can_get_at_are_named_and_that_there_are_none() {
        use std::os::unix::fs::PermissionsExt;
        let random = Random::system();
        let path = std::env::temp_dir().join(format!("archives-{}", random.uuid().simple()));
        let what = || archives(Some(&path)).map(|finding| finding.what);
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap()
        };
        assert!(archives(None).is_some());
        assert!(what().unwrap().contains("cannot be used"));
        fs::create_dir(&path).unwrap();
        mode(&path, 0o700);
        assert_eq!(what().unwrap(), "there is no archive");
        // Neither evidence nor keys bring a studio back, nor something that only ends like an archive.
        let studio = random.uuid();
        for other in [
            format!("{studio}_20260101T000000.000Z.evidence.age"),
            format!("{studio}_20260101T000000.000Z.keys.age"),
            "x_1.data.age".to_owned(),
        ] {
            fs::write(path.join(&other), "").unwrap();
            mode(&path.join(&other), 0o600);
            assert_eq!(what().unwrap(), "there is no archive", "{other}");
        }
        let file = path.join(format!("{studio}_20260101T000000.000Z.data.age"));
        fs::write(&file, "").unwrap();
        mode(&file, 0o600);
        assert_eq!(what(), None);
        mode(&file, 0o640);
        assert!(what().unwrap().contains(".data.age"));
        mode(&file, 0o600);
        mode(&path, 0o750);
        assert!(what().unwrap().contains("`.`"));
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn one_recipient_of_several_studios_is_named_and_several_of_one_are_not() {
        use watertight_custody::archive::Identities;
        let random = Random::system();
        let path = std::env::temp_dir().join(format!("recipients-{}", random.uuid().simple()));
        let [first, second, both] = [(); 3].map(|()| Identities::generate().recipients());
        let [one, two] = [(); 2].map(|()| random.uuid().to_string());
        for named in ["{studio}", "of-{studio}.txt", "{studio}/recipients"] {
            fs::create_dir(&path).unwrap();
            let named = path.join(named).display().to_string();
            let write = |studio: &str, text: &[&str]| {
                let file = PathBuf::from(named.replace("{studio}", studio));
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text.concat()).unwrap();
            };
            let what = || shared(Some(&named)).map(|finding| finding.what);
            assert_eq!(what(), None, "{named}");
            write(&one, &[&first, &both, &both]);
            write(&two, &[&second]);
            // Nobody's: neither a studio's nor of recipients.
            write("template", &[&both]);
            write(&random.uuid().to_string(), &["none"]);
            assert_eq!(what(), None, "{named}");
            write(&two, &["# of the operator's\n", &second, &both]);
            let said = what().unwrap_or_default();
            assert!(
                said.contains(both.trim()) && said.contains("2 studios"),
                "{named}: {said}"
            );
            fs::remove_dir_all(&path).unwrap();
        }
        assert!(shared(None).is_none());
    }
}
