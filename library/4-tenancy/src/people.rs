//! What the identity provider tells about people, and what follows here.

use uuid::Uuid;
use watertight_terms::{Fault, Role, Subject, TenantId, check_line};

use crate::{Admission, Row, Tell, Tenancy, TenantTx};

/// A name that is longer is not kept.
const NAME_CHARS: usize = 200;

const NOTE_SESSION: &str = "SELECT tenancy.note_session($1) AS is_new";
const APPLY: &str = "SELECT tenant, member, effect FROM tenancy.apply_event($1)";
const DRAIN: &str = "SELECT tenancy.drain_member($1) AS ended";
const COMPLETE: Tell = Tell::new("f1", "SELECT tenancy.complete_member($1) AS found");
const OPEN: &str = "SELECT studio.open_studio($1) AS opened";
const KNOWN: &str =
    "SELECT now_ms, tenant, organization, member, subject, invitation, email, role, state,
       provider_role, provider_removed, suspended FROM tenancy.people_known($1)";

/// Something that the identity provider said about people, whichever way it came here.
///
/// What was said last counts, by the provider's own clock: events may come in any order, again, and
/// not at all. It may lower and remove at once; above what an owner of the studio admitted it never
/// raises.
#[derive(Debug, Clone, Copy)]
pub struct ProviderEvent<'a> {
    /// What told it, 1 to 64 characters of `A-Z a-z 0-9 _ -`: a second time it has no effect.
    pub delivery: &'a str,
    /// When it was so, in milliseconds since 1970.
    pub at_ms: i64,
    /// What it is.
    pub news: News<'a>,
}

/// What was said.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// A membership is there.
    Member {
        /// The organization.
        organization: &'a Subject,
        /// The user.
        subject: &'a Subject,
        /// The role that the provider gives.
        role: Role,
        /// What the user is called.
        name: Option<&'a str>,
    },
    /// A membership is no more.
    MemberGone {
        /// The organization.
        organization: &'a Subject,
        /// The user.
        subject: &'a Subject,
    },
    /// A membership that is known here is not in the provider's list. `at_ms` is when reading the
    /// list began, as [`KnownMember::now_ms`] says: what was heard since then is newer.
    MemberAbsent {
        /// The organization.
        organization: &'a Subject,
        /// The user.
        subject: &'a Subject,
    },
    /// What a user is called.
    User {
        /// The user.
        subject: &'a Subject,
        /// The name.
        name: &'a str,
    },
    /// A user is no more.
    UserGone(&'a Subject),
    /// A user may sign in no more.
    UserBanned(&'a Subject),
    /// A user accepted an invitation.
    Accepted {
        /// The organization.
        organization: &'a Subject,
        /// The provider's id of the invitation.
        invitation: &'a Subject,
        /// The user.
        subject: &'a Subject,
    },
    /// An invitation was taken back at the provider.
    Uninvited {
        /// The organization.
        organization: &'a Subject,
        /// The provider's id of the invitation.
        invitation: &'a Subject,
    },
    /// An organization is no more: the studio is suspended, and keeps everything.
    OrganizationGone(&'a Subject),
}

/// What became of somebody by an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// The studio.
    pub tenant: TenantId,
    /// The member; none where it was the whole studio.
    pub member: Option<Uuid>,
    /// What.
    pub kind: EffectKind,
}

/// What became of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectKind {
    /// Nobody here knew them. They are pending, unless they are gone already.
    Seen,
    /// Something changed, and not what they may.
    Noted,
    /// They may less from now on, or nothing.
    Lowered,
    /// They may more again, as far as an owner admitted.
    Raised,
    /// The studio is suspended.
    Suspended,
}

/// A member as the studio has them, for comparing with what the provider has.
#[derive(Debug, Clone)]
pub struct KnownMember {
    /// When it was asked, in milliseconds since 1970, by the database's clock.
    pub now_ms: i64,
    /// The studio.
    pub tenant: TenantId,
    /// The studio's organization.
    pub organization: Subject,
    /// Whether the studio is suspended.
    pub suspended: bool,
    /// The member.
    pub member: Uuid,
    /// The user; none while an invitation is open.
    pub subject: Option<Subject>,
    /// The provider's id of the invitation, once there is one.
    pub invitation: Option<Subject>,
    /// The e-mail address, as the vault sealed it.
    pub email: Option<Vec<u8>>,
    /// The highest role that an owner admitted.
    pub ceiling: Role,
    /// `pending`, `active` or `removed`, as far as the studio says.
    pub state: String,
    /// The role that the provider said last.
    pub provider_role: Role,
    /// Whether the provider said last that they are gone.
    pub provider_removed: bool,
}

