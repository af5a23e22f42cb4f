//! What is under way in this process, from before a transaction begins until its answer has left.
//!
//! ```text
//! let mut flight = flights.begin(Some(address));   before `enter` is sent
//! flight.is_of(tenant, subject);                   once it is known whose it is
//! drop(flight);                                    the answer has left, or there is none
//! ```
//!
//! Whoever is told of an isolation notes how many flights were begun until then. What begins later is refused
//! by the database; what began before is waited for. Its answer is cut off where it takes long, and its connection where
//! nobody takes what was sent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use watertight_terms::TenantId;

/// Of looks that are ten milliseconds apart or more: within a second, whoever reads has taken what was sent.
const LOOKS: u32 = 100;

/// All of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    next: u64,
    under_way: BTreeMap<u64, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    address: String,
    /// None: `enter` has not answered yet, so it may be anybody's.
    of: Option<(TenantId, String)>,
    cut: watch::Sender<bool>,
    /// It was looked for so often since it was cut off.
    looks: u32,
    hang_up: Option<HangUp>,
}

/// Ends the connection that an answer leaves by.
struct HangUp(Box<dyn Fn() + Send>);

impl std::fmt::Debug for HangUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HangUp")
    }
}

/// Which of them: of a studio, and there of somebody or from an address.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) tenant: TenantId,
    pub(crate) subject: Option<String>,
    pub(crate) address: Option<String>,
}

impl Target {
    fn is(&self, one: &UnderWay) -> Option<bool> {
        let (tenant, subject) = one.of.as_ref()?;
        let same = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|w| w == has);
        Some(
            *tenant == self.tenant
                && same(&self.subject, subject)
                && same(&self.address, &one.address),
        )
    }
}

impl Flights {
    /// One more.
    pub(crate) fn begin(&self, address: &str) -> Flight {
        let (cut, ending) = watch::channel(false);
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = board.next;
        board.next += 1;
        let one = UnderWay {
            address: address.to_owned(),
            of: None,
            cut,
            looks: 0,
            hang_up: None,
        };
        board.under_way.insert(number, one);
        Flight {
            number,
            board: Arc::clone(&self.0),
            ending,
        }
    }

    /// So many were begun.
    pub(crate) fn begun(&self) -> u64 {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.next
    }

    /// Cuts off the answers of a target, and says whether none of the flights before `mark` is its any more. What is still
    /// there after many looks nobody takes: its connection is ended.
    pub(crate) fn cut(&self, target: &Target, mark: u64) -> bool {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_quiet = true;
        for one in board.under_way.range_mut(..mark).map(|(_, one)| one) {
            match target.is(one) {
                Some(false) => {}
                Some(true) => {
                    is_quiet = false;
                    one.cut.send_replace(true);
                    one.looks = one.looks.saturating_add(1);
                    if one.looks >= LOOKS
                        && let Some(hang_up) = one.hang_up.take()
                    {
                        (hang_up.0)();
                    }
                }
                None => is_quiet = false,
            }
        }
        is_quiet
    }
}

/// One of them. It ends when it is dropped.
#[derive(Debug)]
pub struct Flight {
    number: u64,
    board: Arc<Mutex<Board>>,
    ending: watch::Receiver<bool>,
}

impl Flight {
    /// It is that one's.
    pub(crate) fn is_of(&self, tenant: TenantId, subject: &str) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = board.under_way.get_mut(&self.number) {
            one.of = Some((tenant, subject.to_owned()));
        }
    }

    /// Its answer leaves by a connection that this ends.
    pub fn leaves_by(&self, hang_up: impl Fn() + Send + 'static) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = board.under_way.get_mut(&self.number) {
            one.hang_up = Some(HangUp(Box::new(hang_up)));
        }
    }

    /// Resolves when its answer is to be cut off.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ending = self.ending.clone();
        async move {
            // Whoever could cut it off is there for as long as it is.
            if ending.wait_for(|is_cut| *is_cut).await.is_err() {
                std::future::pending().await
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn of(studio: u128, subject: Option<&str>, address: Option<&str>) -> Target {
        Target {
            tenant: TenantId(Uuid::from_u128(studio)),
            subject: subject.map(str::to_owned),
            address: address.map(str::to_owned),
        }
    }

    #[test]
    fn what_began_before_is_waited_for_until_it_is_known_to_be_anothers() {
        let flights = Flights::default();
        let (own, other) = (flights.begin("192.0.2.1"), flights.begin("192.0.2.2"));
        let mark = flights.begun();
        let later = flights.begin("192.0.2.1");
        later.is_of(TenantId(Uuid::from_u128(1)), "ada");
        let studio = of(1, None, None);
        assert!(!flights.cut(&studio, mark), "nobody knows whose they are");
        own.is_of(TenantId(Uuid::from_u128(1)), "ada");
        other.is_of(TenantId(Uuid::from_u128(2)), "ada");
        assert!(!flights.cut(&studio, mark));
        assert!(*own.ending.borrow() && !*other.ending.borrow() && !*later.ending.borrow());
        drop(own);
        assert!(
            flights.cut(&studio, mark),
            "what began later is refused by the database"
        );
    }

    #[test]
    fn the_connection_of_what_nobody_takes_is_ended_once_and_not_at_once() {
        let flights = Flights::default();
        let (own, other) = (flights.begin("192.0.2.1"), flights.begin("192.0.2.2"));
        let ended = Arc::new(Mutex::new(Vec::new()));
        for (studio, flight) in [(1, &own), (2, &other)] {
            flight.is_of(TenantId(Uuid::from_u128(studio)), "ada");
            let ended = Arc::clone(&ended);
            flight.leaves_by(move || ended.lock().unwrap().push(studio));
        }
        for _ in 1..LOOKS {
            assert!(!flights.cut(&of(1, None, None), flights.begun()));
        }
        assert!(ended.lock().unwrap().is_empty());
        for _ in 0..3 {
            flights.cut(&of(1, None, None), flights.begun());
        }
        assert_eq!(*ended.lock().unwrap(), [1]);
    }

    #[test]
    fn a_member_or_an_address_is_waited_for_and_nobody_else_of_the_studio() {
        let flights = Flights::default();
        let one = flights.begin("192.0.2.1");
        one.is_of(TenantId(Uuid::from_u128(1)), "ada");
        let mark = flights.begun();
        for (subject, address, is_quiet) in [
            (Some("ada"), None, false),
            (Some("bea"), None, true),
            (None, Some("192.0.2.1"), false),
            (None, Some("192.0.2.2"), true),
        ] {
            assert_eq!(flights.cut(&of(1, subject, address), mark), is_quiet);
        }
    }
}
