//! What an exchange has taken of limits that may get something back when it has ended, or more.

use http::HeaderMap;

use crate::limit::{Act, Charge, Charged, Known, Rule, Verdict};
use crate::time::Timestamp;

/// A counter, and what it is asked to do: to take something back, or to add something.
pub type Settlement = (Charge, Act);

/// What was taken of one limit.
#[derive(Debug)]
pub(crate) struct Taken {
    charge: Charge,
    /// The end of the window or period in which it was.
    period_end: Timestamp,
    /// What the origin has told of it.
    known: Known,
}

impl Taken {
    /// Notes a charge, if it may turn out to have been another one.
    pub(super) fn of(charge: &Charge, answer: Charged) -> Option<Self> {
        let (charge, verdict) = match answer {
            Charged::Verdict(verdict) => (charge.clone(), verdict),
            // This node has counted it, and gets it back.
            Charged::Local(verdict, _) => (charge.instead()?, verdict),
            Charged::Unavailable(_) | Charged::Unasked => return None,
        };
        let Verdict {
            allowed,
            period_end,
            ..
        } = verdict;
        let is_slot = matches!(charge.limit.rule, Rule::Slots(_));
        (allowed && (is_slot || charge.limit.cost.settles())).then_some(Self {
            charge,
            period_end,
            known: Known::Nothing,
        })
    }

    /// Learns how the origin has answered.
    pub(super) fn answered(&mut self, head: &HeaderMap, is_failure: bool) {
        self.known = self.charge.limit.cost.told_by(head, is_failure);
    }

    /// Learns that no origin has answered.
    pub(super) fn failed(&mut self) {
        self.answered(&HeaderMap::new(), true);
    }

    /// Says what whoever counts is to do, now that the reply has ended after so many bytes.
    pub(super) fn settlement(self, bytes: Option<u64>) -> Option<Settlement> {
        let Self {
            mut charge,
            period_end,
            known,
        } = self;
        if matches!(charge.limit.rule, Rule::Slots(_)) {
            return Some((charge, Act::Refund(period_end)));
        }
        let cost = charge.limit.cost.in_the_end(known, bytes)?;
        let reserved = charge.cost;
        if cost < reserved {
            charge.cost = reserved - cost;
            return Some((charge, Act::Refund(period_end)));
        }
        charge.cost = 0;
        let owed = cost - reserved;
        (owed > 0).then_some((charge, Act::Charge { owed }))
    }
}
