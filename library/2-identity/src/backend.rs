//! Clerk's Backend API, as far as a studio needs it: who is in an organization, and changing that.
//!
//! ```no_run
//! use secrecy::SecretString;
//! use watertight_identity::backend::{Backend, BackendError};
//! use watertight_outbound::{Outbound, OutboundRules};
//! use watertight_terms::Clock;
//!
//! # async fn example(secret: SecretString) -> Result<(), Box<dyn std::error::Error>> {
//! let outbound = Outbound::new(OutboundRules::default())?;
//! let backend = Backend::new(outbound, secret, Clock::system())?;
//! for membership in backend.memberships(&"org_2abc".parse()?).await? {
//!     println!("{} is {}", membership.subject, membership.role);
//! }
//! # Ok(()) }
//! ```
//!
//! Paths and fields: Clerk's OpenAPI file of version 2025-04-10, which every request names. A list
//! is whole or an error: whoever removes what a list lacks must not be shown half of one. After a
//! 429 nothing is asked until the time that Clerk named has passed.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use watertight_outbound::{Answer, GetOptions, Outbound, OutboundError, SendRequest, Verb};
use watertight_terms::{Clock, Fault, Subject};

use crate::{
    json,
    objects::{Invitation, Membership, Organization, Session},
};

/// Where Clerk's Backend API is.
const BASE: &str = "https://api.clerk.com";
/// The version whose objects are read here.
const VERSION: &str = "2025-04-10";
/// A page of a list has so many rows.
const PAGE_ROWS: usize = 100;
/// A list has at most so many rows; a studio of more people is not one.
const LIST_ROWS: usize = 10_000;
/// A list is read so often until it stands still.
const READS_MOST: usize = 4;
/// A page may have so many bytes: each row carries metadata of up to 8 KiB.
const BODY_BYTES: usize = 4 * 1024 * 1024;
/// An answer is waited for so long.
const TIMEOUT_MS: u64 = 10_000;
/// How long to wait after a 429 that does not say, and at most.
const WAIT_S: i64 = 10;
const WAIT_MOST_S: i64 = 300;

/// Speaks to Clerk's Backend API with the instance's secret key. Cheap to clone.
#[derive(Clone)]
pub struct Backend(Arc<Inside>);

struct Inside {
    outbound: Outbound,
    base: String,
    secret: SecretString,
    clock: Clock,
    /// Nothing is asked before this second.
    quiet_until_s: AtomicI64,
}

/// Why Clerk did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The key cannot be one.
    #[error(
        "the secret key of clerk is `sk_live_` or `sk_test_` and at least 16 letters and digits; copy it from the dashboard"
    )]
    Secret,
    /// Clerk cannot be reached.
    #[error(transparent)]
    Unreached(#[from] OutboundError),
    /// Too much was asked.
    #[error("clerk asks to wait for {retry_after_s} seconds")]
    TooMany {
        /// For how long.
        retry_after_s: u32,
    },
    /// The key is not accepted.
    #[error(
        "clerk does not accept the secret key; check that it is of the instance whose issuer is configured"
    )]
    Unauthorized,
    /// There is no such thing.
    #[error("clerk knows no such thing")]
    Unknown,
    /// Clerk refuses it.
    #[error("clerk refuses it with {status} (`{code}`)")]
    Refused {
        /// The status.
        status: u16,
        /// Clerk's word for why.
        code: String,
    },
    /// The answer cannot be read.
    #[error("clerk's answer is not what its documentation says; nothing of it was used")]
    Malformed,
    /// The list changed while it was read, each time.
    #[error("the list changed while it was read; try again later")]
    Changing,
    /// The list is too long.
    #[error("the list has more than 10000 rows")]
    TooLong,
}

impl From<BackendError> for Fault {
    /// What a caller is told: to come back, or that it was us. The log says which it was.
    fn from(error: BackendError) -> Self {
        let away = "the identity provider does not answer right now";
        match &error {
            BackendError::TooMany { retry_after_s } => Fault::unavailable(away, *retry_after_s),
            BackendError::Unreached(_) | BackendError::Changing => Fault::unavailable(away, 10),
            _ => return Fault::bug(error.to_string()),
        }
        .log(error.to_string())
    }
}

