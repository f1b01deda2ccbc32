//! Parts of a body (RFC 9110, section 14; RFC 9111, sections 3.3 and 3.4): what a client asks for,
//! what a stored response can give, and parts put together.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::cache::date;
use crate::cache::stored::Stored;
use crate::message::names;
use crate::message::syntax::split_list;
use crate::sorting::sort_by;
use crate::time::Timestamp;

/// Most ranges of a request. One that has more is answered whole: many small pieces cost more than
/// they save.
const RANGES_MAX: usize = 16;

/// What a client asks for, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// From a position on, to another one.
    From(u64, Option<u64>),
    /// So many last bytes.
    Last(u64),
}

/// Which bytes of the whole a partial response has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Position of the first.
    pub first: u64,
    /// Position of the last.
    pub last: u64,
    /// Length of the whole, if known.
    pub whole: Option<u64>,
}

/// A piece of a body put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Text(Bytes),
    /// These bytes of the stored body.
    Body(Range<u64>),
}

/// What a stored response gives to a request for ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// All of it: there is no valid request for ranges, or it does not apply.
    Whole,
    /// None of the ranges lies in it, which is so long.
    Nothing(u64),
    /// These parts of it.
    Parts(Vec<Part>),
}

impl Part {
    /// Reads the one part that a 206 has; `None` for several, or for what is not one. [9111-3.3-1]
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if status != StatusCode::PARTIAL_CONTENT {
            return None;
        }
        let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, whole) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let whole = if whole == "*" {
            None
        } else {
            Some(number(whole)?)
        };
        let valid = unit.eq_ignore_ascii_case("bytes")
            && first <= last
            && whole.is_none_or(|whole| last < whole);
        valid.then_some(Self { first, last, whole })
    }

    /// Returns the number of its bytes.
    pub fn length(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Corrects the part to the length of the body that came with it. A part that reached the end
    /// still does.
    pub(crate) fn shortened_to(self, length: u64) -> Option<Self> {
        let last = self.first.checked_add(length.checked_sub(1)?)?;
        let to_the_end = self
            .whole
            .is_some_and(|whole| self.last.checked_add(1) == Some(whole));
        let whole = if to_the_end {
            last.checked_add(1)
        } else {
            self.whole
        };
        (last <= self.last).then_some(Self {
            first: self.first,
            last,
            whole,
        })
    }

    fn is_whole(&self) -> bool {
        self.first == 0 && self.whole == Some(self.length())
    }

    /// Writes Content-Range.
    pub(crate) fn field(&self) -> Option<HeaderValue> {
        let Self { first, last, whole } = self;
        let whole = whole.map_or_else(|| "*".to_owned(), |whole| whole.to_string());
        HeaderValue::try_from(format!("bytes {first}-{last}/{whole}")).ok()
    }
}

/// Digits only: `u64::from_str` takes a sign too.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Reads a request for ranges of bytes; `None` when there is none, or none that is valid (RFC 9110,
/// section 14.2).
fn requested(request: &HeaderMap) -> Option<Vec<Spec>> {
    let mut lines = request.get_all(header::RANGE).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    let (unit, set) = line.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let specs: Option<Vec<Spec>> = split_list(set.as_bytes()).map(spec).collect();
    specs.filter(|specs| !specs.is_empty() && specs.len() <= RANGES_MAX)
}

fn spec(text: &[u8]) -> Option<Spec> {
    let (first, last) = std::str::from_utf8(text).ok()?.split_once('-')?;
    match (first, last) {
        ("", "") => None,
        ("", last) => Some(Spec::Last(number(last)?)),
        (first, "") => Some(Spec::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From(first, Some(last)))
        }
    }
}

