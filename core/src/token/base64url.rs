//! base64url without padding (RFC 7515, appendix C), read strictly: each text is one value, and each
//! value has one text.

/// Reads a text; `None` if it has other letters, is cut, or has bits set that belong to no byte.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for letter in text {
        bits = bits << 6 | u32::from(value(*letter)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
        bits &= (1 << count) - 1;
    }
    (count < 6 && bits == 0).then_some(bytes)
}

fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::decode;

    #[test]
    fn each_value_has_one_text() {
        // RFC 4648, section 10, without padding.
        for (text, value) in [
            ("", ""),
            ("Zg", "f"),
            ("Zm8", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg", "foob"),
            ("Zm9vYmE", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap(), value.as_bytes(), "{text}");
        }
        assert_eq!(decode(b"A-z_4ME").unwrap(), [3, 236, 255, 224, 193]);
        for text in [
            "Z", "Zm9vY", "Zg==", "Zh", "Zm9", "Zm9v Yg", "Zm+v", "Zm/v", "Zm\n8", "Zm.8",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
