//! What has lately been evicted unused, remembered by hash alone.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// The hashes of keys that left the small queue. A key that comes back while its hash is here
/// deserves better than that queue.
///
/// A hash that is taken out stays in the order, where it does no harm, until its turn comes; so the
/// order is as long as it may be at most.
#[derive(Debug, Default)]
pub(super) struct Ghost {
    order: VecDeque<u64>,
    hashes: HashTable<u64>,
}

impl Ghost {
    /// Remembers a hash.
    pub(super) fn push(&mut self, hash: u64) {
        if self.hashes.find(hash, |other| *other == hash).is_none() {
            self.hashes.insert_unique(hash, hash, |hash| *hash);
            self.order.push_back(hash);
        }
    }

    /// Forgets a hash, and returns whether it was there.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        self.hashes
            .find_entry(hash, |other| *other == hash)
            .is_ok_and(|found| {
                found.remove();
                true
            })
    }

    /// Forgets the oldest beyond so many.
    pub(super) fn trim(&mut self, most: usize) {
        while self.order.len() > most {
            if let Some(hash) = self.order.pop_front() {
                self.take(hash);
            }
        }
    }

    /// Gives back the room that was needed for more.
    pub(super) fn shrink(&mut self) {
        self.order.shrink_to_fit();
        self.hashes.shrink_to_fit(|hash| *hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut ghost = Ghost::default();
        for hash in 0..10 {
            ghost.push(hash);
            ghost.trim(3);
        }
        assert_eq!(
            (0..10).filter(|hash| ghost.take(*hash)).collect::<Vec<_>>(),
            [7, 8, 9]
        );
        assert!(!ghost.take(9));
    }

    #[test]
    fn it_stays_bounded_however_often_a_hash_comes_back() {
        let mut ghost = Ghost::default();
        for round in 0..1000 {
            ghost.push(round % 2);
            ghost.take(round % 2);
            ghost.trim(3);
        }
        assert!(ghost.order.len() <= 3 && ghost.hashes.is_empty());
        ghost.push(7);
        ghost.trim(0);
        assert!(ghost.order.is_empty() && ghost.hashes.is_empty());
    }
}
