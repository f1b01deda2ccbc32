//! `[cache]`: profiles of what is stored.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

use crate::cache::storable::understood;
use crate::cache::{Lifetimes, Mode, Profile, Query};
use crate::message::hop_by_hop;
use crate::policy::compiler::Compiler;
use crate::policy::defined::Defined;
use crate::policy::error::{KeyPath, Problem, Source};
use crate::policy::names;
use crate::time::Millis;

/// What is stored, for how long, under which key.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the policy file"
)]
pub struct RawProfile {
    /// "respect": as the origin's Cache-Control and Expires say; what sets a cookie is stored only
    /// with a lifetime that they tell. "override": for `ttl`, whatever they say, unless no-store,
    /// private or Set-Cookie forbid it. "never": nothing is looked up or stored.
    pub mode: RawMode,
    /// Freshness lifetime of successes in override mode.
    #[serde(default)]
    pub ttl: Option<String>,
    /// Freshness lifetimes of redirects and errors in override mode: { "3xx" = "1m", "404" = "30s"
    /// }. A status counts before its class. Only statuses that speak of what is there are stored in
    /// override mode: 300, 301, 302, 307, 308, 404, 405, 410, 414 and 451. Default: a minute for
    /// redirects and ten seconds for errors, but no longer than `ttl`. `grace` is never longer for
    /// them than this.
    #[serde(default)]
    pub ttl_by_status: BTreeMap<String, String>,
    /// Whether override mode shares answers to requests with Authorization. Only for what does not
    /// depend on who asks. Default: false: they are shared if the origin says `public`, or
    /// `s-maxage` with a number above 0.
    #[serde(default)]
    pub share_authorized: bool,
    /// How long after its lifetime a response is served stale while it is revalidated in the
    /// background. In respect mode the origin's stale-while-revalidate wins; without a value it
    /// allows this time. What has no lifetime, sets a cookie, or comes with must-revalidate or
    /// proxy-revalidate is not served stale, nor what comes with s-maxage, which forbids it to
    /// shared caches (RFC 9111, section 5.2.2.10), unless stale-while-revalidate stands beside it.
    /// Default: 0s.
    #[serde(default)]
    pub grace: Option<String>,
    /// How long after its lifetime a response is served stale when every origin fails. In respect
    /// mode as for `grace`, with stale-if-error. Default: 1h when no origin answers at all, 0s for
    /// an origin's error.
    #[serde(default)]
    pub stale_if_error: Option<String>,
    /// The old name of `stale_if_error`.
    #[serde(default)]
    pub keep: Option<String>,
    /// Which query parameters distinguish responses: "all" or "none". Default: "all".
    #[serde(default)]
    pub query: Option<RawQuery>,
    /// Only these query parameters distinguish responses. A trailing `*` matches any ending. What
    /// an application may take for one of them, such as `ID`, `id[]` or `x;id=1` for `id`, counts
    /// too.
    #[serde(default)]
    pub query_allow: Vec<String>,
    /// These query parameters do not distinguish responses, spelt exactly so. A trailing `*`
    /// matches any ending: "utm_*".
    #[serde(default)]
    pub query_deny: Vec<String>,
    /// Whether the order of query parameters is ignored, that of different names: not in a query
    /// that applications may split in different ways. Default: false.
    #[serde(default)]
    pub query_sort: bool,
    /// Request header fields that distinguish responses. Fields that could make an origin answer
    /// for another URL, method, address, country or user, such as X-Original-URL, X-HTTP-Method,
    /// X-Real-IP or `X-Envoy-*`, go with a request for what may be stored only if they are here.
    /// What a trusted proxy says of country, place and user goes on.
    #[serde(default)]
    pub key_headers: Vec<String>,
    /// Cookies that distinguish responses. Several of a name all count. A trailing `*` matches any
    /// ending. Spellings of a name that an application takes for it (case, percent-encoding, `.`
    /// for `_` and the like) count as the name.
    #[serde(default)]
    pub key_cookies: Vec<String>,
    /// Whether the client's country distinguishes responses. Default: false.
    #[serde(default)]
    pub key_country: bool,
    /// A request with one of these cookies, as spelt for `key_cookies`, is neither answered from
    /// the store nor stored: "`wordpress_logged_in_*`".
    #[serde(default)]
    pub bypass_cookies: Vec<String>,
    /// A request with one of these header fields is neither answered from the store nor stored. A
    /// trailing `*` matches any ending; `_` counts as `-`.
    #[serde(default)]
    pub bypass_headers: Vec<String>,
    /// Largest body that is stored. Default: 8MiB.
    #[serde(default)]
    pub body_bytes_max: Option<String>,
    /// The Cache-Control that clients get instead of the origin's; override mode only. Only
    /// successes that are stored get it, fresh or stale: what is not stored, errors and redirects
    /// leave with the origin's.
    #[serde(default)]
    pub cache_control: Option<String>,
    /// Whether a client's own Cache-Control (no-cache, max-age, ...) may cause a fetch. Default:
    /// false, so that clients cannot burden the origin.
    #[serde(default)]
    pub client_directives: bool,
    /// Longest wait of a request for another one that already fetches the same response. "0s" turns
    /// coalescing off. Default: 5s.
    #[serde(default)]
    pub coalesce: Option<String>,
    /// Whether `Cache-Tag` and `Surrogate-Key` are kept from clients. Default: false, so that
    /// another cache in front can read them.
    #[serde(default)]
    pub strip_tags: bool,
    /// Whether a page (HTML, JSON or XML) that comes under the name of a static file, such as
    /// `/account/x.css` or `/account/x.css;a`, is not stored. Default: true.
    #[serde(default)]
    pub deception_armour: Option<bool>,
    /// Whether Cache-Status shows a fingerprint of the cache key, for those who look for what two
    /// requests do not share. Default: false.
    #[serde(default)]
    pub show_key: bool,
    /// How long before the end of its lifetime a response is refreshed in the background when it is
    /// asked for; each at a moment of its own within that time, so that they do not expire
    /// together. Default: 0s, never.
    #[serde(default)]
    pub early_refresh: Option<String>,
}

