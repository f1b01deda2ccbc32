//! Paths as they are compared: equivalent spellings are one path, ambiguous ones none (RFC 3986,
//! section 6.2.2).

use crate::message::query;

/// Decodes percent-encoded characters that need no encoding, writes the remaining digits in upper
/// case and merges slashes, so that `/%61pi/` and `//api/` are `/api/`. Returns `None` when the
/// path is written so already.
pub(crate) fn normalised(path: &str) -> Option<String> {
    if !path.contains('%') && !path.contains("//") {
        return None;
    }
    let mut pieces = path.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece
            .get(..2)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some((digits, rest)) = digits.zip(piece.get(2..)) else {
            text.push('%');
            text.push_str(piece);
            continue;
        };
        let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&digits.to_ascii_uppercase());
        }
        text.push_str(rest);
    }
    while text.contains("//") {
        text = text.replace("//", "/");
    }
    (text != path).then_some(text)
}

/// Returns whether a normalised path has a segment that is `.` or `..` to some origin: as it
/// stands, after decoding it again (`%252e`, `%c0%ae`, `%u002e`), without parameters (`..;a`), or
/// without white space. Origins resolve such paths, matchers do not, so that a rule could be
/// evaded.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    let bytes = path.as_bytes();
    let begins_with_a_dot = bytes
        .windows(2)
        .any(|pair| matches!(pair, [b'/' | b'\\', b'.']));
    // Nearly every path leaves here.
    if !begins_with_a_dot && !may_hide_a_dot(bytes) {
        return false;
    }
    let mut path = bytes.to_vec();
    for _ in 0..DECODED_MAX {
        if path
            .split(|byte| matches!(byte, b'/' | b'\\'))
            .any(is_dot_segment)
        {
            return true;
        }
        let decoded = decoded_loosely(&path);
        if decoded == path {
            return false;
        }
        path = decoded;
    }
    // Nothing is encoded so many times for a good reason.
    true
}

/// Returns whether something is encoded that may be a dot after decoding it again, or stand before
/// one.
fn may_hide_a_dot(path: &[u8]) -> bool {
    let is_suspect = |rest: &[u8]| {
        matches!(
            rest,
            [b'u' | b'U', ..]
                | [b'2', b'5', ..]
                | [b'C', b'0' | b'1', ..]
                | [b'E', b'0', ..]
                | [_, _, b'.', ..]
        )
    };
    path.split(|byte| *byte == b'%').skip(1).any(is_suspect)
}

/// How many times a path is decoded at most.
const DECODED_MAX: usize = 4;

fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment
        .split(|byte| matches!(byte, b';' | b'?' | b'#' | 0))
        .next()
        .unwrap_or_default();
    let is_space = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    let start = name
        .iter()
        .position(|byte| !is_space(byte))
        .unwrap_or(name.len());
    let end = name
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(start, |last| last + 1);
    matches!(name.get(start..end), Some(b"." | b".."))
}

/// Decodes as the most careless of origins do: also `%uXXXX`, and characters of ASCII that are
/// written in two or three bytes.
fn decoded_loosely(path: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = query::decode_first(rest) {
        rest = after;
        bytes.push(byte);
        if let (b'%', [b'u' | b'U', b'0', b'0', high, low, after @ ..]) = (byte, rest)
            && let Some((byte, [])) = query::decode_first(&[b'%', *high, *low])
        {
            rest = after;
            bytes.pop();
            bytes.push(byte);
        }
        if let [.., lead @ (0xc0 | 0xc1), next @ 0x80..=0xbf] = *bytes {
            let plain = (lead & 1) << 6 | (next & 0x3f);
            bytes.truncate(bytes.len().saturating_sub(2));
            bytes.push(plain);
        }
        if let [.., 0xe0, lead @ (0x80 | 0x81), next @ 0x80..=0xbf] = *bytes {
            bytes.truncate(bytes.len().saturating_sub(3));
            bytes.push((lead & 1) << 6 | (next & 0x3f));
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{has_dot_segment, normalised};

    #[test]
    fn equivalent_spellings_are_one_path() {
        let cases = [
            ("/%61pi/", Some("/api/")),
            ("/a%2fb", Some("/a%2Fb")),
            ("/a%2Fb", None),
            ("/%7Euser/%c3%a4", Some("/~user/%C3%A4")),
            ("/100%", None),
            ("/%zz%4", None),
            ("/%%361", Some("/%61")),
            ("//a///b/", Some("/a/b/")),
            ("/plain", None),
        ];
        for (path, expected) in cases {
            assert_eq!(normalised(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn dot_segments_are_found_in_every_spelling() {
        for path in [
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2E/b",
            "/a/.%2e",
            "/%2E",
            "/a\\..\\b",
            "/a/..%2fb",
            "/a%5c..%5Cb",
            "/a/..;/b",
            "/a/.;/b",
            "/a/..;x=1/b",
            "/a/..%3b/b",
            "/a/%2e%2e%3Bx/b",
            "/a/..;",
            "/a;x/..;y/b",
            "/a/%252e%252e/b",
            "/a/%252e%252e%253b/b",
            "/a%252f..%252fb",
            "/a/%25252e%25252e/b",
            "/a/..%20/b",
            "/a/..%00/b",
            "/a/..%09",
            "/a/%c0%ae%c0%ae/b",
            "/a%c0%af..%c0%afb",
            "/a/%e0%80%ae%e0%80%ae/b",
            "/a/%u002e%u002e/b",
            "/a/..%3f/b",
            "/a/..%23",
        ] {
            assert!(
                has_dot_segment(normalised(path).as_deref().unwrap_or(path)),
                "{path}"
            );
        }
        for path in [
            "/",
            "/.well-known/x",
            "/a/...",
            "/a..b/",
            "/a/%2efoo",
            "/a;b/c",
            "/a/.x;y",
            "/%C3%A4/100%25",
            "/a%20b/c.d",
            "/..a;b",
            "/%7E/%5B.%5D",
            "/a%2Fb",
        ] {
            assert!(
                !has_dot_segment(normalised(path).as_deref().unwrap_or(path)),
                "{path}"
            );
        }
    }
}
