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
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(move |line| {
            let mut done = 0;
            named(line.as_bytes(), name).filter_map(move |found| {
                let from = found.from.max(done);
                done = done.max(found.end);
                found
                    .line
                    .get(from..found.end)
                    .filter(|text| !text.is_empty())
            })
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
    let lines = || headers.get_all(header::COOKIE).iter();
    let is_open = |line: &HeaderValue| {
        line.as_bytes()
            .iter()
            .fold(false, |open, byte| open ^ (*byte == b'"'))
    };
    lines().nth(1).is_some() && lines().any(is_open)
}

/// Returns whether a cookie with this name is one to some applications and lies in the value of
/// another one to the rest: what stands before it then decides about it.
pub(crate) fn is_doubtful(headers: &HeaderMap, name: &str) -> bool {
    headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .any(|line| {
            let quote = line
                .iter()
                .position(|byte| *byte == b'"')
                .unwrap_or(line.len());
            named(line, name).any(|found| {
                let before = line.get(..found.from).unwrap_or_default();
                let last = before.iter().rfind(|byte| **byte != b' ');
                found.from > quote || last.is_some_and(|byte| *byte != b';')
            })
        })
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
                let length = rest
                    .iter()
                    .position(|byte| *byte == b';')
                    .unwrap_or(rest.len());
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
        let is = |at: usize, drops: &dyn Fn(u8) -> bool| {
            self.line.get(at).is_some_and(|byte| drops(*byte))
        };
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
            let Some(equals) = rest
                .iter()
                .position(|byte| *byte == b'=')
                .map(|at| self.seen + at)
            else {
                self.seen = end;
                // Further words without a `=` belong to the value before them.
                if is_first {
                    return Some((begin, end));
                }
                continue;
            };
            let (from, to) = self.narrowed((self.seen, equals));
            self.seen = equals + 1;
            let name = self.slice(from, to);
            let word = name
                .iter()
                .rposition(|byte| is_space(*byte))
                .map(|space| from + space + 1);
            if is_first {
                // White space within a name is part of it, or separates it from another one.
                self.word = word.map(|word| (word, to));
                return Some((from, to));
            }
            // In `a=b=c` there is no `b`; in `a=b c=d` there is a `c`.
            if let Some(word) = word.or_else(|| {
                self.line
                    .get(from.wrapping_sub(1))
                    .is_some_and(|b| is_space(*b))
                    .then_some(from)
            }) {
                return Some((word, to));
            }
        }
    }
}