/// How a profile decides about storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawMode {
    /// As the origin says.
    Respect,
    /// As the policy says.
    Override,
    /// Not at all.
    Never,
}

/// The query's part in a cache key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawQuery {
    /// The whole query.
    All,
    /// Nothing of it.
    None,
}

pub(in crate::policy) fn compile(
    c: &mut Compiler<'_>,
    raw: &BTreeMap<String, RawProfile>,
) -> Defined<Profile> {
    Defined::new("cache profile", how_to_define, raw, |_, name, raw| {
        Some(profile(c, name, raw))
    })
}

fn how_to_define(name: &str) -> String {
    format!("write [cache.{name}] with mode = \"respect\", or leave this out")
}

fn profile(c: &mut Compiler<'_>, name: &str, raw: &RawProfile) -> Profile {
    let at = KeyPath::of(&["cache", name]);
    let overriding = raw.mode == RawMode::Override;
    let ttl = c.duration(&at.key("ttl"), raw.ttl.as_ref(), 0);
    if overriding && raw.ttl.is_none() {
        c.wrong(
            &at,
            "mode = \"override\" needs a ttl, such as ttl = \"60s\"",
        );
    }
    if !overriding && raw.ttl.is_some() {
        c.wrong(
            &at.key("ttl"),
            "ttl is for mode = \"override\"; in respect mode the origin gives the lifetime",
        );
    }
    if !overriding && raw.cache_control.is_some() {
        c.wrong(
            &at.key("cache_control"),
            "cache_control is for mode = \"override\"",
        );
    }
    if !overriding && !raw.ttl_by_status.is_empty() {
        c.wrong(
            &at.key("ttl_by_status"),
            "ttl_by_status is for mode = \"override\"; in respect mode the origin gives the lifetime",
        );
    }
    if !overriding && raw.share_authorized {
        c.wrong(
            &at.key("share_authorized"),
            "share_authorized is for mode = \"override\"; in respect mode the origin says what is shared",
        );
    }
    let cache_control = raw.cache_control.as_ref().and_then(|text| {
        let value = HeaderValue::from_str(text).ok();
        if value.is_none() {
            c.wrong(
                &at.key("cache_control"),
                "this is not a field value; use printable ASCII",
            );
        }
        value
    });
    let key_headers = key_headers(c, &at.key("key_headers"), &raw.key_headers);
    let bypass_headers = names::fields(c, &at.key("bypass_headers"), &raw.bypass_headers);
    let key_cookies = names::cookies(c, &at.key("key_cookies"), &raw.key_cookies);
    let bypass_cookies = names::cookies(c, &at.key("bypass_cookies"), &raw.bypass_cookies);
    Profile {
        name: name.into(),
        mode: match raw.mode {
            RawMode::Respect => Mode::Respect,
            RawMode::Override => Mode::Override { ttl },
            RawMode::Never => Mode::Never,
        },
        lifetimes: lifetimes(c, &at.key("ttl_by_status"), &raw.ttl_by_status, ttl),
        share_authorized: raw.share_authorized,
        grace: c.duration(&at.key("grace"), raw.grace.as_ref(), 0),
        stale_if_error: stale_if_error(c, &at, raw),
        query: query(c, &at, raw),
        query_sort: raw.query_sort,
        key_headers,
        key_cookies,
        key_country: raw.key_country,
        bypass_cookies,
        bypass_headers,
        body_bytes_max: c.bytes(
            &at.key("body_bytes_max"),
            raw.body_bytes_max.as_ref(),
            8 << 20,
        ),
        cache_control,
        client_directives: raw.client_directives,
        coalesce: c.duration(&at.key("coalesce"), raw.coalesce.as_ref(), 5000),
        strip_tags: raw.strip_tags,
        guards_deception: raw.deception_armour.unwrap_or(true),
        show_key: raw.show_key,
        early_refresh: c.duration(&at.key("early_refresh"), raw.early_refresh.as_ref(), 0),
    }
}

