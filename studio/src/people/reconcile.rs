//! Comparing the members here with those that Clerk has, and mending what differs.
//!
//! Webhooks make things fast and may never come. A comparison first says what differs, as steps; who
//! only wants to know stops there. What Clerk has decides who is removed or lowered here; what an
//! owner did here decides who is removed or lowered there.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;
use watertight_identity::{
    backend::{Backend, BackendError},
    objects::Membership,
};
use watertight_tenancy::{KnownMember, News, ProviderEvent};
use watertight_terms::{Entry, Fault, Role, Subject, TenantId};
use watertight_vault::Opened;

use crate::resources::members::{Member, actions::ViewContact};

use super::{People, clerk_role};

/// How often members are compared without being asked to.
const EVERY: Duration = Duration::from_secs(3_600);

const NONE_KNOWN: &str =
    "clerk knows none of the organizations; check that the key is of this instance";

/// Why a comparison could not be made or mended.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileFault {
    /// There is no key to ask Clerk by.
    #[error("set [clerk] secret_key_file: without it clerk cannot be asked")]
    NoKey,
    /// Clerk did not answer as it should.
    #[error(transparent)]
    Clerk(#[from] BackendError),
    /// The database did not.
    #[error("{0}")]
    Database(Fault),
}

impl From<Fault> for ReconcileFault {
    fn from(fault: Fault) -> Self {
        Self::Database(fault)
    }
}

/// One thing that differs, and what mends it.
#[derive(Debug)]
pub enum Step {
    /// Clerk has a member otherwise than is known here.
    Hear(Box<Membership>),
    /// A member here is none at Clerk.
    Absent {
        /// The organization.
        organization: Subject,
        /// The user.
        subject: Subject,
        /// When it was looked.
        at_ms: i64,
    },
    /// There is no such organization at Clerk.
    OrganizationGone {
        /// The organization.
        organization: Subject,
        /// When it was looked.
        at_ms: i64,
    },
    /// A member whom an owner removed is still one at Clerk.
    RemoveThere {
        /// The organization.
        organization: Subject,
        /// The user.
        subject: Subject,
        /// When it was looked.
        at_ms: i64,
    },
    /// A member is more at Clerk than an owner admitted.
    LowerThere {
        /// The organization.
        organization: Subject,
        /// The user.
        subject: Subject,
        /// As what.
        role: Role,
    },
    /// Clerk was not told of an invitation.
    Invite {
        /// The organization.
        organization: Subject,
        /// The studio.
        tenant: TenantId,
        /// The member that it is for.
        member: Uuid,
        /// As what.
        role: Role,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hear(membership) => write!(
                f,
                "{} of {}: is {} at clerk",
                membership.subject, membership.organization, membership.role
            ),
            Self::Absent {
                organization,
                subject,
                ..
            } => write!(f, "{subject} of {organization}: no member at clerk"),
            Self::OrganizationGone { organization, .. } => {
                write!(
                    f,
                    "{organization}: unknown to clerk, the studio is suspended"
                )
            }
            Self::RemoveThere {
                organization,
                subject,
                ..
            } => write!(
                f,
                "{subject} of {organization}: was removed here, remove at clerk"
            ),
            Self::LowerThere {
                organization,
                subject,
                role,
            } => write!(f, "{subject} of {organization}: lower to {role} at clerk"),
            Self::Invite {
                organization,
                member,
                ..
            } => write!(f, "member {member} of {organization}: invite at clerk"),
        }
    }
}

impl Step {
    /// Its kind and what it is about, for programs.
    pub fn to_json(&self) -> Value {
        let (kind, organization) = match self {
            Self::Hear(membership) => ("hear", &membership.organization),
            Self::Absent { organization, .. } => ("absent", organization),
            Self::OrganizationGone { organization, .. } => ("organization_gone", organization),
            Self::RemoveThere { organization, .. } => ("remove_there", organization),
            Self::LowerThere { organization, .. } => ("lower_there", organization),
            Self::Invite { organization, .. } => ("invite", organization),
        };
        json!({ "kind": kind, "organization": organization, "what": self.to_string() })
    }
}

/// What differs, and which studios could not be compared.
#[derive(Debug, Default)]
pub struct Comparison {
    /// How many studios were compared.
    pub studios: usize,
    /// What differs.
    pub steps: Vec<Step>,
    /// Where Clerk did not answer, or a step was refused, and why.
    pub failures: Vec<(Subject, String)>,
}

