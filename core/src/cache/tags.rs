//! What a response can be purged by: its tags (`Cache-Tag`, `Surrogate-Key`) and groups (RFC 9875).

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, List, ListEntry, Parser};

use super::control::split_list;
use crate::names;
use crate::purge::{self, Label};

/// Most tags and groups of a response. One that has more is not stored: it could not be purged as its origin means.
const LABELS_MAX: usize = 256;

/// Most bytes of a tag or group.
const LABEL_BYTES_MAX: usize = 1024;

/// A response has more tags and groups, or longer ones, than can be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// Reads the labels of a response of this host.
pub fn read(response: &HeaderMap, host: &str) -> Result<Vec<Label>, TooMany> {
    let mut labels = Vec::new();
    if !FIELDS.iter().chain([&names::CACHE_GROUPS]).any(|name| response.contains_key(name)) {
        return Ok(labels);
    }
    let mut add = |text: &[u8], label: &dyn Fn(&str) -> Label| {
        if labels.len() == LABELS_MAX || text.len() > LABEL_BYTES_MAX {
            return Err(TooMany);
        }
        labels.push(label(&String::from_utf8_lossy(text)));
        Ok(())
    };
    let lines = |name: &HeaderName| response.get_all(name).iter().map(HeaderValue::as_bytes);
    for tag in lines(&names::CACHE_TAG).flat_map(split_list) {
        add(tag, &purge::tag)?;
    }
    for tag in lines(&names::SURROGATE_KEY).flat_map(|line| line.split(u8::is_ascii_whitespace)) {
        if !tag.is_empty() {
            add(tag, &purge::tag)?;
        }
    }
    for group in groups(response, &names::CACHE_GROUPS) {
        add(group.as_bytes(), &|name| purge::group(host, name))?;
    }
    labels.sort_unstable();
    labels.dedup();
    Ok(labels)
}

/// The fields that speak of tags to caches only.
static FIELDS: [HeaderName; 2] = [names::CACHE_TAG, names::SURROGATE_KEY];

/// Drops the tags from what a client gets.
pub fn strip(headers: &mut HeaderMap) {
    for name in &FIELDS {
        headers.remove(name);
    }
}

/// Reads the groups that a field names: a list of strings. A field that is not one names none (RFC 9875, sections 2 and 3).
pub fn groups(response: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines: Vec<&[u8]> = response.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let members: List = Parser::new(&lines.join(&b", "[..])).parse().unwrap_or_default();
    let string = |member: &ListEntry| match member {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(text) => Some(text.as_str().to_owned()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    };
    let strings: Option<Vec<String>> = members.iter().map(string).collect();
    strings.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    #[test]
    fn tags_and_groups_are_read() {
        let response = headers(&[
            ("cache-tag", "Product-7, list ,,"),
            ("cache-tag", "x"),
            ("surrogate-key", "  product-7 home\ty "),
            ("cache-groups", "\"One\", \"two\";p"),
        ]);
        let mut expected: Vec<Label> = ["product-7", "list", "x", "home", "y"].map(purge::tag).to_vec();
        expected.extend(["One", "two"].map(|name| purge::group("shop.example", name)));
        expected.sort_unstable();
        assert_eq!(read(&response, "shop.example"), Ok(expected));
        assert_eq!(read(&headers(&[]), "shop.example"), Ok(vec![]));
    }

    #[test]
    fn groups_are_strings_or_none() {
        for void in ["a", "\"a\", b", "(\"a\")", "\"a", "1"] {
            assert!(groups(&headers(&[("cache-groups", void)]), &names::CACHE_GROUPS).is_empty(), "{void}");
        }
    }

    #[test]
    fn what_cannot_be_remembered_is_said() {
        let many: Vec<String> = (0..=LABELS_MAX).map(|i| i.to_string()).collect();
        assert_eq!(read(&headers(&[("cache-tag", &many.join(","))]), ""), Err(TooMany));
        assert!(read(&headers(&[("cache-tag", &many[1..].join(","))]), "").is_ok());
        assert_eq!(read(&headers(&[("surrogate-key", &"x".repeat(1025))]), ""), Err(TooMany));
    }
}
