//! What is true: which version each page has, what its body is, and which versions nobody may get
//! any more.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::random::Random;

/// Pages; the first half under a lifetime of the policy's, the others under their own.
pub(crate) const PAGES: usize = 24;

/// The pages, and what has happened.
pub(crate) struct World {
    pub(crate) seed: u64,
    versions: [AtomicU64; PAGES],
    /// What was there when a change was answered, or a purge made: whoever asks afterwards gets
    /// this version or a later one.
    floors: [AtomicU64; PAGES],
    /// The same of soft purges, which leave a response that stands in for a failing origin.
    soft_floors: [AtomicU64; PAGES],
    pub(crate) counts: Counts,
}

/// How often what has happened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) exchanges: AtomicU64,
    pub(crate) complete: AtomicU64,
    pub(crate) incomplete: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) parts: AtomicU64,
    pub(crate) parts_from_the_store: AtomicU64,
    pub(crate) not_modified: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) gone: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) purges: AtomicU64,
    pub(crate) cut_off: AtomicU64,
    pub(crate) resets: AtomicU64,
}

impl Counts {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            seed,
            versions: zeros(),
            floors: zeros(),
            soft_floors: zeros(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn version(&self, page: usize) -> u64 {
        self.versions[page].load(Ordering::SeqCst)
    }

    /// Changes a page, and returns its new version.
    pub(crate) fn change(&self, page: usize) -> u64 {
        self.versions[page].fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn raise_floor(&self, page: usize, version: u64, soft: bool) {
        let floors = if soft {
            &self.soft_floors
        } else {
            &self.floors
        };
        floors[page].fetch_max(version, Ordering::SeqCst);
    }

    /// The oldest versions that a request which begins now may get: in any case, and unless the
    /// origin fails.
    pub(crate) fn floors(&self, page: usize) -> (u64, u64) {
        let hard = self.floors[page].load(Ordering::SeqCst);
        (
            hard,
            hard.max(self.soft_floors[page].load(Ordering::SeqCst)),
        )
    }
}

pub(crate) fn path(page: usize) -> String {
    if page < PAGES / 2 {
        format!("/cached/{page}")
    } else {
        format!("/respect/{page}")
    }
}

pub(crate) fn page(path: &str) -> usize {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

/// The body of a version: most are small, some fill several packets, and a few are larger than what
/// is stored.
pub(crate) fn body(page: usize, version: u64) -> Vec<u8> {
    let mut random = Random::new(page as u64, version);
    let length = match random.below(20) {
        0 => 0,
        1..15 => random.below(3000),
        15..19 => random.below(30_000),
        _ => 65_000 + random.below(2000),
    };
    let mut body = Vec::with_capacity(length + 8);
    while body.len() < length {
        body.extend_from_slice(&random.next().to_le_bytes());
    }
    body.truncate(length);
    body
}
