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
    values(names.iter(), request)
}

/// Records the values of the fields that an earlier response has named.
pub fn nominate_again(nominated: &[Nominated], request: &HeaderMap) -> Vec<Nominated> {
    values(nominated.iter().map(|(name, _)| name), request)
}

fn values<'a>(names: impl Iterator<Item = &'a HeaderName>, request: &HeaderMap) -> Vec<Nominated> {
    names.map(|name| (name.clone(), normalised(request, name))).collect()
}

/// Returns whether a request has the values that chose a stored response with these header fields. [9111-4.1-1]
pub fn matches(nominated: &[Nominated], response: &HeaderMap, request: &HeaderMap) -> bool {
    nominated.iter().all(|(name, value)| {
        normalised(request, name) == *value || (*name == header::ACCEPT_LANGUAGE && speaks_best(response, request))
    })
}

/// Returns whether a response is in the one language that the client likes best: no choice of the origin's could be better.
fn speaks_best(response: &HeaderMap, request: &HeaderMap) -> bool {
    let mut wanted = preferences(request, &header::ACCEPT_LANGUAGE);
    wanted.sort_by(Preference::best_first);
    let best = match wanted.as_slice() {
        [best] => best,
        [best, next, ..] if next.quality < best.quality => best,
        _ => return false,
    };
    let mut languages = response.get_all(header::CONTENT_LANGUAGE).iter().flat_map(|line| split_list(line.as_bytes()));
    let language = languages.next();
    let only = language.filter(|_| languages.next().is_none());
    best.quality > 0 && only.is_some_and(|language| language.eq_ignore_ascii_case(&best.value))
}

/// Brings values that mean the same into one form, as section 4.1 allows: field lines are combined, whitespace around list members is dropped. In
/// Accept-Language and Accept-Encoding the order counts only between different qualities, and case does not.
fn normalised(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    if *name == header::ACCEPT_LANGUAGE || *name == header::ACCEPT_ENCODING {
        let mut preferences = preferences(request, name);
        preferences.sort_by(|a, b| Preference::best_first(a, b).then_with(|| a.value.cmp(&b.value)));
        let members =
            preferences.into_iter().map(|p| [p.value.as_slice(), b";", p.quality.to_string().as_bytes()].concat());
        return Some(members.collect::<Vec<_>>().join(&b','));
    }
    Some(lines.flat_map(|line| split_list(line.as_bytes())).collect::<Vec<_>>().join(&b','))
}

/// A language or a coding that a client accepts, in lower case, and its quality in thousandths (RFC 9110, section 12.4.2).
struct Preference {
    value: Vec<u8>,
    quality: u16,
}

impl Preference {
    fn best_first(a: &Self, b: &Self) -> std::cmp::Ordering {
        b.quality.cmp(&a.quality)
    }

    fn read(member: &[u8]) -> Self {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let value = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        match weight.map(quality) {
            None => Self { value, quality: 1000 },
            Some(Some(quality)) => Self { value, quality },
            // What is not understood stays as it is, and equals nothing else.
            Some(None) => Self { value: member.to_vec(), quality: 1000 },
        }
    }
}

fn preferences(request: &HeaderMap, name: &HeaderName) -> Vec<Preference> {
    request.get_all(name).iter().flat_map(|line| split_list(line.as_bytes())).map(Preference::read).collect()
}

/// Reads a weight: 0 to 1 with at most three decimals.
fn quality(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = text.split_at_checked(1)?;
    let decimals = match decimals {
        [] => &[],
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let mut thousandths = 0;
    for (position, unit) in [100, 10, 1].into_iter().enumerate() {
        thousandths += decimals.get(position).map_or(Some(0), |byte| digit(*byte))? * unit;
    }
    match whole {
        b"0" => Some(thousandths),
        b"1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    /// [9111-4.1-1]
    #[test]
    fn a_request_matches_if_the_named_fields_do() {
        let response = headers(&[("vary", "Accept-Language, x-b"), ("vary", "X-A")]);
        let nominated = nominate(&response, &headers(&[("accept-language", "de,en"), ("x-a", "1")]));
        let matches = |request: &[(&str, &str)]| matches(&nominated, &response, &headers(request));
        assert!(matches(&[("accept-language", "de"), ("accept-language", "en"), ("x-a", "1")]));
        assert!(matches(&[("accept-language", " de ,  en"), ("x-a", "1"), ("other", "x")]));
        assert!(!matches(&[("accept-language", "de"), ("x-a", "1")]));
        assert!(!matches(&[("accept-language", "de,en"), ("x-a", "1"), ("x-b", "")]));
    }

    #[test]
    fn languages_and_codings_have_neither_order_nor_case() {
        let same = |name: &str, one: &str, two: &str| {
            let response = headers(&[("vary", name)]);
            let nominated = nominate(&response, &headers(&[(name, one)]));
            matches(&nominated, &response, &headers(&[(name, two)]))
        };
        assert!(same("accept-language", "en, de", "De,EN"));
        assert!(same("accept-language", "en;q=0.5, de", "de;q=1.0, en ; q=0.50"));
        assert!(!same("accept-language", "en;q=0.5, de", "en, de;q=0.5"));
        assert!(same("accept-encoding", "gzip, br;q=0.8", "BR;Q=0.8,gzip;q=1"));
        assert!(!same("accept-encoding", "gzip", "gzip;q=0"));
        assert!(!same("accept-encoding", "gzip", "gzip;q=x"));
        assert!(!same("x-list", "a, b", "b, a"));
        assert!(!same("x-list", "a", "A"));
    }

    #[test]
    fn the_language_that_the_client_likes_best_is_good_enough() {
        let response = headers(&[("vary", "accept-language"), ("content-language", "de")]);
        let nominated = nominate(&response, &headers(&[("accept-language", "en, de")]));
        let served = |wanted: &str| matches(&nominated, &response, &headers(&[("accept-language", wanted)]));
        assert!(served("fr;q=0.5, DE;q=1.0") && served("de"));
        for other in ["fr, de", "fr", "de-AT", "de;q=0", "*"] {
            assert!(!served(other), "{other}");
        }
        let both = headers(&[("vary", "accept-language"), ("content-language", "de, fr")]);
        assert!(!matches(&nominated, &both, &headers(&[("accept-language", "de")])));
    }

    #[test]
    fn weights_have_three_decimals() {
        for (text, expected) in
            [("0", Some(0)), ("1", Some(1000)), ("1.000", Some(1000)), ("0.05", Some(50)), ("0.", Some(0))]
        {
            assert_eq!(quality(text.as_bytes()), expected, "{text}");
        }
        for text in ["", "1.1", "2", "0.1234", "0,5", "0.x", "-1"] {
            assert_eq!(quality(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_star_in_any_place_matches_nothing() {
        for value in ["*", "a, *", "*, a", "a,,*", "a b"] {
            assert!(is_star(&headers(&[("vary", value)])), "{value}");
        }
        assert!(!is_star(&headers(&[("vary", "accept, accept-encoding")])));
    }
}
