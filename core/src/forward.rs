//! Heads of messages as they are passed on: hop-by-hop fields dropped, forwarding fields written
//! (RFC 9110, section 7.6; RFC 7239).

use std::net::IpAddr;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request};

use crate::message::hop_by_hop::{add_via, passes_left};
use crate::message::names;
use crate::message::request::Request;
use crate::message::syntax::push_decimal;
use crate::route::Origin;

/// Writes the head of a request to an origin, from the client's header fields. The URI has origin
/// form. `shared` says whether others may get the response.
pub(crate) fn request_head(
    request: &Request,
    mut headers: HeaderMap,
    origin: &Origin,
    shared: bool,
) -> request::Parts {
    headers.reserve(10);
    // As it is in the key.
    let asked = HeaderValue::from_str(&request.authority).ok();
    if let Some(left) = passes_left(&request.head) {
        headers.insert(
            header::MAX_FORWARDS,
            HeaderValue::from(left.saturating_sub(1)),
        );
    }
    join_cookies(&mut headers);
    if request.websocket {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    if !origin.preserve_host {
        headers.insert(header::HOST, origin.host.clone());
    } else if let Some(host) = &asked {
        headers.insert(header::HOST, host.clone());
    }
    write_forwarding(&mut headers, request, asked, shared);
    add_via(&mut headers, request.head.version);
    // RFC 8586, section 2. Whatever else is done to a request, this stays.
    headers.append(names::CDN_LOOP, HeaderValue::from_static("tidegate"));
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = request.head.method.clone();
    head.uri = origin_form(&request.head.uri);
    head.headers = headers;
    head
}

/// HTTP/2 clients split cookies over several fields; an HTTP/1.1 origin gets one (RFC 9113, section
/// 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::COOKIE);
    if lines.iter().nth(1).is_none() {
        return;
    }
    let joined = lines
        .iter()
        .map(HeaderValue::as_bytes)
        .collect::<Vec<_>>()
        .join(&b"; "[..]);
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        headers.insert(header::COOKIE, value);
    }
}

fn origin_form(uri: &Uri) -> Uri {
    if uri.authority().is_none() {
        return uri.clone();
    }
    Uri::from(
        uri.path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    )
}

/// Writes who asked, how, and for which host. What a trusted proxy wrote is continued, anything
/// else replaced. If the response may be shared, only what is known is written: a trusted proxy may
/// have passed on what its client made up.
fn write_forwarding(
    headers: &mut HeaderMap,
    request: &Request,
    host: Option<HeaderValue>,
    shared: bool,
) {
    let continues = request.from_trusted_peer && !shared;
    let client = Some(request.address)
        .filter(|address| request.from_trusted_peer && shared && *address != request.peer);
    let scheme = request.scheme.as_str();

    let mut peer = Vec::with_capacity(40);
    push_address(&mut peer, request.peer);

    let mut list = Vec::with_capacity(128);
    if continues {
        push_lines(&mut list, headers, &names::X_FORWARDED_FOR);
    } else if let Some(client) = client {
        push_address(&mut list, client);
    }
    separate(&mut list);
    list.extend_from_slice(&peer);
    set(headers, names::X_FORWARDED_FOR, &list);

    list.clear();
    if continues {
        push_lines(&mut list, headers, &header::FORWARDED);
    } else if let Some(client) = client {
        let mut text = Vec::new();
        push_address(&mut text, client);
        push_node(&mut list, client, &text);
    }
    separate(&mut list);
    push_node(&mut list, request.peer, &peer);
    for part in [";host=\"", &request.authority, "\";proto=", scheme] {
        list.extend_from_slice(part.as_bytes());
    }
    set(headers, header::FORWARDED, &list);

    if shared || !(request.from_trusted_peer && headers.contains_key(names::X_FORWARDED_PROTO)) {
        headers.insert(names::X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !(request.from_trusted_peer && headers.contains_key(names::X_FORWARDED_HOST)) {
        match host {
            Some(host) => headers.insert(names::X_FORWARDED_HOST, host),
            None => headers.remove(names::X_FORWARDED_HOST),
        };
    }
}

/// Writes an address as RFC 7239, section 6 has it.
fn push_node(into: &mut Vec<u8>, address: IpAddr, text: &[u8]) {
    let (open, close): (&[u8], &[u8]) = if address.is_ipv6() {
        (b"for=\"[", b"]\"")
    } else {
        (b"for=", b"")
    };
    into.extend_from_slice(open);
    into.extend_from_slice(text);
    into.extend_from_slice(close);
}

fn push_lines(into: &mut Vec<u8>, headers: &HeaderMap, name: &HeaderName) {
    for (position, line) in headers.get_all(name).iter().enumerate() {
        if position > 0 {
            into.extend_from_slice(b", ");
        }
        into.extend_from_slice(line.as_bytes());
    }
}

/// Begins the next member of a list.
fn separate(list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, list: &[u8]) {
    match HeaderValue::from_bytes(list) {
        Ok(list) => headers.insert(name, list),
        Err(_) => headers.remove(name),
    };
}

fn push_address(into: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (position, octet) in v4.octets().into_iter().enumerate() {
                if position > 0 {
                    into.push(b'.');
                }
                push_decimal(into, octet.into());
            }
        }
        IpAddr::V6(v6) => into.extend_from_slice(v6.to_string().as_bytes()),
    }
}
