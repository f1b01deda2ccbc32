//! Fields that speak of one connection, or of the way from node to node (RFC 9110, section 7.6).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request};

use super::names;
use super::syntax::members;

/// Fields that speak of one connection (RFC 9110, section 7.6.1), and those that only the next hop
/// reads (section 11.7).
static HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    names::HTTP2_SETTINGS,
    names::KEEP_ALIVE,
    names::PROXY_CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHORIZATION,
];

/// Returns whether a field speaks of one connection.
#[cfg(feature = "source")]
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// Drops hop-by-hop fields and those that Connection lists.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have one or none: a look over their names costs less than a search for each.
    let mut doomed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| HOP_BY_HOP.contains(name))
        .cloned()
        .collect();
    if doomed.contains(&header::CONNECTION) {
        for name in members(headers, header::CONNECTION) {
            doomed.extend(HeaderName::from_bytes(name));
        }
    }
    for name in doomed {
        headers.remove(name);
    }
}

/// Returns whether a request asks for a WebSocket (RFC 6455, section 4.1). Other protocols are not
/// passed on: HTTP/2 over an upgraded connection, say, would reach the origin behind every rule.
pub(crate) fn wants_websocket(head: &request::Parts) -> bool {
    head.version == Version::HTTP_11
        && head
            .headers
            .get(header::UPGRADE)
            .is_some_and(|u| u.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && head.headers.get_all(header::UPGRADE).iter().count() == 1
        && lists(&head.headers, &header::CONNECTION, b"upgrade")
}

fn lists(headers: &HeaderMap, name: &HeaderName, member: &[u8]) -> bool {
    members(headers, name).any(|listed| listed.eq_ignore_ascii_case(member))
}

/// Returns over how many more nodes a request may pass, if it says so (RFC 9110, section 7.6.2).
pub(crate) fn passes_left(head: &request::Parts) -> Option<u64> {
    if head.method != Method::OPTIONS && head.method != Method::TRACE {
        return None;
    }
    head.headers
        .get(header::MAX_FORWARDS)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Adds this gateway to Via (RFC 9110, section 7.6.3), behind those already there.
pub(crate) fn add_via(headers: &mut HeaderMap, version: Version) {
    let this = if version == Version::HTTP_2 {
        HeaderValue::from_static("2 tidegate")
    } else if version == Version::HTTP_10 {
        HeaderValue::from_static("1.0 tidegate")
    } else {
        HeaderValue::from_static("1.1 tidegate")
    };
    headers.append(header::VIA, this);
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    #[test]
    fn hop_by_hop_and_listed_fields_are_dropped() {
        let mut fields = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-connection", "close"),
            ("accept", "a"),
        ]);
        strip_hop_by_hop(&mut fields);
        assert_eq!(fields, headers(&[("accept", "a")]));
    }
}