impl Spec {
    /// Places the range in a whole of this length; `None` if it lies outside.
    fn within(self, whole: u64) -> Option<Part> {
        let end = whole.checked_sub(1)?;
        let (first, last) = match self {
            Self::From(first, last) => (first, last.unwrap_or(end).min(end)),
            Self::Last(0) => return None,
            Self::Last(count) => (whole.saturating_sub(count), end),
        };
        (first <= end).then_some(Part {
            first,
            last,
            whole: Some(whole),
        })
    }
}

/// Returns whether a request is one for ranges.
pub(crate) fn is_requested(method: &Method, request: &HeaderMap) -> bool {
    method == Method::GET && request.contains_key(header::RANGE)
}

/// Says what a stored response gives to a request. Whether it may be used at all is asked before.
pub(crate) fn give(method: &Method, request: &HeaderMap, stored: &Stored, now: Timestamp) -> Given {
    let whole = stored
        .announced_length()
        .filter(|_| stored.status == StatusCode::OK);
    let (true, Some(whole)) = (
        is_requested(method, request) && holds(request, &stored.headers, now),
        whole,
    ) else {
        return Given::Whole;
    };
    let Some(specs) = requested(request) else {
        return Given::Whole;
    };
    let parts: Vec<Part> = specs
        .into_iter()
        .filter_map(|spec| spec.within(whole))
        .collect();
    if parts.is_empty() {
        return Given::Nothing(whole);
    }
    // Overlapping ranges ask for more than there is.
    let asked = parts
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(part.length()));
    if asked > whole {
        Given::Whole
    } else {
        Given::Parts(parts)
    }
}

/// Says which part of a stored part answers a request, if it does.
pub(crate) fn give_of_part(
    method: &Method,
    request: &HeaderMap,
    stored: &Stored,
    now: Timestamp,
) -> Option<Part> {
    let part = Part::of(stored.status, &stored.headers)?;
    if !is_requested(method, request) || !holds(request, &stored.headers, now) {
        return None;
    }
    let [spec] = requested(request)?.try_into().ok()?;
    let wanted = match (part.whole, spec) {
        (Some(whole), spec) => spec.within(whole)?,
        (None, Spec::From(first, Some(last))) => Part {
            first,
            last,
            whole: None,
        },
        (None, _) => return None,
    };
    (part.first <= wanted.first && wanted.last <= part.last).then_some(wanted)
}

/// Returns whether If-Range, if there is one, lets the ranges of a response with these fields be
/// used (RFC 9110, section 13.1.5).
fn holds(request: &HeaderMap, response: &HeaderMap, now: Timestamp) -> bool {
    let Some(condition) = request.get(header::IF_RANGE).map(HeaderValue::as_bytes) else {
        return true;
    };
    if condition.starts_with(b"\"") || condition.starts_with(b"W/") {
        return strong_tag(response) == Some(condition);
    }
    // A date is a strong validator only if the response is a second younger (section 8.8.2.2).
    let told = std::str::from_utf8(condition)
        .ok()
        .and_then(|text| date::parse(text, now));
    let modified = date::read(response, header::LAST_MODIFIED, now);
    let made = date::read(response, header::DATE, now);
    let strong = modified
        .zip(made)
        .is_some_and(|(modified, made)| made.since(modified) >= 1000);
    strong && told.is_some() && told == modified
}

/// Returns the entity tag if it is a strong one.
pub(crate) fn strong_tag(headers: &HeaderMap) -> Option<&[u8]> {
    headers
        .get(header::ETAG)
        .map(HeaderValue::as_bytes)
        .filter(|tag| tag.starts_with(b"\""))
}

