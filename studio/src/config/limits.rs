use std::collections::HashMap;

use secrecy::SecretString;
use serde::Deserialize;
use watertight::door::{Own, Rates};
use watertight_edge::rate::{Limiter, Quota, StoreFault};
use watertight_terms::Clock;

use super::ConfigFault;

/// `[limits]`
///
/// A rate of so many a second is kept over `burst_s` seconds: after a rest, so many seconds' worth
/// may come at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// A body has at most so many bytes.
    pub body_bytes: usize,
    /// A body arrives within so long.
    pub body_timeout_ms: u64,
    /// So many requests are worked on at once; more are told to come back. The last fifth is kept for
    /// what reads a little.
    pub requests_at_once: usize,
    /// So many of them may be one studio's.
    pub requests_at_once_per_studio: usize,
    /// So many of them may be one member's.
    pub requests_at_once_per_member: usize,
    /// So many requests a second from one address (of IPv6: its /64) of which nobody knows who sent
    /// them. One that fails to say who it is counts as ten.
    pub per_address_s: u32,
    /// So many requests a second of one member.
    pub per_member_s: u32,
    /// So many requests a second of one studio.
    pub per_studio_s: u32,
    /// So many seconds' worth of them may come at once.
    pub burst_s: u32,
    /// So many hundredths of a member's and a studio's rate may be changes.
    pub write_percent: u32,
    /// So many hundredths of it may be expensive.
    pub expensive_percent: u32,
    /// Other rates for some studios or members.
    pub overrides: Vec<Override>,
    /// A Redis or Valkey by which several processes share these rates, `redis://HOST:PORT`.
    pub rate_url: Option<SecretString>,
}

/// `[[limits.overrides]]`: other rates for a studio, or for one of its members.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Clerk's id of the organization.
    pub organization: String,
    /// Clerk's id of one member; else `per_member_s` is of every member.
    pub subject: Option<String>,
    /// So many requests a second of each member meant.
    pub per_member_s: Option<u32>,
    /// So many requests a second of the studio.
    pub per_studio_s: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 256_000,
            body_timeout_ms: 10_000,
            requests_at_once: 1_024,
            requests_at_once_per_studio: 512,
            requests_at_once_per_member: 256,
            per_address_s: 500,
            per_member_s: 100,
            per_studio_s: 1_000,
            burst_s: 20,
            write_percent: 50,
            expensive_percent: 10,
            overrides: Vec::new(),
            rate_url: None,
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        let fault = |key, why| {
            Err(ConfigFault::Value {
                section: "limits",
                key,
                why,
            })
        };
        let requests = 1..=100_000;
        if !(1_024..=10_000_000).contains(&self.body_bytes) {
            return fault("body_bytes", "give 1024 to 10000000 bytes");
        }
        let at_once = [
            self.requests_at_once,
            self.requests_at_once_per_studio,
            self.requests_at_once_per_member,
        ];
        if !at_once.iter().all(|at_once| requests.contains(at_once)) {
            return fault("requests_at_once", "give 1 to 100000 requests");
        }
        if !self.rates().all(|rate| (1..=100_000).contains(&rate)) {
            return fault(
                "per_member_s",
                "give rates of 1 to 100000 requests a second",
            );
        }
        if !(1..=3_600).contains(&self.burst_s) {
            return fault("burst_s", "give 1 to 3600 seconds");
        }
        if [self.write_percent, self.expensive_percent]
            .iter()
            .any(|percent| !(1..=100).contains(percent))
        {
            return fault("write_percent", "give 1 to 100 hundredths");
        }
        let is_of_nobody = |one: &Override| match &one.subject {
            Some(_) => one.per_member_s.is_none() || one.per_studio_s.is_some(),
            None => one.per_member_s.is_none() && one.per_studio_s.is_none(),
        };
        if self.overrides.len() > 10_000 || self.overrides.iter().any(is_of_nobody) {
            return fault(
                "overrides",
                "give per_member_s, or without a subject per_studio_s, at most 10000 times",
            );
        }
        if self.limiter(&Clock::system()).is_err() {
            return fault("rate_url", "give redis://HOST:PORT");
        }
        Ok(())
    }

    fn rates(&self) -> impl Iterator<Item = u32> {
        let own = self.overrides.iter();
        let own = own.flat_map(|one| [one.per_member_s, one.per_studio_s]);
        [self.per_address_s, self.per_member_s, self.per_studio_s]
            .into_iter()
            .chain(own.flatten())
    }

    fn quota(&self, per_s: u32) -> Quota {
        Quota::per_second(per_s, per_s.saturating_mul(self.burst_s))
    }

    /// Who keeps the buckets.
    ///
    /// # Errors
    /// When `rate_url` cannot be used.
    pub fn limiter(&self, clock: &Clock) -> Result<Limiter, StoreFault> {
        match &self.rate_url {
            None => Ok(Limiter::local(clock.clone())),
            Some(url) => Limiter::shared(clock.clone(), url),
        }
    }

    /// How much may come from one address.
    pub fn of_address(&self) -> Quota {
        self.quota(self.per_address_s)
    }

    /// How much members and studios may ask.
    pub fn of_members(&self, limiter: Limiter) -> Rates {
        let quota = |per_s: Option<u32>| per_s.map(|per_s| self.quota(per_s));
        let mut by_organization = HashMap::new();
        let mut by_member = HashMap::new();
        for one in &self.overrides {
            let own = Own {
                studio: quota(one.per_studio_s),
                member: quota(one.per_member_s),
            };
            match (&one.subject, own.member) {
                (Some(subject), Some(member)) => {
                    by_member.insert((one.organization.clone(), subject.clone()), member);
                }
                _ => {
                    by_organization.insert(one.organization.clone(), own);
                }
            }
        }
        Rates {
            limiter,
            member: self.quota(self.per_member_s),
            studio: self.quota(self.per_studio_s),
            write_percent: self.write_percent,
            expensive_percent: self.expensive_percent,
            by_organization,
            by_member,
        }
    }
}