impl Backend {
    /// A client with the instance's secret key (`sk_live_…`, `sk_test_…`).
    ///
    /// # Errors
    /// When the key cannot be one.
    pub fn new(
        outbound: Outbound,
        secret: SecretString,
        clock: Clock,
    ) -> Result<Self, BackendError> {
        Self::at(BASE, outbound, secret, clock)
    }

    /// The same at another place, for the stand-in. The outbound rules decide whether it is one.
    ///
    /// # Errors
    /// When the key cannot be one.
    pub fn at(
        base: &str,
        outbound: Outbound,
        secret: SecretString,
        clock: Clock,
    ) -> Result<Self, BackendError> {
        let key = secret.expose_secret();
        let rest = key
            .strip_prefix("sk_live_")
            .or_else(|| key.strip_prefix("sk_test_"));
        let is_key = rest.is_some_and(|rest| {
            (16..=128).contains(&rest.len())
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        if !is_key {
            return Err(BackendError::Secret);
        }
        Ok(Self(Arc::new(Inside {
            outbound,
            base: base.trim_end_matches('/').to_owned(),
            secret,
            clock,
            quiet_until_s: AtomicI64::new(0),
        })))
    }

    /// Whether the key is of a development instance, which a product in production refuses.
    pub fn is_development(&self) -> bool {
        self.0.secret.expose_secret().starts_with("sk_test_")
    }

    /// An organization.
    ///
    /// # Errors
    /// `Unknown` when there is none, or when Clerk does not answer as it should.
    pub async fn organization(&self, id: &Subject) -> Result<Organization, BackendError> {
        let path = format!("/organizations/{id}");
        read(self.ask(Verb::Get, &path, None).await?)
    }

    /// Every membership of an organization.
    ///
    /// # Errors
    /// When the list cannot be had whole.
    pub async fn memberships(&self, of: &Subject) -> Result<Vec<Membership>, BackendError> {
        let path = format!("/organizations/{of}/memberships?order_by=%2Bcreated_at");
        let list = self
            .list(&path, |one: &Membership| one.subject.clone())
            .await?;
        // A row of another organization would be somebody else's studio.
        match list.iter().all(|one| one.organization == *of) {
            true => Ok(list),
            false => Err(BackendError::Malformed),
        }
    }

    /// Every active session of a user.
    ///
    /// # Errors
    /// When the list cannot be had whole.
    pub async fn sessions(&self, of: &Subject) -> Result<Vec<Session>, BackendError> {
        let path = format!("/sessions?user_id={of}&status=active&paginated=true");
        let list = self.list(&path, |one: &Session| one.id.clone()).await?;
        match list.iter().all(|one| one.subject == *of) {
            true => Ok(list),
            false => Err(BackendError::Malformed),
        }
    }

    /// Ends a session. One that is not there has ended.
    ///
    /// # Errors
    /// When Clerk does not do it.
    pub async fn revoke_session(&self, id: &Subject) -> Result<(), BackendError> {
        let path = format!("/sessions/{id}/revoke");
        gone(self.ask(Verb::Post, &path, None).await)
    }

    /// Invites somebody into an organization; Clerk sends the mail.
    ///
    /// # Errors
    /// `Refused` when the address or the role is none, or was invited already.
    pub async fn invite(
        &self,
        organization: &Subject,
        email: &str,
        role: &str,
        inviter: Option<&Subject>,
    ) -> Result<Invitation, BackendError> {
        let body = match inviter {
            Some(inviter) => {
                json!({ "email_address": email, "role": role, "inviter_user_id": inviter })
            }
            None => json!({ "email_address": email, "role": role }),
        };
        let path = format!("/organizations/{organization}/invitations");
        read(self.ask(Verb::Post, &path, Some(body)).await?)
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// `Unknown` when the user is no member, `Refused` when the role is none.
    pub async fn set_role(
        &self,
        organization: &Subject,
        user: &Subject,
        role: &str,
    ) -> Result<Membership, BackendError> {
        let path = format!("/organizations/{organization}/memberships/{user}");
        let body = json!({ "role": role });
        read(self.ask(Verb::Patch, &path, Some(body)).await?)
    }

    /// Removes a member. Who is none is removed.
    ///
    /// # Errors
    /// When Clerk does not do it.
    pub async fn remove(&self, organization: &Subject, user: &Subject) -> Result<(), BackendError> {
        let path = format!("/organizations/{organization}/memberships/{user}");
        gone(self.ask(Verb::Delete, &path, None).await)
    }

    /// A list. One of several pages is read twice and must be the same both times: rows move from
    /// page to page, and one that moved onto a page already read would look removed.
    async fn list<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        name: impl Fn(&T) -> Subject,
    ) -> Result<Vec<T>, BackendError> {
        let names = |list: &[T]| -> BTreeSet<Subject> { list.iter().map(&name).collect() };
        let mut before = None;
        for _ in 0..READS_MOST {
            let list = self.pages(path).await?;
            let Some(list) = list.filter(|list| names(list).len() == list.len()) else {
                before = None;
                continue;
            };
            let now = names(&list);
            if list.len() <= PAGE_ROWS || before.as_ref() == Some(&now) {
                return Ok(list);
            }
            before = Some(now);
        }
        Err(BackendError::Changing)
    }

    /// All pages; none when they do not make up the number of rows that each of them says.
    async fn pages<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
    ) -> Result<Option<Vec<T>>, BackendError> {
        #[derive(Deserialize)]
        struct Page<T> {
            data: Vec<T>,
            total_count: usize,
        }
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut list, mut total) = (Vec::new(), None);
        loop {
            let path = format!("{path}{joint}limit={PAGE_ROWS}&offset={}", list.len());
            let page: Page<T> = read(self.ask(Verb::Get, &path, None).await?)?;
            if page.total_count > LIST_ROWS {
                return Err(BackendError::TooLong);
            }
            let is_same = *total.get_or_insert(page.total_count) == page.total_count;
            let is_empty = page.data.is_empty();
            list.extend(page.data);
            if is_same && list.len() == page.total_count {
                return Ok(Some(list));
            }
            if !is_same || is_empty || list.len() > page.total_count {
                return Ok(None);
            }
        }
    }

