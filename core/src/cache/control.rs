//! Cache-Control (RFC 9111, section 5.2), read tolerantly: names in any case, quoted values, repeated fields. Nothing here can fail.
//! [9111-5.2.2-1]
//!
//! The fields that target this kind of cache (RFC 9213) are read strictly, as Structured Fields: an invalid one does not count at all.

use http::{HeaderMap, HeaderName, header};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::names;

/// Seconds; a value too large saturates, an invalid one is 0, so that in doubt a response is stale.
pub type Seconds = u64;

/// The fields that target this cache, the most specific first (RFC 9213, section 2.2).
static TARGETED: [HeaderName; 2] = [names::TIDEGATE_CDN_CACHE_CONTROL, names::CDN_CACHE_CONTROL];

/// The directives of a request or a response. Of a repeated directive the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive of the RFC")]
pub struct Control {
    /// `no-store`
    pub no_store: bool,
    /// `no-cache` without field names.
    pub no_cache: bool,
    /// `private` without field names.
    pub private: bool,
    /// The fields that `no-cache` or `private` name: the rest of the response may be stored and used.
    pub withheld: Vec<HeaderName>,
    /// Whether this comes from a targeted field: Expires does not count then.
    pub targeted: bool,
    /// `public`
    pub public: bool,
    /// `must-revalidate`
    pub must_revalidate: bool,
    /// `proxy-revalidate`
    pub proxy_revalidate: bool,
    /// `must-understand`
    pub must_understand: bool,
    /// `only-if-cached`
    pub only_if_cached: bool,
    /// `max-age`
    pub max_age: Option<Seconds>,
    /// `s-maxage`
    pub s_maxage: Option<Seconds>,
    /// `min-fresh`
    pub min_fresh: Option<Seconds>,
    /// `stale-while-revalidate` (RFC 5861, section 3)
    pub stale_while_revalidate: Option<Seconds>,
    /// `stale-if-error` (RFC 5861, section 4)
    pub stale_if_error: Option<Seconds>,
}

impl Control {
    /// Reads every field line of `name`.
    pub fn read(headers: &HeaderMap, name: HeaderName) -> Self {
        let mut control = Self::default();
        for line in headers.get_all(name) {
            for directive in split_list(line.as_bytes()) {
                control.add(directive);
            }
        }
        control
    }

    /// Reads what a response says to this cache: the most specific targeted field that is valid and not empty, or else Cache-Control.
    pub fn of_response(headers: &HeaderMap) -> Self {
        let mut targeted = TARGETED.iter().filter(|name| headers.contains_key(*name));
        targeted
            .find_map(|name| Self::read_targeted(headers, name))
            .unwrap_or_else(|| Self::read(headers, header::CACHE_CONTROL))
    }

    fn read_targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
        let members: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
        let mut control = Self { targeted: true, ..Self::default() };
        for (name, member) in &members {
            let name = name.as_str().as_bytes();
            // RFC 9213, section 2.1: a directive whose value has another type than its own is ignored.
            let ListEntry::Item(item) = member else { continue };
            match &item.bare_item {
                BareItem::Boolean(true) => control.set_flag(name),
                BareItem::Integer(seconds) => {
                    if let Ok(seconds) = u64::try_from(i64::from(*seconds)) {
                        control.set_seconds(name, seconds);
                    }
                }
                BareItem::String(fields) => {
                    control.withhold(name, fields.as_str().as_bytes());
                }
                _ => {}
            }
        }
        (!members.is_empty()).then_some(control)
    }

    fn add(&mut self, directive: &[u8]) {
        let split = directive.iter().position(|b| *b == b'=').and_then(|at| directive.split_at_checked(at));
        let (name, value) = match split {
            Some((name, rest)) => (name.trim_ascii(), rest.get(1..).unwrap_or_default()),
            None => (directive, &b""[..]),
        };
        let seconds = seconds(value);
        if !self.set_seconds(name, seconds) && !self.withhold(name, unquoted(value)) {
            self.set_flag(name);
        }
    }

    /// Returns whether the directive is one that has seconds.
    fn set_seconds(&mut self, name: &[u8], seconds: Seconds) -> bool {
        let slot = match () {
            () if name.eq_ignore_ascii_case(b"max-age") => &mut self.max_age,
            () if name.eq_ignore_ascii_case(b"s-maxage") => &mut self.s_maxage,
            () if name.eq_ignore_ascii_case(b"min-fresh") => &mut self.min_fresh,
            () if name.eq_ignore_ascii_case(b"stale-while-revalidate") => &mut self.stale_while_revalidate,
            () if name.eq_ignore_ascii_case(b"stale-if-error") => &mut self.stale_if_error,
            () => return false,
        };
        slot.get_or_insert(seconds);
        true
    }

    /// Takes the field names of `no-cache` and `private`; returns whether there are any. A list that is not one of names counts as none, so that
    /// nothing is used that was not meant to be.
    fn withhold(&mut self, name: &[u8], fields: &[u8]) -> bool {
        if !(name.eq_ignore_ascii_case(b"no-cache") || name.eq_ignore_ascii_case(b"private")) {
            return false;
        }
        let names: Result<Vec<HeaderName>, _> = split_list(fields).map(HeaderName::from_bytes).collect();
        let names = names.unwrap_or_default();
        let any = !names.is_empty();
        self.withheld.extend(names);
        any
    }

    fn set_flag(&mut self, name: &[u8]) {
        match () {
            () if name.eq_ignore_ascii_case(b"no-store") => self.no_store = true,
            () if name.eq_ignore_ascii_case(b"no-cache") => self.no_cache = true,
            () if name.eq_ignore_ascii_case(b"private") => self.private = true,
            () if name.eq_ignore_ascii_case(b"public") => self.public = true,
            () if name.eq_ignore_ascii_case(b"must-revalidate") => self.must_revalidate = true,
            () if name.eq_ignore_ascii_case(b"proxy-revalidate") => self.proxy_revalidate = true,
            () if name.eq_ignore_ascii_case(b"must-understand") => self.must_understand = true,
            () if name.eq_ignore_ascii_case(b"only-if-cached") => self.only_if_cached = true,
            // RFC 9111, section 5.2.3: unknown directives are ignored. [9111-5.2.3-1]
            () => {}
        }
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value)
}

