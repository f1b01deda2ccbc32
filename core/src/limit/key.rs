//! What shares one count, and what keeps affinity.
//!
//! One caller has one count, however it spells who it is. Equal are:
//!
//! - values of header fields with white space around them, and the scheme of Authorization in any
//!   case and with any number of spaces after it;
//! - values of cookies and query parameters with quotes or white space around them, percent-encoded
//!   or not, under every spelling of the name that applications accept (`cookie.rs`, `query.rs`);
//! - paths in any case, percent-encoded or not, with `;` parameters, further slashes or one at the
//!   end (`message/plain.rs`).
//!
//! A name that occurs several times with several values is charged for each of them, because which
//! one counts is the application's choice. A cookie's value is charged as it is written and as it
//! is read by those who end it at a comma, white space or a quote. An empty value names nobody: it
//! counts as absent where there is no other one. Where an issuer speaks and not the client, in claims
//! and in certificates, an empty value is one as others are, and differs from none.

#[cfg(feature = "source")]
pub(crate) mod named;
mod values;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::bandwidth::{Bandwidth, ByteRate, Direction};
use super::definition::{Absent, KeyPart, Limit};
use super::rule::{Rule, Windows};
use crate::hash;
use crate::message::request::Request;
use crate::parts::{first_part, push_part};
use values::{KEYS_MAX, names_nobody, push_address};

pub(super) use values::values;

/// Whose count: a digest of the limit's name and the parts of its key.
///
/// The same at the edge and in a pod, and of the same size for every caller. It is the first half
/// of a SHA-256: to share somebody else's count a caller would have to find one of 2^128 inputs,
/// and callers whose own keys collide only share a count with themselves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey([u8; 16]);

impl CounterKey {
    /// Makes the key of some bytes, which must say who is counted by which limit.
    pub fn of(bytes: &[u8]) -> Self {
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(Sha256::digest(bytes)) {
            *to = from;
        }
        Self(half)
    }

    /// Returns the digest.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for CounterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A counter: its key, and a hash of the first part of it.
pub(crate) type Counter = (CounterKey, u16);

/// To which counts a limit charges a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keys {
    /// These.
    Of(Vec<Counter>),
    /// None: what the limit counts by is absent, and the limit does not apply then.
    Skipped,
    /// None: what the limit counts by is absent.
    Absent,
    /// More than are charged: the request names too many callers.
    TooMany(Vec<Counter>),
}

/// Says to which counts a limit charges a request.
pub(crate) fn keys(limit: &Limit, request: &Request, route: &str) -> Keys {
    keys_from(started(limit), &limit.key, limit.absent, request, route)
}

/// Begins a key with which limit counts.
fn started(limit: &Limit) -> Vec<u8> {
    let mut start = Vec::with_capacity(64);
    push_part(&mut start, Some(limit.name.as_bytes()));
    push_shape(&mut start, &limit.rule);
    start
}

/// Says whose paces hold for a request's bodies. One that names too many callers has the paces of
/// the first of them.
pub(crate) fn pace_keys(limit: &Bandwidth, request: &Request, route: &str) -> Vec<CounterKey> {
    let mut start = Vec::with_capacity(64);
    push_part(&mut start, Some(limit.name.as_bytes()));
    push_pace(&mut start, &limit.rate, limit.direction);
    match keys_from(start, &limit.key, limit.absent, request, route) {
        Keys::Of(keys) | Keys::TooMany(keys) => keys.into_iter().map(|(key, _)| key).collect(),
        Keys::Skipped | Keys::Absent => Vec::new(),
    }
}

