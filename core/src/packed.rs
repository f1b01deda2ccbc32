//! Values as bytes, and back: what published policies and heads of stored responses are made of.
//!
//! A type names its fields once, with [`packed_struct!`] or [`packed_enum!`], and both ways follow
//! from that, so they cannot differ. Whoever changes what is named changes the form of published
//! policies or of stored heads, and raises its number (`policy/published.rs`, `cache/record.rs`).
//!
//! What cannot be unpacked is told at the end, by [`Unpacking::ended_well`], and something else
//! stands in for it until then: with a way out after each field, and the fields before it to be
//! dropped there, this would be twice as much code in the Worker.

use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// A value that can be packed.
pub(crate) trait Packed {
    /// Appends the value.
    fn pack(&self, into: &mut Vec<u8>);

    /// Takes a value from the front; anything if none stands there.
    fn unpack(from: &mut Unpacking<'_>) -> Self;
}

/// Bytes that are being unpacked.
pub(crate) struct Unpacking<'a> {
    rest: &'a [u8],
    failed: bool,
}

impl<'a> Unpacking<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            failed: false,
        }
    }

    /// Returns whether all of the bytes were values, and all values were there.
    pub(crate) fn ended_well(&self) -> bool {
        !self.failed && self.rest.is_empty()
    }

    /// Says that something is not what it should be. Nothing is left then.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
        self.rest = &[];
    }

    /// Returns what was read, or says that it could not be, and returns what stands in for it.
    pub(crate) fn or_fail<T>(&mut self, read: Option<T>, stand_in: T) -> T {
        if read.is_none() {
            self.fail();
        }
        read.unwrap_or(stand_in)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            self.fail();
            return &[];
        };
        self.rest = rest;
        taken
    }

    fn take_array<const N: usize>(&mut self) -> [u8; N] {
        let array = self.take(N).try_into().ok();
        self.or_fail(array, [0; N])
    }

    fn take_text(&mut self) -> &'a str {
        let bytes = unpack_bytes(self);
        let text = std::str::from_utf8(bytes).ok();
        self.or_fail(text, "")
    }
}

/// Packs a struct field by field, in this order.
macro_rules! packed_struct {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::packed::Packed for $type {
            fn pack(&self, into: &mut Vec<u8>) {
                let Self { $($field),+ } = self;
                $($crate::packed::Packed::pack($field, into);)+
            }

            fn unpack(from: &mut $crate::packed::Unpacking<'_>) -> Self {
                Self { $($field: $crate::packed::Packed::unpack(from)),+ }
            }
        }
    };
}

/// Packs an enum as the number of its variant, and what that has. The first variant stands in for
/// one that does not exist.
macro_rules! packed_enum {
    ($type:ident {
        0 = $first:ident $(($first_inner:ident))? $({ $($first_field:ident),+ })?,
        $($number:literal = $variant:ident $(($inner:ident))? $({ $($field:ident),+ })?),+ $(,)?
    }) => {
        impl $crate::packed::Packed for $type {
            fn pack(&self, into: &mut Vec<u8>) {
                match self {
                    Self::$first $(($first_inner))? $({ $($first_field),+ })? => {
                        into.push(0);
                        $($crate::packed::Packed::pack($first_inner, into);)?
                        $($($crate::packed::Packed::pack($first_field, into);)+)?
                    }
                    $(Self::$variant $(($inner))? $({ $($field),+ })? => {
                        into.push($number);
                        $($crate::packed::Packed::pack($inner, into);)?
                        $($($crate::packed::Packed::pack($field, into);)+)?
                    })+
                }
            }

            fn unpack(from: &mut $crate::packed::Unpacking<'_>) -> Self {
                match <u8 as $crate::packed::Packed>::unpack(from) {
                    $($number => {
                        $(let $inner = $crate::packed::Packed::unpack(from);)?
                        $($(let $field = $crate::packed::Packed::unpack(from);)+)?
                        Self::$variant $(($inner))? $({ $($field),+ })?
                    })+
                    number => {
                        if number != 0 {
                            from.fail();
                        }
                        $(let $first_inner = $crate::packed::Packed::unpack(from);)?
                        $($(let $first_field = $crate::packed::Packed::unpack(from);)+)?
                        Self::$first $(($first_inner))? $({ $($first_field),+ })?
                    }
                }
            }
        }
    };
}

pub(crate) use {packed_enum, packed_struct};

/// Appends a number in LEB128.
fn pack_number(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(low_seven_bits(number) | 0x80);
        number >>= 7;
    }
    into.push(low_seven_bits(number));
}

fn low_seven_bits(number: u64) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or(0)
}

fn unpack_number(from: &mut Unpacking<'_>) -> u64 {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = u8::unpack(from);
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
    }
    from.fail();
    0
}

fn pack_bytes(bytes: &[u8], into: &mut Vec<u8>) {
    bytes.len().pack(into);
    into.extend_from_slice(bytes);
}

