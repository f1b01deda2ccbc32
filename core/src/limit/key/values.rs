//! What a request says for a part of a key, however it spells it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderName, header};

use crate::limit::definition::KeyPart;
use crate::message::request::Request;
use crate::message::{cookie, plain, query};
use crate::parts::push_part;

/// Most counts that one request is charged to by one limit.
pub(super) const KEYS_MAX: usize = 8;

/// Returns whether clients name nobody by this value.
pub(super) fn names_nobody(part: &KeyPart, value: &[u8]) -> bool {
    match part {
        KeyPart::Header(_) | KeyPart::Cookie(_) | KeyPart::Query(_) => value.is_empty(),
        // The path `/` is empty without its slash.
        KeyPart::Ip { .. }
        | KeyPart::Path
        | KeyPart::Route
        | KeyPart::Country
        | KeyPart::Asn
        // What an issuer has written is a value, if it is empty too.
        | KeyPart::Claim(_)
        | KeyPart::TlsSubject => false,
    }
}

/// Returns the values of a part, each once, in their order; none if the request does not have it.
pub(in crate::limit) fn values<'a>(
    part: &'a KeyPart,
    request: &'a Request,
    route: &'a str,
) -> Vec<Cow<'a, [u8]>> {
    let fields = &request.head.headers;
    let one = |value: Cow<'a, [u8]>| vec![value];
    let some = |value: Option<Cow<'a, [u8]>>| value.into_iter().collect();
    match part {
        KeyPart::Ip { ipv6_prefix } => one(address_bytes(request.address, *ipv6_prefix).into()),
        KeyPart::Header(name) => once_each(
            fields
                .get_all(name)
                .iter()
                .map(|value| header_value(name, value.as_bytes())),
        ),
        KeyPart::Cookie(name) => {
            // The whole first, which keeps affinity; then what those read who end a value early.
            let readings = cookie::values(fields, name)
                .flat_map(|value| [Some(value), some_name(shortest(value))]);
            once_each(
                readings
                    .flatten()
                    .map(|value| plain_value(&query::decoded(value)).into()),
            )
        }
        KeyPart::Query(name) => {
            let query = request.head.uri.query().unwrap_or_default();
            once_each(query::values(query, name).map(|value| plain_value(&value).into()))
        }
        KeyPart::Path => one(plain::counted(request.path())
            .into_owned()
            .into_bytes()
            .into()),
        KeyPart::Route => one(route.as_bytes().into()),
        KeyPart::Country => one(request.geo.country_or_unknown().as_bytes().to_vec().into()),
        KeyPart::Claim(name) => {
            let claim = request.claims.iter().find(|claim| claim.name == *name);
            some(claim.map(|claim| claim.value.as_bytes().into()))
        }
        KeyPart::Asn => {
            let number = request.geo.asn;
            some(number.map(|number| number.to_be_bytes().to_vec().into()))
        }
        KeyPart::TlsSubject => {
            let subject = request.tls_subject.as_ref();
            some(subject.map(|subject| subject.as_bytes().into()))
        }
    }
}

fn once_each<'a>(values: impl Iterator<Item = Cow<'a, [u8]>>) -> Vec<Cow<'a, [u8]>> {
    let mut distinct: Vec<Cow<'a, [u8]>> = Vec::with_capacity(1);
    for value in values {
        if distinct.contains(&value) {
            continue;
        }
        distinct.push(value);
        // One more than are charged says that there are too many.
        if distinct.len() > KEYS_MAX {
            break;
        }
    }
    distinct
}

fn some_name(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}

pub(super) fn header_value<'a>(name: &HeaderName, value: &'a [u8]) -> Cow<'a, [u8]> {
    let value = trimmed(value);
    if value.is_empty() || *name != header::AUTHORIZATION && *name != header::PROXY_AUTHORIZATION {
        return value.into();
    }
    // RFC 9110, section 11.4: the scheme in any case, then spaces.
    let end = value
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end).unwrap_or((value, b""));
    [&scheme.to_ascii_lowercase()[..], b" ", trimmed(rest)]
        .concat()
        .into()
}

/// Returns a decoded value without the white space and the quotes around it.
pub(super) fn plain_value(value: &[u8]) -> Vec<u8> {
    let bare = trimmed(value);
    bare.strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""))
        .map_or(bare, trimmed)
        .to_vec()
}

