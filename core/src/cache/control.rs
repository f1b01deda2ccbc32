//! Cache-Control (RFC 9111, section 5.2), read tolerantly: names in any case, quoted values,
//! repeated fields. Nothing here can fail. [9111-5.2.2-1]
//!
//! What is nearly right (`private; max-age=0`, `no_store`, a quote that is not closed) forbids what
//! it may mean to forbid, and allows nothing: a page that is not stored costs a fetch, one that is
//! stored by mistake is shown to others.
//!
//! The fields that target this kind of cache (RFC 9213) are read strictly, as Structured Fields: an
//! invalid one does not count at all. In a valid one, what forbids does so with any value.

use http::{HeaderMap, HeaderName, header};

use crate::message::names;
use crate::message::structured::{self, Value};
use crate::message::syntax::split_list;

/// Seconds; a value too large saturates, an invalid one is 0, so that in doubt a response is stale.
pub type Seconds = u64;

/// The fields that target this cache, the most specific first (RFC 9213, section 2.2).
static TARGETED: [HeaderName; 2] = [names::TIDEGATE_CDN_CACHE_CONTROL, names::CDN_CACHE_CONTROL];

/// The directives of a request or a response. Of a repeated directive the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of the RFC"
)]
pub struct Control {
    /// `no-store`
    pub no_store: bool,
    /// `no-cache` without field names.
    pub no_cache: bool,
    /// `private` without field names.
    pub private: bool,
    /// The fields that `no-cache` or `private` name: the rest of the response may be stored and
    /// used.
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
    pub stale_while_revalidate: Option<Window>,
    /// `stale-if-error` (RFC 5861, section 4)
    pub stale_if_error: Option<Window>,
    /// Whether something in the field is no directive, so that nothing is to be guessed.
    pub malformed: bool,
}

