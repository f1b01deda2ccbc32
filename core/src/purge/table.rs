//! Which responses the purges of a node have reached.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::label::{Label, Marks, Number, Resource, is_of_changes};
use super::target::{NumberedPurge, Purge, Target};
use crate::hash;

/// Slots of a table of operators' purges. After n of them, a label that none of them means is
/// reached with a chance of (2n / slots)².
const SLOTS: usize = 1 << 16;

/// Slots of the table of changes: 6 MiB, a third of them in regions. After 20,000 changes at its
/// own host during the life of a response it is void by mistake with a chance of 0.6 %.
const SLOTS_OF_CHANGES: usize = 3 << 18;

/// Regions of the table of changes, over which hosts are spread.
const REGIONS: u64 = 1 << 6;

/// What purges have left of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it was.
    Kept,
    /// It is stale.
    Stale,
    /// It is void.
    Void,
}

/// The numbers of the last purges, by label.
#[derive(Debug, Default)]
struct Table {
    slots: OnceLock<Box<[AtomicU64]>>,
    all: AtomicU64,
    seed: u64,
}

impl Table {
    fn set(&self, label: Option<Label>, number: Number, size: usize) {
        let Some(label) = label else {
            self.all.fetch_max(number, Ordering::AcqRel);
            return;
        };
        let slots = self
            .slots
            .get_or_init(|| (0..size).map(|_| AtomicU64::new(0)).collect());
        for slot in self.slots_of(slots, label) {
            slot.fetch_max(number, Ordering::AcqRel);
        }
    }

    /// Returns whether everything, or one of the labels, was purged after `epoch`.
    fn reaches(&self, mut labels: impl Iterator<Item = Label>, epoch: Number) -> bool {
        let later = |slot: &AtomicU64| slot.load(Ordering::Acquire) > epoch;
        let one = |slots, label| self.slots_of(slots, label).all(later);
        later(&self.all)
            || self
                .slots
                .get()
                .is_some_and(|slots| labels.any(|label| one(slots, label)))
    }

    /// Lists the slots of a label: two anywhere, and for a change one among those of its host.
    fn slots_of<'a>(
        &self,
        slots: &'a [AtomicU64],
        label: Label,
    ) -> impl Iterator<Item = &'a AtomicU64> {
        let is_of_change = is_of_changes(label);
        let (anywhere, of_hosts) = if is_of_change {
            slots.split_at(slots.len() / 3 * 2)
        } else {
            slots.split_at(slots.len())
        };
        let drawn = hash::draw(self.seed, label);
        let (one, another) = (drawn & 0xffff_ffff, drawn >> 32);
        let region = hash::draw(self.seed, label >> 32) % REGIONS;
        let size = of_hosts.len() as u64 / REGIONS;
        let of_host = is_of_change.then(|| region * size + hash::draw(drawn, 1) % size.max(1));
        let of_host = of_host.and_then(|slot| at(of_hosts, slot));
        [at(anywhere, one), at(anywhere, another), of_host]
            .into_iter()
            .flatten()
    }
}

fn at(slots: &[AtomicU64], slot: u64) -> Option<&AtomicU64> {
    let slot = slot % (slots.len() as u64).max(1);
    slots.get(usize::try_from(slot).ok()?)
}

/// The purges of a node.
#[derive(Debug, Default)]
pub(crate) struct Purges {
    last: AtomicU64,
    /// The highest number in the tables, from which nothing younger is void.
    highest: AtomicU64,
    hard: Table,
    soft: Table,
    changes: Table,
    one_at_a_time: Mutex<()>,
}

impl Purges {
    /// Makes one that knows of no purge. `seed` chooses slots only.
    pub(crate) fn new(seed: u64) -> Self {
        let table = || Table {
            seed,
            ..Table::default()
        };
        Self {
            hard: table(),
            soft: table(),
            changes: table(),
            ..Self::default()
        }
    }

    /// Returns the number of the last purge.
    pub(crate) fn last(&self) -> Number {
        self.last.load(Ordering::Acquire)
    }

    /// Makes a purge, spelt out, and returns its number.
    pub(crate) fn make(&self, expand: &[Purge]) -> Number {
        let _guard = self.lock();
        let number = self.last() + 1;
        // The table first, as below.
        for purge in expand {
            self.set(&NumberedPurge::of(purge), number);
        }
        self.highest.fetch_max(number, Ordering::AcqRel);
        self.last.fetch_max(number, Ordering::AcqRel);
        number
    }

