//! What each detector of refusals says, and what it does not.

#![expect(
    clippy::unwrap_used,
    reason = "tests stop at the first thing that is not as it must be"
)]

use jiff::Timestamp;
use watertight_watch::{Alert, Failure, Kind, PlatformWatch, Refusal, Thresholds};

/// Refusals, a number of them in so many seconds, from so many networks.
fn watch(
    failure: Failure,
    many: i64,
    lasts_s: i64,
    networks: i64,
    subject: Option<&str>,
) -> Vec<Alert> {
    let mut watch = PlatformWatch::default();
    let mut alerts = Vec::new();
    for turn in 0..many {
        let refusal = Refusal {
            at: Timestamp::from_second(1_930_867_200 + turn * lasts_s / many).unwrap(),
            address: format!("10.0.{}.1", turn % networks),
            failure,
            subject: subject.map(str::to_owned),
            studio: None,
        };
        alerts.extend(watch.observe(&refusal, &Thresholds::default()));
        let saved = serde_json::to_vec(&watch).unwrap();
        watch = serde_json::from_slice(&saved).unwrap();
    }
    alerts
}

fn kinds(alerts: &[Alert]) -> Vec<Kind> {
    alerts
        .iter()
        .filter(|alert| !alert.is_repeated)
        .map(|alert| alert.kind)
        .collect()
}

#[test]
fn a_burst_is_of_one_network_and_names_it() {
    let alerts = watch(Failure::Signature, 60, 300, 1, None);
    assert_eq!(kinds(&alerts), [Kind::TokenBurst]);
    assert_eq!(
        alerts.first().unwrap().subject.as_deref(),
        Some("10.0.0.0/24")
    );
    assert_eq!(kinds(&watch(Failure::Signature, 60, 36_000, 1, None)), []);
}

#[test]
fn tokens_that_expired_are_everyday_s() {
    assert_eq!(kinds(&watch(Failure::Expired, 2_000, 600, 1, None)), []);
    assert_eq!(kinds(&watch(Failure::Expired, 2_000, 600, 200, None)), []);
}

#[test]
fn whoever_is_not_signed_in_tries_nothing_and_guesses_of_secrets_are_of_one_network() {
    assert_eq!(kinds(&watch(Failure::Absent, 2_000, 600, 1, None)), []);
    assert_eq!(kinds(&watch(Failure::Absent, 2_000, 600, 200, None)), []);
    for failure in [Failure::UnknownSecret, Failure::NotAMember] {
        assert_eq!(kinds(&watch(failure, 60, 300, 1, None)), [Kind::TokenBurst]);
        assert_eq!(kinds(&watch(failure, 60, 18_000, 60, None)), []);
    }
}

#[test]
fn a_spray_is_of_many_networks_however_slow() {
    assert_eq!(
        kinds(&watch(Failure::Signature, 60, 18_000, 60, None)),
        [Kind::SlowSpray]
    );
    assert_eq!(kinds(&watch(Failure::Signature, 60, 18_000, 10, None)), []);
}

#[test]
fn a_person_whose_tokens_many_networks_try_is_named_by_a_digest() {
    let alerts = watch(Failure::Signature, 8, 600, 8, Some("0f1e"));
    assert_eq!(kinds(&alerts), [Kind::TargetedSubject]);
    let subject = alerts.first().unwrap().subject.clone().unwrap();
    assert_eq!(subject, "person 0f1e");
    assert_eq!(
        kinds(&watch(Failure::Signature, 8, 600, 2, Some("0f1e"))),
        []
    );
}

/// Anybody can write a name into a token, and whoever writes thousands must not bury what else was noticed.
#[test]
fn thousands_of_made_up_names_are_few_alerts() {
    let (mut watch, thresholds) = (PlatformWatch::default(), Thresholds::default());
    let mut found = Vec::new();
    for target in 0..1_000 {
        for network in 0..8 {
            found.extend(watch.observe(
                &Refusal {
                    at: Timestamp::from_second(1_900_000_000 + target).unwrap(),
                    address: format!("203.0.{network}.1"),
                    failure: Failure::Signature,
                    subject: Some(format!("{target:016x}")),
                    studio: None,
                },
                &thresholds,
            ));
        }
    }
    let named = |named: bool| {
        let targeted = found
            .iter()
            .filter(|alert| alert.kind == Kind::TargetedSubject);
        targeted
            .filter(|alert| alert.subject.is_some() == named)
            .count()
    };
    assert_eq!((named(true), named(false)), (20, 1));
}

#[test]
fn keys_that_nobody_has_replays_and_foreign_pages_are_counted_by_the_hour() {
    for (failure, kind, many) in [
        (Failure::UnknownKey, Kind::UnknownKeys, 12),
        (Failure::ReplayedWebhook, Kind::ReplayedWebhooks, 6),
        (Failure::WebhookSignature, Kind::ForgedWebhooks, 6),
        (Failure::ForeignPage, Kind::ForeignPages, 25),
    ] {
        assert_eq!(kinds(&watch(failure, many, 1_800, 2, None)), [kind]);
        assert_eq!(
            kinds(&watch(failure, many, 72_000, 2, None)),
            [],
            "{kind:?}"
        );
    }
}

#[test]
fn what_comes_from_no_network_is_passed_by() {
    let refusal = Refusal {
        at: Timestamp::UNIX_EPOCH,
        address: "worker".to_owned(),
        failure: Failure::Signature,
        subject: None,
        studio: None,
    };
    let mut watch = PlatformWatch::default();
    assert!(watch.observe(&refusal, &Thresholds::default()).is_empty());
}