impl Tenancy {
    /// Notes whether a session of the identity provider lives, for every process, from the next
    /// transaction on. Of several words on it that of the latest time counts. Gives whether the
    /// delivery is new.
    ///
    /// # Errors
    /// When the database cannot be reached: the delivery is to be sent again.
    pub async fn note_session(
        &self,
        delivery: &str,
        session: &Subject,
        subject: &Subject,
        ended: bool,
        at_ms: i64,
    ) -> Result<bool, Fault> {
        let (ended, at_ms) = (ended.to_string(), at_ms.to_string());
        let fields = [delivery, session.as_str(), subject.as_str(), &ended, &at_ms];
        let rows = self.call_gate(NOTE_SESSION, "e1", &fields).await?;
        one(&rows)?.field("is_new")
    }

    /// Applies what the provider said. When it resolves, no transaction is under way in which
    /// somebody whom it lowered is still what they were, on whatever process. Gives whom it changed;
    /// nobody when it was said before or is older than what is known.
    ///
    /// # Errors
    /// When the database cannot be reached: the event is to be told again.
    pub async fn apply(&self, event: &ProviderEvent<'_>) -> Result<Vec<Effect>, Fault> {
        let at_ms = event.at_ms.to_string();
        let [kind, organization, subject, role, said] = event.news.fields();
        let said = hex::encode(said);
        let fields = [
            event.delivery,
            kind,
            organization,
            subject,
            role,
            &at_ms,
            &said,
        ];
        let rows = self.call_gate(APPLY, "e2", &fields).await?;
        let effects: Vec<Effect> = rows.iter().map(effect).collect::<Result<_, _>>()?;
        for effect in &effects {
            if let (Some(member), EffectKind::Lowered) = (effect.member, effect.kind) {
                self.drain_member(effect.tenant, member).await?;
            }
        }
        Ok(effects)
    }

    /// Waits until no transaction of a member is under way, on whatever process, and ends those that
    /// do not end in half a second. For after the member was lowered or removed: whoever enters
    /// later enters as what the row says. Gives how many were ended.
    ///
    /// # Errors
    /// When the database cannot be reached, or somebody holds on even so.
    pub async fn drain_member(&self, tenant: TenantId, member: Uuid) -> Result<i32, Fault> {
        let (tenant, member) = (tenant.to_string(), member.to_string());
        let rows = self.call_gate(DRAIN, "d1", &[&tenant, &member]).await?;
        Ok(one(&rows)?.field::<Option<i32>>("ended")?.unwrap_or(0))
    }

    /// Keeps the provider's id of a member's invitation.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn complete_invitation(
        &self,
        tenant: TenantId,
        member: Uuid,
        invitation: &Subject,
    ) -> Result<(), Fault> {
        let value = hex::encode(invitation.as_str());
        let (tenant, member) = (tenant.to_string(), member.to_string());
        let fields = [tenant.as_str(), &member, "invitation", &value, ""];
        self.tell(COMPLETE, &fields).await.map(drop)
    }

    /// Makes a studio of an organization that is none yet, with its first owner, and says who admits
    /// the others. Gives whether it was none. The product's migration has the function, for it knows what a studio consists of.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn open_studio(
        &self,
        organization: &Subject,
        owner: &Subject,
        name: &str,
        admission: Admission,
    ) -> Result<bool, Fault> {
        let name = match storable(name) {
            "" => organization.as_str(),
            name => name,
        };
        let name = hex::encode(name);
        let fields = [
            organization.as_str(),
            owner.as_str(),
            &name,
            admission.as_str(),
        ];
        let rows = self.call_gate(OPEN, "o1", &fields).await?;
        one(&rows)?.field("opened")
    }

    /// The members of one studio, or of every one, for comparing them with those that the provider
    /// has; those of a studio stand together.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn people_known(&self, of: Option<TenantId>) -> Result<Vec<KnownMember>, Fault> {
        let of = of.map(|tenant| tenant.to_string()).unwrap_or_default();
        let rows = self.call_gate(KNOWN, "q1", &[&of]).await?;
        rows.iter().map(known).collect()
    }
}

