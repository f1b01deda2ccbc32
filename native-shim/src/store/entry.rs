//! The responses stored under one key, and what they weigh.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tidegate_core::Timestamp;
use tidegate_core::cache::Stored;
use tidegate_core::cache::variants::{self, Put};

use super::budget::Amount;
use super::held::Held;

/// One stored response: its head and its body.
pub(super) type Response = (Arc<Stored>, Bytes);

/// The responses stored under one key.
#[derive(Debug)]
pub struct Entry {
    heads: Box<[Arc<Stored>]>,
    bodies: Box<[Bytes]>,
    /// When the last of them expires.
    expires: Timestamp,
    /// Bytes of everything but bodies.
    overhead: u64,
    bytes: u64,
}

impl Entry {
    /// Makes an entry of responses whose heads are compact.
    pub(super) fn new(key: &[u8], responses: &[Response]) -> Self {
        let expires = responses
            .iter()
            .map(|(head, _)| head.expires())
            .max()
            .unwrap_or_default();
        let heads: usize = responses.iter().map(|(head, _)| head_bytes(head)).sum();
        let bodies: usize = responses.iter().map(|(_, body)| body.len()).sum();
        let overhead = ENTRY_BYTES + key.len() + heads;
        Self {
            heads: responses.iter().map(|(head, _)| Arc::clone(head)).collect(),
            bodies: responses.iter().map(|(_, body)| body.clone()).collect(),
            expires,
            overhead: overhead as u64,
            bytes: (overhead + bodies) as u64,
        }
    }

    /// Lists the heads of all responses.
    pub fn heads(&self) -> &[Arc<Stored>] {
        &self.heads
    }

    /// Returns the body stored with this very head.
    pub fn body(&self, head: &Arc<Stored>) -> Option<&Bytes> {
        let at = self.heads.iter().position(|h| Arc::ptr_eq(h, head));
        at.and_then(|at| self.bodies.get(at))
    }

    /// Lists the responses that have not expired.
    pub(super) fn responses(&self, now: Timestamp) -> Vec<Response> {
        let all = self
            .heads
            .iter()
            .zip(&self.bodies)
            .filter(|(head, _)| now < head.expires());
        all.map(|(head, body)| (Arc::clone(head), body.clone()))
            .collect()
    }

    pub(super) fn expires(&self) -> Timestamp {
        self.expires
    }

    pub(super) fn overhead(&self) -> u64 {
        self.overhead
    }

    pub(super) fn amount(&self) -> Amount {
        Amount {
            bytes: self.bytes,
            entries: 1,
        }
    }
}

/// Puts a response among those of its key.
pub(super) fn place(
    responses: &mut Vec<Response>,
    head: Arc<Stored>,
    body: Bytes,
    joined_max: u64,
    counted: &Held,
) {
    let heads: Vec<_> = responses.iter().map(|(head, _)| Arc::clone(head)).collect();
    let Put {
        at,
        head,
        before,
        after,
    } = variants::put(&heads, head, joined_max);
    let head = compact(&head);
    match at.and_then(|at| responses.get_mut(at)) {
        None => responses.push((head, body)),
        Some(old) if before.is_empty() && after.is_empty() => *old = (head, body),
        Some(old) => {
            *old = (
                head,
                counted.hold([slice(&old.1, &before), body, slice(&old.1, &after)].concat()),
            );
        }
    }
}

/// Takes a range of a body, as far as it is there.
pub(crate) fn slice(body: &Bytes, range: &Range<u64>) -> Bytes {
    let position = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
    body.slice(position(range.start)..position(range.end).max(position(range.start)))
}

/// Copies a head into memory of its own, as little as it needs.
///
/// Field values as they are read from a connection are slices of its whole read buffer, which would
/// stay with them.
fn compact(head: &Stored) -> Arc<Stored> {
    let mut text = Vec::with_capacity(head.headers.values().map(HeaderValue::len).sum());
    for value in head.headers.values() {
        text.extend_from_slice(value.as_bytes());
    }
    let mut text = Bytes::from(text);
    let mut headers = HeaderMap::with_capacity(head.headers.keys_len());
    for (name, value) in &head.headers {
        let own = HeaderValue::from_maybe_shared(text.split_to(value.len()));
        let mut own = own.unwrap_or_else(|_| value.clone());
        own.set_sensitive(value.is_sensitive());
        headers.append(name, own);
    }
    Arc::new(Stored {
        headers,
        ..head.clone()
    })
}