impl People {
    /// Compares the members of one studio, or of every one, with those that Clerk has.
    ///
    /// # Errors
    /// When there is no key, or the database cannot be reached. A studio of which Clerk does not
    /// tell is among the failures; the others are compared.
    pub async fn compare(&self, of: Option<TenantId>) -> Result<Comparison, ReconcileFault> {
        let backend = self.backend.as_ref().ok_or(ReconcileFault::NoKey)?;
        let mut studios: BTreeMap<Subject, Vec<KnownMember>> = BTreeMap::new();
        for member in self.tenancy.people_known(of).await? {
            // A suspended studio waits for an operator.
            if !member.suspended {
                let organization = member.organization.clone();
                studios.entry(organization).or_default().push(member);
            }
        }
        let mut comparison = Comparison::default();
        let mut gone = Vec::new();
        for (organization, known) in studios {
            match self.compare_one(backend, &organization, &known).await {
                Ok(steps) => comparison.steps.extend(steps),
                Err(BackendError::Unknown) => gone.push((organization, looked_at(&known))),
                Err(error) => comparison.failures.push((organization, error.to_string())),
            }
            comparison.studios += 1;
        }
        // The key of another instance knows none of them, and must not suspend everybody.
        let is_one_known = gone.len() + comparison.failures.len() < comparison.studios;
        for (organization, at_ms) in gone {
            if is_one_known {
                let step = Step::OrganizationGone {
                    organization,
                    at_ms,
                };
                comparison.steps.push(step);
            } else {
                comparison
                    .failures
                    .push((organization, NONE_KNOWN.to_owned()));
            }
        }
        Ok(comparison)
    }

