//! Bodies that limits of bandwidth pace, in virtual time: a wait moves the clock.

use tidegate_core::limit::paces::{Wait, Waits, chunk};
use tidegate_core::limit::{Pace, Paces};
use tidegate_core::{Report, Timestamp};

/// The paces of a simulated node, and how long the bodies of the exchange under way have waited.
#[derive(Debug)]
pub(crate) struct Pacing {
    paces: Paces,
    waits: Waits,
}

impl Pacing {
    pub(crate) fn new() -> Self {
        Self {
            paces: Paces::bounded(1000),
            waits: Waits::default(),
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
            self.waits.add(longest);
            *now = now.plus(longest.millis);
            left -= taken;
        }
    }

    /// Completes the report of an exchange that has ended.
    pub(crate) fn note(&mut self, report: &mut Report) {
        report.note_paced(&std::mem::take(&mut self.waits));
    }
}
