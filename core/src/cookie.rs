//! Cookies of a request (RFC 6265, section 5.4), as applications read them.
//!
//! Applications do not agree on what a Cookie field says. Here everything counts that one of them takes for a cookie, so that nobody can hide one
//! from Tidegate and still show it to the application:
//!
//! - `;` separates cookies, `,` and white space do so in some libraries, and some know quotes (RFC 2109, with `$Version`) while others do not;
//! - white space around a name is dropped, that beyond ASCII too, and a `=` before it;
//! - names are the same if they differ only in case (ASP.NET), in percent-encoding, or in `.`, space, `+` or `[` in place of `_` (PHP);
//! - `name[key]` is part of the cookie `name` (PHP);
//! - what has no `=` is a cookie without value.
//!
//! Several cookies of a name are all seen: which one counts is the application's choice.

use http::{HeaderMap, HeaderValue, header};

use crate::query;

/// A cookie of a request, as it is written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cookie<'a> {
    /// Name and value, from the first letter of the name on, to where the value ends at the latest: all that an application may read of it.
    pub(crate) text: &'a [u8],
    /// The value as written, with quotes and spaces.
    pub(crate) value: &'a [u8],
}

/// Returns every cookie with this name in any spelling, over all Cookie fields, in their order. A `*` at the end of the name stands for any ending.
pub(crate) fn all<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = Cookie<'a>> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    lines
        .flat_map(|line| Candidates::of(line.as_bytes()))
        .filter(|found| is_named(found.name, name))
        .map(|found| found.cookie)
}

/// Returns whether there is a cookie with this name in any spelling.
pub(crate) fn has(headers: &HeaderMap, name: &str) -> bool {
    all(headers, name).next().is_some()
}

/// Returns whether a value with open quotes may go on in the next Cookie field, once an origin gets them as one.
pub(crate) fn runs_on(headers: &HeaderMap) -> bool {
    let lines = || headers.get_all(header::COOKIE).iter();
    let is_open = |line: &HeaderValue| line.as_bytes().iter().fold(false, |open, byte| open ^ (*byte == b'"'));
    lines().nth(1).is_some() && lines().any(is_open)
}

/// What may be a cookie.
struct Candidate<'a> {
    name: &'a [u8],
    cookie: Cookie<'a>,
}

/// Everything in a Cookie field that may be a cookie.
struct Candidates<'a> {
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

impl<'a> Candidates<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self { line, next: 0, piece: (0, 0), seen: 1, word: None }
    }

    fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.line.get(from..to).unwrap_or_default()
    }

    /// Makes the cookie whose name stands here.
    fn candidate(&self, from: usize, to: usize) -> Candidate<'a> {
        let rest = self.slice(to, self.line.len());
        let skipped = rest.iter().take_while(|byte| is_space(**byte)).count();
        let value_at = if rest.get(skipped) == Some(&b'=') { to + skipped + 1 } else { to };
        let end = value_at + length_of_value(self.slice(value_at, self.line.len()));
        let cookie = Cookie { text: self.slice(from, end), value: self.slice(value_at, end) };
        Candidate { name: self.slice(from, to), cookie }
    }

    /// Narrows a piece to what is not white space, from which also a `=` at the beginning is taken.
    fn narrowed(&self, (mut from, mut to): (usize, usize)) -> (usize, usize) {
        let is = |at: usize, drops: &dyn Fn(u8) -> bool| self.line.get(at).is_some_and(|byte| drops(*byte));
        while from < to && is(from, &|byte| is_space(byte) || byte == b'=') {
            from += 1;
        }
        while from < to && is(to - 1, &is_space) {
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
        let length = rest.iter().position(|byte| matches!(byte, b';' | b',' | b'"')).unwrap_or(rest.len());
        self.piece = self.narrowed((self.next, self.next + length));
        self.seen = self.piece.0;
        self.next += length + 1;
        true
    }
}

impl<'a> Iterator for Candidates<'a> {
    type Item = Candidate<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((from, to)) = self.word.take() {
                return Some(self.candidate(from, to));
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
            let Some(equals) = rest.iter().position(|byte| *byte == b'=').map(|at| self.seen + at) else {
                self.seen = end;
                // Further words without a `=` belong to the value before them.
                if is_first {
                    return Some(self.candidate(begin, end));
                }
                continue;
            };
            let (from, to) = self.narrowed((self.seen, equals));
            self.seen = equals + 1;
            let name = self.slice(from, to);
            let word = name.iter().rposition(|byte| is_space(*byte)).map(|space| from + space + 1);
            if is_first {
                // White space within a name is part of it, or separates it from another one.
                self.word = word.map(|word| (word, to));
                return Some(self.candidate(from, to));
            }
            // In `a=b=c` there is no `b`; in `a=b c=d` there is a `c`.
            if let Some(word) =
                word.or_else(|| self.line.get(from.wrapping_sub(1)).is_some_and(|b| is_space(*b)).then_some(from))
            {
                return Some(self.candidate(word, to));
            }
        }
    }
}

