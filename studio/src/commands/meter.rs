//! How far something is that takes a while: a bar on a terminal once two seconds are over, and nothing elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// What is over sooner is not worth a bar.
const SOON: Duration = Duration::from_secs(2);
const OPEN: &str = "{spinner} {msg}: {human_pos} ({per_sec}, {elapsed})";
const BOUNDED: &str = "{bar:30} {msg}: {human_pos} of {human_len} ({per_sec}, {eta} left)";

/// Shows how far a piece of work is. It leaves nothing on the terminal when it is dropped.
#[derive(Debug)]
pub(super) struct Meter {
    bar: ProgressBar,
    begun: Instant,
    /// Where it is shown from the third second on; nothing once it is.
    unseen: Option<ProgressDrawTarget>,
}

impl Meter {
    /// One that is seen there. `ProgressDrawTarget::stderr` shows nothing unless standard error is a terminal.
    pub(super) fn on(target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self {
            bar: bar.with_finish(ProgressFinish::AndClear),
            begun: Instant::now(),
            unseen: Some(target),
        }
    }

    /// `done` of `all` rows, entries or people are done, if anybody knows how many there are.
    pub(super) fn is_at(&mut self, what: &str, done: u64, all: Option<u64>) {
        if let Ok(style) = ProgressStyle::with_template(all.map_or(OPEN, |_| BOUNDED)) {
            self.bar.set_style(style);
        }
        if let Some(all) = all {
            self.bar.set_length(all);
        }
        self.bar.set_message(what.to_owned());
        self.bar.set_position(done);
        if let Some(target) = self.unseen.take_if(|_| self.begun.elapsed() >= SOON) {
            self.bar.set_draw_target(target);
            self.bar.tick();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    fn meter(terminal: &InMemoryTerm) -> Meter {
        Meter::on(ProgressDrawTarget::term_like(Box::new(terminal.clone())))
    }

    #[test]
    fn what_takes_long_shows_how_far_it_is_and_leaves_nothing() {
        let terminal = InMemoryTerm::new(10, 80);
        let mut meter = meter(&terminal);
        meter.begun -= SOON;
        meter.is_at("studio.bookings", 1_200, Some(4_800));
        let shown = terminal.contents();
        assert!(shown.contains("studio.bookings: 1,200 of 4,800"), "{shown}");
        drop(meter);
        assert_eq!(terminal.contents(), "");
    }

    #[test]
    fn what_is_soon_over_shows_nothing() {
        let terminal = InMemoryTerm::new(10, 80);
        let mut meter = meter(&terminal);
        meter.is_at("studio.bookings", 1_200, None);
        assert_eq!(terminal.contents(), "");
    }
}
