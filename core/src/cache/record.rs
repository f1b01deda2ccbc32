//! The head of a stored response as text, for stores outside the process.
//!
//! It is one line of visible characters, so that it fits into a field value:
//!
//! ```text
//! VERSION PACKED.
//! ```
//!
//! PACKED is the head as bytes. Those that are neither a visible character nor a space, and the per
//! cent sign, are written as `%` and two hexadecimal digits. The full stop is there because white space at the end
//! of a field value is lost.

use std::fmt::Write;

use crate::cache::stored::Stored;
use crate::message::query;
use crate::packed::{Packed, Unpacking};

/// The format's version; a record of another version is not read, so the response is fetched anew.
const VERSION: u8 = 4;

/// Writes a head.
pub fn write(stored: &Stored) -> String {
    let mut packed = Vec::new();
    stored.pack(&mut packed);
    let mut text = format!("{VERSION} ");
    text.reserve(packed.len() * 2);
    for byte in packed {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text.push('.');
    text
}

/// Reads a head; `None` for anything that this version did not write.
pub fn read(text: &str) -> Option<Stored> {
    let (version, escaped) = text.split_once(' ')?;
    if version.parse() != Ok(VERSION) {
        return None;
    }
    let packed = query::percent_decoded(escaped.strip_suffix('.')?);
    let mut from = Unpacking::of(&packed);
    let stored = Stored::unpack(&mut from);
    from.ended_well().then_some(stored)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use http::HeaderValue;

    use super::*;
    use crate::cache::tests_support::stored;

    #[test]
    fn a_head_survives_the_way_out_and_back() {
        let mut head = stored(&[
            ("etag", "\"a\""),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]);
        head.headers
            .insert("x-bytes", HeaderValue::from_bytes(b"\xfc\xff\"\\").unwrap());
        head.vary = vec![
            (http::header::ACCEPT, None),
            (http::header::COOKIE, Some(b"\xe9".to_vec())),
        ];
        head.freshness.lifetime = u64::MAX;
        (head.epoch, head.labels) = (7, vec![1, u64::MAX]);
        let text = write(&head);
        assert!(text.is_ascii() && HeaderValue::from_str(&text).is_ok());
        assert_eq!(read(&text), Some(head));
    }

    #[test]
    fn the_form_of_a_record_does_not_change_while_its_version_stays() {
        let mut head = stored(&[("etag", "\u{fc} "), ("via", "100%")]);
        head.vary = vec![(http::header::ACCEPT, Some(b"a".to_vec()))];
        let text = write(&head);
        assert_eq!(
            text,
            "4 %c8%01%02%04etag%03%c3%bc %03via%04100%25%80%d0%95%ff%bc1%00%e0%d4%03%00%00%00%00%00%01\
             %06accept%01%01a%00%00."
        );
    }

    #[test]
    fn anything_else_is_not_read() {
        let text = write(&stored(&[("etag", "\"a\"")]));
        for wrong in [
            "",
            "{}",
            "nonsense",
            "4 ",
            "4 .",
            &text.replace("4 ", "3 "),
            &text.replace("%c8%01", "%c8%7f"),
            &text.replace('.', "%00."),
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for length in 0..text.len() - 1 {
            assert_eq!(read(&text[..length]), None, "{length}");
            assert_eq!(read(&format!("{}.", &text[..length])), None, "{length}");
        }
        assert_eq!(read(text.trim_end_matches('.')), None);
    }
}
