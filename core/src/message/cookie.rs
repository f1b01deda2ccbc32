//! Cookies of a request (RFC 6265, section 5.4), as applications read them.
//!
//! Applications do not agree on what a Cookie field says. Here everything counts that one of them
//! takes for a cookie, so that nobody can hide one from Tidegate and still show it to the
//! application:
//!
//! - `;` separates cookies, `,` and white space do so in some libraries, and some know quotes (RFC
//!   2109, with `$Version`) while others do not;
//! - white space around a name is dropped, that beyond ASCII too, and a `=` before it;
//! - names are the same if they differ only in case (ASP.NET), in percent-encoding, or in `.`,
//!   space, `+` or `[` in place of `_` (PHP);
//! - `name[key]` is part of the cookie `name` (PHP);
//! - what has no `=` is a cookie without value.
//!
//! Several cookies of a name are all seen: which one counts is the application's choice.

use http::{HeaderMap, HeaderValue, header};

use crate::message::query;

/// Where a cookie is written in a Cookie field.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    line: &'a [u8],
    /// Where the name begins.
    from: usize,
    /// Where the value begins.
    value_at: usize,
    /// Where the value ends at the latest.
    end: usize,
}

/// Returns all that an application may read of the cookies with this name in any spelling, over all
/// Cookie fields, in their order: name and value, each letter once. A `*` at the end of the name
/// stands for any ending.
///
/// What may be a cookie may lie within the value of another one. It is part of that text then; if
/// it may go on beyond it, what follows is a text by itself.
pub(crate) fn texts<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines.flat_map(move |line| texts_of(line.as_bytes(), name))
}

fn texts_of<'a>(line: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let mut done = 0;
    named(line, name).filter_map(move |found| {
        let from = found.from.max(done);
        done = done.max(found.end);
        let text = found.line.get(from..found.end)?;
        if text.is_empty() { None } else { Some(text) }
    })
}

/// Returns the value of every cookie with this name in any spelling, as written, with quotes and
/// spaces, as far as it may go.
pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines
        .flat_map(move |line| named(line.as_bytes(), name))
        .map(|found| {
            let value = found.line.get(found.value_at..found.end);
            value.unwrap_or_default()
        })
}

/// Returns whether there is a cookie with this name in any spelling.
pub(crate) fn has(headers: &HeaderMap, name: &str) -> bool {
    headers
        .get_all(header::COOKIE)
        .iter()
        .any(|line| named(line.as_bytes(), name).next().is_some())
}

/// Returns the cookies of a line with this name. Names come first, because most cookies are of
/// another name and need no end.
fn named<'a>(line: &'a [u8], name: &'a str) -> impl Iterator<Item = Found<'a>> {
    let mut ends = Ends::of(line);
    Names::of(line)
        .filter(move |(from, to)| {
            line.get(*from..*to)
                .is_some_and(|written| is_named(written, name))
        })
        .map(move |(from, to)| ends.find(from, to))
}

/// Returns whether a value with open quotes may go on in the next Cookie field, once an origin gets
/// them as one.
pub(crate) fn runs_on(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::COOKIE);
    lines.iter().nth(1).is_some() && lines.iter().any(is_open)
}

/// Returns whether a quote is open at the end of a line.
fn is_open(line: &HeaderValue) -> bool {
    is_odd(Some(line.as_bytes()))
}

/// Returns whether a cookie with this name is one to some applications and lies in the value of
/// another one to the rest: what stands before it then decides about it.
pub(crate) fn is_doubtful(headers: &HeaderMap, name: &str) -> bool {
    let lines = headers.get_all(header::COOKIE);
    lines
        .iter()
        .any(|line| is_doubtful_in(line.as_bytes(), name))
}

fn is_doubtful_in(line: &[u8], name: &str) -> bool {
    let quote = position_of(line, b'"').unwrap_or(line.len());
    for found in named(line, name) {
        let before = line.get(..found.from).unwrap_or_default();
        let last = before.iter().rfind(|byte| **byte != b' ');
        if found.from > quote || last.is_some_and(|byte| *byte != b';') {
            return true;
        }
    }
    false
}

/// Returns where a byte first is.
fn position_of(text: &[u8], wanted: u8) -> Option<usize> {
    text.iter().position(|byte| *byte == wanted)
}

/// Finds where values end. Values are asked for from left to right, and a line is read twice at
/// most however many there are.
struct Ends<'a> {
    line: &'a [u8],
    /// Up to where quotes have been counted, and whether one is open there.
    counted: (usize, bool),
    /// The next `;`, or the line's end, and whether a quote is open there.
    stop: Option<(usize, bool)>,
}

