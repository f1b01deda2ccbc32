//! URLs as operators write them, in the form that requests have: percent-encoded, with hosts in
//! ASCII.

use std::borrow::Cow;
use std::fmt::Write;

use http::Uri;

use super::letters::{lower_case, stays_as_it_is};
use crate::message::query;

/// A URL that is purged. The port does not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

/// Reads a URL with or without scheme.
///
/// # Errors
/// Says what to write; nothing if it is no URL at all.
pub(super) fn read(text: &str) -> Result<Url, Option<String>> {
    let uri = absolute(text)?;
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    Ok(Url {
        host,
        path: uri.path().to_owned(),
        query: uri.query().map(str::to_owned),
    })
}

/// Reads a URL as above, as requests name it; without scheme it is `https`.
///
/// # Errors
/// As above.
pub(crate) fn absolute(text: &str) -> Result<Uri, Option<String>> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let authority = ascii_host(authority).map_err(Some)?;
    // A query may follow the host at once.
    let slash = if target.starts_with('?') { "/" } else { "" };
    let uri: Uri = format!("{scheme}://{authority}{slash}{}", encoded(target))
        .parse()
        .map_err(|_| None)?;
    let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_plain = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    if is_known && is_plain {
        Ok(uri)
    } else {
        Err(None)
    }
}