/// For how long an origin lets a stale response be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// For so many seconds.
    Seconds(Seconds),
    /// It does not say: the directive has no value, as Next.js writes it.
    Unsaid,
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

    /// Reads what a response says to this cache: the most specific targeted field that is valid and
    /// not empty, or else Cache-Control.
    pub fn of_response(headers: &HeaderMap) -> Self {
        let mut targeted = TARGETED.iter().filter(|name| headers.contains_key(*name));
        targeted
            .find_map(|name| Self::read_targeted(headers, name))
            .unwrap_or_else(|| Self::read(headers, header::CACHE_CONTROL))
    }

    fn read_targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let field = structured::joined(headers, name);
        let members = structured::dictionary(&field)?;
        let mut control = Self {
            targeted: true,
            ..Self::default()
        };
        for member in &members {
            let name = member.key;
            // RFC 9213, section 2.1: a directive whose value has another type than its own is
            // ignored. But what forbids does so with any value.
            if matches!(member.value, Value::List(_)) {
                control.forbid(name);
                continue;
            }
            // `max-age=60;private` has a parameter, which nobody means.
            for parameter in &member.parameters {
                control.forbid(parameter);
            }
            match &member.value {
                Value::Boolean(true) => control.set_flag(name),
                Value::Boolean(false) => {}
                Value::Integer(seconds) => {
                    if let Ok(seconds) = u64::try_from(*seconds) {
                        control.set_seconds(name, seconds);
                    }
                    control.forbid(name);
                }
                Value::String(fields) => {
                    if !control.withhold(name, fields.as_bytes()) {
                        control.forbid(name);
                    }
                }
                Value::List(_) | Value::Other => control.forbid(name),
            }
        }
        (!members.is_empty()).then_some(control)
    }

    fn add(&mut self, directive: &[u8]) {
        let split = directive
            .iter()
            .position(|b| *b == b'=')
            .and_then(|at| directive.split_at_checked(at));
        let (name, value) = match split {
            Some((name, rest)) => (name.trim_ascii(), rest.get(1..).unwrap_or_default()),
            None => (directive, &b""[..]),
        };
        if !is_well_formed(name, split.map(|_| value)) {
            self.add_malformed(directive, name);
            return;
        }
        if split.is_none() && self.set_window(name, Window::Unsaid) {
            return;
        }
        let is_more_than_a_flag = self.set_seconds(name, seconds(value))
            || (is_list(value) && self.withhold(name, unquoted(value)));
        if !is_more_than_a_flag {
            self.set_flag(name);
            self.forbid(name);
        }
    }

    /// Takes what a directive forbids that is none, whatever word of it says so. A lifetime in it
    /// is over.
    fn add_malformed(&mut self, directive: &[u8], name: &[u8]) {
        self.malformed = true;
        self.forbid(directive);
        for word in words(directive) {
            self.forbid(word);
            if word.eq_ignore_ascii_case(b"max-age") || word.eq_ignore_ascii_case(b"s-maxage") {
                self.set_seconds(word, 0);
            }
        }
        self.set_seconds(name, 0);
    }

    /// Takes what a word forbids, in any spelling.
    fn forbid(&mut self, word: &[u8]) {
        let is = |known: &[u8]| {
            word.iter()
                .filter(|b| b.is_ascii_alphanumeric())
                .map(u8::to_ascii_lowercase)
                .eq(known.iter().copied())
        };
        match () {
            () if is(b"nostore") => self.no_store = true,
            () if is(b"nocache") => self.no_cache = true,
            () if is(b"private") => self.private = true,
            () if is(b"mustrevalidate") => self.must_revalidate = true,
            () if is(b"proxyrevalidate") => self.proxy_revalidate = true,
            () => {}
        }
    }

    /// Returns whether the directive is one that has seconds.
    fn set_seconds(&mut self, name: &[u8], seconds: Seconds) -> bool {
        let slot = match () {
            () if name.eq_ignore_ascii_case(b"max-age") => &mut self.max_age,
            () if name.eq_ignore_ascii_case(b"s-maxage") => &mut self.s_maxage,
            () if name.eq_ignore_ascii_case(b"min-fresh") => &mut self.min_fresh,
            () => return self.set_window(name, Window::Seconds(seconds)),
        };
        slot.get_or_insert(seconds);
        true
    }

    /// Returns whether the directive is one that says for how long a stale response may be used.
    fn set_window(&mut self, name: &[u8], window: Window) -> bool {
        let slot = match () {
            () if name.eq_ignore_ascii_case(b"stale-while-revalidate") => {
                &mut self.stale_while_revalidate
            }
            () if name.eq_ignore_ascii_case(b"stale-if-error") => &mut self.stale_if_error,
            () => return false,
        };
        slot.get_or_insert(window);
        true
    }

    /// Takes the field names of `no-cache` and `private`; returns whether there are any. A list
    /// that is not one of names counts as none, so that nothing is used that was not meant to be.
    fn withhold(&mut self, name: &[u8], fields: &[u8]) -> bool {
        if !(name.eq_ignore_ascii_case(b"no-cache") || name.eq_ignore_ascii_case(b"private")) {
            return false;
        }
        let names: Result<Vec<HeaderName>, _> =
            split_list(fields).map(HeaderName::from_bytes).collect();
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
            () if self.set_window(name, Window::Unsaid) => {}
            // RFC 9111, section 5.2.3: unknown directives are ignored. [9111-5.2.3-1]
            () => {}
        }
    }
}

/// Returns whether this is a name, with a value that is in quotes or has none of what separates
/// directives.
fn is_well_formed(name: &[u8], value: Option<&[u8]>) -> bool {
    let is_name = !name.is_empty()
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b));
    let is_value = |value: &[u8]| match value.trim_ascii() {
        [b'"', quoted @ ..] => closes_at_its_end(quoted),
        bare => bare
            .iter()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b';')),
    };
    is_name && value.is_none_or(is_value)
}

/// Returns whether a quoted string, of which the first quote is left out, ends where the text does.
fn closes_at_its_end(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return bytes.as_slice().is_empty(),
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    false
}

/// Returns whether the value of `private` or `no-cache` may be a list of field names, and is not
/// `true` or `1`.
fn is_list(value: &[u8]) -> bool {
    let is = |known: &str| unquoted(value).eq_ignore_ascii_case(known.as_bytes());
    let has_odd = unquoted(value).contains(&b'\'');
    !has_odd
        && !unquoted(value).iter().all(u8::is_ascii_digit)
        && !["true", "false", "yes", "no", "on", "off"]
            .into_iter()
            .any(is)
}

/// The words of a text that is no list of directives.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')))
        .filter(|word| !word.is_empty())
}

fn unquoted(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// Reads delta-seconds (RFC 9111, section 1.2.2): digits, in quotes or not. Saturates
/// [9111-1.2.2-1]; anything else is 0.
pub(crate) fn seconds(value: &[u8]) -> Seconds {
    let bare = unquoted(value);
    if bare.is_empty() || !bare.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    bare.iter().fold(0, |sum: u64, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests;
