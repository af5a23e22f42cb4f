//! Rate limits: how many requests somebody may send, and what they are told of it.
//!
//! ```
//! use watertight_edge::rate::{Ask, Key, Limiter, Quota, Units, refusal};
//! use watertight_terms::Clock;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let limiter = Limiter::local(Clock::system());
//! let ask = Ask {
//!     key: Key::of(&["studio", "org_1"]),
//!     policy: "studio-read",
//!     quota: Quota::per_second(1, 2), // two at once, then one a second
//!     units: Units::Take(1),
//! };
//! assert!(refusal(&limiter.ask(&[ask]).await).is_none());
//! assert!(refusal(&limiter.ask(&[ask]).await).is_none());
//! assert_eq!(refusal(&limiter.ask(&[ask]).await).unwrap().slug(), "too-many-requests");
//! # });
//! ```
//!
//! Scheme: the generic cell rate algorithm (ITU-T I.371), told as draft-ietf-httpapi-ratelimit-headers-10
//! has it. There is no window at whose edge two quotas could be had. Where processes share their limits,
//! all of a request's buckets are one atomic step in a Redis or Valkey, by its clock; while that is
//! away, each process keeps limits of its own.

mod address;
mod gcra;
mod local;
mod shared;

use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use watertight_terms::{Clock, Fault, problems};

pub use address::{AddressRate, Paid, Stranger, limit_address};
pub use gcra::Quota;
use local::Table;
use shared::Store;

/// Whose bucket it is: half a digest, so that a table has rows of one size and a store knows nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of these parts, each after its length: no two lists of parts run together.
    pub fn of(parts: &[&str]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(half)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one bucket is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Whose it is.
    pub key: Key,
    /// The name under which the caller is told of it.
    pub policy: &'static str,
    /// How much it holds.
    pub quota: Quota,
    /// What is done with it.
    pub units: Units,
}

/// What is done with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// Taken, where there are so many; else the request is refused.
    Take(u32),
    /// Taken, as many as there are: for what has happened already.
    Charge(u32),
    /// Given back.
    Return(u32),
}

/// How a bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The name under which the caller is told of it.
    pub policy: &'static str,
    /// How much it holds.
    pub quota: Quota,
    /// So many requests may still come at once.
    pub remaining: u32,
    /// After so many seconds of rest it is whole again.
    pub reset_s: u64,
    /// Where it refused: after so many seconds the same request is granted, if nothing else comes.
    pub again_after_s: Option<u32>,
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

impl Standing {
    /// Tells the caller, unless the answer tells of a nearer limit already.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let (policy, quota) = (self.policy, self.quota);
        let policies = format!("\"{policy}\";q={};w={}", quota.burst(), quota.window_s());
        let limits = format!("\"{policy}\";r={};t={}", self.remaining, self.reset_s);
        for (name, text) in [(POLICY, policies), (LIMIT, limits)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.entry(name).or_insert(value);
            }
        }
    }
}

/// The refusal of a request, if a bucket refused it: the longest wait counts.
pub fn refusal(standings: &[Standing]) -> Option<Fault> {
    let again_after_s = standings.iter().filter_map(|one| one.again_after_s).max()?;
    let fault = Fault::new(
        problems::TOO_MANY_REQUESTS,
        "you have sent too many requests; `Retry-After` says when to come back",
    );
    Some(fault.again_after(again_after_s))
}

/// A `rate_url` that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give redis://HOST:PORT, with a user and a password before the host if it asks for them")]
pub struct StoreFault;

/// Keeps the buckets: of one process, or of all that share a store.
#[derive(Clone)]
pub struct Limiter(Arc<Inside>);

struct Inside {
    clock: Clock,
    table: Table,
    store: Option<Store>,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.store.as_ref().map_or("local", |_| "shared");
        write!(f, "Limiter({place})")
    }
}

impl Limiter {
    /// The limits of one process.
    pub fn local(clock: Clock) -> Self {
        Self(Arc::new(Inside {
            clock,
            table: Table::default(),
            store: None,
        }))
    }

    /// The limits of all processes with the same store, a Redis or Valkey. Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn shared(clock: Clock, url: &SecretString) -> Result<Self, StoreFault> {
        Ok(Self(Arc::new(Inside {
            clock,
            table: Table::default(),
            store: Some(Store::new(url)?),
        })))
    }

    /// Asks all buckets of a request together: what one of them refuses is taken from none.
    pub async fn ask(&self, asks: &[Ask]) -> Vec<Standing> {
        if let Some(store) = &self.0.store
            && let Ok(standings) = store.ask(asks).await
        {
            return standings;
        }
        let now_us = u64::try_from(self.0.clock.now().as_microsecond()).unwrap_or(0);
        self.0.table.ask(asks, now_us)
    }

    /// Whether this is the first in a minute: of what would otherwise be noted without end.
    pub async fn first_in_a_minute(&self, key: Key) -> bool {
        let ask = Ask {
            key,
            policy: "noted",
            quota: Quota::once_in(60),
            units: Units::Take(1),
        };
        refusal(&self.ask(&[ask]).await).is_none()
    }
}
