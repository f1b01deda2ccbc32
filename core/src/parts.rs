//! Bytes that stand for a list of parts, one way only.

/// Appends a part with its length before it, so that no two lists of parts give the same bytes. An
/// absent part differs from an empty one.
pub(crate) fn push_part(into: &mut Vec<u8>, part: Option<&[u8]>) {
    let Some(part) = part else {
        into.push(0);
        return;
    };
    // LEB128 of length + 1; 0 is taken by the absent part.
    let mut length = part.len().saturating_add(1);
    while length >= 0x80 {
        into.push(low_seven_bits(length) | 0x80);
        length >>= 7;
    }
    into.push(low_seven_bits(length));
    into.extend_from_slice(part);
}

/// Returns the first of the parts, with its length before it; all of them if that is an absent one.
pub(crate) fn first_part(parts: &[u8]) -> &[u8] {
    let (mut length, mut shift) = (0_usize, 0);
    for (position, byte) in parts.iter().enumerate() {
        length |= usize::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte & 0x80 == 0 {
            // One more than the length, and as many bytes for that as were read.
            let end = position.saturating_add(length);
            let part = parts.get(..end).filter(|_| length > 0);
            return part.unwrap_or(parts);
        }
    }
    parts
}

fn low_seven_bits(length: usize) -> u8 {
    u8::try_from(length & 0x7f).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{first_part, push_part};

    fn encode(parts: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            push_part(&mut bytes, *part);
        }
        bytes
    }

    #[test]
    fn different_lists_differ() {
        let lists: [&[Option<&[u8]>]; 7] = [
            &[],
            &[None],
            &[Some(b"")],
            &[Some(b"ab"), Some(b"c")],
            &[Some(b"a"), Some(b"bc")],
            &[Some(b"abc")],
            &[Some(&[b'x'; 200])],
        ];
        for (i, a) in lists.iter().enumerate() {
            for b in &lists[i + 1..] {
                assert_ne!(encode(a), encode(b));
            }
        }
        assert_eq!(encode(&[Some(&[b'x'; 200])]).len(), 202);
    }

    #[test]
    fn the_first_part_is_the_one_that_was_pushed_first() {
        for first in [
            &b""[..],
            b"a",
            &[b'x'; 127],
            &[b'x'; 128],
            &[b'x'; 200],
            &vec![b'x'; 20_000],
        ] {
            let alone = encode(&[Some(first)]);
            let both = encode(&[Some(first), Some(b"next")]);
            assert_eq!(first_part(&alone), alone);
            assert_eq!(first_part(&both), alone);
        }
        let absent = encode(&[None, Some(b"address")]);
        assert_eq!(first_part(&absent), absent);
        assert_eq!(first_part(b""), b"");
    }
}
