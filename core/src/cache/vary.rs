//! Which stored response a request may use, when the response named request header fields (RFC
//! 9111, section 4.1).

use std::cell::OnceCell;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::message::syntax::members;
use crate::sorting::sort_by;

/// A request header field that a response named in Vary, and the value it had, normalised; `None`
/// when it was absent.
pub type Nominated = (HeaderName, Option<Vec<u8>>);

/// Most fields that a response may name; one that names more is treated like `Vary: *`.
const NOMINATED_MAX: usize = 16;

/// Returns whether no other request can match: `*`, too many fields, or a name that is none.
pub fn is_star(response: &HeaderMap) -> bool {
    let mut names = 0;
    for name in members(response, header::VARY) {
        names += 1;
        if names > NOMINATED_MAX || name == b"*" || HeaderName::from_bytes(name).is_err() {
            return true;
        }
    }
    false
}

/// Records the values of the fields that a response names, sorted by name.
pub fn nominate(response: &HeaderMap, request: &HeaderMap) -> Vec<Nominated> {
    let mut names = Vec::new();
    for name in members(response, header::VARY) {
        names.extend(HeaderName::from_bytes(name));
    }
    sort_by(&mut names, |a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    values(names.iter(), request)
}

/// Records the values of the fields that an earlier response has named.
pub fn nominate_again(nominated: &[Nominated], request: &HeaderMap) -> Vec<Nominated> {
    values(nominated.iter().map(|(name, _)| name), request)
}

fn values<'a>(names: impl Iterator<Item = &'a HeaderName>, request: &HeaderMap) -> Vec<Nominated> {
    names
        .map(|name| (name.clone(), normalised(request, name)))
        .collect()
}

/// Returns whether a request has the values that chose a stored response with these header fields.
/// [9111-4.1-1]
pub fn matches(nominated: &[Nominated], response: &HeaderMap, request: &HeaderMap) -> bool {
    Wanted::of(request).matches(nominated, response)
}

/// What a request wants, held against many stored responses: each field is brought into its normal
/// form once.
pub struct Wanted<'a> {
    request: &'a HeaderMap,
    forms: Vec<Nominated>,
    /// The one language that the client likes best, once it was looked for.
    language: OnceCell<Option<Vec<u8>>>,
}

impl<'a> Wanted<'a> {
    /// Takes a request's header fields.
    pub fn of(request: &'a HeaderMap) -> Self {
        Self {
            request,
            forms: Vec::new(),
            language: OnceCell::new(),
        }
    }

    /// Returns whether the request has the values that chose a stored response with these header
    /// fields.
    pub fn matches(&mut self, nominated: &[Nominated], response: &HeaderMap) -> bool {
        nominated.iter().all(|(name, value)| {
            self.form(name) == value.as_deref()
                || (*name == header::ACCEPT_LANGUAGE && self.likes_best(response))
        })
    }

    fn form(&mut self, name: &HeaderName) -> Option<&[u8]> {
        let known = self.forms.iter().position(|(known, _)| known == name);
        let at = known.unwrap_or(self.forms.len());
        if known.is_none() {
            self.forms
                .push((name.clone(), normalised(self.request, name)));
        }
        self.forms.get(at)?.1.as_deref()
    }

    /// Returns whether a response is in the one language that the client likes best: no choice of
    /// the origin's could be better.
    fn likes_best(&self, response: &HeaderMap) -> bool {
        let mut languages = members(response, header::CONTENT_LANGUAGE);
        let (Some(language), None) = (languages.next(), languages.next()) else {
            return false;
        };
        let best = self.language.get_or_init(|| best_language(self.request));
        best.as_ref()
            .is_some_and(|best| language.eq_ignore_ascii_case(best))
    }
}

/// Returns the language that a client likes better than all others.
fn best_language(request: &HeaderMap) -> Option<Vec<u8>> {
    let mut wanted = preferences(request, &header::ACCEPT_LANGUAGE)?;
    sort_by(&mut wanted, Preference::best_first);
    let mut wanted = wanted.into_iter();
    let best = wanted.next()?;
    let next = wanted.next().map_or(0, |next| next.quality);
    if best.quality > next {
        Some(best.value)
    } else {
        None
    }
}

/// Brings values that mean the same into one form, as section 4.1 allows: field lines are combined,
/// whitespace around list members is dropped. In Accept-Language and Accept-Encoding the order
/// counts only between different qualities, and case does not, as long as all of it is understood.
fn normalised(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    if !request.contains_key(name) {
        return None;
    }
    let mut form = Vec::new();
    if *name == header::ACCEPT_LANGUAGE || *name == header::ACCEPT_ENCODING {
        if let Some(mut preferences) = preferences(request, name) {
            sort_by(&mut preferences, Preference::best_first_by_name);
            let members: Vec<Vec<u8>> = preferences.iter().map(Preference::form).collect();
            return Some(members.join(&b','));
        }
        // As it stands, and like nothing that is understood.
        form.push(0);
    }
    let members: Vec<&[u8]> = members(request, name).collect();
    form.extend(members.join(&b','));
    Some(form)
}

/// A language or a coding that a client accepts, in lower case, and its quality in thousandths (RFC
/// 9110, section 12.4.2).
struct Preference {
    value: Vec<u8>,
    quality: u16,
}

/// Most members of a field that are looked at one by one, and most bytes. Browsers send a dozen.
const PREFERENCES_MAX: usize = 64;
const PREFERENCE_BYTES_MAX: usize = 1024;

impl Preference {
    fn best_first(a: &Self, b: &Self) -> std::cmp::Ordering {
        b.quality.cmp(&a.quality)
    }

    fn best_first_by_name(a: &Self, b: &Self) -> std::cmp::Ordering {
        Self::best_first(a, b).then_with(|| a.value.cmp(&b.value))
    }

