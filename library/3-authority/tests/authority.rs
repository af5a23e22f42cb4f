//! What the room promises, against a tiny schema of its own: two tenants, one kind of row.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use uuid::Uuid;
use watertight_authority::{
    Action, Authority, Fact, ListFilter, Nonce, PolicyFault, Principal, Refused, Resource, Standing,
};
use watertight_terms::{Role, TenantId};

const SCHEMA: &str = r#"
    entity Studio;
    entity Artist { studio: Studio };
    entity Member { studio: Studio, role: String, artist?: Artist };
    entity Service { studio: Studio, name: String };
    entity Booking { studio: Studio, artist: Artist, state: String, days: Long, urgent: Bool };
    action "booking.create", "artist.create" appliesTo { principal: [Member], resource: [Studio] };
    action "booking.view", "booking.cancel"
        appliesTo { principal: [Member, Service], resource: [Booking] };
"#;

const WALL: &str = r#"
    @id("wall") forbid (principal, action, resource) unless {
        (resource is Studio && resource == principal.studio) ||
        (resource has studio && resource.studio == principal.studio)
    };
"#;

const BOOKINGS: &str = r#"
    @id("booking.run") permit (principal is Member, action, resource)
    when { principal.role == "manager" };
    @id("booking.own") permit (principal is Member, action == Action::"booking.view", resource)
    when {
        principal.role == "freelancer" && principal has artist &&
        resource.artist == principal.artist
    };
    @id("booking.expiry") permit (principal is Service, action, resource)
    when { principal.name == "expiry" };
"#;

