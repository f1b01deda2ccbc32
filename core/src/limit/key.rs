//! What shares one count: keys of limits and of affinity.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderName;

use crate::cookie;
use crate::exchange::Request;
use crate::parts::push_part;

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address; IPv6 cut to this many leading bits.
    Ip {
        /// 1 to 128.
        ipv6_prefix: u8,
    },
    /// A request header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A query parameter, as it stands in the URL.
    Query(String),
    /// The path.
    Path,
    /// The name of the matching route.
    Route,
    /// The client's country.
    Country,
}

/// Appends one part to a key: absent and empty differ, and no two sequences of parts give the same bytes.
pub fn push(key: &mut Vec<u8>, part: &KeyPart, request: &Request, route: &str) {
    match part {
        KeyPart::Ip { ipv6_prefix } => match request.address {
            IpAddr::V4(v4) => push_part(key, Some(&v4.octets())),
            IpAddr::V6(v6) => push_part(key, Some(&cut(v6, *ipv6_prefix).octets())),
        },
        KeyPart::Header(name) => push_part(key, request.head.headers.get(name).map(http::HeaderValue::as_bytes)),
        KeyPart::Cookie(name) => {
            push_part(key, cookie::all(&request.head.headers, name).next().map(|found| found.value));
        }
        KeyPart::Query(name) => push_part(key, query_value(request.head.uri.query(), name)),
        KeyPart::Path => push_part(key, Some(request.path().as_bytes())),
        KeyPart::Route => push_part(key, Some(route.as_bytes())),
        KeyPart::Country => push_part(key, request.geo.country.as_ref().map(super::super::route::geo::Code::as_bytes)),
    }
}

fn cut(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
    Ipv6Addr::from(u128::from(address) & mask)
}

fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a [u8]> {
    let pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(n, _)| *n == name).map(|(_, value)| value.as_bytes()).next()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn ipv6_addresses_are_cut_to_their_prefix() {
        let address: Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        assert_eq!(cut(address, 64).to_string(), "2001:db8:1:2::");
        assert_eq!(cut(address, 128), address);
        assert_eq!(cut(address, 0).to_string(), "::");
    }

    #[test]
    fn an_empty_query_value_is_not_an_absent_one() {
        assert_eq!(query_value(Some("a=1&token"), "token"), Some(&b""[..]));
        assert_eq!(query_value(Some("a=1"), "token"), None);
        assert_eq!(query_value(None, "token"), None);
    }
}