impl<'a> Ends<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self {
            line,
            counted: (0, false),
            stop: None,
        }
    }

    /// Returns the cookie whose name stands here.
    fn find(&mut self, from: usize, to: usize) -> Found<'a> {
        let (_, rest) = self.line.split_at_checked(to).unwrap_or_default();
        let skipped = rest.iter().take_while(|byte| is_space(**byte)).count();
        let value_at = if rest.get(skipped) == Some(&b'=') {
            to + skipped + 1
        } else {
            to
        };
        Found {
            line: self.line,
            from,
            value_at,
            end: self.end(value_at),
        }
    }

    /// A value goes to the next `;`. One whose quotes are still open there may go on to the end.
    fn end(&mut self, value_at: usize) -> usize {
        let (counted, open) = self.counted;
        let open = open ^ is_odd(self.line.get(counted..value_at));
        self.counted = (value_at.max(counted), open);
        let (stop, open_at_stop) = match self.stop {
            Some(stop) if stop.0 >= value_at => stop,
            Some(_) | None => {
                let (_, rest) = self.line.split_at_checked(value_at).unwrap_or_default();
                let length = position_of(rest, b';').unwrap_or(rest.len());
                let stop = value_at + length;
                (stop, open ^ is_odd(self.line.get(value_at..stop)))
            }
        };
        self.stop = Some((stop, open_at_stop));
        if open_at_stop == open {
            stop
        } else {
            self.line.len()
        }
    }
}

/// Returns whether there is an odd number of quotes.
fn is_odd(text: Option<&[u8]>) -> bool {
    text.unwrap_or_default()
        .iter()
        .fold(false, |odd, byte| odd ^ (*byte == b'"'))
}

/// Where everything in a Cookie field stands that may be the name of a cookie: from, and up to.
struct Names<'a> {
    line: &'a [u8],
    /// Where the piece begins that is looked at next.
    next: usize,
    /// The piece looked at: its beginning and end.
    piece: (usize, usize),
    /// Up to where the piece has been looked at; beyond its end if it is done.
    seen: usize,
    /// The last word of a name that was returned whole, which may be a name by itself.
    word: Option<(usize, usize)>,
}

impl<'a> Names<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self {
            line,
            next: 0,
            piece: (0, 0),
            seen: 1,
            word: None,
        }
    }

    fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.line.get(from..to).unwrap_or_default()
    }

    /// Narrows a piece to what is not white space, from which also a `=` at the beginning is taken.
    fn narrowed(&self, (mut from, mut to): (usize, usize)) -> (usize, usize) {
        while let [first, ..] = self.slice(from, to)
            && (is_space(*first) || *first == b'=')
        {
            from += 1;
        }
        while let [.., last] = self.slice(from, to)
            && is_space(*last)
        {
            to -= 1;
        }
        (from, to)
    }

    /// Goes to the next piece between separators.
    fn advance(&mut self) -> bool {
        if self.next > self.line.len() {
            return false;
        }
        let rest = self.slice(self.next, self.line.len());
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b';' | b',' | b'"'))
            .unwrap_or(rest.len());
        self.piece = self.narrowed((self.next, self.next + length));
        self.seen = self.piece.0;
        self.next += length + 1;
        true
    }
}

impl Iterator for Names<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(word) = self.word.take() {
                return Some(word);
            }
            let (begin, end) = self.piece;
            if self.seen >= end {
                if !self.advance() {
                    return None;
                }
                continue;
            }
            let is_first = self.seen == begin;
            let rest = self.slice(self.seen, end);
            let Some(length) = position_of(rest, b'=') else {
                self.seen = end;
                // Further words without a `=` belong to the value before them.
                if is_first {
                    return Some((begin, end));
                }
                continue;
            };
            let equals = self.seen + length;
            let (from, to) = self.narrowed((self.seen, equals));
            self.seen = equals + 1;
            let name = self.slice(from, to);
            let space = name.iter().rposition(|byte| is_space(*byte));
            let word = space.map(|space| from + space + 1);
            if is_first {
                // White space within a name is part of it, or separates it from another one.
                self.word = word.map(|word| (word, to));
                return Some((from, to));
            }
            // In `a=b=c` there is no `b`; in `a=b c=d` there is a `c`.
            if let Some(word) = word {
                return Some((word, to));
            }
            if self
                .slice(0, from)
                .last()
                .is_some_and(|byte| is_space(*byte))
            {
                return Some((from, to));
            }
        }
    }
}

/// Returns whether a name in a request is this one to some application.
fn is_named(written: &[u8], name: &str) -> bool {
    let (wanted, open) = query::without_star(name);
    let mut written = written;
    // White space may be encoded as well.
    while let Some((_, rest)) = query::decode_first(written).filter(|(byte, _)| is_space(*byte)) {
        written = rest;
    }
    let (mut wanted, mut written) = (Folded(wanted.as_bytes()), Folded(written));
    loop {
        let next = query::decode_first(written.0).map(|(byte, _)| byte);
        match (wanted.next(), written.next()) {
            (None, None) => return true,
            // The rest is a key inside this cookie, or cut off.
            (None, Some(_)) => return open || matches!(next, Some(b'[' | 0)),
            (Some(one), Some(other)) if one == other => {}
            (Some(_), Some(_) | None) => return false,
        }
    }
}

/// The bytes of a name in a form that is the same for all its spellings.
struct Folded<'a>(&'a [u8]);

impl Iterator for Folded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = query::decode_first(self.0)?;
        self.0 = rest;
        Some(match byte {
            b'.' | b' ' | b'+' | b'[' => b'_',
            _ => byte.to_ascii_lowercase(),
        })
    }
}

/// What one library or another trims as white space: that of ASCII with all control characters, and
/// whatever is not ASCII.
fn is_space(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f
}

#[cfg(test)]
mod tests;
