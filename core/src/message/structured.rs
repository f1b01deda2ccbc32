//! Structured Fields (RFC 9651), strict: a field with anything wrong in it has no members.
//!
//! What no field needs that is read here (byte sequences, dates and the like) is checked, and not
//! kept. A library that keeps all of it, with maps for it, is several times as large.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::sorting::sort_by;

/// A member of a list or of a dictionary.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// Empty in a list.
    pub(crate) key: &'a [u8],
    pub(crate) value: Value,
    /// Their names.
    pub(crate) parameters: Vec<&'a [u8]>,
}

/// What a member is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Boolean(bool),
    Integer(i64),
    String(String),
    List(Vec<Value>),
    /// A decimal, a token, a byte sequence, a date or a display string.
    Other,
}

/// Returns a field with all of its lines as one.
pub(crate) fn joined(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    lines.join(&b", "[..])
}

/// Reads a dictionary (section 4.2.2); `None` if it is none. Of a repeated key the last value
/// counts, in the place of the first.
pub(crate) fn dictionary(field: &[u8]) -> Option<Vec<Member<'_>>> {
    let members = read(field, Kind::Dictionary)?.into_iter();
    // Sorted, since a search for each would take the square of their number.
    let mut by_key: Vec<(usize, Member<'_>)> = members.enumerate().collect();
    sort_by(&mut by_key, |(_, a), (_, b)| a.key.cmp(b.key));
    let mut kept: Vec<(usize, Member<'_>)> = Vec::with_capacity(by_key.len());
    for (place, member) in by_key {
        match kept.last_mut() {
            Some((_, last)) if last.key == member.key => *last = member,
            Some(_) | None => kept.push((place, member)),
        }
    }
    sort_by(&mut kept, |(a, _), (b, _)| a.cmp(b));
    Some(kept.into_iter().map(|(_, member)| member).collect())
}

/// Reads a list (section 4.2.1); `None` if it is none.
pub(crate) fn list(field: &[u8]) -> Option<Vec<Member<'_>>> {
    read(field, Kind::List)
}

#[derive(Clone, Copy)]
enum Kind {
    Dictionary,
    List,
}

fn read(field: &[u8], kind: Kind) -> Option<Vec<Member<'_>>> {
    let mut reader = Reader { rest: field };
    let mut members = Vec::new();
    reader.skip(b" ");
    while !reader.rest.is_empty() {
        members.push(match kind {
            Kind::Dictionary => reader.entry()?,
            Kind::List => reader.member(b"")?,
        });
        reader.skip(b" \t");
        if reader.rest.is_empty() {
            break;
        }
        if !reader.takes(b',') {
            return None;
        }
        reader.skip(b" \t");
        if reader.rest.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// What is still to be read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn next(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Takes this byte, if it comes next.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        if is_next {
            self.take();
        }
        is_next
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn take_while(&mut self, goes_on: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !goes_on(*byte));
        let end = end.unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest;
        taken
    }

    /// Section 4.2.2: a key without a value is true.
    fn entry(&mut self) -> Option<Member<'a>> {
        let key = self.key()?;
        if self.takes(b'=') {
            return self.member(key);
        }
        Some(Member {
            key,
            value: Value::Boolean(true),
            parameters: self.parameters()?,
        })
    }

    /// Section 4.2.1.1: an item or an inner list, with its parameters.
    fn member(&mut self, key: &'a [u8]) -> Option<Member<'a>> {
        let value = if self.takes(b'(') {
            Value::List(self.inner_list()?)
        } else {
            self.item()?
        };
        Some(Member {
            key,
            value,
            parameters: self.parameters()?,
        })
    }

    /// Section 4.2.1.2, after its opening parenthesis.
    fn inner_list(&mut self) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        loop {
            self.skip(b" ");
            if self.takes(b')') {
                return Some(items);
            }
            items.push(self.item()?);
            self.parameters()?;
            if !matches!(self.next()?, b' ' | b')') {
                return None;
            }
        }
    }

    /// Section 4.2.3.2.
    fn parameters(&mut self) -> Option<Vec<&'a [u8]>> {
        let mut names = Vec::new();
        while self.takes(b';') {
            self.skip(b" ");
            names.push(self.key()?);
            if self.takes(b'=') {
                self.item()?;
            }
        }
        Some(names)
    }

    /// Section 4.2.3.3.
    fn key(&mut self) -> Option<&'a [u8]> {
        if !matches!(self.next()?, b'a'..=b'z' | b'*') {
            return None;
        }
        Some(self.take_while(
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*'),
        ))
    }

    /// Section 4.2.3.1, without its parameters.
    fn item(&mut self) -> Option<Value> {
        match self.next()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'A'..=b'Z' | b'a'..=b'z' | b'*' => {
                self.take_while(is_in_token);
                Some(Value::Other)
            }
            _ => match self.take()? {
                b'"' => Some(Value::String(self.string()?)),
                b'?' => match self.take()? {
                    b'0' => Some(Value::Boolean(false)),
                    b'1' => Some(Value::Boolean(true)),
                    _ => None,
                },
                b':' => self.byte_sequence(),
                b'@' => match self.number()? {
                    Value::Integer(_) => Some(Value::Other),
                    _ => None,
                },
                b'%' => self.display_string(),
                _ => None,
            },
        }
    }

    /// Section 4.2.4: at most 15 digits, or 12 before and 3 after a point.
    fn number(&mut self) -> Option<Value> {
        let is_negative = self.takes(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        if self.takes(b'.') {
            let decimals = self.take_while(|byte| byte.is_ascii_digit());
            let is_right = digits.len() <= 12 && (1..=3).contains(&decimals.len());
            return is_right.then_some(Value::Other);
        }
        let mut number = 0;
        for digit in digits {
            number = number * 10 + i64::from(digit - b'0');
        }
        Some(Value::Integer(if is_negative { -number } else { number }))
    }

    /// Section 4.2.5, after its opening quote.
    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.take()? {
                b'"' => return Some(text),
                b'\\' => match self.take()? {
                    escaped @ (b'\\' | b'"') => text.push(char::from(escaped)),
                    _ => return None,
                },
                byte @ 0x20..=0x7e => text.push(char::from(byte)),
                _ => return None,
            }
        }
    }

    /// Section 4.2.7, after its opening colon. Padding may be left out, and is right if it is
    /// there.
    fn byte_sequence(&mut self) -> Option<Value> {
        let data =
            self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
        let padding = self.take_while(|byte| byte == b'=');
        let is_right = match data.len() % 4 {
            0 => padding.is_empty(),
            1 => false,
            rest => padding.len() <= 4 - rest,
        };
        (self.takes(b':') && is_right).then_some(Value::Other)
    }

    /// Section 4.2.10, after its percent sign.
    fn display_string(&mut self) -> Option<Value> {
        if !self.takes(b'"') {
            return None;
        }
        let mut text = Vec::new();
        loop {
            match self.take()? {
                b'"' => break,
                b'%' => {
                    let high = half(self.take()?)?;
                    text.push(high << 4 | half(self.take()?)?);
                }
                byte @ 0x20..=0x7e => text.push(byte),
                _ => return None,
            }
        }
        std::str::from_utf8(&text).ok().map(|_| Value::Other)
    }
}

fn is_in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
}

/// Reads a hexadecimal digit; only those in lower case are some here.
fn half(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
