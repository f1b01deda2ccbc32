//! Which requests have nothing to do with what is stored.

use http::{HeaderMap, Method};

use super::state::Exchange;
use crate::cache::{Mode, Profile};
use crate::message::cookie;
use crate::message::request::RequestBody;
use crate::report::Bypass;

/// Returns why the request bypasses the store, if it does.
pub(super) fn bypass(exchange: &Exchange, profile: &Profile) -> Option<Bypass> {
    let head = &exchange.request.head;
    match () {
        () if profile.mode == Mode::Never => Some(Bypass::Profile),
        // [9111-4-2] [9111-4-7]
        () if head.method != Method::GET && head.method != Method::HEAD => Some(Bypass::Method),
        () if exchange.request.body != RequestBody::Empty => Some(Bypass::Body),
        () if exchange.request.websocket => Some(Bypass::Upgrade),
        () => bypass_by_fields(&head.headers, profile),
    }
}

/// Returns why a request with these fields has nothing to do with what is stored, if so.
pub(super) fn bypass_by_fields(fields: &HeaderMap, profile: &Profile) -> Option<Bypass> {
    match () {
        () if profile
            .bypass_cookies
            .iter()
            .any(|name| cookie::has(fields, name)) =>
        {
            Some(Bypass::Cookie)
        }
        () if has_one_of(fields, &profile.bypass_headers) => Some(Bypass::Header),
        () => None,
    }
}

/// Returns whether there is a field with one of these names. CGI takes `_` for `-`.
fn has_one_of(fields: &HeaderMap, names: &[String]) -> bool {
    let folded = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let is = |field: &str, name: &str| {
        let (wanted, open) = name
            .strip_suffix('*')
            .map_or((name, false), |start| (start, true));
        let mut written = field.bytes().map(folded);
        wanted
            .bytes()
            .map(folded)
            .all(|byte| written.next() == Some(byte))
            && (open || written.next().is_none())
    };
    !names.is_empty()
        && fields
            .keys()
            .any(|field| names.iter().any(|name| is(field.as_str(), name)))
}