    /// Makes the purges of a change. See [`Purges::settle`].
    pub(crate) fn make_all(&self, purges: &[Purge], stored: Option<Marks<'_>>) -> Option<Number> {
        let _guard = self.lock();
        let numbers = self.last() + 1..;
        let own: Vec<NumberedPurge> = numbers
            .zip(purges)
            .map(|(number, purge)| NumberedPurge {
                number,
                ..NumberedPurge::of(purge)
            })
            .collect();
        self.settle_alone(&[], &own, purges, stored)
    }

    /// Learns of purges that others have made, and have numbered.
    pub(crate) fn learn(&self, made: &[NumberedPurge]) {
        let _guard = self.lock();
        self.learn_alone(made);
    }

    /// Learns of purges of which the last, `own`, are those of a change: `purges`. The first of
    /// these names the URL of a response that is to be stored as younger than all of them; returns
    /// the last number, or `None` if another purge has reached that response already.
    pub(crate) fn settle(
        &self,
        others: &[NumberedPurge],
        own: &[NumberedPurge],
        purges: &[Purge],
        stored: Option<Marks<'_>>,
    ) -> Option<Number> {
        let _guard = self.lock();
        self.settle_alone(others, own, purges, stored)
    }

    /// Treats what a purge reaches as void until other purges have been learned of: for a purge
    /// that could not be numbered.
    pub(crate) fn make_provisionally(&self, purge: &Purge) {
        let _guard = self.lock();
        let made = NumberedPurge::of(purge);
        let number = self.last() + 1;
        self.set(&made, number);
        self.highest.fetch_max(number, Ordering::AcqRel);
    }

    fn settle_alone(
        &self,
        others: &[NumberedPurge],
        own: &[NumberedPurge],
        purges: &[Purge],
        stored: Option<Marks<'_>>,
    ) -> Option<Number> {
        self.learn_alone(others);
        let resource = purges.first().and_then(|purge| match &purge.target {
            Target::Exact(exact) => Some(exact.resource()),
            Target::All
            | Target::Url { .. }
            | Target::Host(_)
            | Target::Prefix(..)
            | Target::Tag(_)
            | Target::Group(..) => None,
        });
        // A soft purge counts too: nobody can say any more what it would leave.
        let reached = |marks: Marks<'_>| {
            resource.is_some_and(|resource| {
                self.may_reach(marks.epoch)
                    && self.verdict(resource, marks.labels, marks.epoch) != Verdict::Kept
            })
        };
        let void = stored.is_some_and(reached);
        self.learn_alone(own);
        own.last().filter(|_| !void).map(|made| made.number)
    }

    fn learn_alone(&self, made: &[NumberedPurge]) {
        for made in made {
            // The table first: whoever begins in between is older than the purge, and so void.
            self.set(made, made.number);
            self.highest.fetch_max(made.number, Ordering::AcqRel);
            self.last.fetch_max(made.number, Ordering::AcqRel);
        }
    }

    fn set(&self, made: &NumberedPurge, number: Number) {
        match made.label {
            _ if made.soft => self.soft.set(made.label, number, SLOTS),
            Some(label) if is_of_changes(label) => {
                self.changes.set(made.label, number, SLOTS_OF_CHANGES);
            }
            Some(_) | None => self.hard.set(made.label, number, SLOTS),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there was any purge after `epoch`.
    pub(crate) fn may_reach(&self, epoch: Number) -> bool {
        self.highest.load(Ordering::Acquire) > epoch
    }

    /// Says what purges have left of a response from this resource with these further labels.
    pub(crate) fn verdict(
        &self,
        resource: Resource<'_>,
        labels: &[Label],
        epoch: Number,
    ) -> Verdict {
        let all = || resource.labels().chain(labels.iter().copied());
        match () {
            () if self
                .hard
                .reaches(all().filter(|label| !is_of_changes(*label)), epoch) =>
            {
                Verdict::Void
            }
            () if self
                .changes
                .reaches(all().filter(|label| is_of_changes(*label)), epoch) =>
            {
                Verdict::Void
            }
            () if self.soft.reaches(all(), epoch) => Verdict::Stale,
            () => Verdict::Kept,
        }
    }
}
