//! Members: who is in the studio, and as what.
//!
//! ```text
//! GET    /v1/members              with `total`; never an address
//! GET    /v1/members/{id}         with the address, opened and noted
//! POST   /v1/members              invites: an owner says whom and as what, Clerk writes to them
//! PATCH  /v1/members/{id}         role, artist
//! POST   /v1/members/{id}/admit   lets somebody in whom Clerk brought
//! DELETE /v1/members/{id}         removes, here at once and then at Clerk
//! POST   /v1/members/{id}/erase   for good, with a receipt; `{"plan": true}` says what would go
//! ```
//!
//! What somebody may is the lowest of what their token says, what Clerk says and what an owner
//! admitted (`ceiling`). When a removal or a lower role is answered, no transaction is under way in
//! which they are still what they were.

mod handlers;
mod view;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::door::{Routes, delete, get, patch, post};
use watertight_authority::{Fact, Opens, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Change, Constraint, Insert, Read, Row, Rows, Stored, TenantTx};
use watertight_terms::{Fault, Role, TenantId};
use watertight_vault::{Holder, Opened, Sealed, Vault};

use crate::people::EMAIL;

use super::{
    Class, Columns, Registered,
    page::{Listed, Order},
};

/// A member, as stored. The address is sealed.
#[derive(Debug)]
pub struct Member {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    subject: Option<String>,
    name: Option<String>,
    email: Option<Sealed<String>>,
    provider_role: Role,
    ceiling: Role,
    state: State,
    artist_id: Option<Uuid>,
    joined_at: Timestamp,
    updated_at: Timestamp,
}

/// Whether somebody is in the studio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum State {
    /// Not yet: invited, or brought by Clerk and not admitted.
    Pending,
    /// Yes.
    Active,
    /// No more: removed here or at Clerk.
    Removed,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Removed => "removed",
        }
    }
}

impl Member {
    /// What the member may at most, whatever a token says.
    fn role(&self) -> Role {
        self.provider_role.min(self.ceiling)
    }

    /// The address, opened for whom a policy lets see it.
    pub(crate) async fn address(
        &self,
        tx: &mut TenantTx,
        vault: &Vault,
    ) -> Result<Option<Opened<String>>, Fault> {
        let allowed = tx.allowed::<actions::ViewContact, Self>(self);
        let (Some(allowed), Some(sealed)) = (allowed, &self.email) else {
            return Ok(None);
        };
        let keys = vault.to_open(tx, Holder::Person(self.id)).await?;
        keys.open(tx, &allowed, EMAIL, sealed).map(Some)
    }
}

impl Resource for Member {
    const NOUN: &'static str = "member";
    const ENTITY: &'static str = "Membership";

    fn id(&self) -> Uuid {
        self.id
    }

    fn tenant(&self) -> TenantId {
        self.tenant
    }

    fn version(&self) -> i32 {
        self.version
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        Vec::new()
    }
}

/// Members, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    // The table is room 4-tenancy's: no transaction can be had without it.
    migrations: &[super::migration!("0010_members")],
    tables: &[COLUMNS],
    rows: &[Rows::of::<Member>()],
    constraints: &[LAST_OWNER, OWN_ROLE, ALREADY_INVITED],
    routes,
};

/// What may be done with a member.
pub mod actions {
    crate::resources::actions! { super::Member:
        View "member.view", ViewContact "member.view_contact", Invite "member.invite", Admit "member.admit",
        Edit "member.change", Remove "member.remove", Erase "member.erase"
    }
}

const LAST_OWNER: Constraint = Constraint {
    name: "members_last_owner",
    problem: crate::problems::LAST_OWNER,
    spoken: "a studio keeps at least one owner; make somebody else an owner first",
};

const OWN_ROLE: Constraint = Constraint {
    name: "members_own_role",
    problem: crate::problems::OWN_ROLE,
    spoken: "nobody raises the own role; ask another owner",
};

const ALREADY_INVITED: Constraint = Constraint {
    name: "members_one_invitation",
    problem: crate::problems::ALREADY_INVITED,
    spoken: "somebody with this address is invited or in the studio already",
};

impl Opens<Member> for actions::ViewContact {
    const COLUMNS: &'static [&'static str] = &[EMAIL];
}

const COLUMNS: Columns = Columns {
    table: "tenancy.members",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("subject", Class::Internal),
        ("invitation", Class::Internal),
        ("name", Class::Internal),
        ("email", Class::Personal),
        ("email_index", Class::Personal),
        ("provider_role", Class::Internal),
        ("provider_removed", Class::Internal),
        ("provider_at_ms", Class::Internal),
        ("provider_heard_at", Class::Internal),
        ("name_at_ms", Class::Internal),
        ("ceiling", Class::Internal),
        ("state", Class::Internal),
        ("artist_id", Class::Internal),
        ("mails", Class::Internal),
        ("valid_after", Class::Internal),
        ("lock_key", Class::Internal),
        ("times_ended", Class::Internal),
        ("joined_at", Class::Internal),
        ("updated_at", Class::Internal),
    ],
    retention: Retention::By(Rule {
        name: "members",
        step: 90,
        since: "the end of the membership",
        days: Days::new(1095, 90, 5475),
        then: Then::Anonymise,
    }),
};

/// The columns that a row is made from. Gone at Clerk is removed.
macro_rules! columns {
    () => {
        "tenant_id, id, version, subject, name, email, provider_role, ceiling, artist_id, joined_at, updated_at,
           CASE WHEN provider_removed THEN 'removed' ELSE state END AS state"
    };
}

