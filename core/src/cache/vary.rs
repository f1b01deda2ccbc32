//! Which stored response a request may use, when the response named request header fields (RFC 9111, section 4.1).

use http::{HeaderMap, HeaderName, header};

use super::control::split_list;

/// A request header field that a response named in Vary, and the value it had, normalised; `None` when it was absent.
pub type Nominated = (HeaderName, Option<Vec<u8>>);

/// Most fields that a response may name; one that names more is treated like `Vary: *`.
const NOMINATED_MAX: usize = 16;

/// Returns whether no other request can match: `*`, too many fields, or a name that is none.
pub fn is_star(response: &HeaderMap) -> bool {
    let mut names = 0;
    response.get_all(header::VARY).iter().flat_map(|line| split_list(line.as_bytes())).any(|name| {
        names += 1;
        names > NOMINATED_MAX || name == b"*" || HeaderName::from_bytes(name).is_err()
    })
}

/// Records the values of the fields that a response names, sorted by name.
pub fn nominate(response: &HeaderMap, request: &HeaderMap) -> Vec<Nominated> {
    let lines = response.get_all(header::VARY);
    let mut names: Vec<HeaderName> = lines
        .iter()
        .flat_map(|line| split_list(line.as_bytes()))
        .filter_map(|n| HeaderName::from_bytes(n).ok())
        .collect();
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names.into_iter().map(|name| (name.clone(), normalised(request, &name))).collect()
}

/// Returns whether a request has the values that chose a stored response.
pub fn matches(nominated: &[Nominated], request: &HeaderMap) -> bool {
    nominated.iter().all(|(name, value)| normalised(request, name) == *value)
}

/// Combines field lines and drops optional whitespace around list members, as section 4.1 allows.
fn normalised(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    let mut value = Vec::new();
    for member in lines.flat_map(|line| split_list(line.as_bytes())) {
        if !value.is_empty() {
            value.push(b',');
        }
        value.extend_from_slice(member);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    #[test]
    fn a_request_matches_if_the_named_fields_do() {
        let response = headers(&[("vary", "Accept-Language, x-b"), ("vary", "X-A")]);
        let nominated = nominate(&response, &headers(&[("accept-language", "de,en"), ("x-a", "1")]));
        assert!(matches(&nominated, &headers(&[("accept-language", "de"), ("accept-language", "en"), ("x-a", "1")])));
        assert!(matches(&nominated, &headers(&[("accept-language", " de ,  en"), ("x-a", "1"), ("other", "x")])));
        assert!(!matches(&nominated, &headers(&[("accept-language", "de"), ("x-a", "1")])));
        assert!(!matches(&nominated, &headers(&[("accept-language", "de,en"), ("x-a", "1"), ("x-b", "")])));
    }

    #[test]
    fn a_star_in_any_place_matches_nothing() {
        for value in ["*", "a, *", "*, a", "a,,*", "a b"] {
            assert!(is_star(&headers(&[("vary", value)])), "{value}");
        }
        assert!(!is_star(&headers(&[("vary", "accept, accept-encoding")])));
    }
}