impl TenantTx {
    /// Keeps the address of a member who had none, as the vault sealed it for that row, with by what
    /// it is found again.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn complete_email(
        &mut self,
        member: Uuid,
        sealed: &[u8],
        index: &[u8],
    ) -> Result<(), Fault> {
        let (tenant, member) = (self.tenant().to_string(), member.to_string());
        let (value, index) = (hex::encode(sealed), hex::encode(index));
        let fields = [tenant.as_str(), &member, "email", &value, &index];
        self.tell(COMPLETE, &fields).await.map(drop)
    }
}

impl News<'_> {
    /// Kind, organization, subject, role and what was said, as the database reads them.
    fn fields(&self) -> [&str; 5] {
        match self {
            Self::Member {
                organization,
                subject,
                role,
                name,
            } => [
                "member",
                organization.as_str(),
                subject.as_str(),
                role.as_str(),
                name.map_or("", storable),
            ],
            Self::MemberGone {
                organization,
                subject,
            } => ["gone", organization.as_str(), subject.as_str(), "guest", ""],
            Self::MemberAbsent {
                organization,
                subject,
            } => [
                "absent",
                organization.as_str(),
                subject.as_str(),
                "guest",
                "",
            ],
            Self::User { subject, name } => ["user", "", subject.as_str(), "guest", storable(name)],
            Self::UserGone(subject) => ["user_gone", "", subject.as_str(), "guest", ""],
            Self::UserBanned(subject) => ["banned", "", subject.as_str(), "guest", ""],
            Self::Accepted {
                organization,
                invitation,
                subject,
            } => [
                "accepted",
                organization.as_str(),
                subject.as_str(),
                "guest",
                invitation.as_str(),
            ],
            Self::Uninvited {
                organization,
                invitation,
            } => [
                "uninvited",
                organization.as_str(),
                "",
                "guest",
                invitation.as_str(),
            ],
            Self::OrganizationGone(organization) => {
                ["organization_gone", organization.as_str(), "", "guest", ""]
            }
        }
    }
}

/// A name that cannot be kept is none: somebody else's choice of one stops no event.
fn storable(name: &str) -> &str {
    match check_line(name, NAME_CHARS) {
        Ok(()) => name,
        Err(_) => "",
    }
}

fn effect(row: &Row) -> Result<Effect, Fault> {
    let kind: String = row.field("effect")?;
    Ok(Effect {
        tenant: TenantId(row.field("tenant")?),
        member: row.field("member")?,
        kind: match kind.as_str() {
            "seen" => EffectKind::Seen,
            "noted" => EffectKind::Noted,
            "lowered" => EffectKind::Lowered,
            "raised" => EffectKind::Raised,
            "suspended" => EffectKind::Suspended,
            other => return Err(Fault::bug(format!("an effect `{other}`"))),
        },
    })
}

fn known(row: &Row) -> Result<KnownMember, Fault> {
    Ok(KnownMember {
        now_ms: row.field("now_ms")?,
        tenant: TenantId(row.field("tenant")?),
        organization: id(row.field("organization")?)?,
        suspended: row.field("suspended")?,
        member: row.field("member")?,
        subject: row
            .field::<Option<String>>("subject")?
            .map(id)
            .transpose()?,
        invitation: row
            .field::<Option<String>>("invitation")?
            .map(id)
            .transpose()?,
        email: row.field("email")?,
        ceiling: role(row, "role")?,
        state: row.field("state")?,
        provider_role: role(row, "provider_role")?,
        provider_removed: row.field("provider_removed")?,
    })
}

fn id(text: String) -> Result<Subject, Fault> {
    text.parse()
        .map_err(|error| Fault::bug(format!("a stored id: {error}")))
}

fn role(row: &Row, column: &str) -> Result<Role, Fault> {
    let name: String = row.field(column)?;
    name.parse()
        .map_err(|error| Fault::bug(format!("role `{name}`: {error}")))
}

fn one(rows: &[Row]) -> Result<&Row, Fault> {
    rows.first()
        .ok_or_else(|| Fault::bug("a function of the gate gave no row"))
}
