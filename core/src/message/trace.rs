//! Trace Context (W3C, level 1): `traceparent` passed on, or created.

use std::fmt;

use http::{HeaderMap, HeaderValue};

use crate::hash;
use crate::message::names;

/// The id of a trace: 16 bytes in network order. Not a number of 128 bits: whatever holds one has to
/// be aligned to 16 bytes, which allocators do slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Takes a number.
    pub const fn from_number(id: u128) -> Self {
        Self(id.to_be_bytes())
    }

    /// Returns the bytes in network order.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the lower half, which is as random as the whole.
    pub fn low(self) -> u64 {
        let half = self.0.last_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(half)
    }
}

/// In 32 hexadecimal digits.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The trace that a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Trace id; never 0.
    pub id: TraceId,
    flags: u8,
}

impl Trace {
    /// Reads `traceparent`; without a valid one the trace is `fresh`.
    pub fn read(headers: &HeaderMap, fresh: u128) -> Self {
        let given = headers
            .get(names::TRACEPARENT)
            .and_then(|value| parse(value.as_bytes()));
        given.unwrap_or(Self {
            id: TraceId::from_number(fresh.max(1)),
            flags: 1,
        })
    }

    /// Writes the `traceparent` of the request's n-th attempt at an origin.
    pub fn write(self, headers: &mut HeaderMap, attempt: u8) {
        let span = hash::draw(self.id.low(), u64::from(attempt)).max(1);
        let mut field = *b"00-iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii-ssssssssssssssss-ff";
        write_hex(&mut field[3..35], &self.id.bytes());
        write_hex(&mut field[36..52], &span.to_be_bytes());
        write_hex(&mut field[53..], &[self.flags]);
        if let Ok(value) = HeaderValue::from_bytes(&field) {
            headers.insert(names::TRACEPARENT, value);
        }
    }
}

/// Section 3.2.2. A later version may have more fields behind these.
fn parse(value: &[u8]) -> Option<Trace> {
    let mut fields = value.split(|b| *b == b'-');
    let version = hex(fields.next()?, 2)?;
    let id = hex(fields.next()?, 32)?;
    let parent = hex(fields.next()?, 16)?;
    let flags = hex(fields.next()?, 2)?;
    let more = fields.next().is_some();
    let valid = version != 0xff && id != 0 && parent != 0 && !(version == 0 && more);
    valid.then_some(Trace {
        id: TraceId::from_number(id),
        flags: u8::try_from(flags).ok()?,
    })
}

fn write_hex(into: &mut [u8], bytes: &[u8]) {
    let digit = |half: u8| {
        if half < 10 {
            b'0' + half
        } else {
            b'a' + (half - 10)
        }
    };
    for (pair, byte) in into.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
}

/// Lower-case hexadecimal digits only, as the specification demands.
fn hex(digits: &[u8], length: usize) -> Option<u128> {
    if digits.len() != length {
        return None;
    }
    digits.iter().try_fold(0, |sum: u128, digit| match digit {
        b'0'..=b'9' => Some(sum << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(sum << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    fn id(field: &str) -> TraceId {
        Trace::read(&headers(&[("traceparent", field)]), 7).id
    }

    #[test]
    fn a_valid_trace_is_continued_and_anything_else_starts_a_new_one() {
        assert_eq!(
            id("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            TraceId::from_number(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c)
        );
        assert_eq!(
            id("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"),
            TraceId::from_number(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c)
        );
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert_eq!(id(wrong), TraceId::from_number(7), "{wrong}");
        }
    }

    #[test]
    fn each_attempt_has_its_own_span() {
        let trace = Trace {
            id: TraceId::from_number(5),
            flags: 0,
        };
        let (mut one, mut two) = (HeaderMap::new(), HeaderMap::new());
        trace.write(&mut one, 1);
        trace.write(&mut two, 2);
        assert_ne!(one, two);
        assert_eq!(Trace::read(&one, 9), trace);
    }
}