/// What an entry takes besides its key and its heads: itself, and its part of the tables of a
/// shard, at most. It is 190 to 217, as `tests/store_memory.rs` measures.
const ENTRY_BYTES: usize = 224;

/// What a head takes besides its fields: itself, its counters, its places in the entry, and the
/// counters of text and body.
const HEAD_BYTES: usize =
    size_of::<Stored>() + size_of::<Arc<Stored>>() + size_of::<Bytes>() + 16 + 2 * SHARED_BYTES;

/// What `bytes` allocates to count the users of a text.
const SHARED_BYTES: usize = 24;

/// What `http` allocates for each field that a map has room for: name, value, hash and links.
const FIELD_BYTES: usize = size_of::<(http::HeaderName, HeaderValue)>() + 32;

/// What `http` allocates for each place in a map's index.
const INDEX_BYTES: usize = 4;

/// What `http` allocates for each further value that a name has room for.
const FURTHER_BYTES: usize = size_of::<HeaderValue>() + 32;

fn head_bytes(head: &Stored) -> usize {
    let vary = head.vary.iter().map(|(name, value)| {
        let value_bytes = value.as_ref().map_or(0, Vec::capacity);
        size_of_val(name) + size_of_val(value) + name.as_str().len() + SHARED_BYTES + value_bytes
    });
    HEAD_BYTES
        + map_bytes(&head.headers)
        + vary.sum::<usize>()
        + size_of_val(head.labels.as_slice())
}

/// A well-known name has no text of its own; it is counted all the same.
fn map_bytes(headers: &HeaderMap) -> usize {
    let names = headers
        .keys()
        .map(|name| name.as_str().len() + SHARED_BYTES)
        .sum::<usize>();
    let values = headers.values().map(HeaderValue::len).sum::<usize>();
    // A map fills three quarters of its index, and has room for four further values at least if for
    // any.
    let index = headers.capacity() * 4 / 3;
    let further = match headers.len() - headers.keys_len() {
        0 => 0,
        count => count.next_power_of_two().max(4),
    };
    names
        + values
        + headers.capacity() * FIELD_BYTES
        + index * INDEX_BYTES
        + further * FURTHER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{NOW, body, variant};

    impl Entry {
        pub(in crate::store) fn bodies_bytes(&self) -> u64 {
            self.bodies.iter().map(|body| body.len() as u64).sum()
        }
    }

    #[test]
    fn a_compact_head_is_the_same_head() {
        let mut head = Stored::clone(&variant(1, NOW));
        for (name, value) in [
            ("set-cookie", "a=1"),
            ("x-empty", ""),
            ("set-cookie", "b=2"),
            ("age", "1"),
        ] {
            head.headers.append(name, HeaderValue::from_static(value));
        }
        let mut secret = HeaderValue::from_bytes(b"\xfc\tx").unwrap();
        secret.set_sensitive(true);
        head.headers.insert("x-secret", secret);
        let compact = compact(&head);
        assert_eq!(*compact, head);
        assert!(
            compact.headers["x-secret"].is_sensitive() && !compact.headers["age"].is_sensitive()
        );
    }

    #[test]
    fn an_entry_weighs_its_key_its_heads_and_its_bodies() {
        let bytes = |key: &[u8], responses: &[Response]| Entry::new(key, responses).amount().bytes;
        let one = (variant(1, NOW), body(100));
        let two = (variant(2, NOW), body(50));
        let key_only = bytes(b"key", &[]);
        let with_one = bytes(b"key", std::slice::from_ref(&one));
        assert_eq!(bytes(b"longer key", &[]), key_only + 7);
        assert_eq!(
            bytes(b"key", &[one.clone(), two.clone()]) - with_one,
            with_one - key_only - 50
        );
        let mut labelled = Stored::clone(&one.0);
        labelled.labels = vec![1, 2];
        assert_eq!(
            bytes(b"key", &[(Arc::new(labelled), body(100))]),
            with_one + 16
        );
        let entry = Entry::new(b"key", &[one, two]);
        assert_eq!(entry.amount().bytes, entry.overhead() + 150);
    }
}
