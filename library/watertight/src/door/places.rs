use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedSemaphorePermit;
use watertight_identity::Caller;
use watertight_terms::{Fault, Kind};

use super::{Door, rates::name};

impl Door {
    /// A place for one request, held until its work is done: work goes on when its client has gone,
    /// so nobody may begin more of it than there are places.
    pub(super) fn place(&self, caller: &Caller) -> Result<Place, Fault> {
        let inside = &self.0;
        let everybodys = Arc::clone(&inside.at_once).try_acquire_owned();
        let everybodys = everybodys
            .map_err(|_| Fault::unavailable("too many requests at once; try again", 1))?;
        let member = name(caller);
        let mut by_member = inside
            .by_member
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let taken = by_member.entry(member.clone()).or_default();
        if *taken >= inside.bounds.requests_at_once_per_member {
            return Err(Fault::new(
                Kind::TooMany,
                "too-many-requests",
                "you have too many requests under way; wait for some to end",
            )
            .again_after(1));
        }
        *taken += 1;
        Ok(Place {
            member,
            by_member: Arc::clone(&inside.by_member),
            _everybodys: everybodys,
        })
    }
}

/// One of the requests that are worked on.
pub(super) struct Place {
    member: String,
    by_member: Arc<Mutex<HashMap<String, usize>>>,
    _everybodys: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_member = self
            .by_member
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = by_member.get_mut(&self.member) {
            *taken -= 1;
            if *taken == 0 {
                by_member.remove(&self.member);
            }
        }
    }
}
