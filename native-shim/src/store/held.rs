//! Bytes of bodies that somebody still has.
//!
//! Why: a body that the store has given up stays in memory as long as a client reads it. Without a
//! count, slow clients could make the store hold many times what it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Counts the bytes of bodies.
#[derive(Debug, Default)]
pub(super) struct Held(Arc<AtomicU64>);

/// A body, counted until it is dropped.
struct Counted {
    body: Vec<u8>,
    bytes: Arc<AtomicU64>,
}

impl Held {
    pub(super) fn hold(&self, mut body: Vec<u8>) -> Bytes {
        if body.is_empty() {
            return Bytes::new();
        }
        // What was allocated beyond the body would stay with it, and weigh nothing.
        body.shrink_to_fit();
        self.0.fetch_add(body.len() as u64, Ordering::Relaxed);
        Bytes::from_owner(Counted {
            body,
            bytes: Arc::clone(&self.0),
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.bytes
            .fetch_sub(self.body.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_last_who_has_them_lets_go() {
        let held = Held::default();
        let body = held.hold(vec![1; 100]);
        let part = body.slice(10..20);
        assert_eq!(held.bytes(), 100);
        drop(body);
        assert_eq!(
            (held.bytes(), &part[..]),
            (100, &[1; 10][..]),
            "a part keeps the whole"
        );
        drop(part);
        assert_eq!(held.bytes(), 0);
        assert!(held.hold(Vec::new()).is_empty());
    }
}
