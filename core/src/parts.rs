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

fn low_seven_bits(length: usize) -> u8 {
    u8::try_from(length & 0x7f).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::push_part;

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
}
