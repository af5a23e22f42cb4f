use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use watertight_identity::{Caller, Who};
use watertight_terms::{Fault, problems};

use super::{Class, Door, rates::name};

/// Of the places, one in so many is kept for what reads a little: while the server is full of work,
/// people still see what they have.
const KEPT: usize = 5;

/// How many requests are worked on at once.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce {
    /// Of everybody; changes and what is expensive have four fifths of it.
    pub all: usize,
    /// Of one studio, so that it cannot have all places.
    pub of_studio: usize,
    /// Of one member, so that a program that does not wait cannot have all of its studio's.
    pub of_member: usize,
}

/// Who has places now.
#[derive(Debug, Default)]
pub(super) struct Taken {
    all: usize,
    by_studio: HashMap<String, usize>,
    by_member: HashMap<String, usize>,
}

impl Taken {
    /// Takes a place, where there is one.
    fn take(&mut self, place: &Place, class: Class, at_once: AtOnce) -> Result<(), Fault> {
        let of = |taken: &HashMap<String, usize>, name| taken.get(name).copied().unwrap_or(0);
        if of(&self.by_member, &place.member) >= at_once.of_member {
            return Err(too_many());
        }
        let of_studio = place.studio.as_ref();
        let of_studio = of_studio.map_or(0, |studio| of(&self.by_studio, studio));
        let kept = match class {
            Class::Read => 0,
            Class::Write | Class::Expensive => at_once.all.div_ceil(KEPT),
        };
        if self.all + kept >= at_once.all || of_studio >= at_once.of_studio {
            return Err(overloaded());
        }
        self.all += 1;
        *self.by_member.entry(place.member.clone()).or_default() += 1;
        if let Some(studio) = &place.studio {
            *self.by_studio.entry(studio.clone()).or_default() += 1;
        }
        Ok(())
    }

    fn give_back(&mut self, place: &Place) {
        self.all -= 1;
        give_back(&mut self.by_member, &place.member);
        if let Some(studio) = &place.studio {
            give_back(&mut self.by_studio, studio);
        }
    }
}

fn give_back(taken: &mut HashMap<String, usize>, name: &str) {
    match taken.get_mut(name) {
        Some(places) if *places > 1 => *places -= 1,
        _ => drop(taken.remove(name)),
    }
}

impl Door {
    /// A place for one request, held until its work is done: work goes on when its client has gone,
    /// so nobody may begin more of it than there are places. Whoever gets none is told at once.
    pub(super) fn place(&self, caller: &Caller, class: Class) -> Result<Held, Fault> {
        let place = Place {
            member: name(caller),
            studio: match caller.who() {
                Who::Member(member) => Some(member.organization().to_string()),
                Who::Service { tenant, .. } => Some(tenant.to_string()),
                // Whose a page session or a feed is, is known only in its transaction.
                Who::Page { .. } | Who::Feed { .. } => None,
            },
        };
        let taken = Arc::clone(&self.0.taken);
        let at_once = self.0.bounds.at_once;
        let mut locked = taken.lock().unwrap_or_else(PoisonError::into_inner);
        locked.take(&place, class, at_once)?;
        drop(locked);
        Ok(Held { place, taken })
    }
}

/// Whose place it is.
struct Place {
    member: String,
    studio: Option<String>,
}

/// One of the requests that are worked on.
pub(super) struct Held {
    place: Place,
    taken: Arc<Mutex<Taken>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.give_back(&self.place);
    }
}

fn too_many() -> Fault {
    let spoken = "you have too many requests under way; wait for some to end";
    Fault::new(problems::TOO_MANY_REQUESTS, spoken).again_after(1)
}

fn overloaded() -> Fault {
    let spoken = "there is more to do right now than can be done; try again";
    Fault::new(problems::OVERLOADED, spoken).again_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: AtOnce = AtOnce {
        all: 10,
        of_studio: 6,
        of_member: 4,
    };

    fn place(studio: &str, member: &str) -> Place {
        Place {
            member: format!("{studio}|{member}"),
            studio: Some(studio.to_owned()),
        }
    }

    /// How many of twenty find a place.
    fn of_twenty(taken: &mut Taken, place: &Place, class: Class) -> usize {
        let places = (0..20).map(|_| taken.take(place, class, AT_ONCE));
        places.filter(Result::is_ok).count()
    }

    #[test]
    fn nobody_has_all_places_and_the_last_fifth_is_for_small_reads() {
        let mut taken = Taken::default();
        assert_eq!(of_twenty(&mut taken, &place("a", "1"), Class::Write), 4);
        // The studio has two more, whoever of it comes.
        assert_eq!(of_twenty(&mut taken, &place("a", "2"), Class::Read), 2);
        assert_eq!(of_twenty(&mut taken, &place("a", "3"), Class::Read), 0);
        // Of ten places eight are for changes, and six are taken.
        assert_eq!(of_twenty(&mut taken, &place("b", "1"), Class::Expensive), 2);
        assert_eq!(of_twenty(&mut taken, &place("b", "2"), Class::Write), 0);
        assert_eq!(of_twenty(&mut taken, &place("b", "1"), Class::Read), 2);
        assert_eq!(of_twenty(&mut taken, &place("c", "1"), Class::Read), 0);
    }

    #[test]
    fn places_come_back_and_nothing_of_whom_they_were_is_kept() {
        let mut taken = Taken::default();
        for _ in 0..3 {
            assert_eq!(of_twenty(&mut taken, &place("a", "1"), Class::Write), 4);
            for _ in 0..4 {
                taken.give_back(&place("a", "1"));
            }
        }
        assert_eq!(
            (taken.all, taken.by_member.len(), taken.by_studio.len()),
            (0, 0, 0)
        );
    }
}