/// A value goes to the next `;`. One whose quotes are still open there may go on to the end.
fn length_of_value(rest: &[u8]) -> usize {
    let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
    let quotes = rest.iter().take(end).filter(|byte| **byte == b'"').count();
    if quotes % 2 == 1 { rest.len() } else { end }
}

/// Returns whether a name in a request is this one to some application.
fn is_named(written: &[u8], name: &str) -> bool {
    let (wanted, open) = name.strip_suffix('*').map_or((name, false), |start| (start, true));
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

/// What one library or another trims as white space: that of ASCII with all control characters, and whatever is not ASCII.
fn is_space(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn fields(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("cookie", HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn texts(lines: &[&[u8]], name: &str) -> Vec<String> {
        all(&fields(lines), name).map(|found| String::from_utf8_lossy(found.text).into_owned()).collect()
    }

    #[test]
    fn all_cookies_of_a_name_are_found() {
        let lines: [&[u8]; 2] = [b"xauth=no; auth=first;auth=second; flag", b"other=a=b; auth=third"];
        assert_eq!(texts(&lines, "auth"), ["auth=first", "auth=second", "auth=third"]);
        assert_eq!(texts(&lines, "other"), ["other=a=b"]);
        assert_eq!(texts(&lines, "flag"), ["flag"]);
        assert!(texts(&lines, "a").is_empty() && texts(&lines, "b").is_empty());
        assert_eq!(texts(&lines, "*").len(), 6);
        assert_eq!(texts(&[b"wp-session-1=a; WP-Session-2=b; wp=c"], "wp-session-*").len(), 2);
    }

    #[test]
    fn no_spelling_that_an_application_accepts_hides_a_cookie() {
        let lines: [&[u8]; 34] = [
            b"auth_token=x",
            b"a=1; auth_token=x",
            b"a=1;auth_token = x",
            b"a=1;\tauth_token=x",
            b"\xa0auth_token=x",
            b"a=1; \xc2\xa0auth_token=x",
            b"\xef\xbb\xbfauth_token=x",
            b"auth_token\xa0=x",
            b"auth.token=x",
            b"auth token=x",
            b"auth[token=x",
            b"auth+token=x",
            b"auth%20token=x",
            b"auth%5ftoken=x",
            b"%61uth_token=x",
            b"%20auth_token=x",
            b"Auth_Token=x",
            b"auth_token[]=x",
            b"auth_token[a][b]=x",
            b"auth_token%5B%5D=x",
            b"auth_token",
            b"=auth_token=x",
            b"a=1, auth_token=x",
            b"a=1,auth_token=x",
            b"a=1 auth_token=x",
            b"a=1 auth_token = x",
            b"$Version=1; auth_token=\"x\"; $Path=/",
            b"$Version=\"1\",auth_token=\"x\"",
            b"$Version=1 auth_token=x",
            b"a=\"; auth_token=x",
            b"a=\"b\"; auth_token=x",
            b"a=\"b\"auth_token=x",
            b"a; b; auth_token=x",
            b"a= auth_token=x",
        ];
        for line in lines {
            assert!(has(&fields(&[line]), "auth_token"), "{}", String::from_utf8_lossy(line));
        }
        let others: [&[u8]; 9] = [
            b"",
            b";;",
            b"xauth_token=1",
            b"auth_tokens=1",
            b"auth=token",
            b"a=auth_token",
            b"a=auth_token=x",
            b"auth-token=1",
            b"authtoken=1",
        ];
        for line in others {
            assert!(!has(&fields(&[line]), "auth_token"), "{}", String::from_utf8_lossy(line));
        }
        assert!(has(&fields(&[b"auth_token=1"]), "auth.token"), "the policy's spelling does not matter either");
    }

    #[test]
    fn what_may_be_part_of_a_value_is_in_its_text() {
        assert_eq!(texts(&[b"lang=de ; x=1"], "lang"), ["lang=de "]);
        assert_eq!(texts(&[b"lang=\"de; x=1\"; y=2"], "lang"), ["lang=\"de; x=1\"; y=2"]);
        assert_eq!(texts(&[b"lang=\"de\"; x=1"], "lang"), ["lang=\"de\""]);
        assert_eq!(texts(&[b"lang=de, fr; x=1"], "lang"), ["lang=de, fr"]);
        assert_eq!(texts(&[b"x=1 lang=de"], "lang"), ["lang=de"]);
        assert!(runs_on(&fields(&[b"lang=\"de", b"x=1\""])) && !runs_on(&fields(&[b"lang=\"de\"", b"x=1"])));
    }
}
