//! Lists of forwarding fields, read from the right: what stands there was written by the nearest
//! proxy.
//!
//! In Forwarded (RFC 7239, section 4) a quoted string may have commas and semicolons. Quotes are
//! looked for from the right, too, so that one which a client has left open does not swallow what a
//! proxy has added.

/// Returns the members of a list, the last one first, without those that are empty.
pub(super) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    from_the_right(line, b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Returns a parameter of a member of Forwarded, such as `for`, as it is written; `None` if there
/// is none, or several.
pub(super) fn parameter<'a>(member: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut values = from_the_right(member, b';').filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(equals)?;
        let value = value.get(1..)?;
        name.trim_ascii()
            .eq_ignore_ascii_case(wanted)
            .then_some(value.trim_ascii())
    });
    let value = values.next();
    value.filter(|_| values.next().is_none())
}

/// Splits at a separator outside quotes, the last piece first.
fn from_the_right(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = last_outside_quotes(text, separator);
        rest = at.and_then(|at| text.get(..at));
        text.get(at.map_or(0, |at| at + 1)..)
    })
}

fn last_outside_quotes(text: &[u8], separator: u8) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in text.iter().enumerate().rev() {
        let escaped = at > 0 && text.get(at - 1) == Some(&b'\\');
        match byte {
            b'"' if !escaped => quoted = !quoted,
            _ if *byte == separator && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn lists_are_split_outside_quotes_from_the_right() {
        let members = |line: &str| -> Vec<String> {
            members(line.as_bytes())
                .map(|member| String::from_utf8_lossy(member).into_owned())
                .collect()
        };
        assert_eq!(members("a, b,,c "), ["c", "b", "a"]);
        assert_eq!(members(r#"a, b="x,y", c"#), ["c", r#"b="x,y""#, "a"]);
        assert_eq!(members(r#"a="x, b"#), ["b", r#"a="x"#]);
        assert_eq!(members(r#"a="x\",y", b"#), ["b", r#"a="x\",y""#]);
        assert!(members(" , ,").is_empty());
    }

    #[test]
    fn a_parameter_is_found_by_its_name_and_only_once() {
        assert_eq!(parameter(b"proto=https; For = x", b"for"), Some(&b"x"[..]));
        assert_eq!(parameter(b"by=\";for=y\";for=x", b"for"), Some(&b"x"[..]));
        assert_eq!(parameter(b"for=x;for=y", b"for"), None);
        assert_eq!(parameter(b"forx=1", b"for"), None);
    }
}
