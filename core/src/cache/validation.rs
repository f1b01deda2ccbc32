//! Conditional requests (RFC 9110, section 13; RFC 9111, section 4.3): those that ask an origin
//! whether a stored response still holds, and those of clients, answered from the store.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::cache::control::Control;
use crate::cache::profile::Profile;
use crate::cache::stored::{SentAt, Stored};
use crate::cache::validators::{has_validator, is_dated};
use crate::cache::{date, freshness, range, storable, tags};
use crate::message::names;
use crate::message::syntax::members;
use crate::time::Timestamp;

/// Request header fields that make a request conditional.
const CONDITIONS: [HeaderName; 5] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// Header fields that a 304 never changes in a stored response (RFC 9111, section 3.2): they speak
/// of bytes that stay as they are. `Age` is counted, and cookies belong to the one client whose
/// request validated the response. [9111-3.2-2]
static KEPT: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    names::CONTENT_MD5,
    header::AGE,
    header::SET_COOKIE,
    // RFC 9111, section 3.1.
    header::PROXY_AUTHENTICATE,
    names::PROXY_AUTHENTICATION_INFO,
];

/// Header fields that describe a body, which a 304 has not.
static OF_THE_BODY: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
];

/// Replaces a request's own conditions by those that validate `stored`, or find out which of
/// `others` is right for it too (RFC 9111, section 4.3.1). [9111-4.3.1-1] [9111-4.3.1-2] Without a
/// validator it becomes unconditional.
pub fn make_conditional(
    request: &mut HeaderMap,
    stored: Option<&Arc<Stored>>,
    others: &[Arc<Stored>],
) {
    remove_conditions(request);
    let mut tags: Vec<&[u8]> = Vec::new();
    for tag in stored
        .into_iter()
        .chain(others)
        .filter_map(|s| s.headers.get(header::ETAG))
    {
        if !tags.contains(&tag.as_bytes()) {
            tags.push(tag.as_bytes());
        }
    }
    if let Some(tags) = (!tags.is_empty())
        .then(|| HeaderValue::from_bytes(&tags.join(&b", "[..])).ok())
        .flatten()
    {
        request.insert(header::IF_NONE_MATCH, tags);
    }
    // What is no date is no validator, and no origin can compare it.
    if let Some(modified) = stored
        .filter(|s| is_dated(&s.headers))
        .and_then(|s| s.headers.get(header::LAST_MODIFIED))
    {
        request.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
}

/// Makes a request unconditional. A range that is wanted on a condition is not wanted without it.
pub fn remove_conditions(request: &mut HeaderMap) {
    if request.contains_key(header::IF_RANGE) {
        request.remove(header::RANGE);
    }
    for name in CONDITIONS {
        request.remove(name);
    }
}

/// Returns the stored response that a 304 speaks of: the one with the same entity tag, compared
/// strongly if the 304's is strong; without a tag the one that was asked about alone, unless it has
/// another modification date (RFC 9111, section 4.3.4). [9111-4.3.4-1]
pub fn confirmed(
    not_modified: &HeaderMap,
    stored: Option<&Arc<Stored>>,
    others: &[Arc<Stored>],
) -> Option<Arc<Stored>> {
    let same = |own: &[u8], tag: &[u8]| {
        if tag.starts_with(b"W/") {
            opaque(own) == opaque(tag)
        } else {
            own == tag
        }
    };
    let found = match tag_of(not_modified) {
        Some(tag) => stored
            .into_iter()
            .chain(others)
            .find(|s| tag_of(&s.headers).is_some_and(|own| same(own, tag))),
        None => stored.filter(|s| {
            let (theirs, own) = (
                not_modified.get(header::LAST_MODIFIED),
                s.headers.get(header::LAST_MODIFIED),
            );
            others.is_empty() && theirs.zip(own).is_none_or(|(theirs, own)| theirs == own)
        }),
    };
    found.map(Arc::clone)
}

/// Returns whether the answer to a HEAD describes a stored response: the same validators and the
/// same length (RFC 9111, section 4.3.5). It was asked for on condition that the response has
/// changed: if that has a validator, only the same one says that it has not. [9111-4.3.5-2]
pub fn describes(head: &HeaderMap, stored: &Stored) -> bool {
    let same = |name: &HeaderName| {
        head.get(name)
            .is_none_or(|value| stored.headers.get(name) == Some(value))
    };
    let says_so = !has_validator(&stored.headers) || has_validator(head);
    says_so
        && [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH]
            .iter()
            .all(same)
}

fn tag_of(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::ETAG).map(HeaderValue::as_bytes)
}