    /// Compares and mends at once and then every hour, for as long as it is let.
    pub async fn keep_reconciled(self) {
        while self.backend.is_some() {
            let compared = match self.compare(None).await {
                Ok(mut comparison) => self.mend(&mut comparison).await.map(|()| comparison),
                Err(fault) => Err(fault),
            };
            match compared {
                Ok(comparison) => tracing::info!(
                    studios = comparison.studios,
                    steps = comparison.steps.len(),
                    failures = ?comparison.failures,
                    "members were compared with clerk's"
                ),
                Err(fault) => tracing::warn!(%fault, "members were not compared with clerk's"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Mends what differs. What fails is added to the failures; the rest is done.
    ///
    /// # Errors
    /// When there is no key.
    pub async fn mend(&self, comparison: &mut Comparison) -> Result<(), ReconcileFault> {
        let backend = self.backend.as_ref().ok_or(ReconcileFault::NoKey)?;
        for step in &comparison.steps {
            if let Err(error) = self.take(backend, step).await {
                let failure = (organization(step).clone(), format!("{step}: {error}"));
                comparison.failures.push(failure);
            }
        }
        Ok(())
    }

    /// Tells Clerk what an owner did in a studio, without letting anybody wait for it: what does not
    /// get there is found by the next comparison. `raised` is who was given a role, which is told
    /// once: afterwards Clerk may lower it.
    pub fn tell_clerk(&self, tenant: TenantId, raised: Option<Uuid>) {
        if self.backend.is_none() {
            return;
        }
        let people = self.clone();
        tokio::spawn(async move {
            if let Err(error) = people.push(tenant, raised).await {
                tracing::warn!(%tenant, %error, "clerk was not told; the next comparison will");
            }
        });
    }

    async fn push(&self, tenant: TenantId, raised: Option<Uuid>) -> Result<(), ReconcileFault> {
        let backend = self.backend.as_ref().ok_or(ReconcileFault::NoKey)?;
        let known = self.tenancy.people_known(Some(tenant)).await?;
        for member in &known {
            if let (Some(subject), true) = (&member.subject, Some(member.member) == raised)
                && member.provider_role < member.ceiling
            {
                let role = clerk_role(member.ceiling);
                let now = backend
                    .set_role(&member.organization, subject, role)
                    .await?;
                self.hear_of_membership(&self.name(), &now).await?;
            }
            if let Some(step) = owed(member) {
                self.take(backend, &step).await?;
            }
        }
        Ok(())
    }

    async fn compare_one(
        &self,
        backend: &Backend,
        organization: &Subject,
        known: &[KnownMember],
    ) -> Result<Vec<Step>, BackendError> {
        let at_ms = looked_at(known);
        let listed = backend.memberships(organization).await?.into_iter();
        let mut there: BTreeMap<Subject, Membership> = listed
            .map(|membership| (membership.subject.clone(), membership))
            .collect();
        let mut steps = Vec::new();
        for member in known {
            let membership = member.subject.as_ref().and_then(|it| there.remove(it));
            let heard = self.heard(member, membership, at_ms);
            let is_absent = matches!(heard, Some(Step::Absent { .. }));
            steps.extend(heard);
            steps.extend(owed(member).filter(|_| !is_absent));
        }
        steps.extend(there.into_values().map(|it| Step::Hear(Box::new(it))));
        Ok(steps)
    }

    /// What Clerk has otherwise of a member.
    fn heard(
        &self,
        member: &KnownMember,
        membership: Option<Membership>,
        at_ms: i64,
    ) -> Option<Step> {
        let subject = member.subject.clone()?;
        match membership {
            Some(membership) => {
                let differs = member.provider_removed
                    || self.roles.role(&membership.role) != member.provider_role;
                differs.then(|| Step::Hear(Box::new(membership)))
            }
            None if member.provider_removed => None,
            None => Some(Step::Absent {
                organization: member.organization.clone(),
                subject,
                at_ms,
            }),
        }
    }

    async fn take(&self, backend: &Backend, step: &Step) -> Result<(), ReconcileFault> {
        let delivery = self.name();
        let event = |at_ms, news| ProviderEvent {
            delivery: &delivery,
            at_ms,
            news,
        };
        match step {
            Step::Hear(membership) => {
                self.hear_of_membership(&delivery, membership).await?;
            }
            Step::Absent {
                organization,
                subject,
                at_ms,
            } => {
                let news = News::MemberAbsent {
                    organization,
                    subject,
                };
                self.tenancy.apply(&event(*at_ms, news)).await?;
            }
            Step::OrganizationGone {
                organization,
                at_ms,
            } => {
                let news = News::OrganizationGone(organization);
                self.tenancy.apply(&event(*at_ms, news)).await?;
            }
            Step::RemoveThere {
                organization,
                subject,
                at_ms,
            } => {
                backend.remove(organization, subject).await?;
                // Heard at once: until Clerk let go of them nobody is erased, and its own word may never come.
                let news = News::MemberAbsent {
                    organization,
                    subject,
                };
                self.tenancy.apply(&event(*at_ms, news)).await?;
            }
            Step::LowerThere {
                organization,
                subject,
                role,
            } => {
                let now = backend.set_role(organization, subject, clerk_role(*role));
                self.hear_of_membership(&delivery, &now.await?).await?;
            }
            Step::Invite {
                organization,
                tenant,
                member,
                role,
            } => {
                let Some(email) = self.open_address(*tenant, *member).await? else {
                    return Ok(());
                };
                let invitation = backend
                    .invite(organization, email.expose(), clerk_role(*role), None)
                    .await?;
                self.tenancy
                    .complete_invitation(*tenant, *member, &invitation.id)
                    .await?;
            }
        }
        Ok(())
    }

    /// The address of an invitation, for Clerk, which writes to it.
    async fn open_address(
        &self,
        tenant: TenantId,
        member: Uuid,
    ) -> Result<Option<Opened<String>>, Fault> {
        let mut tx = self.begin(tenant).await?;
        let granted = tx.grant::<ViewContact, Member>(member).await?;
        let invited = tx.seen(granted)?;
        let email = invited.address(&mut tx, &self.vault).await?;
        let entry = Entry::new("member.send_invitation", "member").ids([member]);
        let finished = tx.finish(entry).await;
        finished.map(|_receipt| email)
    }

    /// A name for what is told without a delivery, which is new each time.
    fn name(&self) -> String {
        format!("reconcile_{}", self.random.uuid().simple())
    }
}

/// What Clerk is still to be told of a member.
fn owed(member: &KnownMember) -> Option<Step> {
    let organization = member.organization.clone();
    match (member.state.as_str(), &member.subject) {
        ("removed", Some(subject)) if !member.provider_removed => Some(Step::RemoveThere {
            organization,
            subject: subject.clone(),
            at_ms: member.now_ms,
        }),
        ("active", Some(subject))
            // Clerk has no role for a guest.
            if !member.provider_removed && member.provider_role > member.ceiling.max(Role::Freelancer) =>
        {
            Some(Step::LowerThere {
                organization,
                subject: subject.clone(),
                role: member.ceiling,
            })
        }
        ("pending", None) if member.invitation.is_none() && member.email.is_some() => Some(Step::Invite {
            organization,
            tenant: member.tenant,
            member: member.member,
            role: member.ceiling,
        }),
        _ => None,
    }
}

/// When the members were asked for, by the database's clock: what it hears later is newer than the
/// list that Clerk gives afterwards.
fn looked_at(known: &[KnownMember]) -> i64 {
    let asked = known.iter().map(|member| member.now_ms);
    asked.min().unwrap_or_default()
}

fn organization(step: &Step) -> &Subject {
    match step {
        Step::Hear(membership) => &membership.organization,
        Step::Absent { organization, .. }
        | Step::OrganizationGone { organization, .. }
        | Step::RemoveThere { organization, .. }
        | Step::LowerThere { organization, .. }
        | Step::Invite { organization, .. } => organization,
    }
}