impl Stored for Member {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM tenancy.members WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        let role = |column| {
            let name: String = row.field(column)?;
            name.parse()
                .map_err(|_| Fault::bug(format!("a role `{name}`")))
        };
        let state: String = row.field("state")?;
        let email: Option<Vec<u8>> = row.field("email")?;
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            subject: row.field("subject")?,
            name: row.field("name")?,
            email: email.map(Sealed::from_stored),
            provider_role: role("provider_role")?,
            ceiling: role("ceiling")?,
            state: match state.as_str() {
                "pending" => State::Pending,
                "active" => State::Active,
                "removed" => State::Removed,
                other => return Err(Fault::bug(format!("a state `{other}`"))),
            },
            artist_id: row.field("artist_id")?,
            joined_at: row.field("joined_at")?,
            updated_at: row.field("updated_at")?,
        })
    }
}

/// Which members a list is of: those of state `$3`, or all but the removed ones.
macro_rules! listed {
    () => {
        "CASE WHEN provider_removed THEN 'removed' ELSE state END = coalesce($3::text, state)
           AND ($3 = 'removed' OR state <> 'removed')"
    };
}

/// A page of the list in one order. `$2` is for resources that are somebody's own and always null
/// here, `$3` a state, `$4` and `$5` value and id after which the page begins, `$6` its length.
macro_rules! list {
    ($after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            " FROM tenancy.members WHERE tenant_id = $1 AND $2::uuid IS NULL AND ",
            listed!(),
            " AND ($5::uuid IS NULL OR (joined_at, id) ",
            $after,
            " ($4::text::timestamptz, $5)) ORDER BY joined_at ",
            $direction,
            ", id ",
            $direction,
            " LIMIT $6"
        ))
    };
}

impl Listed for Member {
    const ORDERS: &'static [Order<Self>] = &[Order {
        name: "joined_at",
        up: list!(">", "ASC"),
        down: list!("<", "DESC"),
        value: |member| member.joined_at.to_string(),
    }];
}

/// How many there are; `$2` is not used, so that it has the list's parameters.
const TOTAL: Read = Read::new(concat!(
    "SELECT count(*) AS total FROM tenancy.members WHERE tenant_id = $1 AND $2::uuid IS NULL AND ",
    listed!()
));

/// How many invitations are open.
const INVITED: Read = Read::new(
    "SELECT count(*) AS invited FROM tenancy.members
     WHERE tenant_id = $1 AND subject IS NULL AND state = 'pending'",
);

/// Who is invited or in the studio with an address, by its index under one of the studio's keys.
const OF_ADDRESS: Read = Read::new(
    "SELECT id FROM tenancy.members WHERE tenant_id = $1 AND email_index = ANY ($2)
       AND state <> 'removed' AND NOT provider_removed",
);

const INVITE: Insert = Insert::new(
    "INSERT INTO tenancy.members (tenant_id, id, joined_at, updated_at, ceiling, email, email_index)
     VALUES ($1, $2, $3, $3, $4, $5, $6)",
);

/// With another role, tokens and sessions from before count no more. To the second: a token's time
/// has no finer one.
const EDIT: Change = Change::new(
    "UPDATE tenancy.members SET version = version + 1, updated_at = $4, ceiling = $5, artist_id = $6,
       valid_after = CASE WHEN ceiling = $5 THEN valid_after ELSE date_trunc('second', $4::timestamptz) END
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

const ADMIT: Change = Change::new(
    "UPDATE tenancy.members SET version = version + 1, updated_at = $4, ceiling = $5, state = 'active'
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// A token from before counts no more, even if the member is admitted again.
const REMOVE: Change = Change::new(
    "UPDATE tenancy.members SET version = version + 1, updated_at = $4, state = 'removed', valid_after = $4
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

fn routes(routes: Routes) -> Routes {
    use actions::{Admit, Edit, Erase, Invite, Remove, View};
    routes
        .route(
            "/v1/members",
            get(handlers::list)
                .says("members by when they joined, without their addresses, and how many there are")
                .expensive()
                .needs::<View, Member>()
                .and(
                    post(handlers::invite)
                        .says("invites somebody; the identity provider writes to them")
                        .sample(r#"{"email": "ines@example.org", "role": "freelancer"}"#)
                        .needs::<Invite, Member>(),
                ),
        )
        .route(
            "/v1/members/{id}",
            get(handlers::show)
                .says("a member, with the address if you may see it")
                .needs::<View, Member>()
                .and(
                    patch(handlers::edit)
                        .says("another role, or another artist")
                        .sample(r#"{"role": "freelancer", "artist_id": "{/v1/artists}"}"#)
                        .after(&["admit"])
                        .needs::<Edit, Member>(),
                )
                .and(
                    delete(handlers::remove)
                        .says("removes a member: what is under way for them ends first")
                        .needs::<Remove, Member>(),
                ),
        )
        .route(
            "/v1/members/{id}/admit",
            post(handlers::admit)
                .says("lets in somebody who accepted an invitation, or whom the identity provider brought")
                .sample(r#"{"role": "freelancer"}"#)
                .needs::<Admit, Member>(),
        )
        .route(
            "/v1/members/{id}/erase",
            post(handlers::erase)
                .says("erases a removed member, and the artist who is the same person, for good; asks for a fresh proof of who you are")
                .sample(r#"{"plan": true}"#)
                .needs::<Erase, Member>(),
        )
}
