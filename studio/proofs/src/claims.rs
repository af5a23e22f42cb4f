//! What must hold of the policies, whatever members, rows and studios there are.

use std::str::FromStr;

use cedar_policy::{PolicySet, RequestEnv};

use crate::{Policies, ProofFault, policies::unreadable};

/// Something that must hold, put as implications for each kind of request.
pub struct Claim {
    /// What is claimed, in words.
    pub name: &'static str,
    /// The implications for one kind of request; none where the claim does not concern it.
    pub implications: fn(&Policies, &RequestEnv) -> Result<Vec<Implication>, ProofFault>,
}

/// Whatever `these` allow, `those` allow too.
pub struct Implication {
    /// What is looked at.
    pub these: PolicySet,
    /// What it stays within.
    pub those: PolicySet,
}

/// Every claim.
pub const ALL: [&Claim; 9] = [
    &SAME_STUDIO,
    &HIGHER_ROLES_MAY_MORE,
    &GUESTS_MAY_NOTHING,
    &UNKNOWN_ROLES_MAY_NOTHING,
    &FREELANCERS_CHANGE_NOTHING,
    &FREELANCERS_SEE_THEIR_OWN,
    &PRIVATE_FIELDS_ARE_THE_OWNERS_AND_ONES_OWN,
    &OWNERS_SAY_WHO_IS_IN,
    &SERVICES_KEEP_TO_THEIR_NAME,
];

/// The wall.
pub const SAME_STUDIO: Claim = Claim {
    name: "whatever is allowed is allowed in the own studio",
    implications: |policies, request| {
        // Not the wall's own words: here the kind of resource is known, and one that has no
        // studio does not even pass the type check.
        let condition = match kind(request) {
            "Studio" => "resource == principal.studio",
            _ => "resource.studio == principal.studio",
        };
        Ok(vec![Implication {
            these: policies.set().clone(),
            those: only_when(condition)?,
        }])
    },
};

/// The order of the roles is their meaning.
pub const HIGHER_ROLES_MAY_MORE: Claim = Claim {
    name: "whatever a role may, the next higher may in the same case",
    implications: |policies, request| {
        let steps = [
            ("guest", "freelancer"),
            ("freelancer", "manager"),
            ("manager", "owner"),
        ];
        let of_members = steps.into_iter().filter(|_| is_member(request));
        let implications = of_members.map(|(lower, higher)| {
            Ok(Implication {
                these: policies.with_role(lower)?,
                those: policies.with_role(higher)?,
            })
        });
        implications.collect()
    },
};

/// Guests are members without data.
pub const GUESTS_MAY_NOTHING: Claim = Claim {
    name: "a guest may nothing",
    implications: |policies, request| never_if(is_member(request), policies.with_role("guest")?),
};

/// A typing error in a role gives no rights.
pub const UNKNOWN_ROLES_MAY_NOTHING: Claim = Claim {
    name: "a member without one of the three roles may nothing",
    implications: |policies, request| {
        let roles = r#"["owner", "manager", "freelancer"].contains(principal.role)"#;
        only_if(is_member(request), policies.set().clone(), roles)
    },
};

/// Everything that is not called a view is a change.
pub const FREELANCERS_CHANGE_NOTHING: Claim = Claim {
    name: "a freelancer changes nothing but how they themselves get in and are told",
    implications: |policies, request| {
        let is_change = is_member(request) && !is_view(request) && !is_own_affair(request);
        never_if(is_change, policies.with_role("freelancer")?)
    },
};

/// Own bookings and time off, the projects of those bookings, and oneself.
pub const FREELANCERS_SEE_THEIR_OWN: Claim = Claim {
    name: "what a freelancer sees is the freelancer's own",
    implications: |policies, request| {
        let own = match kind(request) {
            "Studio" => return Ok(Vec::new()),
            "Artist" => "principal has artist && resource == principal.artist",
            kind if policies.names_an_artist(kind)? => {
                "principal has artist && resource.artist == principal.artist"
            }
            _ => "false",
        };
        let is_concerned = is_member(request) && is_view(request);
        only_if(is_concerned, policies.with_role("freelancer")?, own)
    },
};