    fn form(&self) -> Vec<u8> {
        let quality = self.quality.to_string();
        [self.value.as_slice(), b";", quality.as_bytes()].concat()
    }

    /// Reads a member; `None` if it is anything but a name and at most a quality: an origin may
    /// choose by what else is there.
    fn read(member: &[u8]) -> Option<Self> {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let value = parts.next().unwrap_or_default();
        let quality = match (parts.next(), parts.next()) {
            (None, _) => 1000,
            (Some([b'q' | b'Q', b'=', weight @ ..]), None) => quality(weight)?,
            (Some(_), _) => return None,
        };
        if value.is_empty() || !value.iter().copied().all(is_of_name) {
            return None;
        }
        Some(Self {
            value: value.to_ascii_lowercase(),
            quality,
        })
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'*' | b'_')
}

/// Reads all preferences; `None` if one of them is not understood, or there are too many.
fn preferences(request: &HeaderMap, name: &HeaderName) -> Option<Vec<Preference>> {
    let lines = request.get_all(name).iter();
    if lines.map(HeaderValue::len).sum::<usize>() > PREFERENCE_BYTES_MAX {
        return None;
    }
    let mut preferences = Vec::new();
    for member in members(request, name) {
        if preferences.len() == PREFERENCES_MAX {
            return None;
        }
        preferences.push(Preference::read(member)?);
    }
    Some(preferences)
}

/// Reads a weight: 0 to 1 with at most three decimals.
fn quality(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = text.split_at_checked(1)?;
    let decimals = match decimals {
        [] => &[],
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    let mut thousandths = 0;
    for (decimal, unit) in decimals.iter().zip([100, 10, 1]) {
        if !decimal.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(decimal - b'0') * unit;
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
        let nominated = nominate(
            &response,
            &headers(&[("accept-language", "de,en"), ("x-a", "1")]),
        );
        let matches = |request: &[(&str, &str)]| matches(&nominated, &response, &headers(request));
        assert!(matches(&[
            ("accept-language", "de"),
            ("accept-language", "en"),
            ("x-a", "1")
        ]));
        assert!(matches(&[
            ("accept-language", " de ,  en"),
            ("x-a", "1"),
            ("other", "x")
        ]));
        assert!(!matches(&[("accept-language", "de"), ("x-a", "1")]));
        assert!(!matches(&[
            ("accept-language", "de,en"),
            ("x-a", "1"),
            ("x-b", "")
        ]));
    }

    #[test]
    fn languages_and_codings_have_neither_order_nor_case() {
        let same = |name: &str, one: &str, two: &str| {
            let response = headers(&[("vary", name)]);
            let nominated = nominate(&response, &headers(&[(name, one)]));
            matches(&nominated, &response, &headers(&[(name, two)]))
        };
        assert!(same("accept-language", "en, de", "De,EN"));
        assert!(same(
            "accept-language",
            "en;q=0.5, de",
            "de;q=1.0, en ; q=0.50"
        ));
        assert!(!same("accept-language", "en;q=0.5, de", "en, de;q=0.5"));
        assert!(same(
            "accept-encoding",
            "gzip, br;q=0.8",
            "BR;Q=0.8,gzip;q=1"
        ));
        assert!(!same("accept-encoding", "gzip", "gzip;q=0"));
        assert!(!same("accept-encoding", "gzip", "gzip;q=x"));
        assert!(!same("x-list", "a, b", "b, a"));
        assert!(!same("x-list", "a", "A"));
    }

    #[test]
    fn what_an_origin_may_choose_by_is_part_of_the_form() {
        let form = |name: &'static str, value: &str| {
            normalised(&headers(&[(name, value)]), &HeaderName::from_static(name)).unwrap()
        };
        for name in ["accept-language", "accept-encoding"] {
            let mut forms = Vec::new();
            for value in [
                "de",
                "de;x=1",
                "de;q=1;x=1",
                "de;x=1;q=1",
                "de;q=0.5",
                "de;q=0.5;x",
                "de;",
                "de;q=2",
                "de;q=1;q=0",
                "de x",
                "\"de\"",
                "de;1000",
            ] {
                forms.push(form(name, value));
            }
            let count = forms.len();
            forms.sort();
            forms.dedup();
            assert_eq!(forms.len(), count);
            assert_ne!(
                form(name, "de;x=1, en"),
                form(name, "en, de;x=1"),
                "where one is not understood, the order stays"
            );
        }
        let long = |last: &str| {
            form(
                "accept-language",
                &format!("{}{last}", "aa;q=0.5,".repeat(3000)),
            )
        };
        assert_ne!(long("de"), long("en"));
        assert_eq!(
            best_language(&headers(&[("accept-language", "de;x=1")])),
            None
        );
    }

    #[test]
    fn the_language_that_the_client_likes_best_is_good_enough() {
        let response = headers(&[("vary", "accept-language"), ("content-language", "de")]);
        let nominated = nominate(&response, &headers(&[("accept-language", "en, de")]));
        let served = |wanted: &str| {
            matches(
                &nominated,
                &response,
                &headers(&[("accept-language", wanted)]),
            )
        };
        assert!(served("fr;q=0.5, DE;q=1.0") && served("de"));
        for other in ["fr, de", "fr", "de-AT", "de;q=0", "*"] {
            assert!(!served(other), "{other}");
        }
        let both = headers(&[("vary", "accept-language"), ("content-language", "de, fr")]);
        assert!(!matches(
            &nominated,
            &both,
            &headers(&[("accept-language", "de")])
        ));
    }

    #[test]
    fn weights_have_three_decimals() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("1.000", Some(1000)),
            ("0.05", Some(50)),
            ("0.", Some(0)),
        ] {
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
