//! The operators' token: who shows it, and that no origin ever sees it.

use std::fmt;

use http::{HeaderMap, HeaderName, header};

/// Shortest token about which `serve` says nothing: 16 characters, as 8 random bytes in hexadecimal
/// digits have.
pub const CHARACTERS_MIN: usize = 16;

/// The scheme of the token (RFC 6750).
const SCHEME: &[u8] = b"bearer";

/// What operators show. Its text is in no log and no debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<[u8]>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What a request says of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// No token.
    Nothing,
    /// The token.
    Right,
    /// Another token: a guess, or an old one.
    Wrong,
}

impl Token {
    /// Takes a token without the white space around it; an empty one is none.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.as_bytes().into()))
    }

    /// Returns whether it is so short that it could be guessed.
    pub fn is_short(&self) -> bool {
        self.0.len() < CHARACTERS_MIN
    }

    /// Says what a request shows: exactly one field, `Authorization: Bearer TOKEN`.
    pub fn shown(&self, headers: &HeaderMap) -> Shown {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Shown::Nothing,
            (Some(line), None)
                if bearer(line.as_bytes()).is_some_and(|token| same(token, &self.0)) =>
            {
                Shown::Right
            }
            (Some(_), _) => Shown::Wrong,
        }
    }

    /// Returns whether the token stands anywhere in a field by which a client says who it is,
    /// whatever its scheme, case and number, also in credentials of Basic: such a request goes to
    /// no origin.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        headers
            .iter()
            .any(|(name, value)| says_who(name) && self.is_within(value.as_bytes()))
    }

    fn is_within(&self, value: &[u8]) -> bool {
        if contains(value, &self.0) {
            return true;
        }
        // Words that are base64, as in `Basic dXNlcjpzZWNyZXQ=`.
        let is_other = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"+/-_".contains(byte));
        value
            .split(is_other)
            .any(|word| contains(&decoded(word), &self.0))
    }
}

/// Returns the token of a Bearer field.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let separated = token.first().is_some_and(is_space);
    let start = token
        .iter()
        .position(|byte| !is_space(byte))
        .unwrap_or(token.len());
    (separated && scheme.eq_ignore_ascii_case(SCHEME))
        .then(|| token.get(start..).unwrap_or_default().trim_ascii_end())
}

/// Compares in a time that says nothing about where the difference is.
fn same(shown: &[u8], token: &[u8]) -> bool {
    let difference = shown
        .iter()
        .zip(token)
        .fold(0, |difference, (a, b)| difference | (a ^ b));
    shown.len() == token.len() && difference == 0
}

/// Returns whether the token stands anywhere in a text. Every place is looked at, so that the time
/// tells nothing.
fn contains(text: &[u8], token: &[u8]) -> bool {
    text.windows(token.len())
        .fold(false, |found, window| found | same(window, token))
}

/// Returns whether a field says who the client is: Authorization, Proxy-Authorization,
/// X-Forwarded-Authorization and their like.
fn says_who(name: &HeaderName) -> bool {
    name.as_str().ends_with("authorization")
}

/// Decodes base64 in both of its alphabets (RFC 4648), without padding.
fn decoded(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in word {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(low_byte(bits >> held));
        }
    }
    bytes
}

fn low_byte(bits: u32) -> u8 {
    let [.., low] = bits.to_be_bytes();
    low
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    #[test]
    fn a_token_is_compared_whole() {
        let token = Token::new(" secret\n").unwrap();
        let shown = |value: &str| token.shown(&headers(&[("authorization", value)]));
        for value in ["Bearer secret", "bearer  secret", "BEARER\tsecret "] {
            assert_eq!(shown(value), Shown::Right, "{value}");
        }
        for value in [
            "Bearer secre",
            "Bearer secret2",
            "Bearer Secret",
            "secret",
            "Basic secret",
            "Bearer ",
            "Bearersecret",
            "",
        ] {
            assert_eq!(shown(value), Shown::Wrong, "{value}");
        }
        assert_eq!(token.shown(&headers(&[])), Shown::Nothing);
        let twice = headers(&[
            ("authorization", "Bearer secret"),
            ("authorization", "Bearer secret"),
        ]);
        assert_eq!(token.shown(&twice), Shown::Wrong);
        assert_eq!(Token::new(" "), None);
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn a_token_is_found_wherever_it_stands() {
        let token = Token::new("s3cret-token/9+").unwrap();
        for (name, value) in [
            ("authorization", "Bearer s3cret-token/9+"),
            ("authorization", "bEaReR   s3cret-token/9+  "),
            ("authorization", "s3cret-token/9+"),
            ("authorization", "Bearer a, Bearer s3cret-token/9+"),
            ("authorization", "Token token=\"s3cret-token/9+\""),
            ("proxy-authorization", "Bearer s3cret-token/9+"),
            ("x-forwarded-authorization", "Bearer s3cret-token/9+"),
            // admin:s3cret-token/9+
            ("authorization", "Basic YWRtaW46czNjcmV0LXRva2VuLzkr"),
            // s3cret-token/9+:
            ("authorization", "Basic czNjcmV0LXRva2VuLzkrOg=="),
        ] {
            assert!(token.is_in(&headers(&[(name, value)])), "{name}: {value}");
        }
        let second = headers(&[
            ("authorization", "Bearer other"),
            ("authorization", "Bearer s3cret-token/9+"),
        ]);
        assert!(token.is_in(&second));
        for (name, value) in [
            ("authorization", "Bearer s3cret-token/9"),
            ("authorization", ""),
            ("x-other", "s3cret-token/9+"),
        ] {
            assert!(!token.is_in(&headers(&[(name, value)])), "{name}: {value}");
        }
    }
}
