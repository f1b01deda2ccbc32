//! Letters of host names beyond ASCII.

/// Returns a letter in lower case, if that is one that stays as it is. The standard library's table
/// has ten kilobytes, for scripts that are not converted here.
pub(super) fn lower_case(letter: char) -> char {
    let code = u32::from(letter);
    let lower = match code {
        0x41..=0x5a | 0xc0..=0xd6 | 0xd8..=0xde | 0x391..=0x3a1 | 0x3a3..=0x3ab | 0x410..=0x42f => {
            code + 0x20
        }
        0x400..=0x40f => code + 0x50,
        0x531..=0x556 => code + 0x30,
        // Pairs of which the second is in lower case.
        0x100..=0x12f
        | 0x134..=0x137
        | 0x14a..=0x177
        | 0x182..=0x185
        | 0x1a0..=0x1a5
        | 0x1de..=0x1ef
        | 0x1f8..=0x21f
        | 0x222..=0x233
        | 0x246..=0x24f
        | 0x460..=0x481
        | 0x48a..=0x4bf
        | 0x4d0..=0x52f => code | 1,
        // And of which the first is in upper case, at an odd place.
        0x139..=0x13e | 0x141..=0x148 | 0x179..=0x17e | 0x1cd..=0x1dc | 0x4c1..=0x4ce => {
            code + (code & 1)
        }
        _ => UPPER_CASE
            .iter()
            .find(|(upper, _)| *upper == code)
            .map_or(code, |(_, lower)| *lower),
    };
    char::from_u32(lower).unwrap_or(letter)
}

/// Letters that are in no row.
const UPPER_CASE: [(u32, u32); 60] = [
    (0x178, 0xff),
    (0x181, 0x253),
    (0x186, 0x254),
    (0x187, 0x188),
    (0x189, 0x256),
    (0x18a, 0x257),
    (0x18b, 0x18c),
    (0x18e, 0x1dd),
    (0x18f, 0x259),
    (0x190, 0x25b),
    (0x191, 0x192),
    (0x193, 0x260),
    (0x194, 0x263),
    (0x196, 0x269),
    (0x197, 0x268),
    (0x198, 0x199),
    (0x19c, 0x26f),
    (0x19d, 0x272),
    (0x19f, 0x275),
    (0x1a6, 0x280),
    (0x1a7, 0x1a8),
    (0x1a9, 0x283),
    (0x1ac, 0x1ad),
    (0x1ae, 0x288),
    (0x1af, 0x1b0),
    (0x1b1, 0x28a),
    (0x1b2, 0x28b),
    (0x1b3, 0x1b4),
    (0x1b5, 0x1b6),
    (0x1b7, 0x292),
    (0x1b8, 0x1b9),
    (0x1bc, 0x1bd),
    (0x1f4, 0x1f5),
    (0x1f6, 0x195),
    (0x1f7, 0x1bf),
    (0x220, 0x19e),
    (0x23a, 0x2c65),
    (0x23b, 0x23c),
    (0x23d, 0x19a),
    (0x23e, 0x2c66),
    (0x241, 0x242),
    (0x243, 0x180),
    (0x244, 0x289),
    (0x245, 0x28c),
    (0x386, 0x3ac),
    (0x388, 0x3ad),
    (0x389, 0x3ae),
    (0x38a, 0x3af),
    (0x38c, 0x3cc),
    (0x38e, 0x3cd),
    (0x38f, 0x3ce),
    (0x3f4, 0x3b8),
    (0x4c0, 0x4cf),
    (0x1e9e, 0xdf),
    (0x2126, 0x3c9),
    (0x212a, 0x6b),
    (0x212b, 0xe5),
    (0x2c7e, 0x23f),
    (0x2c7f, 0x240),
    (0xa7dc, 0x19b),
];

/// Returns whether a character in lower case is the same in a host name: letters that IDNA neither
/// maps nor composes. For others a table would be needed that is larger than all of this program's
/// decisions.
pub(super) fn stays_as_it_is(letter: char) -> bool {
    let is_plain = matches!(letter, 'a'..='z' | '0'..='9' | '-');
    let is_letter = lower_case(letter) == letter;
    let is_known = matches!(u32::from(letter),
        // Latin, Greek, Cyrillic, Armenian; not the digraphs and the apostrophe that are mapped.
        0xdf..=0xf6 | 0xf8..=0x12f | 0x131 | 0x134..=0x13e | 0x141..=0x148 | 0x14a..=0x17e
        | 0x180..=0x1c3 | 0x1cd..=0x1f0 | 0x1f4..=0x24f | 0x3ac..=0x3ce | 0x430..=0x481
        | 0x48a..=0x52f | 0x561..=0x586
        // Hebrew, Arabic, Thai.
        | 0x5d0..=0x5ea | 0x620..=0x63f | 0x641..=0x64a | 0xe01..=0xe32
        // Hiragana, Katakana, CJK, Hangul.
        | 0x3041..=0x3096 | 0x30a1..=0x30fa | 0x30fc | 0x4e00..=0x9fff | 0xac00..=0xd7a3);
    is_plain || (is_letter && is_known)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn letters_have_the_lower_case_that_the_standard_library_has() {
        for letter in '\0'..=char::MAX {
            let lower: Vec<char> = letter.to_lowercase().collect();
            match lower[..] {
                [lower] if stays_as_it_is(lower) => assert_eq!(lower_case(letter), lower),
                _ => assert!(!stays_as_it_is(lower_case(letter)), "{letter}"),
            }
            if stays_as_it_is(letter) {
                let is_letter = letter.is_alphanumeric() || letter == '-';
                assert!(is_letter && lower == [letter], "{letter}");
            }
        }
    }
}
