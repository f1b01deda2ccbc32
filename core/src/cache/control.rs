//! Cache-Control (RFC 9111, section 5.2), read tolerantly: names in any case, quoted values, repeated fields. Nothing here can fail.

use http::{HeaderMap, HeaderName};

/// Seconds; a value too large saturates, an invalid one is 0, so that in doubt a response is stale.
pub type Seconds = u64;

/// The directives of a request or a response. Of a repeated directive the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive of the RFC")]
pub struct Control {
    /// `no-store`
    pub no_store: bool,
    /// `no-cache`, with or without field names.
    pub no_cache: bool,
    /// `private`, with or without field names.
    pub private: bool,
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

    fn add(&mut self, directive: &[u8]) {
        let (name, value) =
            match directive.iter().position(|b| *b == b'=').and_then(|at| directive.split_at_checked(at)) {
                Some((name, rest)) => (name.trim_ascii(), rest.get(1..)),
                None => (directive, None),
            };
        let first = |slot: &mut Option<Seconds>| {
            slot.get_or_insert_with(|| value.map_or(0, seconds));
        };
        match () {
            () if name.eq_ignore_ascii_case(b"no-store") => self.no_store = true,
            () if name.eq_ignore_ascii_case(b"no-cache") => self.no_cache = true,
            () if name.eq_ignore_ascii_case(b"private") => self.private = true,
            () if name.eq_ignore_ascii_case(b"public") => self.public = true,
            () if name.eq_ignore_ascii_case(b"must-revalidate") => self.must_revalidate = true,
            () if name.eq_ignore_ascii_case(b"proxy-revalidate") => self.proxy_revalidate = true,
            () if name.eq_ignore_ascii_case(b"must-understand") => self.must_understand = true,
            () if name.eq_ignore_ascii_case(b"only-if-cached") => self.only_if_cached = true,
            () if name.eq_ignore_ascii_case(b"max-age") => first(&mut self.max_age),
            () if name.eq_ignore_ascii_case(b"s-maxage") => first(&mut self.s_maxage),
            () if name.eq_ignore_ascii_case(b"min-fresh") => first(&mut self.min_fresh),
            () if name.eq_ignore_ascii_case(b"stale-while-revalidate") => first(&mut self.stale_while_revalidate),
            () if name.eq_ignore_ascii_case(b"stale-if-error") => first(&mut self.stale_if_error),
            // RFC 9111, section 5.2.3: unknown directives are ignored.
            () => {}
        }
    }
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

/// Reads delta-seconds (RFC 9111, section 1.2.2): digits, in quotes or not. Saturates; anything else is 0.
pub(crate) fn seconds(value: &[u8]) -> Seconds {
    let value = value.trim_ascii();
    let bare = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
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

    #[test]
    fn commas_in_quotes_do_not_separate() {
        let control = read(&["private=\"a, no-store\", ext=\"\\\", public\", max-age=1"]);
        assert!(control.private && !control.no_store && !control.public);
        assert_eq!(control.max_age, Some(1));
    }

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
