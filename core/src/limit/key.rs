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

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderName, header};
use sha2::{Digest, Sha256};

use super::bandwidth::{Bandwidth, ByteRate, Direction};
use super::definition::{Absent, KeyPart, Limit};
use super::rule::{Rule, Windows};
use crate::hash;
use crate::message::request::Request;
use crate::message::{cookie, plain, query};
use crate::parts::{first_part, push_part};

/// Most counts that one request is charged to by one limit.
const KEYS_MAX: usize = 8;

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

/// Returns whether clients name nobody by this value.
fn names_nobody(part: &KeyPart, value: &[u8]) -> bool {
    match part {
        KeyPart::Header(_) | KeyPart::Cookie(_) | KeyPart::Query(_) => value.is_empty(),
        // The path `/` is empty without its slash.
        KeyPart::Ip { .. }
        | KeyPart::Path
        | KeyPart::Route
        | KeyPart::Country
        | KeyPart::Asn
        // What an issuer has written is a value, if it is empty too.
        | KeyPart::Claim(_)
        | KeyPart::TlsSubject => false,
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

/// Returns the values of a part, each once, in their order; none if the request does not have it.
pub(super) fn values<'a>(
    part: &'a KeyPart,
    request: &'a Request,
    route: &'a str,
) -> Vec<Cow<'a, [u8]>> {
    let fields = &request.head.headers;
    let one = |value: Cow<'a, [u8]>| vec![value];
    let some = |value: Option<Cow<'a, [u8]>>| value.into_iter().collect();
    match part {
        KeyPart::Ip { ipv6_prefix } => one(address_bytes(request.address, *ipv6_prefix).into()),
        KeyPart::Header(name) => once_each(
            fields
                .get_all(name)
                .iter()
                .map(|value| header_value(name, value.as_bytes())),
        ),
        KeyPart::Cookie(name) => {
            // The whole first, which keeps affinity; then what those read who end a value early.
            let readings = cookie::values(fields, name)
                .flat_map(|value| [Some(value), some_name(shortest(value))]);
            once_each(
                readings
                    .flatten()
                    .map(|value| plain_value(&query::decoded(value)).into()),
            )
        }
        KeyPart::Query(name) => {
            let query = request.head.uri.query().unwrap_or_default();
            once_each(query::values(query, name).map(|value| plain_value(&value).into()))
        }
        KeyPart::Path => one(plain::counted(request.path())
            .into_owned()
            .into_bytes()
            .into()),
        KeyPart::Route => one(route.as_bytes().into()),
        KeyPart::Country => one(request.geo.country_or_unknown().as_bytes().to_vec().into()),
        KeyPart::Claim(name) => {
            let claim = request.claims.iter().find(|claim| claim.name == *name);
            some(claim.map(|claim| claim.value.as_bytes().into()))
        }
        KeyPart::Asn => {
            let number = request.geo.asn;
            some(number.map(|number| number.to_be_bytes().to_vec().into()))
        }
        KeyPart::TlsSubject => {
            let subject = request.tls_subject.as_ref();
            some(subject.map(|subject| subject.as_bytes().into()))
        }
    }
}

fn once_each<'a>(values: impl Iterator<Item = Cow<'a, [u8]>>) -> Vec<Cow<'a, [u8]>> {
    let mut distinct: Vec<Cow<'a, [u8]>> = Vec::with_capacity(1);
    for value in values {
        if distinct.contains(&value) {
            continue;
        }
        distinct.push(value);
        // One more than are charged says that there are too many.
        if distinct.len() > KEYS_MAX {
            break;
        }
    }
    distinct
}

fn some_name(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}

fn header_value<'a>(name: &HeaderName, value: &'a [u8]) -> Cow<'a, [u8]> {
    let value = trimmed(value);
    if value.is_empty() || *name != header::AUTHORIZATION && *name != header::PROXY_AUTHORIZATION {
        return value.into();
    }
    // RFC 9110, section 11.4: the scheme in any case, then spaces.
    let end = value
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end).unwrap_or((value, b""));
    [&scheme.to_ascii_lowercase()[..], b" ", trimmed(rest)]
        .concat()
        .into()
}

/// Returns a decoded value without the white space and the quotes around it.
fn plain_value(value: &[u8]) -> Vec<u8> {
    let bare = trimmed(value);
    bare.strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""))
        .map_or(bare, trimmed)
        .to_vec()
}

/// Returns what some application reads of a cookie's value at least: it ends at white space, a
/// comma, a semicolon or a quote, and a quote may begin it.
fn shortest(value: &[u8]) -> &[u8] {
    let value = trimmed(value);
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    if let Ok(text) = std::str::from_utf8(value) {
        let ends = |c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '"' | '\u{feff}')
        };
        return text.split(ends).next().unwrap_or_default().as_bytes();
    }
    let ends = |byte: &u8| *byte <= b' ' || matches!(byte, b',' | b';' | b'"' | 0x7f..=0xa0);
    value.split(ends).next().unwrap_or_default()
}

