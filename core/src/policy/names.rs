//! Lists of names in a profile. A `*` at the end of a name stands for any ending; what could never
//! match is refused, because a list that silently matches nothing lets one visitor's page go to the
//! next.

use http::HeaderName;

use super::compiler::Compiler;
use super::error::KeyPath;
use crate::message::hop_by_hop;

/// Reads names of cookies.
pub(super) fn cookies(c: &mut Compiler<'_>, at: &KeyPath, list: &[String]) -> Vec<String> {
    read(c, at, list, |name| {
        let is_valid =
            |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[]\\{}^|$".contains(&byte);
        if name.contains('=') {
            return Err("write the name alone, without `=` and value".to_owned());
        }
        if name.contains('[') {
            return Err(
                "write what stands before the bracket: `cart` means `cart[1]` too".to_owned(),
            );
        }
        if name.bytes().all(is_valid) {
            Ok(())
        } else {
            Err("a cookie's name has letters, digits and hyphens, and at most a `*` at its end; write each name by itself".to_owned())
        }
    })
}

/// Reads names of query parameters.
pub(super) fn parameters(c: &mut Compiler<'_>, at: &KeyPath, list: &[String]) -> Vec<String> {
    read(c, at, list, |name| {
        if !name.is_ascii() || name.contains(' ') {
            return Err("write it as it stands in URLs, percent-encoded".to_owned());
        }
        if name.contains('=') {
            return Err("write the name alone, without `=` and value".to_owned());
        }
        let is_valid = |byte: u8| byte.is_ascii_graphic() && !b"&;#?^|\\\"<>{}".contains(&byte);
        if name.bytes().all(is_valid) {
            Ok(())
        } else {
            Err("no query has a parameter with this name; write each name by itself".to_owned())
        }
    })
}

/// Reads names of request header fields.
pub(super) fn fields(c: &mut Compiler<'_>, at: &KeyPath, list: &[String]) -> Vec<String> {
    let names = read(c, at, list, |name| {
        let start = name.strip_suffix('*').unwrap_or(name);
        match HeaderName::try_from(start) {
            Err(_) if !start.is_empty() => {
                Err("this is not a header field name; use letters, digits and hyphens, and at most a `*` at its end"
                    .to_owned())
            }
            Ok(field) if hop_by_hop::is_hop_by_hop(&field) => Err(OF_A_CONNECTION.to_owned()),
            Ok(_) | Err(_) => Ok(()),
        }
    });
    names
        .into_iter()
        .map(|name| name.to_ascii_lowercase())
        .collect()
}

/// Why a field of one connection is in no list.
pub(super) const OF_A_CONNECTION: &str =
    "this field speaks of one connection and is never looked at";

/// Reads a list whose names may end with a `*`.
fn read(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    list: &[String],
    check: impl Fn(&str) -> Result<(), String>,
) -> Vec<String> {
    let mut names = Vec::new();
    for (i, name) in list.iter().enumerate() {
        let star = name.find('*').is_some_and(|star| star + 1 < name.len());
        let checked = match () {
            () if name.is_empty() => Err("a name is missing".to_owned()),
            () if star => Err("a `*` stands at the end of a name and for any ending".to_owned()),
            () => check(name),
        };
        match checked {
            Ok(()) => names.push(name.clone()),
            Err(why) => c.wrong(&at.index(i), format!("`{name}` matches nothing: {why}")),
        }
    }
    names
}
