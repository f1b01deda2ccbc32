//! Bytes that are kept so that they can be sent once more, counted among those of the whole
//! process.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Most bytes that are kept of all requests of a process.
const KEPT_OF_ALL_MAX: usize = 64 << 20;

/// A buffer up to this size stays allocated for the next request.
const REUSED_MAX: usize = 4 << 10;

static KEPT_OF_ALL: AtomicUsize = AtomicUsize::new(0);

/// Bytes that can be sent once more.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<u8>);

impl Kept {
    /// Keeps more; says no when it is more than `most`, or all together keep too much.
    pub(crate) fn add(&mut self, piece: &[u8], most: usize) -> bool {
        if self.0.len() + piece.len() > most {
            return false;
        }
        let more = |all: usize| {
            all.checked_add(piece.len())
                .filter(|all| *all <= KEPT_OF_ALL_MAX)
        };
        let has_room = KEPT_OF_ALL
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok();
        if has_room {
            self.0.extend_from_slice(piece);
        }
        has_room
    }

    /// Returns what is kept.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes what is kept.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Lets go of everything.
    pub(crate) fn clear(&mut self) {
        if !self.0.is_empty() {
            KEPT_OF_ALL.fetch_sub(self.0.len(), Ordering::Relaxed);
            self.0.clear();
        }
        if self.0.capacity() > REUSED_MAX {
            self.0 = Vec::new();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_keeps_a_bounded_part_and_gives_it_back() {
        let mut kept = Kept::default();
        assert!(kept.add(&[1; 9], 10));
        assert!(!kept.add(&[2; 2], 10));
        assert!(kept.add(&[2; 1], 10));
        let taken = kept.take();
        assert!(kept.bytes().is_empty());
        assert_eq!(taken.bytes(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
        kept.clear();
        assert!(kept.add(&[3; 10], 10));
    }
}