/// Returns whether a name in a request is this one to some application.
fn is_named(written: &[u8], name: &str) -> bool {
    let (wanted, open) = name
        .strip_suffix('*')
        .map_or((name, false), |start| (start, true));
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
        super::texts(&fields(lines), name)
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect()
    }

    #[test]
    fn what_may_lie_in_another_value_is_doubtful() {
        let is_doubtful = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::COOKIE,
                HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            );
            super::is_doubtful(&headers, "lang")
        };
        for plain in [
            "lang=de",
            "a=b; lang=de",
            "a=b;lang=de; lang=en",
            "  lang=de",
            "a=\u{e4}; x=lan",
            "lang=de; x=\"a\"",
        ] {
            assert!(!is_doubtful(plain), "{plain}");
        }
        for doubtful in [
            "x=1 lang=de",
            "a=1,lang=de",
            "=lang=de",
            "x=1;\u{a0}lang=de",
            "x=\"; lang=de; y=\"",
            "x=1;\tlang=de",
            "a=b; lang=de; x=1 lang=en",
        ] {
            assert!(is_doubtful(doubtful), "{doubtful}");
        }
    }

    #[test]
    fn all_cookies_of_a_name_are_found() {
        let lines: [&[u8]; 2] = [
            b"xauth=no; auth=first;auth=second; flag",
            b"other=a=b; auth=third",
        ];
        assert_eq!(
            texts(&lines, "auth"),
            ["auth=first", "auth=second", "auth=third"]
        );
        assert_eq!(texts(&lines, "other"), ["other=a=b"]);
        assert_eq!(texts(&lines, "flag"), ["flag"]);
        assert!(texts(&lines, "a").is_empty() && texts(&lines, "b").is_empty());
        assert_eq!(texts(&lines, "*").len(), 6);
        assert_eq!(
            texts(&[b"wp-session-1=a; WP-Session-2=b; wp=c"], "wp-session-*").len(),
            2
        );
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
            assert!(
                has(&fields(&[line]), "auth_token"),
                "{}",
                String::from_utf8_lossy(line)
            );
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
            assert!(
                !has(&fields(&[line]), "auth_token"),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
        assert!(
            has(&fields(&[b"auth_token=1"]), "auth.token"),
            "the policy's spelling does not matter either"
        );
    }

    #[test]
    fn what_may_be_part_of_a_value_is_in_its_text() {
        assert_eq!(texts(&[b"lang=de ; x=1"], "lang"), ["lang=de "]);
        assert_eq!(
            texts(&[b"lang=\"de; x=1\"; y=2"], "lang"),
            ["lang=\"de; x=1\"; y=2"]
        );
        assert_eq!(texts(&[b"lang=\"de\"; x=1"], "lang"), ["lang=\"de\""]);
        assert_eq!(texts(&[b"lang=de, fr; x=1"], "lang"), ["lang=de, fr"]);
        assert_eq!(texts(&[b"x=1 lang=de"], "lang"), ["lang=de"]);
        assert!(
            runs_on(&fields(&[b"lang=\"de", b"x=1\""]))
                && !runs_on(&fields(&[b"lang=\"de\"", b"x=1"]))
        );
    }

    #[test]
    fn what_lies_within_another_text_is_not_written_again() {
        assert_eq!(
            texts(&[b"lang=de,lang=fr lang=it; lang=es"], "lang"),
            ["lang=de,lang=fr lang=it", "lang=es"]
        );
        assert_eq!(
            texts(&[b"lang=a\" lang=\"b; x=1; lang=c"], "lang"),
            ["lang=a\" lang=\"b", "; x=1; lang=c"]
        );
        let headers = fields(&[b"lang=de,lang=fr; lang=es"]);
        let values: Vec<&[u8]> = values(&headers, "lang").collect();
        assert_eq!(values, [&b"de,lang=fr"[..], b"fr", b"es"]);
    }

    #[test]
    fn no_line_makes_texts_longer_than_itself() {
        for unit in [
            "lang,",
            "lang=lang=",
            "lang=",
            "lang ",
            "lang= lang",
            "lang\"",
            "\"lang",
            "lang=\",",
            "lang\";",
            "=lang,",
            ",;\" lang",
        ] {
            let line = unit.repeat(2000);
            for name in ["lang", "l*", "*"] {
                let headers = fields(&[line.as_bytes()]);
                let lengths: Vec<usize> = super::texts(&headers, name).map(<[u8]>::len).collect();
                assert!(lengths.iter().sum::<usize>() <= line.len(), "{unit} {name}");
                assert!(
                    lengths.len() <= line.matches(';').count() + 2,
                    "{unit} {name} {}",
                    lengths.len()
                );
            }
        }
    }

    #[test]
    fn ends_of_values_are_those_that_a_look_at_each_value_finds() {
        let plainly = |rest: &[u8]| {
            let end = rest
                .iter()
                .position(|byte| *byte == b';')
                .unwrap_or(rest.len());
            if is_odd(rest.get(..end)) {
                rest.len()
            } else {
                end
            }
        };
        // Every line of eight of these letters.
        for number in 0..4_u32.pow(8) {
            let line: Vec<u8> = (0..8)
                .map(|place| b"a;\"="[(number >> (2 * place)) as usize % 4])
                .collect();
            for found in named(&line, "*") {
                assert_eq!(
                    found.end,
                    found.value_at + plainly(&line[found.value_at..]),
                    "{}",
                    line.escape_ascii()
                );
            }
        }
    }
}
