//! Lists of forwarding fields, read from the right: what stands there was written by the nearest proxy.
//!
//! In Forwarded (RFC 7239, section 4) a quoted string may have commas and semicolons. Quotes are looked for from the right, too, so that one which a
//! client has left open does not swallow what a proxy has added.

/// Returns the members of a list, the last one first, without those that are empty.
pub(super) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    from_the_right(line, b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Returns the node that a member of Forwarded names with `for`, as it is written; `None` if it names none, or several.
pub(super) fn node(member: &[u8]) -> Option<&[u8]> {
    let mut nodes = from_the_right(member, b';').filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(equals)?;
        let value = value.get(1..)?;
        name.trim_ascii().eq_ignore_ascii_case(b"for").then_some(value.trim_ascii())
    });
    let node = nodes.next();
    node.filter(|_| nodes.next().is_none())
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
