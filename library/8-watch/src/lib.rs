//! What looks wrong: signals in, state kept, alerts out. No clock, no input, no output: the time is in
//! every signal, so a month can be replayed in a second and says the same each time.
//!
//! ```
//! use watertight_watch::{Kind, Seen, StudioWatch, Thresholds};
//!
//! let mut watch = StudioWatch::default();
//! let mut alerts = Vec::new();
//! for seq in 0..60 {
//!     // A line as `/v1/audit/export` gives it: somebody asks for what is not there, again and again.
//!     let line = format!(
//!         r#"{{"seq": {seq}, "time": "2031-03-03T09:{seq:02}:00Z", "actor": "user_1", "role": "manager",
//!             "action": "booking.view", "outcome": "refused", "rule": "not-found", "status": 404}}"#
//!     );
//!     let seen = Seen::parse(&line).unwrap();
//!     alerts.extend(watch.observe(&seen, &Thresholds::default()));
//! }
//! assert_eq!(alerts[0].kind, Kind::Probing);
//! assert_eq!(alerts[0].subject.as_deref(), Some("user_1"));
//! ```
//!
//! A [`StudioWatch`] reads one studio's ledger; what it learns is that studio's own and is kept behind the
//! same wall. A [`PlatformWatch`] reads what the edge refuses before a studio is known, and holds nothing of
//! any tenant. [`Performance`] and [`Health`] read figures. A detector is a file: what it counts, against
//! what, and when it speaks. All of them serialize, so that a restart forgets nothing.
//!
//! What is absent: HTTP, SQL, and a way to do something about it. Alerts are told by the product.

mod alert;
mod delay;
mod distinct;
mod door;
mod health;
mod history;
mod member;
pub mod notice;
mod performance;
mod raised;
mod seen;
mod slots;
mod studio;
mod tally;
mod thresholds;

pub use alert::{Alert, Kind, Severity};
pub use delay::Delay;
pub use door::{Failure, PlatformWatch, Refusal};
pub use health::{Facts, Health, Minute};
pub use performance::{Performance, Timing};
pub use seen::Seen;
pub use studio::StudioWatch;
pub use thresholds::{OutOfBounds, Thresholds};
