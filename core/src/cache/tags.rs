//! What a response can be purged by: its tags (`Cache-Tag`, `Surrogate-Key`) and groups (RFC 9875).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::message::names;
use crate::message::structured::{self, Value};
use crate::message::syntax::split_list;
use crate::purge::label;
use crate::purge::label::Label;
use crate::sorting::sort_by;

/// Most tags of a response that are remembered one by one, and most bytes of them: what Cloudflare
/// takes. Of one that has more, the rest is one tag, which every purge of a tag reaches.
const TAGS_MAX: usize = 1000;
const TAG_BYTES_MAX: usize = 16 << 10;

/// Most groups of a response. One that has more is not stored: it could not be purged as its origin
/// means.
const GROUPS_MAX: usize = 256;

/// Most bytes of a tag or group. A response with a longer one is not stored.
const LABEL_BYTES_MAX: usize = 1024;

/// A response has longer tags or groups, or more groups, than can be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// The labels of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Those of its tags and groups, sorted.
    pub labels: Vec<Label>,
    /// Whether it has more tags than are remembered, so that any purge of a tag reaches it.
    pub cut: bool,
}

/// Reads the labels of a response of this host.
pub fn read(response: &HeaderMap, host: &str) -> Result<Read, TooMany> {
    let mut read = Read::default();
    if !FIELDS
        .iter()
        .chain([&names::CACHE_GROUPS])
        .any(|name| response.contains_key(name))
    {
        return Ok(read);
    }
    let lines = |name: &HeaderName| response.get_all(name).iter().map(HeaderValue::as_bytes);
    let tags = lines(&names::CACHE_TAG).flat_map(split_list);
    let keys = lines(&names::SURROGATE_KEY).flat_map(|line| line.split(u8::is_ascii_whitespace));
    let mut bytes = 0;
    for tag in tags.chain(keys).filter(|tag| !tag.is_empty()) {
        if tag.len() > LABEL_BYTES_MAX {
            return Err(TooMany);
        }
        bytes += tag.len() + 1;
        if bytes > TAG_BYTES_MAX || read.labels.len() == TAGS_MAX {
            read.cut = true;
            read.labels.push(label::any_tag());
            break;
        }
        read.labels.push(label::tag(&String::from_utf8_lossy(tag)));
    }
    let groups = groups(response, &names::CACHE_GROUPS);
    if groups.len() > GROUPS_MAX || groups.iter().any(|group| group.len() > LABEL_BYTES_MAX) {
        return Err(TooMany);
    }
    read.labels
        .extend(groups.iter().map(|group| label::group(host, group)));
    sort_by(&mut read.labels, Ord::cmp);
    read.labels.dedup();
    Ok(read)
}

/// The fields that speak of tags to caches only.
static FIELDS: [HeaderName; 2] = [names::CACHE_TAG, names::SURROGATE_KEY];

/// Drops the tags from what a client gets.
pub fn strip(headers: &mut HeaderMap) {
    for name in &FIELDS {
        headers.remove(name);
    }
}

/// Reads the groups that a field names: a list of strings. A field that is not one names none (RFC
/// 9875, sections 2 and 3).
pub fn groups(response: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let field = structured::joined(response, name);
    let mut groups = Vec::new();
    for member in structured::list(&field).unwrap_or_default() {
        let Value::String(group) = member.value else {
            return Vec::new();
        };
        groups.push(group);
    }
    groups
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
        let mut expected: Vec<Label> = ["product-7", "list", "x", "home", "y"]
            .map(label::tag)
            .to_vec();
        expected.extend(["One", "two"].map(|name| label::group("shop.example", name)));
        expected.sort_unstable();
        assert_eq!(
            read(&response, "shop.example"),
            Ok(Read {
                labels: expected,
                cut: false
            })
        );
        assert_eq!(read(&headers(&[]), "shop.example"), Ok(Read::default()));
    }

    #[test]
    fn groups_are_strings_or_none() {
        for void in ["a", "\"a\", b", "(\"a\")", "\"a", "1"] {
            assert!(
                groups(&headers(&[("cache-groups", void)]), &names::CACHE_GROUPS).is_empty(),
                "{void}"
            );
        }
    }

    #[test]
    fn what_cannot_be_remembered_is_said() {
        assert_eq!(
            read(&headers(&[("surrogate-key", &"x".repeat(1025))]), ""),
            Err(TooMany)
        );
        let groups: Vec<String> = (0..=GROUPS_MAX).map(|i| format!("\"{i}\"")).collect();
        assert_eq!(
            read(&headers(&[("cache-groups", &groups.join(","))]), ""),
            Err(TooMany)
        );
        assert!(read(&headers(&[("cache-groups", &groups[1..].join(","))]), "").is_ok());
    }

    #[test]
    fn tags_are_bounded_by_bytes_and_the_rest_is_one() {
        let read_of =
            |tags: &[String]| read(&headers(&[("cache-tag", &tags.join(","))]), "").unwrap();
        let many: Vec<String> = (0..=TAGS_MAX).map(|i| i.to_string()).collect();
        let (all, cut) = (read_of(&many[1..]), read_of(&many));
        assert_eq!((all.labels.len(), all.cut), (TAGS_MAX, false));
        assert_eq!((cut.labels.len(), cut.cut), (TAGS_MAX + 1, true));
        let long: Vec<String> = (0..33).map(|i| format!("{i:0511}")).collect();
        let (all, cut) = (read_of(&long[1..]), read_of(&long));
        assert_eq!((all.labels.len(), all.cut), (32, false));
        assert!(
            cut.cut
                && cut.labels.contains(&label::any_tag())
                && !all.labels.contains(&label::any_tag())
        );
    }
}
