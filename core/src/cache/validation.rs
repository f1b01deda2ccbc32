//! Conditional requests (RFC 9110, section 13; RFC 9111, section 4.3): those that ask an origin whether a stored response still holds, and those of
//! clients, answered from the store.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::control::{Control, split_list};
use super::freshness;
use super::{Asked, Profile, Stored, date, tags};
use crate::names;
use crate::time::Timestamp;

/// Request header fields that make a request conditional.
const CONDITIONS: [HeaderName; 5] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE, header::IF_RANGE];

/// Header fields that a 304 never changes in a stored response (RFC 9111, section 3.2): they speak of bytes that stay as they are. `Age` is
/// counted, and cookies belong to the one client whose request validated the response.
static KEPT: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    names::CONTENT_MD5,
    header::AGE,
    header::SET_COOKIE,
];

/// Header fields that describe a body, which a 304 has not.
static OF_THE_BODY: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_RANGE, header::CONTENT_TYPE];

/// Returns whether a response can be validated.
pub fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(header::ETAG) || date::read(response, header::LAST_MODIFIED).is_some()
}

/// Replaces a request's own conditions by those that validate `stored` (RFC 9111, section 4.3.1). Without a validator it becomes unconditional.
pub fn make_conditional(request: &mut HeaderMap, stored: &Stored) {
    remove_conditions(request);
    if let Some(tag) = stored.headers.get(header::ETAG) {
        request.insert(header::IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.headers.get(header::LAST_MODIFIED) {
        request.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
}

/// Makes a request unconditional.
pub fn remove_conditions(request: &mut HeaderMap) {
    for name in CONDITIONS {
        request.remove(name);
    }
}

/// Returns whether a 304 speaks of `stored`: its strong validators, if it has any, must agree (RFC 9111, section 4.3.4).
pub fn confirms(not_modified: &HeaderMap, stored: &Stored) -> bool {
    match (not_modified.get(header::ETAG), stored.headers.get(header::ETAG)) {
        (Some(a), Some(b)) => opaque(a.as_bytes()) == opaque(b.as_bytes()),
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// Updates a stored response by a 304 (RFC 9111, section 3.2) and computes its lifetimes anew.
pub fn update(
    stored: &Stored,
    not_modified: &HeaderMap,
    profile: &Profile,
    asked: Asked,
    host: &str,
    received: Timestamp,
) -> Arc<Stored> {
    let mut headers = stored.headers.clone();
    for name in not_modified.keys().filter(|name| !KEPT.contains(name)) {
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
    let freshness = freshness::of(stored.status, &headers, &control, profile, received);
    let initial_age = freshness::initial_age(not_modified, profile, asked.at, received);
    Arc::new(Stored {
        status: stored.status,
        received,
        initial_age,
        freshness,
        vary: stored.vary.clone(),
        born: asked.born,
        // Those that the response had reach it in any case.
        labels: tags::read(&headers, host).unwrap_or_else(|_| stored.labels.clone()),
        headers,
    })
}

/// Returns whether a client's conditions allow a 304 for a response with these header fields (RFC 9110, section 13.2.2).
pub fn not_modified(method: &Method, request: &HeaderMap, status: StatusCode, response: &HeaderMap) -> bool {
    if status != StatusCode::OK || !(method == Method::GET || method == Method::HEAD) {
        return false;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        let tag = response.get(header::ETAG).map(HeaderValue::as_bytes);
        let mut wanted = request.get_all(header::IF_NONE_MATCH).iter().flat_map(|line| split_list(line.as_bytes()));
        // Weak comparison (RFC 9110, section 8.8.3.2).
        return wanted.any(|w| w == b"*" || tag.is_some_and(|tag| opaque(tag) == opaque(w)));
    }
    let since = date::read(request, header::IF_MODIFIED_SINCE);
    // RFC 9111, section 4.3.2.
    let modified = date::read(response, header::LAST_MODIFIED).or_else(|| date::read(response, header::DATE));
    since.zip(modified).is_some_and(|(since, modified)| modified <= since)
}

/// Keeps of a response's header fields those that a 304 carries (RFC 9110, section 15.4.5): the rest describes the body.
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
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::Mode;
    use crate::cache::tests_support::{headers, profile, stored};

    fn answered_304(request: &[(&str, &str)], response: &[(&str, &str)]) -> bool {
        not_modified(&Method::GET, &headers(request), StatusCode::OK, &headers(response))
    }

    #[test]
    fn entity_tags_win_over_dates() {
        let response = [("etag", "W/\"a\""), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert!(answered_304(&[("if-none-match", "\"x\", \"a\"")], &response));
        assert!(answered_304(&[("if-none-match", "*")], &response));
        assert!(!answered_304(
            &[("if-none-match", "\"x\""), ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            &response
        ));
        assert!(answered_304(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], &response));
        assert!(!answered_304(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], &response));
        assert!(!answered_304(&[("if-modified-since", "nonsense")], &response));
        assert!(!answered_304(&[], &response));
    }

    #[test]
    fn a_304_updates_fields_but_not_those_of_the_body() {
        let old = stored(&[("cache-control", "max-age=1"), ("content-length", "5"), ("x", "old"), ("etag", "\"a\"")]);
        let fresh = headers(&[
            ("cache-control", "max-age=9"),
            ("content-length", "0"),
            ("x", "new"),
            ("x", "newer"),
            ("etag", "\"a\""),
        ]);
        let now = Timestamp::from_millis(1_700_000_100_000);
        let updated = update(&old, &fresh, &profile(Mode::Respect), Asked { at: now, born: 3 }, "", now);
        assert_eq!(updated.headers.get("content-length").unwrap(), "5");
        assert_eq!(updated.headers.get_all("x").iter().count(), 2);
        assert_eq!(updated.born, 3);
        assert_eq!((updated.freshness.lifetime, updated.received, updated.initial_age), (9000, now, 0));
    }

    #[test]
    fn a_304_with_another_tag_confirms_nothing() {
        let old = stored(&[("etag", "\"a\"")]);
        assert!(confirms(&headers(&[("etag", "W/\"a\"")]), &old));
        assert!(confirms(&headers(&[]), &old));
        assert!(!confirms(&headers(&[("etag", "\"b\"")]), &old));
    }

    #[test]
    fn validation_replaces_the_clients_conditions() {
        let mut request = headers(&[("if-none-match", "\"client\""), ("if-match", "*"), ("accept", "a")]);
        make_conditional(&mut request, &stored(&[("etag", "\"ours\"")]));
        assert_eq!(request, headers(&[("accept", "a"), ("if-none-match", "\"ours\"")]));
    }
}
