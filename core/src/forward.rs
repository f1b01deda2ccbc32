//! Heads of messages as they are passed on: hop-by-hop fields dropped, forwarding fields written (RFC 9110, section 7.6; RFC 7239).

use std::net::IpAddr;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, request};

use crate::cache::control::split_list;
use crate::exchange::Request;
use crate::names;
use crate::route::Origin;

/// Fields that speak of one connection (RFC 9110, section 7.6.1), and those that only the next hop reads (section 11.7).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    names::KEEP_ALIVE,
    names::PROXY_CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHORIZATION,
];

/// Drops hop-by-hop fields and those that Connection lists.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let lines = headers.get_all(header::CONNECTION);
        let listed: Vec<HeaderName> = lines
            .iter()
            .flat_map(|line| split_list(line.as_bytes()))
            .filter_map(|n| HeaderName::from_bytes(n).ok())
            .collect();
        for name in listed {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Returns whether a request asks for another protocol on its connection (RFC 9110, section 7.8).
pub(crate) fn wants_upgrade(head: &request::Parts) -> bool {
    head.version == Version::HTTP_11
        && head.headers.contains_key(header::UPGRADE)
        && lists(&head.headers, &header::CONNECTION, b"upgrade")
}

fn lists(headers: &HeaderMap, name: &HeaderName, member: &[u8]) -> bool {
    headers.get_all(name).iter().flat_map(|line| split_list(line.as_bytes())).any(|m| m.eq_ignore_ascii_case(member))
}

/// Writes the head of a request to an origin. `believed` tells whether the peer is a trusted proxy, whose forwarding fields are continued.
pub(crate) fn request_head(request: &Request, origin: &Origin, believed: bool, upgrade: bool) -> request::Parts {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = request.head.method.clone();
    head.uri = origin_uri(&request.head.uri, origin);
    head.headers = request.head.headers.clone();
    let upgrade_to = head.headers.get(header::UPGRADE).cloned().filter(|_| upgrade);
    strip_hop_by_hop(&mut head.headers);
    // The shell's HTTP library answers expectations itself.
    head.headers.remove(header::EXPECT);
    if let Some(protocol) = upgrade_to {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, protocol);
    }
    let host = if origin.preserve_host { &request.authority } else { origin.authority.as_str() };
    if let Ok(host) = HeaderValue::from_str(host) {
        head.headers.insert(header::HOST, host);
    }
    write_forwarding(&mut head.headers, request, believed);
    add_via(&mut head.headers, request.head.version);
    head
}

fn origin_uri(uri: &Uri, origin: &Origin) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(origin.scheme.clone());
    parts.authority = Some(origin.authority.clone());
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}

fn write_forwarding(headers: &mut HeaderMap, request: &Request, believed: bool) {
    let peer = request.peer;
    let proto = request.scheme.as_str();
    append_or_replace(headers, names::X_FORWARDED_FOR, &peer.to_string(), believed);
    let node = match peer {
        IpAddr::V4(v4) => format!("for={v4}"),
        IpAddr::V6(v6) => format!("for=\"[{v6}]\""),
    };
    let element = format!("{node};host=\"{}\";proto={proto}", request.authority);
    append_or_replace(headers, header::FORWARDED, &element, believed);
    keep_or_replace(headers, names::X_FORWARDED_PROTO, proto, believed);
    keep_or_replace(headers, names::X_FORWARDED_HOST, &request.authority, believed);
}

fn append_or_replace(headers: &mut HeaderMap, name: HeaderName, member: &str, believed: bool) {
    let lines = headers.get_all(&name);
    let mut members: Vec<&str> =
        if believed { lines.iter().filter_map(|line| line.to_str().ok()).collect() } else { Vec::new() };
    members.push(member);
    let joined = HeaderValue::try_from(members.join(", "));
    match joined {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

fn keep_or_replace(headers: &mut HeaderMap, name: HeaderName, value: &str, believed: bool) {
    if believed && headers.contains_key(&name) {
        return;
    }
    match HeaderValue::from_str(value) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
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
