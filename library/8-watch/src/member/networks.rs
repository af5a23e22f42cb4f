use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Found, Look};
use crate::{
    alert::Kind,
    seen::text_hash,
    tally::{DAY_S, Evidence, HOUR_S, Tally},
};

/// At most so many are remembered; those longest unused are forgotten.
const MOST: usize = 500;

/// Texts that were met, and when last (seconds).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Known(BTreeMap<String, i64>);

impl Known {
    fn has(&self, text: &str) -> bool {
        self.0.contains_key(text)
    }

    fn add(&mut self, text: &str, now_s: i64) {
        self.0.insert(text.to_owned(), now_s);
        if self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, met)| **met);
            if let Some(oldest) = oldest.map(|(text, _)| text.clone()) {
                self.0.remove(&oldest);
            }
        }
    }
}

/// Somebody comes from a network that neither they nor their studio ever came from. People travel, so that
/// alone says nothing; two of these do: another client than ever before, a usual network in use at the same
/// time, and more records than usual.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct UnusualNetwork {
    networks: Known,
    clients: Known,
    hour: Tally,
    fresh: Option<Fresh>,
}

/// A network that is new, for its first day.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Fresh {
    network: String,
    since_s: i64,
    last_s: i64,
    is_other_client: bool,
    /// How often the usual and the new one came in turns.
    turns: u32,
    requests: u32,
    evidence: Evidence,
}

/// In turns so often is at the same time: once is a change of place.
const TURNS: u32 = 2;

impl UnusualNetwork {
    pub(super) fn look(&mut self, look: &Look<'_>, studio: &mut Known) -> Option<Found> {
        let seen = look.seen;
        let (network, now_s) = (seen.network()?, seen.time.as_second());
        let client = seen.client.as_deref().map(text_hash).unwrap_or_default();
        let client = format!("{client:x}");
        self.hour.add((seen.time, HOUR_S), seen.rows(), seen.seq);
        if self
            .fresh
            .as_ref()
            .is_some_and(|fresh| now_s - fresh.since_s > DAY_S)
        {
            self.accept(studio);
        }
        let is_new = !self.networks.has(&network) && !studio.has(&network);
        if !look.is_learned() || !is_new {
            if let Some(fresh) = &mut self.fresh
                && now_s - fresh.last_s < HOUR_S
            {
                fresh.turns += 1;
            }
            self.networks.add(&network, now_s);
            studio.add(&network, now_s);
            self.clients.add(&client, now_s);
            return None;
        }
        let is_other_client = !self.clients.has(&client);
        let fresh = self.fresh.get_or_insert_with(|| Fresh {
            network: network.clone(),
            since_s: now_s,
            last_s: now_s,
            is_other_client,
            turns: 0,
            requests: 0,
            evidence: Evidence::default(),
        });
        fresh.network = network;
        fresh.last_s = now_s;
        fresh.requests += 1;
        fresh.evidence.add(seen.seq);
        let is_much =
            self.hour.before().len() > 0 && self.hour.count() > self.hour.before().above(1.5);
        let signs = [fresh.is_other_client, fresh.turns >= TURNS, is_much];
        let signs = signs.into_iter().filter(|sign| *sign).count();
        let is_found = signs >= 2 && fresh.requests >= look.thresholds.unusual_network_requests;
        is_found.then(|| Found {
            kind: Kind::UnusualNetwork,
            evidence: fresh.evidence.list(),
        })
    }

    /// It was used for a day, and is one of the member's own.
    fn accept(&mut self, studio: &mut Known) {
        if let Some(fresh) = self.fresh.take() {
            self.networks.add(&fresh.network, fresh.last_s);
            studio.add(&fresh.network, fresh.last_s);
        }
    }
}