/// Returns what some application reads of a cookie's value at least: it ends at white space, a
/// comma, a semicolon or a quote, and a quote may begin it.
fn shortest(value: &[u8]) -> &[u8] {
    let value = trimmed(value);
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    if let Ok(text) = std::str::from_utf8(value) {
        let ends = |c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '"' | '\u{feff}')
        };
        return text.split(ends).next().unwrap_or_default().as_bytes();
    }
    let ends = |byte: &u8| *byte <= b' ' || matches!(byte, b',' | b';' | b'"' | 0x7f..=0xa0);
    value.split(ends).next().unwrap_or_default()
}

/// Drops what some library trims as white space: that of Unicode in text, that of Latin-1 in other
/// bytes.
fn trimmed(value: &[u8]) -> &[u8] {
    if let Ok(text) = std::str::from_utf8(value) {
        return text
            .trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}')
            .as_bytes();
    }
    let kept = |byte: &u8| *byte > b' ' && !matches!(byte, 0x7f..=0xa0);
    let start = value.iter().position(kept).unwrap_or(value.len());
    let end = value.iter().rposition(kept).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

pub(super) fn address_bytes(address: IpAddr, ipv6_prefix: u8) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => cut(v6, ipv6_prefix).octets().to_vec(),
    }
}

pub(super) fn push_address(key: &mut Vec<u8>, address: IpAddr, ipv6_prefix: u8) {
    match address {
        IpAddr::V4(v4) => push_part(key, Some(&v4.octets())),
        IpAddr::V6(v6) => push_part(key, Some(&cut(v6, ipv6_prefix).octets())),
    }
}

fn cut(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX
        .checked_shl(128 - u32::from(prefix.min(128)))
        .unwrap_or(0);
    Ipv6Addr::from(u128::from(address) & mask)
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
    fn spellings_of_a_header_field_are_one_value() {
        let key = HeaderName::from_static("x-api-key");
        for value in [
            &b"KEY1"[..],
            b" KEY1",
            b"KEY1\t ",
            b"\xa0KEY1",
            b"\xc2\xa0KEY1 ",
        ] {
            assert_eq!(header_value(&key, value), &b"KEY1"[..]);
        }
        for value in [
            &b"Bearer x"[..],
            b"bearer x",
            b"BEARER   x ",
            b" Bearer \tx",
        ] {
            assert_eq!(
                header_value(&header::AUTHORIZATION, value),
                &b"bearer x"[..]
            );
        }
        assert_ne!(header_value(&key, b"KEY1"), header_value(&key, b"key1"));
        for value in [
            &b"a b"[..],
            b" a b\t",
            b"\"a b\"",
            b"\xc2\xa0\" a b\" ",
            b"\xa0a b",
        ] {
            assert_eq!(plain_value(value), b"a b");
        }
        assert_eq!(plain_value("\u{e0}\u{a0}".as_bytes()), "\u{e0}".as_bytes());
    }

    #[test]
    fn the_shortest_reading_ends_at_whatever_ends_a_value_somewhere() {
        let values = [
            "abc",
            "abc,1",
            "abc 1",
            "abc\t1",
            "abc\u{a0}1",
            "abc\"1",
            "\"abc\"",
            "\"abc\" 1",
            " \"abc\",1",
            "\"abc; x=1",
        ];
        for value in values {
            assert_eq!(shortest(value.as_bytes()), b"abc", "{value}");
        }
        assert_eq!(shortest(b"abc\xa0\xff"), b"abc");
        assert_eq!(shortest(b"%22a%2Cb"), b"%22a%2Cb");
        assert_eq!(shortest("\u{e9},1".as_bytes()), "\u{e9}".as_bytes());
        assert_eq!(shortest(b", abc"), b"");
    }

    #[test]
    fn only_as_many_values_are_looked_at_as_matter() {
        let mut looked_at = 0_u8;
        let endless = std::iter::repeat_with(|| {
            looked_at += 1;
            Cow::from(vec![looked_at])
        });
        assert_eq!(once_each(endless).len(), KEYS_MAX + 1);
    }

    #[test]
    fn an_empty_value_names_nobody() {
        let key = HeaderName::from_static("x-api-key");
        let header = KeyPart::Header(key.clone());
        for value in [&b""[..], b" ", b"\t", b"\xc2\xa0", b"\xa0"] {
            assert!(names_nobody(&header, &header_value(&key, value)));
            assert!(names_nobody(
                &header,
                &header_value(&header::AUTHORIZATION, value)
            ));
        }
        for value in [&b"\"\""[..], b" \" \" ", b""] {
            assert!(names_nobody(
                &KeyPart::Cookie("a".into()),
                &plain_value(value)
            ));
        }
        assert!(!names_nobody(&header, b"0") && !names_nobody(&KeyPart::Path, b""));
    }
}
