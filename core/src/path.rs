//! Paths as they are compared: equivalent spellings are one path, ambiguous ones none (RFC 3986, section 6.2.2).

/// Decodes percent-encoded characters that need no encoding, writes the remaining digits in upper case and merges slashes, so that `/%61pi/` and
/// `//api/` are `/api/`. Returns `None` when the path is written so already.
pub(crate) fn normalised(path: &str) -> Option<String> {
    if !path.contains('%') && !path.contains("//") {
        return None;
    }
    let mut pieces = path.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
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

/// Returns whether a normalised path has a `.` or `..` segment. Origins resolve such paths, matchers do not, so that a rule could be evaded.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    let bytes = path.as_bytes();
    // Nearly every path leaves here: no segment begins with a dot. `%2F` and `%5C` are separators to an origin that decodes before it resolves.
    if !bytes.windows(2).any(|pair| matches!(pair, [b'/' | b'\\' | b'F' | b'C', b'.'])) {
        return false;
    }
    let segments = path.split(['/', '\\']).flat_map(|part| part.split("%2F")).flat_map(|part| part.split("%5C"));
    segments.into_iter().any(|segment| segment == "." || segment == "..")
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
        for path in
            ["/.", "/..", "/a/../b", "/a/./b", "/%2e%2E/b", "/a/.%2e", "/%2E", "/a\\..\\b", "/a/..%2fb", "/a%5c..%5Cb"]
        {
            assert!(has_dot_segment(normalised(path).as_deref().unwrap_or(path)), "{path}");
        }
        for path in ["/", "/.well-known/x", "/a/...", "/a..b/", "/a/%2efoo"] {
            assert!(!has_dot_segment(normalised(path).as_deref().unwrap_or(path)), "{path}");
        }
    }
}
