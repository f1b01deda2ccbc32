//! Bodies that limits of bandwidth pace, in virtual time: a wait moves the clock.

use tidegate_core::limit::bandwidth::{Wait, chunk};
use tidegate_core::limit::{Pace, Paces};
use tidegate_core::{Millis, Report, Timestamp};

/// The paces of a simulated node, and how long the bodies of the exchange under way have waited.
#[derive(Debug)]
pub(crate) struct Pacing {
    paces: Paces,
    waited: Vec<(usize, Millis)>,
}

impl Pacing {
    pub(crate) const fn new() -> Self {
        Self {
            paces: Paces::bounded(1000),
            waited: Vec::new(),
        }
    }

    /// Sends a body of so many bytes, and moves the clock as far as that takes.
    pub(crate) fn send(&mut self, paces: &[Pace], bytes: u64, now: &mut Timestamp) {
        if paces.is_empty() {
            return;
        }
        let mut left = bytes;
        while left > 0 {
            let taken = left.min(chunk(paces) as u64);
            let mut longest = Wait::default();
            for pace in paces {
                longest = longest.or_longer(self.paces.take(pace, taken, *now));
            }
            self.waited.push((longest.entry, longest.millis));
            *now = now.plus(longest.millis);
            left -= taken;
        }
    }

    /// Completes the report of an exchange that has ended.
    pub(crate) fn note(&mut self, report: &mut Report) {
        for (entry, waited) in self.waited.drain(..) {
            report.note_paced(entry, waited);
        }
    }
}