/// Goes on with a key that says which limit counts.
fn keys_from(
    start: Vec<u8>,
    parts: &[KeyPart],
    absent: Absent,
    request: &Request,
    route: &str,
) -> Keys {
    let before_parts = if parts.is_empty() { 0 } else { start.len() };
    let mut all = vec![start];
    let mut too_many = false;
    for part in parts {
        let values = values(part, request, route);
        // An empty value names nobody, as little as none at all.
        if values.iter().all(|value| names_nobody(part, value)) {
            match absent {
                Absent::Skip => return Keys::Skipped,
                Absent::Refuse => return Keys::Absent,
                Absent::Share => {
                    for key in &mut all {
                        push_part(key, None);
                    }
                }
                Absent::Address { ipv6_prefix } => {
                    for key in &mut all {
                        push_part(key, None);
                        push_address(key, request.address, ipv6_prefix);
                    }
                }
            }
            continue;
        }
        too_many |= all.len() * values.len() > KEYS_MAX;
        all = multiplied(all, &values);
    }
    let mut keys: Vec<Counter> = Vec::with_capacity(all.len());
    for bytes in &all {
        keys.push((CounterKey::of(bytes), home(bytes, before_parts)));
    }
    keys.dedup();
    if too_many {
        Keys::TooMany(keys)
    } else {
        Keys::Of(keys)
    }
}

/// Returns a hash of the first part of a key, which begins there. Limits of the same caller thus have
/// a home in common, also where one of them counts by more.
fn home(bytes: &[u8], from: usize) -> u16 {
    let parts = bytes.get(from..).unwrap_or_default();
    let hash = hash::stable(first_part(parts));
    u16::try_from(hash & 0xffff).unwrap_or(0)
}

/// Appends what a state must not be shared with: windows of another kind, length or zone end at other
/// times, and whoever counts by them would take one for the other, also while two policies are
/// followed at once. So a limit whose windows change begins anew.
fn push_shape(key: &mut Vec<u8>, rule: &Rule) {
    let (kind, length, zone) = match rule {
        Rule::Rate(_) => return,
        Rule::Slots(slots) => ("concurrency", slots.held_max, ""),
        Rule::Budget(budget) => match &budget.windows {
            Windows::Fixed(length) => ("fixed", *length, ""),
            Windows::Sliding(length) => ("sliding", *length, ""),
            Windows::Calendar(calendar) => (
                "calendar",
                calendar.unit.usual_length(),
                &*calendar.zone.name,
            ),
        },
    };
    push_part(key, Some(kind.as_bytes()));
    push_part(key, Some(&length.to_le_bytes()));
    push_part(key, Some(zone.as_bytes()));
}

/// Appends what a pace must not be shared with: what was taken at another rate would be earned at
/// this one. So a limit whose rate changes begins anew.
fn push_pace(key: &mut Vec<u8>, rate: &ByteRate, direction: Direction) {
    let direction = match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    };
    push_part(key, Some(b"bandwidth"));
    push_part(key, Some(direction.as_bytes()));
    for number in [rate.bytes, rate.period, rate.burst] {
        push_part(key, Some(&number.to_le_bytes()));
    }
}

/// Appends each value to each key, as far as the bound allows. The first value goes to all keys
/// that there are.
fn multiplied(mut all: Vec<Vec<u8>>, values: &[Cow<'_, [u8]>]) -> Vec<Vec<u8>> {
    let before = if values.len() > 1 {
        all.clone()
    } else {
        Vec::new()
    };
    let mut values = values.iter();
    if let Some(first) = values.next() {
        for key in &mut all {
            push_part(key, Some(first));
        }
    }
    for value in values {
        for key in before.iter().take(KEYS_MAX.saturating_sub(all.len())) {
            let mut key = key.clone();
            push_part(&mut key, Some(value));
            all.push(key);
        }
    }
    all
}

/// Makes what keeps affinity; `None` if the request has none of the parts that clients name.
pub(crate) fn affinity(parts: &[KeyPart], request: &Request, route: &str) -> Option<Vec<u8>> {
    let mut stable = Vec::with_capacity(32);
    let mut known = parts.is_empty();
    for part in parts {
        let values = values(part, request, route);
        known |= !values.is_empty();
        push_part(&mut stable, values.first().map(AsRef::as_ref));
    }
    known.then_some(stable)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn digests_are_fixed() {
        // A change here makes every caller a new one.
        assert_eq!(
            format!("{:?}", CounterKey::of(b"")),
            "e3b0c44298fc1c149afbf4c8996fb924"
        );
    }
}
