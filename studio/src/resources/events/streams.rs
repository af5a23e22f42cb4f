//! How many streams are open, and whose.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use uuid::Uuid;
use watertight_terms::{Fault, TenantId, problems};

/// In one process: of everybody, of a studio, of a member. A stream holds no place among the requests, so
/// it is counted here.
const ALL_MOST: usize = 256;
const STUDIO_MOST: usize = 64;
const MEMBER_MOST: usize = 4;

/// The streams that are open in this process.
#[derive(Debug, Clone)]
pub struct Streams {
    open: Arc<Mutex<HashMap<TenantId, HashMap<Uuid, usize>>>>,
    ending: watch::Sender<bool>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            open: Arc::default(),
            ending: watch::Sender::new(false),
        }
    }
}

impl Streams {
    /// A place for one more of that member, given back when it is dropped.
    ///
    /// # Errors
    /// When the member, the studio or everybody has as many as may be.
    pub(super) fn take(&self, tenant: TenantId, member: Uuid) -> Result<Place, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().flat_map(HashMap::values).sum();
        let studio = open.get(&tenant);
        let of_studio = studio.map_or(0, |members| members.values().sum());
        let of_member = studio.and_then(|members| members.get(&member).copied());
        if of_member.unwrap_or_default() >= MEMBER_MOST {
            let spoken = "you have too many streams open; close some";
            return Err(Fault::new(problems::TOO_MANY_REQUESTS, spoken).again_after(5));
        }
        if of_studio >= STUDIO_MOST || all >= ALL_MOST {
            let spoken = "there are as many streams open as there can be; try again";
            return Err(Fault::new(problems::OVERLOADED, spoken).again_after(5));
        }
        let studio = open.entry(tenant).or_default();
        *studio.entry(member).or_default() += 1;
        let open = Arc::clone(&self.open);
        Ok(Place {
            open,
            tenant,
            member,
        })
    }

    /// Ends all of them: the process is to stop.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Resolves when they are to end.
    pub(super) async fn ended(&self) {
        let mut ending = self.ending.subscribe();
        let _ = ending.wait_for(|ending| *ending).await;
    }
}

/// One of the streams that are open.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<HashMap<TenantId, HashMap<Uuid, usize>>>>,
    pub(super) tenant: TenantId,
    pub(super) member: Uuid,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(studio) = open.get_mut(&self.tenant) else {
            return;
        };
        match studio.get_mut(&self.member) {
            Some(streams) if *streams > 1 => *streams -= 1,
            _ => drop(studio.remove(&self.member)),
        }
        if studio.is_empty() {
            open.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_places_and_places_come_back() {
        let streams = Streams::default();
        let id = Uuid::from_u128;
        let of = |studio: u128, member: u128| {
            let places = (0..10).map(|_| streams.take(TenantId(id(studio)), id(member)));
            places.filter_map(Result::ok).collect::<Vec<Place>>()
        };
        let mut held = of(1, 1);
        assert_eq!(held.len(), MEMBER_MOST);
        for member in 2..40 {
            held.extend(of(1, member));
        }
        assert_eq!(held.len(), STUDIO_MOST);
        assert_eq!(of(2, 1).len(), MEMBER_MOST);
        for studio in 2..20 {
            for member in 1..40 {
                held.extend(of(studio, member));
            }
        }
        assert_eq!(held.len(), ALL_MOST);
        drop(held);
        assert!(streams.open.lock().unwrap().is_empty());
    }
}