struct Booking {
    tenant: TenantId,
    artist: Uuid,
    facts: Vec<(&'static str, Fact)>,
}

impl Resource for Booking {
    const NOUN: &'static str = "booking";
    const ENTITY: &'static str = "Booking";
    fn id(&self) -> Uuid {
        Uuid::from_u128(0xb0)
    }
    fn tenant(&self) -> TenantId {
        self.tenant
    }
    fn version(&self) -> i32 {
        3
    }
    fn facts(&self) -> Vec<(&'static str, Fact)> {
        let artist = ("artist", Fact::Is("Artist", self.artist));
        self.facts.iter().cloned().chain([artist]).collect()
    }
}

macro_rules! action {
    ($name:ident, $text:literal) => {
        #[derive(Debug)]
        struct $name;
        impl Action<Booking> for $name {
            const NAME: &'static str = $text;
        }
    };
}
action!(View, "booking.view");
action!(Cancel, "booking.cancel");
action!(Create, "booking.create");
action!(Undeclared, "booking.burn");

fn one() -> TenantId {
    TenantId(Uuid::from_u128(1))
}

fn two() -> TenantId {
    TenantId(Uuid::from_u128(2))
}

fn me() -> Uuid {
    Uuid::from_u128(0xa1)
}

fn other() -> Uuid {
    Uuid::from_u128(0xa2)
}

fn booking(tenant: TenantId, artist: Uuid) -> Booking {
    let facts = vec![
        ("state", Fact::Text("hold".into())),
        ("days", Fact::Long(2)),
        ("urgent", Fact::Flag(false)),
    ];
    Booking {
        tenant,
        artist,
        facts,
    }
}

fn member(role: Role, artist: Option<Uuid>) -> Standing {
    let id = Uuid::from_u128(0xc0);
    Standing {
        tenant: one(),
        principal: Principal::Member { id, role, artist },
    }
}

fn service(name: &str) -> Standing {
    Standing {
        tenant: one(),
        principal: Principal::Service { name: name.into() },
    }
}

fn nonce() -> Nonce {
    Nonce::new([7; 16])
}

fn authority() -> Authority {
    Authority::new(SCHEMA, &[("wall", WALL), ("bookings", BOOKINGS)]).unwrap()
}

fn with(policy: &str) -> Result<Authority, PolicyFault> {
    Authority::new(
        SCHEMA,
        &[("wall", WALL), ("bookings", BOOKINGS), ("more", policy)],
    )
}

#[test]
fn a_right_is_granted_and_spent_in_its_transaction() {
    let manager = member(Role::Manager, None);
    let row = booking(one(), other());
    let granted = authority()
        .decide::<Cancel, _>(&manager, row, &nonce())
        .unwrap();
    assert_eq!(
        (granted.id(), granted.version()),
        (Uuid::from_u128(0xb0), 3)
    );
    assert_eq!(granted.row().artist, other());
    assert_eq!(granted.rule(), "booking.run");

    let spent = granted.spend(&nonce()).unwrap();
    assert_eq!(
        (spent.action(), spent.noun()),
        ("booking.cancel", "booking")
    );
    assert_eq!((spent.id(), spent.version()), (Uuid::from_u128(0xb0), 3));
    assert_eq!((spent.row().artist, spent.rule()), (other(), "booking.run"));

    let granted = authority()
        .decide_new::<Create, Booking>(&manager, &nonce())
        .unwrap();
    let spent = granted.spend(&nonce()).unwrap();
    assert_eq!(
        (spent.action(), spent.noun()),
        ("booking.create", "booking")
    );
}

#[test]
fn a_right_of_another_transaction_is_worth_nothing() {
    let manager = member(Role::Manager, None);
    let authority = authority();
    for byte in 0..16 {
        let mut bytes = [7; 16];
        bytes[byte] ^= 1;
        let foreign = Nonce::new(bytes);
        let row = booking(one(), other());
        let granted = authority
            .decide::<Cancel, _>(&manager, row, &foreign)
            .unwrap();
        assert_eq!(
            granted.spend(&nonce()).unwrap_err().action,
            "booking.cancel"
        );
        let granted = authority
            .decide_new::<Create, Booking>(&manager, &foreign)
            .unwrap();
        assert!(granted.spend(&nonce()).is_err());
    }
    assert!(
        !format!("{:?}", nonce()).contains('7'),
        "a nonce does not print"
    );
}

#[test]
fn a_refusal_says_whether_it_may_be_told() {
    let refused = |standing: &Standing, row| {
        let authority = authority();
        authority
            .decide::<Cancel, _>(standing, row, &nonce())
            .unwrap_err()
    };
    let freelancer = member(Role::Freelancer, Some(me()));
    let quietly = |seen| Refused { seen, rule: None };
    assert_eq!(refused(&freelancer, booking(one(), me())), quietly(true));
    assert_eq!(
        refused(&freelancer, booking(one(), other())),
        quietly(false)
    );
    assert_eq!(
        refused(&member(Role::Guest, Some(me())), booking(one(), me())),
        quietly(false)
    );
    assert_eq!(
        refused(&service("mail"), booking(one(), me())),
        quietly(false)
    );

    // The wall is the one policy that forbids, and is named; nothing behind it is seen.
    for standing in [freelancer, member(Role::Manager, None), service("expiry")] {
        let refused = refused(&standing, booking(two(), me()));
        assert_eq!(
            (refused.seen, refused.rule.as_deref()),
            (false, Some("wall"))
        );
    }

    // Whoever is refused the view sees nothing; whoever may not create was shown no row.
    let nobody = member(Role::Freelancer, None);
    let row = booking(one(), me());
    assert!(
        !authority()
            .decide::<View, _>(&nobody, row, &nonce())
            .unwrap_err()
            .seen
    );
    assert!(
        authority()
            .decide_new::<Create, Booking>(&nobody, &nonce())
            .unwrap_err()
            .seen
    );
}

#[test]
fn services_act_under_their_name() {
    let row = || booking(one(), me());
    assert!(authority().allows::<Cancel, _>(&service("expiry"), &row()));
    assert!(!authority().allows::<Cancel, _>(&service("mail"), &row()));
    // An action that is not for services is no question that can be asked.
    let refused = authority().decide_new::<Create, Booking>(&service("expiry"), &nonce());
    assert!(
        refused
            .unwrap_err()
            .rule
            .unwrap()
            .starts_with("no decision: ")
    );
}

#[test]
fn what_cannot_be_decided_is_refused() {
    let manager = member(Role::Manager, None);
    let allows = |authority: &Authority| {
        authority.decide::<Cancel, _>(&manager, booking(one(), me()), &nonce())
    };
    assert!(allows(&authority()).is_ok());

    // A forbid that fails is no forbid in Cedar; here the failure itself refuses.
    for effect in ["permit", "forbid"] {
        // Nobody hands the artist's row in, so what is asked of it cannot be answered.
        let policy = format!(
            "@id(\"broken\") {effect} (principal, action == Action::\"booking.cancel\", resource) \
             when {{ resource.artist.studio != principal.studio }};"
        );
        let refused = allows(&with(&policy).unwrap()).unwrap_err();
        let rule = refused.rule.unwrap();
        assert!(
            rule.starts_with("no decision: ") && rule.contains("broken"),
            "{rule}"
        );
        assert!(refused.seen, "the view itself can be decided");
    }

    // A row that does not say what the schema asks for, or says more, or says it wrongly.
    let facts = booking(one(), me()).facts;
    let one_less = facts[1..].to_vec();
    let one_more = [facts.clone(), vec![("colour", Fact::Text("red".into()))]].concat();
    let wrong = [facts[..2].to_vec(), vec![("urgent", Fact::Long(1))]].concat();
    let unknown = [
        facts[1..].to_vec(),
        vec![("state", Fact::Is("Ghost", me()))],
    ]
    .concat();
    for facts in [one_less, one_more, wrong, unknown] {
        let row = Booking {
            facts,
            ..booking(one(), me())
        };
        let refused = authority()
            .decide::<Cancel, _>(&manager, row, &nonce())
            .unwrap_err();
        assert!(refused.rule.unwrap().starts_with("no decision: "));
    }
}

#[test]
fn an_action_that_the_schema_lacks_is_refused() {
    let manager = member(Role::Manager, None);
    let row = booking(one(), me());
    let refused = authority()
        .decide::<Undeclared, _>(&manager, row, &nonce())
        .unwrap_err();
    assert!(refused.rule.unwrap().contains("`booking.burn`"));
    let fault = authority()
        .filter::<Undeclared, Booking>(&manager)
        .unwrap_err();
    assert_eq!(fault, PolicyFault::Unknown("booking.burn".into()));
}

/// Whatever form its scope has, a policy is about the actions that it names and about no other.
#[test]
fn a_policy_is_about_the_actions_of_its_scope() {
    let schema = SCHEMA.replace(
        r#"action "booking.view", "booking.cancel""#,
        r#"action "ending"; action "undoing" in ["ending"];
        action "booking.cancel" in ["undoing"] appliesTo { principal: [Member, Service], resource: [Booking] };
        action "booking.view""#,
    );
    let decided = |scope: &str| {
        let policy = format!(r#"@id("more") permit (principal is Service, {scope}, resource);"#);
        let files = [("wall", WALL), ("more", policy.as_str())];
        let authority = Authority::new(&schema, &files).unwrap();
        let (mail, row) = (service("mail"), || booking(one(), other()));
        let listed = authority.filter::<View, Booking>(&mail).unwrap() == ListFilter::All;
        let view = authority.decide::<View, _>(&mail, row(), &nonce()).is_ok();
        let cancel = authority
            .decide::<Cancel, _>(&mail, row(), &nonce())
            .is_ok();
        assert_eq!(listed, view, "{scope}");
        (view, cancel)
    };
    for (scope, expected) in [
        ("action", (true, true)),
        (r#"action == Action::"booking.view""#, (true, false)),
        (r#"action in Action::"booking.cancel""#, (false, true)),
        (
            r#"action in [Action::"booking.create", Action::"booking.view"]"#,
            (true, false),
        ),
        (r#"action in Action::"undoing""#, (false, true)),
        (r#"action in [Action::"ending"]"#, (false, true)),
    ] {
        assert_eq!(decided(scope), expected, "{scope}");
    }
    // What forbids is looked up in the same way.
    let forbidding = r#"@id("stop") forbid (principal, action in Action::"ending", resource);"#;
    let files = [("wall", WALL), ("bookings", BOOKINGS), ("stop", forbidding)];
    let authority = Authority::new(&schema, &files).unwrap();
    let manager = member(Role::Manager, None);
    let row = || booking(one(), other());
    assert!(
        authority
            .decide::<View, _>(&manager, row(), &nonce())
            .is_ok()
    );
    let refused = authority.decide::<Cancel, _>(&manager, row(), &nonce());
    assert_eq!(refused.unwrap_err().rule.as_deref(), Some("stop"));
}

#[test]
fn lists_come_from_the_policies() {
    let authority = authority();
    let filter = |standing: &Standing| authority.filter::<View, Booking>(standing).unwrap();
    assert_eq!(filter(&member(Role::Manager, None)), ListFilter::All);
    assert_eq!(filter(&member(Role::Manager, Some(me()))), ListFilter::All);
    assert_eq!(
        filter(&member(Role::Freelancer, Some(me()))),
        ListFilter::OwnArtist(me())
    );
    assert_eq!(filter(&member(Role::Freelancer, None)), ListFilter::Nothing);
    assert_eq!(
        filter(&member(Role::Guest, Some(me()))),
        ListFilter::Nothing
    );
    assert_eq!(filter(&service("expiry")), ListFilter::All);
    assert_eq!(filter(&service("mail")), ListFilter::Nothing);
}

#[test]
fn a_list_of_any_other_shape_stops_the_start() {
    for condition in [
        // Of a state, of a state or oneself, of not oneself, of somebody else's choosing.
        r#"resource.state == "hold""#,
        r#"principal has artist && (resource.artist == principal.artist || resource.urgent)"#,
        r#"principal has artist && resource.artist != principal.artist"#,
        r#"resource.artist == Artist::"00000000-0000-0000-0000-0000000000a9""#,
        // Of the own studio, said once more: a permit is no wall.
        r#"resource.studio == principal.studio"#,
        // Something that can fail.
        r#"resource.days + 1 > 2"#,
    ] {
        let permit = format!(
            "@id(\"fourth\") permit (principal is Member, action, resource is Booking) when {{ {condition} }};"
        );
        let fault = with(&permit).err().expect(condition);
        assert!(
            fault.to_string().contains("what policy `fourth` says"),
            "{condition}: {fault}"
        );
    }
    // What is forbidden row by row is as little a list.
    let forbid = r#"@id("urgent") forbid (principal, action, resource is Booking) when { resource.urgent };"#;
    assert!(
        matches!(with(forbid), Err(PolicyFault::Unlistable { policy, .. }) if policy == "urgent")
    );
    // Only for services, and only for one.
    let named = r#"@id("mail") permit (principal is Service, action, resource) when { principal.name == "mail" && resource.urgent };"#;
    assert!(matches!(with(named), Err(PolicyFault::Unlistable { policy, .. }) if policy == "mail"));
}

#[test]
fn what_can_be_done_to_the_studio_is_listed() {
    let can = |standing: &Standing| authority().can(standing);
    assert_eq!(
        can(&member(Role::Manager, None)),
        ["artist.create", "booking.create"]
    );
    assert!(can(&member(Role::Freelancer, Some(me()))).is_empty());
    assert!(can(&service("expiry")).is_empty());
    let actions = [
        "artist.create",
        "booking.cancel",
        "booking.create",
        "booking.view",
    ];
    assert_eq!(authority().actions(), actions);
}

#[test]
fn wrong_policies_do_not_start() {
    assert!(with(r#"@id("fine") permit (principal is Member, action == Action::"booking.cancel", resource) when { principal.role == "owner" };"#).is_ok());
    for (policy, says) in [
        (
            "permit (principal, action, resource)",
            "`more` is malformed",
        ),
        (
            "permit (principal, action, resource);",
            "`more` has a policy without a name",
        ),
        (
            r#"@id("") permit (principal, action, resource);"#,
            "without a name",
        ),
        (
            r#"@id("wall") permit (principal, action, resource);"#,
            "a second policy `wall`",
        ),
        (
            r#"@id("x") permit (principal == ?principal, action, resource);"#,
            "slots",
        ),
        (
            r#"@id("x") permit (principal, action, resource) when { resource.colour == "red" };"#,
            "do not fit their schema",
        ),
        (
            r#"@id("x") permit (principal, action == Action::"booking.burn", resource);"#,
            "do not fit their schema",
        ),
        // It can never apply: most likely a word is wrong.
        (
            r#"@id("x") permit (principal is Artist, action, resource);"#,
            "do not fit their schema",
        ),
    ] {
        let fault = with(policy).err().expect(policy).to_string();
        assert!(fault.contains(says), "{policy}: {fault}");
        assert!(!fault.ends_with('.'), "{fault}");
    }
    let fault = Authority::new("entity Studio", &[]).err().unwrap();
    assert!(matches!(fault, PolicyFault::Schema(_)));
}
