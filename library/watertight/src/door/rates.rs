use std::collections::HashMap;

use http::{Extensions, HeaderMap, Method};
use watertight_edge::rate::{Ask, Key, Limiter, Paid, Quota, Standing, Units, refusal};
use watertight_identity::{Caller, Who};
use watertight_terms::Fault;

use super::Door;

/// What a request costs us, by its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It reads a little.
    Read,
    /// It changes something.
    Write,
    /// It reads or works through much.
    Expensive,
}

impl Class {
    pub(super) fn of(method: &Method, is_expensive: bool) -> Self {
        match *method {
            _ if is_expensive => Self::Expensive,
            Method::GET | Method::HEAD => Self::Read,
            _ => Self::Write,
        }
    }

    /// The names of a member's and a studio's limits.
    fn policies(self) -> [&'static str; 2] {
        match self {
            Self::Read => ["member-read", "studio-read"],
            Self::Write => ["member-write", "studio-write"],
            Self::Expensive => ["member-expensive", "studio-expensive"],
        }
    }
}

/// How much members and studios may ask, once it is known who they are.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Keeps the buckets.
    pub limiter: Limiter,
    /// What each member may, who has no quota of their own.
    pub member: Quota,
    /// What each studio may, which has no quota of its own.
    pub studio: Quota,
    /// So many hundredths of it may be changes.
    pub write_percent: u32,
    /// So many hundredths of it may be expensive.
    pub expensive_percent: u32,
    /// Quotas of studios, and of all of their members, by Clerk's id of the organization.
    pub by_organization: HashMap<String, Own>,
    /// Quotas of members, by Clerk's ids of the organization and the user.
    pub by_member: HashMap<(String, String), Quota>,
}

/// A studio's own quotas.
#[derive(Debug, Clone, Copy, Default)]
pub struct Own {
    /// The studio's.
    pub studio: Option<Quota>,
    /// Each of its members'.
    pub member: Option<Quota>,
}

impl Rates {
    fn of_class(&self, quota: Quota, class: Class) -> Quota {
        match class {
            Class::Read => quota,
            Class::Write => quota.percent(self.write_percent),
            Class::Expensive => quota.percent(self.expensive_percent),
        }
    }

    /// The buckets of a caller: the own first, then the studio's. A page session's studio is known
    /// only in its transaction, as a feed's, so it has a member's bucket and no more; a member has twenty
    /// of them.
    fn asks(&self, caller: &Caller, class: Class) -> Vec<Ask> {
        let [member, studio] = class.policies();
        let ask = |policy, parts: &[&str], quota| Ask {
            key: Key::of(&[&[policy], parts].concat()),
            policy,
            quota: self.of_class(quota, class),
            units: Units::Take(1),
        };
        match caller.who() {
            Who::Member(who) => {
                let organization = who.organization().as_str();
                let subject = who.subject().as_str();
                let own = self.by_organization.get(organization).copied();
                let own = own.unwrap_or_default();
                let pair = (organization.to_owned(), subject.to_owned());
                let of_member = self.by_member.get(&pair).copied().or(own.member);
                let of_studio = own.studio.unwrap_or(self.studio);
                vec![
                    ask(
                        member,
                        &[organization, subject],
                        of_member.unwrap_or(self.member),
                    ),
                    ask(studio, &[organization], of_studio),
                ]
            }
            Who::Page { .. } | Who::Feed { .. } | Who::Service { .. } => {
                vec![ask(member, &[&name(caller)], self.member)]
            }
        }
    }
}

/// A caller's name among all callers of all studios.
pub(super) fn name(caller: &Caller) -> String {
    match caller.who() {
        Who::Member(member) => format!("{}|{}", member.organization(), member.subject()),
        Who::Service { name, tenant } => format!("{tenant}|service:{name}"),
        Who::Page { digest } | Who::Feed { digest } => hex::encode(digest),
    }
}

/// How a caller stands after a request was counted.
pub(super) struct Counted {
    standings: Vec<Standing>,
    /// Why the request is refused, where it is.
    pub(super) refused: Option<Fault>,
}

impl Counted {
    /// Tells callers of the own limit, and of the studio's only where that stopped them: what others
    /// of the studio do is not for everybody's eyes.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let stopped = self
            .standings
            .iter()
            .find(|one| one.again_after_s.is_some());
        if let Some(standing) = stopped.or(self.standings.first()) {
            standing.tell(headers);
        }
    }
}

impl Door {
    /// Counts a request of a caller. The address that paid for it until now has it back, but for a
    /// page or a feed, whose secret nobody has looked up yet.
    pub(super) async fn count(&self, caller: &Caller, class: Class, of: &Extensions) -> Counted {
        let Some(rates) = &self.0.rates else {
            return Counted {
                standings: Vec::new(),
                refused: None,
            };
        };
        let mut asks = rates.asks(caller, class);
        let buckets = asks.len();
        if !matches!(caller.who(), Who::Page { .. } | Who::Feed { .. }) {
            asks.extend(of.get::<Paid>().map(|paid| paid.back()));
        }
        let mut standings = rates.limiter.ask(&asks).await;
        standings.truncate(buckets);
        Counted {
            refused: refusal(&standings),
            standings,
        }
    }

    /// Whether the refusal of a flood is to be written: one of a caller's in a minute is.
    pub(super) async fn is_noted(&self, caller: &Caller) -> bool {
        match &self.0.rates {
            None => true,
            Some(rates) => {
                let key = Key::of(&["noted", &name(caller)]);
                rates.limiter.first_in_a_minute(key).await
            }
        }
    }
}