/// Writes the fields and the body's plan of a 206. `boundary` separates several parts.
pub(crate) fn write(
    headers: &mut HeaderMap,
    parts: &[Part],
    offset: u64,
    boundary: &str,
) -> Vec<Piece> {
    let body = |part: &Part| Piece::Body(part.first - offset..part.last + 1 - offset);
    if let [only] = parts {
        if let Some(value) = only.field() {
            headers.insert(header::CONTENT_RANGE, value);
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(only.length()));
        return vec![body(only)];
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map_or_else(Vec::new, |kind| {
            [b"content-type: ", kind.as_bytes(), b"\r\n"].concat()
        });
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    let mut length = 0_u64;
    let mut text = |pieces: &mut Vec<Piece>, text: Vec<u8>| {
        length = length.saturating_add(text.len() as u64);
        pieces.push(Piece::Text(text.into()));
    };
    for part in parts {
        let range = part.field();
        let range = range.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let head = [
            b"\r\n--",
            boundary.as_bytes(),
            b"\r\n",
            &kind,
            b"content-range: ",
            range,
            b"\r\n\r\n",
        ]
        .concat();
        text(&mut pieces, head);
        pieces.push(body(part));
    }
    text(&mut pieces, format!("\r\n--{boundary}--\r\n").into_bytes());
    let length = parts
        .iter()
        .fold(length, |sum, part| sum.saturating_add(part.length()));
    headers.remove(header::CONTENT_RANGE);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(kind) = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}")) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    pieces
}

/// Two stored parts as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combined {
    /// The head of the result, which may be complete now.
    pub head: Arc<Stored>,
    /// What of the older body comes first.
    pub before: Range<u64>,
    /// What of the older body comes after the newer one.
    pub after: Range<u64>,
}

/// Most labels of a part that another one is put to: each may bring more.
const LABELS_MAX: usize = 1024;

/// Fields that say how long and for whom a response may be used. The newer part was judged by its
/// own.
static OF_USE: [HeaderName; 7] = [
    header::CACHE_CONTROL,
    names::CDN_CACHE_CONTROL,
    names::TIDEGATE_CDN_CACHE_CONTROL,
    header::EXPIRES,
    header::PRAGMA,
    header::SET_COOKIE,
    header::VARY,
];

/// Puts a newer part to an older one of the same representation, if they touch (RFC 9111, section
/// 3.4) [9111-3.4-1]. The newer one's fields count, and those that it has not stay, but for the
/// lifetime and its like; a purge that reached either reaches both. Nothing longer than `most`
/// comes of it.
pub fn combine(old: &Stored, new: &Stored, most: u64) -> Option<Combined> {
    let (a, b) = (
        Part::of(old.status, &old.headers)?,
        Part::of(new.status, &new.headers)?,
    );
    let same =
        strong_tag(&new.headers).is_some() && strong_tag(&old.headers) == strong_tag(&new.headers);
    let touch = a.first <= b.last.saturating_add(1) && b.first <= a.last.saturating_add(1);
    if !same || !touch || a.whole.is_none() || a.whole != b.whole {
        return None;
    }
    let joined = Part {
        first: a.first.min(b.first),
        last: a.last.max(b.last),
        whole: a.whole,
    };
    if joined.length() > most || old.labels.len() > LABELS_MAX {
        return None;
    }
    let mut head = new.clone();
    let stays = |name: &&HeaderName| !new.headers.contains_key(*name) && !OF_USE.contains(name);
    for name in old.headers.keys().filter(stays) {
        head.headers.extend(
            old.headers
                .get_all(name)
                .iter()
                .map(|value| (name.clone(), value.clone())),
        );
    }
    head.epoch = old.epoch.min(new.epoch);
    head.labels.extend(&old.labels);
    sort_by(&mut head.labels, Ord::cmp);
    head.labels.dedup();
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(joined.length()));
    if joined.is_whole() {
        head.status = StatusCode::OK;
        head.headers.remove(header::CONTENT_RANGE);
    } else {
        head.headers.insert(header::CONTENT_RANGE, joined.field()?);
    }
    let before = 0..b.first.saturating_sub(a.first);
    let after = b
        .last
        .saturating_add(1)
        .saturating_sub(a.first)
        .min(a.length())..a.length();
    Some(Combined {
        head: Arc::new(head),
        before,
        after,
    })
}

#[cfg(test)]
mod tests;