/// Updates a stored response by a 304 (RFC 9111, section 3.2) and computes its lifetimes anew.
/// [9111-3.2-1] [9111-4.3.4-2]
pub fn update(
    stored: &Stored,
    not_modified: &HeaderMap,
    profile: &Profile,
    asked: SentAt,
    host: &str,
    received: Timestamp,
) -> Stored {
    let mut headers = stored.headers.clone();
    for name in not_modified
        .keys()
        .filter(|name| !KEPT.contains(name) && !storable::tells_a_quota(name))
    {
        headers.remove(name);
        for value in not_modified.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if !not_modified.contains_key(header::DATE) {
        headers.insert(header::DATE, date::write(received));
    }
    let control = Control::of_response(&headers);
    for name in &control.withheld {
        headers.remove(name);
    }
    // Tags go with their fields; labels of URLs stay.
    let before = tags::read(&stored.headers, host).unwrap_or_default().labels;
    let mut labels = stored.labels.clone();
    labels.retain(|label| !before.contains(label));
    labels.extend(tags::read(&headers, host).unwrap_or_default().labels);
    let freshness = freshness::of(stored.status, &headers, &control, profile, received);
    let initial_age = freshness::initial_age(not_modified, profile, asked.at, received);
    Stored {
        status: stored.status,
        received,
        initial_age,
        freshness,
        vary: stored.vary.clone(),
        epoch: asked.epoch,
        labels,
        headers,
    }
}

/// What a client's conditions make of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// There are none, or they hold: the response is given.
    Holds,
    /// The client has it already: 304.
    NotModified,
    /// The client wants another one: 412.
    Failed,
}

/// Applies a client's conditions to a response with these header fields, in the order of RFC 9110,
/// section 13.2.2.
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    now: Timestamp,
) -> Condition {
    let reads = method == Method::GET || method == Method::HEAD;
    if !reads || !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Condition::Holds;
    }
    if !meets_requirements(request, response, now) {
        return Condition::Failed;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        // Weak comparison (RFC 9110, section 8.8.3.2).
        let known = |tag: &[u8]| {
            tag == b"*" || tag_of(response).is_some_and(|own| opaque(own) == opaque(tag))
        };
        return if listed(request, header::IF_NONE_MATCH, known) {
            Condition::NotModified
        } else {
            Condition::Holds
        };
    }
    let since = date::read(request, header::IF_MODIFIED_SINCE, now);
    // RFC 9111, section 4.3.2. [9111-4.3.2-3]
    let modified = date::read(response, header::LAST_MODIFIED, now)
        .or_else(|| date::read(response, header::DATE, now));
    let has_it = since
        .zip(modified)
        .is_some_and(|(since, modified)| modified <= since);
    if has_it {
        Condition::NotModified
    } else {
        Condition::Holds
    }
}

/// If-Match, compared strongly, or else If-Unmodified-Since.
fn meets_requirements(request: &HeaderMap, response: &HeaderMap, now: Timestamp) -> bool {
    if request.contains_key(header::IF_MATCH) {
        return listed(request, header::IF_MATCH, |tag| {
            tag == b"*" || range::strong_tag(response) == Some(tag)
        });
    }
    let since = date::read(request, header::IF_UNMODIFIED_SINCE, now);
    let modified = date::read(response, header::LAST_MODIFIED, now);
    since
        .zip(modified)
        .is_none_or(|(since, modified)| modified <= since)
}

fn listed(request: &HeaderMap, name: HeaderName, matches: impl Fn(&[u8]) -> bool) -> bool {
    members(request, name).any(matches)
}

/// Keeps of a response's header fields those that a 304 carries (RFC 9110, section 15.4.5): the
/// rest describes the body.
pub fn strip_for_not_modified(headers: &mut HeaderMap) {
    for name in &OF_THE_BODY {
        headers.remove(name);
    }
}

/// An entity tag without its weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests;
