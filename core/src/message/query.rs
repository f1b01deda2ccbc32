//! Queries of URLs as applications read them.
//!
//! Applications do not agree on what a query says. All split it at `&`, some at `;` too. Names are
//! the same to one or another if they differ only in case (ASP.NET), in percent-encoding, or in
//! `.`, space or `[` in place of `_` (PHP); `name[key]` and `name.key` may be parts of `name`;
//! brackets and `!` or `_` before a name are dropped by some. What may be one parameter to any of
//! them counts as that parameter here.

/// A parameter of a query, as it is written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    /// Name and value with what stands between them.
    pub(crate) text: &'a str,
    /// The name.
    pub(crate) name: &'a str,
    /// The value; empty if there is none.
    pub(crate) value: &'a str,
}

/// Returns the parameters of a query, as those see them who split it at `&` and at `;`.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Pair<'_>> {
    query
        .split(['&', ';'])
        .filter(|text| !text.is_empty())
        .map(|text| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            Pair { text, name, value }
        })
}

/// Returns every parameter that may have this name to an application, in their order. A `*` at the
/// end of the name stands for any ending.
pub(crate) fn all<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = Pair<'a>> {
    pairs(query).filter(|pair| may_be(pair.name, name))
}

/// Returns the values of every parameter that may have this name to an application, decoded, in
/// their order.
pub(crate) fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    all(query, name).map(|pair| decoded(pair.value.as_bytes()))
}

/// Returns whether a name in a query may be this one to an application.
pub(crate) fn may_be(written: &str, name: &str) -> bool {
    let (wanted, open) = without_star(name);
    if is_plain(written) && is_plain(wanted) {
        return same(written.as_bytes(), wanted.as_bytes(), open);
    }
    let written = lowered(written);
    let wanted = lowered(wanted);
    if same(&written, &wanted, open) {
        return true;
    }
    let wanted = folded(&wanted);
    let bare = bare(&written);
    [&written, bare, stem(bare), unmarked(bare)]
        .iter()
        .any(|form| same(&folded(form), &wanted, open))
}

/// Returns whether a name in a query is this one to every application: it is written as it is, and
/// no application can take it for another one.
pub(crate) fn is_surely(written: &str, name: &str) -> bool {
    let (wanted, open) = without_star(name);
    let wanted = wanted.as_bytes();
    if !same(written.as_bytes(), wanted, open) {
        return false;
    }
    // Whoever writes a name to its end means this one.
    if !open || written.bytes().all(is_unreserved) {
        return true;
    }
    // What others make of it must have the same name, or one with the same beginning.
    let decoded = String::from_utf8_lossy(&decoded(written.as_bytes())).into_owned();
    let decoded = decoded.as_bytes();
    [decoded, &folded(decoded), stem(decoded)]
        .iter()
        .all(|form| same(form, wanted, open))
}

/// Splits a name that is looked for from the `*` at its end, which stands for any ending.
pub(crate) fn without_star(name: &str) -> (&str, bool) {
    match name.strip_suffix('*') {
        Some(start) => (start, true),
        None => (name, false),
    }
}

fn same(written: &[u8], wanted: &[u8], open: bool) -> bool {
    if open {
        written.starts_with(wanted)
    } else {
        written == wanted
    }
}

/// Returns whether a name is the same however it is read.
fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'~')
}

/// Returns whether a query stays the same to every application when its parameters are sorted by
/// [`group`].
pub(crate) fn may_be_sorted(query: &str) -> bool {
    !query.contains(';') && pairs(query).all(|pair| has_a_group(pair.name))
}

fn has_a_group(name: &str) -> bool {
    let is_plain = |byte| is_unreserved(byte) || matches!(byte, b'[' | b']');
    name.bytes().all(is_plain) && closes(name)
}

/// Returns whether each bracket in a name has its other one.
fn closes(name: &str) -> bool {
    let (_, inner) = name.split_at(name.find('[').unwrap_or(name.len()));
    let first = !name.starts_with('[')
        && name
            .find(']')
            .is_none_or(|end| name.find('[').is_some_and(|begin| begin < end));
    first && inner.matches('[').count() == inner.matches(']').count()
}

/// Returns what is the same for all parameters whose order among each other may matter, where a
/// query may be sorted: the name without keys, in lower case.
pub(crate) fn group(name: &str) -> String {
    name.split('[')
        .next()
        .unwrap_or_default()
        .trim_start_matches(['_', '!'])
        .to_ascii_lowercase()
}