/// Legal name, tax id, address, bank.
pub const PRIVATE_FIELDS_ARE_THE_OWNERS_AND_ONES_OWN: Claim = Claim {
    name: "the private fields of an artist are seen by owners and by the artist",
    implications: |policies, request| {
        let is_private = action(request) == "artist.view_private";
        let these = r#"principal.role == "owner" ||
            (principal has artist && resource == principal.artist)"#;
        only_if(is_private, policies.set().clone(), these)
    },
};

/// Inviting, admitting, another role, removing; deciding what holds in the studio.
pub const OWNERS_SAY_WHO_IS_IN: Claim = Claim {
    name: "who is in a studio, as what, and what holds there is said by owners",
    implications: |policies, request| {
        let these = r#"principal.role == "owner""#;
        only_if(is_the_owners(request), policies.set().clone(), these)
    },
};

/// No job may what another is for.
pub const SERVICES_KEEP_TO_THEIR_NAME: Claim = Claim {
    name: "a service does what its name is for",
    implications: |policies, request| {
        let name = match action(request) {
            "booking.view" | "booking.expire" | "booking.lapse" => r#"principal.name == "expiry""#,
            "delivery.view" | "delivery.attempt" | "delivery.settle" | "webhook.sign" => {
                r#"principal.name == "delivery""#
            }
            "export.make" => r#"principal.name == "custody""#,
            "alert.raise" | "alert.repeat" | "watch.learn" => r#"principal.name == "watch""#,
            // Whoever is invited is told so, and a member of what concerns them.
            "member.view" | "member.view_contact" => {
                r#"["people", "delivery"].contains(principal.name)"#
            }
            _ => "false",
        };
        only_if(!is_member(request), policies.set().clone(), name)
    },
};

fn never_if(concerned: bool, these: PolicySet) -> Result<Vec<Implication>, ProofFault> {
    // Nothing is allowed by no policies at all.
    let those = PolicySet::new();
    Ok(concerned
        .then_some(Implication { these, those })
        .into_iter()
        .collect())
}

fn only_if(
    concerned: bool,
    these: PolicySet,
    condition: &str,
) -> Result<Vec<Implication>, ProofFault> {
    let those = only_when(condition)?;
    Ok(concerned
        .then_some(Implication { these, those })
        .into_iter()
        .collect())
}

fn only_when(condition: &str) -> Result<PolicySet, ProofFault> {
    let policy = format!("permit (principal, action, resource) when {{ {condition} }};");
    PolicySet::from_str(&policy).map_err(unreadable)
}

/// The name of the action: `booking.cancel`.
pub fn action(request: &RequestEnv) -> &str {
    request.action().id().unescaped()
}

/// Whether a person asks, and not a service.
pub fn is_member(request: &RequestEnv) -> bool {
    request.principal().basename() == "Member"
}

/// Whether something is looked at, and not changed.
pub fn is_view(request: &RequestEnv) -> bool {
    let verb = action(request).split('.').nth(1).unwrap_or_default();
    verb == "view" || verb.starts_with("view_")
}

/// Whether it concerns what everybody has for themselves, sessions of the pages, feeds, streams and the
/// choice of mails: the database lets everybody reach the own only.
pub fn is_own_affair(request: &RequestEnv) -> bool {
    let nouns = ["session.", "feed.", "event.", "mail."];
    nouns.iter().any(|noun| action(request).starts_with(noun))
}

/// Whether it is for owners alone: who is in the studio and as what, what holds there, and what cannot be
/// taken back.
pub fn is_the_owners(request: &RequestEnv) -> bool {
    let name = action(request);
    let is_of_members = name.starts_with("member.") && !is_view(request);
    let leaves = [
        "webhook.",
        "delivery.",
        "audit.",
        "export.",
        "legal_hold.",
        "incident.",
    ]
    .iter()
    .any(|noun| name.starts_with(noun));
    let alone = [
        "studio.change",
        "studio.close",
        "artist.erase",
        "alert.handle",
    ];
    is_of_members || leaves && is_member(request) || alone.contains(&name)
}

fn kind(request: &RequestEnv) -> &str {
    request.resource().basename()
}
