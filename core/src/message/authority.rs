//! Host and port, as requests name them (RFC 3986, section 3.2; RFC 9110, section 4.2).
//!
//! Why: whoever can write one host in two ways has two keys, two counts and two routes. So every
//! spelling becomes one, and what is no host is refused.

use std::net::Ipv6Addr;

/// Longest authority that is read.
const BYTES_MAX: usize = 255;

/// Reads an authority. The host is in lower case and without the root's dot, the port a plain
/// number; an empty port is none. `None` for anything else.
pub(crate) fn read(text: &str) -> Option<String> {
    if text.len() > BYTES_MAX {
        return None;
    }
    if is_plain(text.as_bytes()) {
        return Some(text.to_owned());
    }
    let (host, port) = split(text);
    let mut authority = if host.starts_with('[') {
        let inner = host.strip_prefix('[')?.strip_suffix(']')?;
        format!("[{}]", inner.parse::<Ipv6Addr>().ok()?)
    } else {
        let host = host.strip_suffix('.').unwrap_or(host);
        if !is_name(host) {
            return None;
        }
        host.to_ascii_lowercase()
    };
    if let Some(port) = port.filter(|port| !port.is_empty()) {
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let port: u16 = port.parse().ok()?;
        authority.push(':');
        authority.push_str(&port.to_string());
    }
    Some(authority)
}

/// Returns whether an authority is written as it is to be: nearly all are.
fn is_plain(text: &[u8]) -> bool {
    let mut before = b'.';
    for (at, byte) in text.iter().enumerate() {
        let allowed =
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if *byte == b':' {
            return before != b'.' && is_plain_port(text.get(at + 1..).unwrap_or_default());
        }
        if !allowed && (*byte != b'.' || before == b'.') {
            return false;
        }
        before = *byte;
    }
    before != b'.'
}

fn is_plain_port(text: &[u8]) -> bool {
    let is_number =
        text.iter().all(u8::is_ascii_digit) && text.first().is_some_and(|digit| *digit != b'0');
    is_number && (text.len() < 5 || (text.len() == 5 && text <= &b"65535"[..]))
}

/// Splits off what stands behind the last colon outside brackets.
fn split(text: &str) -> (&str, Option<&str>) {
    let after_brackets = if text.starts_with('[') {
        text.rfind(']').map_or(0, |at| at + 1)
    } else {
        0
    };
    match text.get(after_brackets..).and_then(|rest| rest.find(':')) {
        Some(colon) => {
            let (host, rest) = text.split_at(after_brackets + colon);
            (host, rest.get(1..))
        }
        None => (text, None),
    }
}

fn is_name(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !host.is_empty()
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !host.contains("..")
        && host.bytes().all(allowed)
}

/// Returns how much of an authority that was read is the host.
pub(crate) fn host_length(authority: &str) -> usize {
    if authority.as_bytes().contains(&b':') {
        split(authority).0.len()
    } else {
        authority.len()
    }
}

/// Returns an authority without the port that its scheme has anyway (RFC 9110, section 4.2.3).
pub(crate) fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    authority
        .strip_suffix(if scheme == "https" { ":443" } else { ":80" })
        .unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn every_spelling_of_a_host_is_one() {
        let cases = [
            ("shop.example", "shop.example"),
            ("Shop.Example.", "shop.example"),
            ("shop.example:", "shop.example"),
            ("shop.example.:", "shop.example"),
            ("shop.example:8080", "shop.example:8080"),
            ("shop.example:08080", "shop.example:8080"),
            ("a_b-c.example:80", "a_b-c.example:80"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("a:65535", "a:65535"),
            ("a:0", "a:0"),
            ("a:00", "a:0"),
            ("[2001:DB8:0::1]:443", "[2001:db8::1]:443"),
            ("[::1]", "[::1]"),
            ("[::1]:", "[::1]"),
        ];
        for (text, authority) in cases {
            assert_eq!(read(text).as_deref(), Some(authority), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_none() {
        let wrong = [
            "",
            ".",
            "..",
            ":80",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:99999",
            "a:100000",
            "a:-1",
            "a:+1",
            "a: 1",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "x[::1]",
            "[a]",
            "[]",
            "[[::1]]",
            "[::1]:x",
            "a]b",
            "a[b",
            "a/b",
            "user@a",
            "a b",
            "a,b",
            "a%41",
            "ä",
            ".a",
            "a..b",
            "a..",
            "[::1%25eth0]",
            "a#b",
            "a?b",
            "a\\b",
        ];
        for text in wrong {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"a".repeat(256)), None);
    }

    #[test]
    fn the_port_is_no_part_of_the_host() {
        for (authority, host) in [
            ("a.example:80", "a.example"),
            ("a.example", "a.example"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(authority.get(..host_length(authority)), Some(host));
        }
    }
}