/// Reads how long a response stands in for errors, under either of its names.
fn stale_if_error(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawProfile) -> Option<Millis> {
    let (key, text) = match (&raw.stale_if_error, &raw.keep) {
        (None, None) => return None,
        (Some(text), None) => ("stale_if_error", text),
        (None, Some(text)) => ("keep", text),
        (Some(_), Some(_)) => {
            c.wrong(
                &at.key("keep"),
                "keep is the old name of stale_if_error; leave it out",
            );
            return None;
        }
    };
    Some(c.duration(&at.key(key), Some(text), 0))
}

/// Reads lifetimes by status. Those that are not written are no longer than that of successes.
fn lifetimes(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    raw: &BTreeMap<String, String>,
    ttl: Millis,
) -> Lifetimes {
    let default = Lifetimes::default();
    let mut lifetimes = Lifetimes {
        redirects: default.redirects.min(ttl),
        errors: default.errors.min(ttl),
        statuses: Vec::new(),
    };
    for (status, text) in raw {
        let path = at.key(status);
        let lifetime = c.duration(&path, Some(text), 0);
        let single = status.parse::<StatusCode>().ok().filter(|status| {
            !status.is_success() && !status.is_server_error() && understood(*status)
        });
        match (status.as_str(), single) {
            ("3xx", _) => lifetimes.redirects = lifetime,
            ("4xx", _) => lifetimes.errors = lifetime,
            (_, Some(single)) => lifetimes.statuses.push((single, lifetime)),
            (_, None) => c.wrong(
                &path,
                format!(
                    "`{status}` is not stored in override mode, or has `ttl`; write 3xx, 4xx, or one of 300, 301, 302, 307, 308, 404, 405, 410, 414, 451"
                ),
            ),
        }
    }
    lifetimes
}

fn key_headers(c: &mut Compiler<'_>, at: &KeyPath, list: &[String]) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for (i, text) in list.iter().enumerate() {
        match c.header_name(&at.index(i), text) {
            Some(name) if hop_by_hop::is_hop_by_hop(&name) => {
                c.wrong(&at.index(i), names::OF_A_CONNECTION);
            }
            Some(name) => names.push(name),
            None => {}
        }
    }
    names
}

fn query(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawProfile) -> Query {
    let allowed = names::parameters(c, &at.key("query_allow"), &raw.query_allow);
    let denied = names::parameters(c, &at.key("query_deny"), &raw.query_deny);
    match (
        raw.query,
        raw.query_allow.is_empty(),
        raw.query_deny.is_empty(),
    ) {
        (None | Some(RawQuery::All), true, true) => Query::All,
        (Some(RawQuery::None), true, true) => Query::None,
        (None, false, true) => Query::Allow(allowed),
        (None, true, false) => Query::Deny(denied),
        _ => {
            c.wrong(at, "use one of query, query_allow and query_deny");
            Query::All
        }
    }
}

/// Says what a profile promises and origins may forbid.
pub(in crate::policy) fn notes(
    raw: &BTreeMap<String, RawProfile>,
    source: &Source<'_>,
) -> Vec<Problem> {
    let mut notes = Vec::new();
    for (name, profile) in raw {
        if profile.keep.is_some() {
            let message = "keep is called stale_if_error now; the old name still works";
            let at = KeyPath::of(&["cache", name, "keep"]);
            notes.push(source.problem(&at, message.to_owned()));
        }
        if profile.mode != RawMode::Respect {
            continue;
        }
        let windows = [
            ("grace", &profile.grace, "stale-while-revalidate"),
            ("stale_if_error", &profile.stale_if_error, "stale-if-error"),
            ("keep", &profile.keep, "stale-if-error"),
        ];
        for (key, window, directive) in windows {
            if window.is_none() {
                continue;
            }
            let message = format!(
                "not for what the origin sends with s-maxage (RFC 9111, section 5.2.2.10), must-revalidate or proxy-revalidate: shared caches may not \
                 serve that stale; beside s-maxage the origin may add {directive}, with or without a number of seconds"
            );
            notes.push(source.problem(&KeyPath::of(&["cache", name, key]), message));
        }
    }
    notes
}