/// Splits a comma-separated list; commas inside quoted strings do not count. Members are trimmed, empty ones left out.
pub(crate) fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    line.split(move |byte| {
        let separates = *byte == b',' && !quoted;
        match *byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        separates
    })
    .map(<[u8]>::trim_ascii)
    .filter(|member| !member.is_empty())
}

/// Reads delta-seconds (RFC 9111, section 1.2.2): digits, in quotes or not. Saturates [9111-1.2.2-1]; anything else is 0.
pub(crate) fn seconds(value: &[u8]) -> Seconds {
    let bare = unquoted(value);
    if bare.is_empty() || !bare.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    bare.iter().fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;
    use http::{HeaderValue, header};

    fn read(lines: &[&str]) -> Control {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        }
        Control::read(&headers, header::CACHE_CONTROL)
    }

    #[test]
    fn names_have_no_case_and_values_may_be_quoted() {
        let control = read(&["No-Store , MAX-AGE=\"60\"", "s-maxage=5"]);
        assert!(control.no_store);
        assert_eq!((control.max_age, control.s_maxage), (Some(60), Some(5)));
    }

    /// [9111-5.2.3-1]
    #[test]
    fn commas_in_quotes_do_not_separate() {
        let control = read(&["private=\"a, no-store\", ext=\"\\\", public\", max-age=1"]);
        assert!(!control.private && !control.no_store && !control.public);
        assert_eq!(control.max_age, Some(1));
        assert_eq!(control.withheld, ["a", "no-store"]);
    }

    #[test]
    fn named_fields_are_withheld_and_a_wrong_list_withholds_all() {
        let control = read(&["no-cache=\"Set-Cookie\", private=x-user"]);
        assert!(!control.no_cache && !control.private);
        assert_eq!(control.withheld, ["set-cookie", "x-user"]);
        for wrong in ["private=\"\"", "private=\"a b\"", "private=", "private=\"a, , \u{e9}\""] {
            assert!(read(&[wrong]).private, "{wrong}");
        }
        assert!(read(&["private=\"a\", private"]).private);
    }

    #[test]
    fn the_most_specific_valid_target_counts() {
        let of = |lines: &[(&str, &str)]| Control::of_response(&headers(lines));
        let plain = ("cache-control", "max-age=1");
        assert_eq!(of(&[plain, ("cdn-cache-control", "max-age=2")]).max_age, Some(2));
        let both = [plain, ("cdn-cache-control", "max-age=2"), ("tidegate-cdn-cache-control", "max-age=3, no-cache")];
        let control = of(&both);
        assert!(control.no_cache && control.targeted);
        assert_eq!(control.max_age, Some(3));
        assert_eq!(of(&[plain, ("cdn-cache-control", "no-cache=\"a\"")]).withheld, ["a"]);
        assert_eq!(
            of(&[plain, ("cdn-cache-control", "max-age=7"), ("cdn-cache-control", "no-store")]).max_age,
            Some(7)
        );
        for void in ["max-age=2, &", "max-age =2", "MAX-AGE=2", ""] {
            let control = of(&[plain, ("cdn-cache-control", void)]);
            assert_eq!((control.max_age, control.targeted), (Some(1), false), "{void}");
        }
        for typed in ["max-age=\"2\"", "max-age=2.0", "max-age", "max-age=-2", "max-age=(2)"] {
            let control = of(&[plain, ("cdn-cache-control", typed)]);
            assert_eq!((control.max_age, control.targeted), (None, true), "{typed}");
        }
    }

    /// [9111-1.2.2-1]
    #[test]
    fn invalid_values_make_stale_and_large_ones_saturate() {
        for (value, expected) in
            [("-1", 0), ("1.5", 0), ("", 0), ("a", 0), ("99999999999999999999999", u64::MAX), (" 7", 7)]
        {
            assert_eq!(read(&[&format!("max-age={value}")]).max_age, Some(expected), "{value}");
        }
        assert_eq!(read(&["max-age"]).max_age, Some(0));
        assert_eq!(read(&["max-age=1, max-age=2"]).max_age, Some(1));
    }
}