/// Decodes `%XX`.
pub(crate) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = decode_first(rest) {
        bytes.push(byte);
        rest = after;
    }
    bytes
}

/// Decodes `+` and `%XX`.
pub(crate) fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = decode_first(rest) {
        bytes.push(if byte == b'+' && rest.first() == Some(&b'+') {
            b' '
        } else {
            byte
        });
        rest = after;
    }
    bytes
}

/// Decodes the first byte of a text if it is percent-encoded, and returns it with what follows.
pub(crate) fn decode_first(text: &[u8]) -> Option<(u8, &[u8])> {
    let (first, rest) = text.split_first()?;
    if let (b'%', [high, low, after @ ..]) = (*first, rest)
        && let (Some(high), Some(low)) = (digit(*high), digit(*low))
    {
        return Some((high << 4 | low, after));
    }
    Some((*first, rest))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

fn lowered(name: &str) -> Vec<u8> {
    decoded(name.as_bytes()).to_ascii_lowercase()
}

/// A name without what applications drop around it: white space and brackets.
fn bare(name: &[u8]) -> &[u8] {
    let start = name.iter().take_while(|byte| is_dropped(**byte)).count();
    let (_, rest) = name.split_at_checked(start).unwrap_or_default();
    let after = rest.iter().rev().take_while(|byte| is_dropped(**byte));
    rest.get(..rest.len() - after.count()).unwrap_or_default()
}

fn is_dropped(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || matches!(byte, b'[' | b']')
}

/// A name without its keys: up to the first bracket, full stop or zero.
fn stem(name: &[u8]) -> &[u8] {
    let ends = |byte: &u8| matches!(byte, b'[' | b']' | b'.' | 0);
    name.split(ends).next().unwrap_or_default()
}

/// A name without the marks before it, if it has anything else.
fn unmarked(name: &[u8]) -> &[u8] {
    let marks = name.iter().take_while(|byte| matches!(byte, b'_' | b'!'));
    match name.get(marks.count()..) {
        Some(rest) if !rest.is_empty() => rest,
        Some(_) | None => name,
    }
}

/// A name with what PHP writes in place of other characters.
fn folded(name: &[u8]) -> Vec<u8> {
    let mut folded = name.to_vec();
    for byte in &mut folded {
        if matches!(byte, b'.' | b' ' | b'[') {
            *byte = b'_';
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn texts<'a>(query: &'a str, name: &'a str) -> Vec<&'a str> {
        all(query, name).map(|pair| pair.text).collect()
    }

    #[test]
    fn all_parameters_of_a_name_are_found() {
        assert_eq!(
            texts("id=1&x=2;ID=3&id[]=4&id[a]=5&i%64=6&ids=7&id", "id"),
            ["id=1", "ID=3", "id[]=4", "id[a]=5", "i%64=6", "id"]
        );
        for same in [
            "user.id=1",
            "user%20id=1",
            "user+id=1",
            "user[id=1",
            "User_ID=1",
            "user_id[]=1",
            "+user_id=1",
            "[user_id]=1",
            "_user_id=1",
            "!user_id=1",
        ] {
            assert_eq!(texts(same, "user_id"), [same]);
        }
        assert!(texts("user=1&id=2&userid=3&user-id=4&", "user_id").is_empty());
        assert_eq!(
            texts("utm_a=1&UTM_b=2&utm=3", "utm_*"),
            ["utm_a=1", "UTM_b=2"]
        );
        let values: Vec<Vec<u8>> = values("t=a%62&t=a+b;t", "t").collect();
        assert_eq!(values, [&b"ab"[..], b"a b", b""]);
    }

    #[test]
    fn only_one_spelling_is_surely_a_name() {
        for (written, name, expected) in [
            ("utm_x", "utm_*", true),
            ("utm_x[]", "utm_*", true),
            ("UTM_x", "utm_*", false),
            ("utm.x", "utm_*", false),
            ("%75tm_x", "utm_*", false),
            ("id", "id", true),
            ("id[]", "id", false),
            ("ID", "id", false),
            ("user.id", "user.id", true),
            ("user[id", "user.*", false),
            ("user.id", "user.*", false),
            ("user.id", "user*", true),
            ("a%5b", "a%5b", true),
        ] {
            assert_eq!(is_surely(written, name), expected, "{written} {name}");
        }
    }

    #[test]
    fn encoded_bytes_are_decoded_once() {
        assert_eq!(decoded(b"a%2Bb+c%zz%4%25%41"), b"a+b c%zz%4%A".to_vec());
    }
}