fn unpack_bytes<'a>(from: &mut Unpacking<'a>) -> &'a [u8] {
    let length = usize::unpack(from);
    from.take(length)
}

impl Packed for u8 {
    fn pack(&self, into: &mut Vec<u8>) {
        into.push(*self);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let [byte] = from.take_array();
        byte
    }
}

impl Packed for bool {
    fn pack(&self, into: &mut Vec<u8>) {
        into.push(u8::from(*self));
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let byte = u8::unpack(from);
        if byte > 1 {
            from.fail();
        }
        byte == 1
    }
}

impl Packed for u64 {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_number(*self, into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        unpack_number(from)
    }
}

impl Packed for u16 {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_number(u64::from(*self), into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let number = unpack_number(from).try_into().ok();
        from.or_fail(number, 0)
    }
}

impl Packed for u32 {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_number(u64::from(*self), into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let number = unpack_number(from).try_into().ok();
        from.or_fail(number, 0)
    }
}

impl Packed for usize {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_number(u64::try_from(*self).unwrap_or(u64::MAX), into);
    }

    /// Where addresses are shorter than where the number was packed, a bound beyond them is none.
    fn unpack(from: &mut Unpacking<'_>) -> Self {
        unpack_number(from).try_into().unwrap_or(Self::MAX)
    }
}

impl Packed for [u8; 2] {
    fn pack(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        from.take_array()
    }
}

impl Packed for u128 {
    fn pack(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.to_le_bytes());
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        Self::from_le_bytes(from.take_array())
    }
}

impl Packed for f64 {
    fn pack(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.to_le_bytes());
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        Self::from_le_bytes(from.take_array())
    }
}

impl Packed for String {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_bytes(self.as_bytes(), into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        from.take_text().to_owned()
    }
}

impl Packed for Arc<str> {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_bytes(self.as_bytes(), into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        Self::from(from.take_text())
    }
}

impl<T: Packed> Packed for Arc<T> {
    fn pack(&self, into: &mut Vec<u8>) {
        (**self).pack(into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        Self::new(T::unpack(from))
    }
}

impl<T: Packed> Packed for Option<T> {
    fn pack(&self, into: &mut Vec<u8>) {
        self.is_some().pack(into);
        if let Some(value) = self {
            value.pack(into);
        }
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        bool::unpack(from).then(|| T::unpack(from))
    }
}

impl<T: Packed> Packed for Vec<T> {
    fn pack(&self, into: &mut Vec<u8>) {
        self.len().pack(into);
        for item in self {
            item.pack(into);
        }
    }

    /// An item takes at least a byte, so nothing is allocated for a length that is not there.
    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let length = usize::unpack(from);
        let mut items = Self::new();
        while items.len() < length && !from.failed {
            items.push(T::unpack(from));
        }
        items
    }
}

impl<A: Packed, B: Packed> Packed for (A, B) {
    fn pack(&self, into: &mut Vec<u8>) {
        self.0.pack(into);
        self.1.pack(into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        (A::unpack(from), B::unpack(from))
    }
}

impl Packed for HeaderName {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_bytes(self.as_str().as_bytes(), into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let read = Self::from_bytes(unpack_bytes(from)).ok();
        from.or_fail(read, header::HOST)
    }
}

impl Packed for HeaderValue {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_bytes(self.as_bytes(), into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let read = Self::from_bytes(unpack_bytes(from)).ok();
        from.or_fail(read, Self::from_static(""))
    }
}

impl Packed for HeaderMap {
    fn pack(&self, into: &mut Vec<u8>) {
        self.len().pack(into);
        for (name, value) in self {
            name.pack(into);
            value.pack(into);
        }
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let mut fields = Self::new();
        for (name, value) in Vec::unpack(from) {
            let appended = fields.try_append::<HeaderName>(name, value).ok();
            from.or_fail(appended, false);
        }
        fields
    }
}

impl Packed for Method {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_bytes(self.as_str().as_bytes(), into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let read = Self::from_bytes(unpack_bytes(from)).ok();
        from.or_fail(read, Self::GET)
    }
}

impl Packed for StatusCode {
    fn pack(&self, into: &mut Vec<u8>) {
        self.as_u16().pack(into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let read = Self::from_u16(u16::unpack(from)).ok();
        from.or_fail(read, Self::OK)
    }
}

/// An origin has one of two.
impl Packed for Scheme {
    fn pack(&self, into: &mut Vec<u8>) {
        (*self == Self::HTTPS).pack(into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        if bool::unpack(from) {
            Self::HTTPS
        } else {
            Self::HTTP
        }
    }
}

impl Packed for Authority {
    fn pack(&self, into: &mut Vec<u8>) {
        pack_bytes(self.as_str().as_bytes(), into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let read = Self::try_from(unpack_bytes(from)).ok();
        from.or_fail(read, Self::from_static("localhost"))
    }
}

#[cfg(test)]
mod tests;