/// Drops what some library trims as white space: that of Unicode in text, that of Latin-1 in other
/// bytes.
fn trimmed(value: &[u8]) -> &[u8] {
    if let Ok(text) = std::str::from_utf8(value) {
        return text
            .trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}')
            .as_bytes();
    }
    let kept = |byte: &u8| *byte > b' ' && !matches!(byte, 0x7f..=0xa0);
    let start = value.iter().position(kept).unwrap_or(value.len());
    let end = value.iter().rposition(kept).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

fn address_bytes(address: IpAddr, ipv6_prefix: u8) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => cut(v6, ipv6_prefix).octets().to_vec(),
    }
}

fn push_address(key: &mut Vec<u8>, address: IpAddr, ipv6_prefix: u8) {
    match address {
        IpAddr::V4(v4) => push_part(key, Some(&v4.octets())),
        IpAddr::V6(v6) => push_part(key, Some(&cut(v6, ipv6_prefix).octets())),
    }
}

fn cut(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX
        .checked_shl(128 - u32::from(prefix.min(128)))
        .unwrap_or(0);
    Ipv6Addr::from(u128::from(address) & mask)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn ipv6_addresses_are_cut_to_their_prefix() {
        let address: Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        assert_eq!(cut(address, 64).to_string(), "2001:db8:1:2::");
        assert_eq!(cut(address, 128), address);
        assert_eq!(cut(address, 0).to_string(), "::");
    }

    #[test]
    fn digests_are_fixed() {
        // A change here makes every caller a new one.
        assert_eq!(
            format!("{:?}", CounterKey::of(b"")),
            "e3b0c44298fc1c149afbf4c8996fb924"
        );
    }

    #[test]
    fn spellings_of_a_header_field_are_one_value() {
        let key = HeaderName::from_static("x-api-key");
        for value in [
            &b"KEY1"[..],
            b" KEY1",
            b"KEY1\t ",
            b"\xa0KEY1",
            b"\xc2\xa0KEY1 ",
        ] {
            assert_eq!(header_value(&key, value), &b"KEY1"[..]);
        }
        for value in [
            &b"Bearer x"[..],
            b"bearer x",
            b"BEARER   x ",
            b" Bearer \tx",
        ] {
            assert_eq!(
                header_value(&header::AUTHORIZATION, value),
                &b"bearer x"[..]
            );
        }
        assert_ne!(header_value(&key, b"KEY1"), header_value(&key, b"key1"));
        for value in [
            &b"a b"[..],
            b" a b\t",
            b"\"a b\"",
            b"\xc2\xa0\" a b\" ",
            b"\xa0a b",
        ] {
            assert_eq!(plain_value(value), b"a b");
        }
        assert_eq!(plain_value("\u{e0}\u{a0}".as_bytes()), "\u{e0}".as_bytes());
    }

    #[test]
    fn the_shortest_reading_ends_at_whatever_ends_a_value_somewhere() {
        let values = [
            "abc",
            "abc,1",
            "abc 1",
            "abc\t1",
            "abc\u{a0}1",
            "abc\"1",
            "\"abc\"",
            "\"abc\" 1",
            " \"abc\",1",
            "\"abc; x=1",
        ];
        for value in values {
            assert_eq!(shortest(value.as_bytes()), b"abc", "{value}");
        }
        assert_eq!(shortest(b"abc\xa0\xff"), b"abc");
        assert_eq!(shortest(b"%22a%2Cb"), b"%22a%2Cb");
        assert_eq!(shortest("\u{e9},1".as_bytes()), "\u{e9}".as_bytes());
        assert_eq!(shortest(b", abc"), b"");
    }

    #[test]
    fn only_as_many_values_are_looked_at_as_matter() {
        let mut looked_at = 0_u8;
        let endless = std::iter::repeat_with(|| {
            looked_at += 1;
            Cow::from(vec![looked_at])
        });
        assert_eq!(once_each(endless).len(), KEYS_MAX + 1);
    }

    #[test]
    fn an_empty_value_names_nobody() {
        let key = HeaderName::from_static("x-api-key");
        let header = KeyPart::Header(key.clone());
        for value in [&b""[..], b" ", b"\t", b"\xc2\xa0", b"\xa0"] {
            assert!(names_nobody(&header, &header_value(&key, value)));
            assert!(names_nobody(
                &header,
                &header_value(&header::AUTHORIZATION, value)
            ));
        }
        for value in [&b"\"\""[..], b" \" \" ", b""] {
            assert!(names_nobody(
                &KeyPart::Cookie("a".into()),
                &plain_value(value)
            ));
        }
        assert!(!names_nobody(&header, b"0") && !names_nobody(&KeyPart::Path, b""));
    }
}