/// Encodes what a target should not have as it is (RFC 3986, section 2): characters outside ASCII,
/// and spaces.
fn encoded(target: &str) -> String {
    let mut text = String::with_capacity(target.len());
    for byte in target.bytes() {
        if byte.is_ascii() && byte != b' ' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Encodes what is outside ASCII, with digits in upper case.
pub(super) fn canonical(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut canonical = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = query::decode_first(rest) {
        let is_encoded = rest.len() - after.len() > 1;
        if is_encoded || !byte.is_ascii() {
            let _ = write!(canonical, "%{byte:02X}");
        } else {
            canonical.push(char::from(byte));
        }
        rest = after;
    }
    Cow::Owned(canonical)
}

/// Decodes what is outside ASCII, as clients send it that do not encode it.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = query::decode_first(rest) {
        let written = rest.get(..rest.len() - after.len()).unwrap_or_default();
        if byte.is_ascii() {
            bytes.extend_from_slice(written);
        } else {
            bytes.push(byte);
        }
        rest = after;
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Writes a host as DNS and requests have it (RFC 5891): labels outside ASCII in Punycode.
fn ascii_host(authority: &str) -> Result<String, String> {
    let decoded = if authority.contains('%') && !authority.contains('[') {
        String::from_utf8(query::percent_decoded(authority)).ok()
    } else {
        None
    };
    let authority = decoded
        .as_deref()
        .filter(|text| !text.contains(['/', '?', '#', '@']))
        .unwrap_or(authority);
    if authority.is_ascii() {
        return Ok(authority.to_owned());
    }
    // The full stops of East Asian scripts separate labels too.
    let plain: String = authority
        .replace(['\u{3002}', '\u{ff0e}', '\u{ff61}'], ".")
        .chars()
        .map(lower_case)
        .collect();
    let labels: Option<Vec<String>> = plain.split('.').map(ascii_label).collect();
    labels.map(|labels| labels.join(".")).ok_or_else(|| {
        format!(
            "the host `{authority}` has characters that are not converted here; write it as requests name it, with xn--"
        )
    })
}

fn ascii_label(label: &str) -> Option<String> {
    if label.is_ascii() {
        return Some(label.to_owned());
    }
    let port = label.find(':').unwrap_or(label.len());
    let (name, port) = label.split_at_checked(port)?;
    if name.is_ascii() || !name.chars().all(stays_as_it_is) {
        return None;
    }
    Some(format!("xn--{}{port}", punycode(name)?))
}

/// Encodes a label (RFC 3492). `None` for one that is far too long.
fn punycode(label: &str) -> Option<String> {
    const LONGEST: usize = 63;
    let letters: Vec<u32> = label.chars().map(u32::from).collect();
    if letters.len() > LONGEST {
        return None;
    }
    let mut text: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(text.len()).ok()?;
    let mut handled = basic;
    if basic > 0 {
        text.push('-');
    }
    let (mut next, mut delta, mut bias) = (0x80_u32, 0_u32, 72_u32);
    while usize::try_from(handled).ok()? < letters.len() {
        let smallest = letters
            .iter()
            .copied()
            .filter(|letter| *letter >= next)
            .min()?;
        delta = delta.checked_add((smallest - next).checked_mul(handled + 1)?)?;
        next = smallest;
        for letter in &letters {
            if *letter < next {
                delta += 1;
            }
            if *letter == next {
                push_number(&mut text, delta, bias);
                bias = adapted(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta += 1;
        next += 1;
    }
    Some(text)
}

fn push_number(text: &mut String, delta: u32, bias: u32) {
    let mut rest = delta;
    let mut weight = 36_u32;
    loop {
        let threshold = weight.saturating_sub(bias).clamp(1, 26);
        if rest < threshold {
            break;
        }
        text.push(digit(threshold + (rest - threshold) % (36 - threshold)));
        rest = (rest - threshold) / (36 - threshold);
        weight += 36;
    }
    text.push(digit(rest));
}

fn digit(value: u32) -> char {
    char::from_digit((value + 10) % 36, 36).unwrap_or_default()
}

fn adapted(delta: u32, handled: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / handled;
    let mut bias = 0;
    while delta > 455 {
        delta /= 35;
        bias += 36;
    }
    bias + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_written_in_several_ways_is_one() {
        for text in ["/ä/é%2f", "/%C3%A4/%C3%A9%2F", "/%c3%a4/é%2F"] {
            assert_eq!(
                (&*canonical(text), &*plain(text).to_lowercase()),
                ("/%C3%A4/%C3%A9%2F", "/ä/é%2f"),
                "{text}"
            );
        }
        // No UTF-8, and nothing that is encoded.
        assert_eq!(
            (&*canonical("/%ff%"), &*plain("/%ff%"), &*plain("/%41")),
            ("/%FF%", "/%ff%", "/%41")
        );
    }

    #[test]
    fn urls_get_the_form_that_requests_have() {
        for (text, host, path, query) in [
            (
                "https://x.example/ä?ö=ü",
                "x.example",
                "/%C3%A4",
                Some("%C3%B6=%C3%BC"),
            ),
            ("x.example/a b/%C3%A4", "x.example", "/a%20b/%C3%A4", None),
            ("x.example?ä#ö", "x.example", "/", Some("%C3%A4")),
            (
                "https://Bücher.example:8443/",
                "xn--bcher-kva.example",
                "/",
                None,
            ),
            ("b%C3%BCcher.example/a", "xn--bcher-kva.example", "/a", None),
            ("ÄÖÜ.example", "xn--4ca0bs.example", "/", None),
            ("faß.example", "xn--fa-hia.example", "/", None),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah", "/", None),
            (
                "пример。испытание",
                "xn--e1afmkfd.xn--80akhbyknj4f",
                "/",
                None,
            ),
            ("한국.example", "xn--3e0b707e.example", "/", None),
            ("[::1]:80/ä", "[::1]", "/%C3%A4", None),
        ] {
            let url = Url {
                host: host.into(),
                path: path.into(),
                query: query.map(Into::into),
            };
            assert_eq!(read(text), Ok(url), "{text}");
        }
        for text in ["u\u{308}.example", "ﬁ.example", "Ａ.example", "☃.example"] {
            assert!(
                read(text)
                    .unwrap_err()
                    .is_some_and(|fix| fix.contains("xn--")),
                "{text}"
            );
        }
        for text in [
            "",
            "a%2Fb",
            "ftp://a.example",
            "https://user@a.example/",
            "::",
            "a b.example",
        ] {
            assert_eq!(read(text), Err(None), "{text}");
        }
    }
}
