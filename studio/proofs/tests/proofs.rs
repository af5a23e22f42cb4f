//! Every claim is proved, every broken twin is refuted by a case that Cedar itself allows, and
//! nothing holds for want of cases.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path, time::Instant};

use cedar_policy::{Authorizer, Decision, Entities, PolicySet, Request, RequestEnv};
use studio_proofs::{
    Claim, Policies, Prover,
    claims::{self, action, is_member, is_own_affair, is_the_owners, is_view},
};

#[tokio::test]
async fn every_claim_is_proved() {
    let policies = Policies::read().unwrap();
    let mut prover = Prover::start().unwrap();
    for claim in claims::ALL {
        let began = Instant::now();
        let verdict = prover.put(claim, &policies).await.unwrap();
        for refutation in &verdict.refutations {
            println!("{:?}\n{:?}", refutation.request, refutation.entities);
        }
        assert!(
            verdict.refutations.is_empty(),
            "it is not so that {}",
            claim.name
        );
        assert!(verdict.questions > 0, "`{}` concerns nothing", claim.name);
        println!(
            "{}: {} questions, {:?}",
            claim.name,
            verdict.questions,
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn no_policy_can_fail() {
    let policies = Policies::read().unwrap();
    let mut prover = Prover::start().unwrap();
    for request in policies.requests() {
        assert!(
            prover.never_fails(&policies, &request).await.unwrap(),
            "{request:?}"
        );
    }
}

/// Without this, policies that allow nothing would pass every claim.
#[tokio::test]
async fn who_should_be_allowed_something_is() {
    let policies = Policies::read().unwrap();
    let mut prover = Prover::start().unwrap();
    for request in policies.requests() {
        let mut expected = Vec::new();
        if is_member(&request) {
            for role in ["owner", "manager", "freelancer", "guest"] {
                let is_allowed = match role {
                    "owner" => true,
                    "manager" => !is_the_owners(&request),
                    "freelancer" => {
                        let sees_own = is_view(&request) && can_be_own(&policies, &request);
                        is_own_affair(&request) || sees_own && !is_the_owners(&request)
                    }
                    _ => false,
                };
                expected.push((policies.with_role(role).unwrap(), is_allowed));
            }
        } else {
            expected.push((policies.set().clone(), true));
        }
        for (set, is_allowed) in expected {
            let case = prover
                .allowed_case(&set, &request, policies.schema())
                .await
                .unwrap();
            assert_eq!(case.is_some(), is_allowed, "{}", action(&request));
            if let Some((request, entities)) = case {
                assert_eq!(decide(&request, &set, &entities), Decision::Allow);
            }
        }
    }
}

/// A twin differs from the product's policies in one place. The claim must notice it for the
/// actions named beside it, with a request that Cedar itself wrongly allows.
#[tokio::test]
async fn every_broken_twin_is_refuted() {
    let policies = Policies::read().unwrap();
    let mut prover = Prover::start().unwrap();
    for (claim, old, new, expected) in twins() {
        let twin = policies.twin(old, new).unwrap();
        let verdict = prover.put(claim, &twin).await.unwrap();
        let mut found: Vec<&str> = verdict
            .refutations
            .iter()
            .map(|r| r.action.as_str())
            .collect();
        found.dedup();
        for action in expected {
            assert!(
                found.contains(action),
                "`{}` does not notice `{new}` in {action}",
                claim.name
            );
        }
        for refutation in &verdict.refutations {
            let ask = |set| decide(&refutation.request, set, &refutation.entities);
            assert_eq!(ask(&refutation.these), Decision::Allow, "{}", claim.name);
            assert_eq!(ask(&refutation.those), Decision::Deny, "{}", claim.name);
        }
        println!("{}: noticed in {}", claim.name, found.join(", "));
    }
    for claim in claims::ALL {
        let has_twin = twins().iter().any(|(twin, ..)| twin.name == claim.name);
        assert!(has_twin, "`{}` has no broken twin", claim.name);
    }
}

#[tokio::test]
async fn without_a_solver_nothing_is_proved() {
    let fault = Prover::start_at("no/such/solver")
        .err()
        .unwrap()
        .to_string();
    assert!(fault.contains("apt-get install cvc5"), "{fault}");

    // One that gives up, and one that stops in the middle. (About guests no solver is asked: with
    // the role put in, translating the policies already leaves nothing that could allow.)
    let policies = Policies::read().unwrap();
    for (name, answers) in [
        (
            "gives-up",
            "while read -r line; do case $line in '(check-sat)') echo unknown;; esac; done",
        ),
        ("stops", "read -r line; exit 0"),
    ] {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{answers}\n")).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let mut prover = Prover::start_at(&path).unwrap();
        let undecided = prover.put(&claims::SAME_STUDIO, &policies).await;
        let fault = undecided.err().unwrap().to_string();
        assert!(fault.contains("is undecided for a Member"), "{fault}");
    }
}

/// Whether there is a row of that kind that is a freelancer's own.
fn can_be_own(policies: &Policies, request: &RequestEnv) -> bool {
    let kind = request.resource().basename();
    ["Studio", "Artist"].contains(&kind) || policies.names_an_artist(kind).is_ok_and(|does| does)
}

type Twin = (
    &'static Claim,
    &'static str,
    &'static str,
    &'static [&'static str],
);

fn twins() -> Vec<Twin> {
    let run = r#"["owner", "manager"].contains(principal.role)"#;
    vec![
        // A wall that asks whether there is a studio, and not whose.
        (
            &claims::SAME_STUDIO,
            "(resource has studio && resource.studio == principal.studio)",
            "(resource has studio)",
            &[
                "booking.view",
                "booking.cancel",
                "artist.view",
                "artist.view_private",
            ],
        ),
        // A wall with a door for the studio itself.
        (
            &claims::SAME_STUDIO,
            "(resource is Studio && resource == principal.studio)",
            "(resource is Studio)",
            &[
                "booking.create",
                "artist.create",
                "project.create",
                "time_off.create",
                "studio.view",
            ],
        ),
        // A wall for members only.
        (
            &claims::SAME_STUDIO,
            "forbid (principal, action, resource)",
            "forbid (principal is Member, action, resource)",
            &["booking.view", "booking.expire"],
        ),
        // A right of managers that owners lack.
        (
            &claims::HIGHER_ROLES_MAY_MORE,
            r#"when { principal.role == "owner" }"#,
            r#"when { principal.role == "manager" }"#,
            &["artist.view_private"],
        ),
        // A right of freelancers that managers lack.
        (
            &claims::HIGHER_ROLES_MAY_MORE,
            run,
            r#"["owner", "freelancer"].contains(principal.role)"#,
            &["booking.cancel", "artist.change"],
        ),
        (
            &claims::GUESTS_MAY_NOTHING,
            r#""manager", "freelancer"]"#,
            r#""manager", "freelancer", "guest"]"#,
            &["studio.view", "artist.view"],
        ),
        // A role that is asked for by what it is not.
        (
            &claims::UNKNOWN_ROLES_MAY_NOTHING,
            run,
            r#"(principal.role != "guest" && principal.role != "freelancer")"#,
            &["booking.cancel", "artist.create"],
        ),
        (
            &claims::FREELANCERS_CHANGE_NOTHING,
            r#"Action::"booking.view", resource is Booking"#,
            r#"Action::"booking.cancel", resource is Booking"#,
            &["booking.cancel"],
        ),
        // Freelancers who see who else is there.
        (
            &claims::FREELANCERS_SEE_THEIR_OWN,
            r#"Action::"member.view_contact"],
    resource is Membership
)
when { ["owner", "manager"]"#,
            r#"Action::"member.view_contact"],
    resource is Membership
)
when { ["owner", "manager", "freelancer"]"#,
            &["member.view", "member.view_contact"],
        ),
        // Two forgotten comparisons.
        (
            &claims::FREELANCERS_SEE_THEIR_OWN,
            "&&\n    resource.artist == principal.artist",
            "",
            &[
                "booking.view",
                "booking.view_rate",
                "project.view",
                "time_off.view",
            ],
        ),
        (
            &claims::FREELANCERS_SEE_THEIR_OWN,
            "&&\n    resource == principal.artist",
            "",
            &["artist.view", "artist.view_contact", "artist.view_private"],
        ),
        (
            &claims::PRIVATE_FIELDS_ARE_THE_OWNERS_AND_ONES_OWN,
            r#"when { principal.role == "owner" }"#,
            r#"when { ["owner", "manager"].contains(principal.role) }"#,
            &["artist.view_private"],
        ),
        (
            &claims::OWNERS_SAY_WHO_IS_IN,
            r#"when { principal.role == "owner" }"#,
            r#"when { ["owner", "manager"].contains(principal.role) }"#,
            &[
                "member.invite",
                "member.admit",
                "member.change",
                "member.remove",
            ],
        ),
        (
            &claims::SERVICES_KEEP_TO_THEIR_NAME,
            r#"principal.name == "expiry""#,
            r#"principal.name != "mail""#,
            &["booking.view", "booking.expire", "booking.lapse"],
        ),
    ]
}

/// Cedar's own answer; a policy that fails makes it none.
fn decide(request: &Request, policies: &PolicySet, entities: &Entities) -> Decision {
    let response = Authorizer::new().is_authorized(request, policies, entities);
    assert_eq!(response.diagnostics().errors().count(), 0);
    response.decision()
}