    async fn ask(
        &self,
        verb: Verb,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, BackendError> {
        let inside = &*self.0;
        let now_s = inside.clock.now_s();
        let wait_s = inside.quiet_until_s.load(Ordering::Relaxed) - now_s;
        if (1..=WAIT_MOST_S).contains(&wait_s) {
            return Err(too_many(wait_s));
        }
        let request = SendRequest {
            verb,
            url: format!("{}/v1{path}", inside.base),
            json: body.map(|body| body.to_string()),
        };
        let key = inside.secret.expose_secret();
        let options = GetOptions {
            max_bytes: BODY_BYTES,
            timeout_ms: TIMEOUT_MS,
            headers: vec![
                ("authorization".into(), format!("Bearer {key}")),
                ("clerk-api-version".into(), VERSION.into()),
            ],
        };
        let answer = inside.outbound.send(request, options).await?;
        match answer.status {
            200..300 => Ok(answer),
            401 | 403 => Err(BackendError::Unauthorized),
            404 => Err(BackendError::Unknown),
            429 => {
                let wait_s = answer.retry_after_s.map_or(WAIT_S, i64::from);
                let wait_s = wait_s.clamp(1, WAIT_MOST_S);
                let until_s = now_s.saturating_add(wait_s);
                inside.quiet_until_s.fetch_max(until_s, Ordering::Relaxed);
                Err(too_many(wait_s))
            }
            status => Err(BackendError::Refused {
                status,
                code: code(&answer.body),
            }),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.0.base)
    }
}

fn too_many(wait_s: i64) -> BackendError {
    BackendError::TooMany {
        retry_after_s: u32::try_from(wait_s).unwrap_or(u32::MAX),
    }
}

fn read<T: for<'de> Deserialize<'de>>(answer: Answer) -> Result<T, BackendError> {
    let object = json::object(&answer.body).ok_or(BackendError::Malformed)?;
    serde_json::from_value(Value::Object(object)).map_err(|_| BackendError::Malformed)
}

/// What is not there need not be ended.
fn gone(answer: Result<Answer, BackendError>) -> Result<(), BackendError> {
    match answer {
        Ok(_) | Err(BackendError::Unknown) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Clerk's word for a refusal (`errors[0].code`), as a line of a log may show it.
fn code(body: &[u8]) -> String {
    let object = json::object(body).map(Value::Object).unwrap_or_default();
    let code = object.pointer("/errors/0/code").and_then(Value::as_str);
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    code.unwrap_or("none")
        .chars()
        .filter(is_plain)
        .take(64)
        .collect()
}
