//! Request header fields that origins obey although they are in no key.
//!
//! A client that makes an origin answer for another URL, host, method, address, country or user
//! than those in the key poisons what is stored for all (cache poisoning). Frameworks and proxies
//! know very many such fields, so families are looked at, not single names. They do not go with a
//! request whose response may be stored, unless the profile has them in its key.
//!
//! Three kinds go with no request at all: names with `_`, which CGI and what comes from it take for
//! the same name with `-`; `Proxy`, which CGI programs take for the address of their proxy
//! (httpoxy); and what only a proxy may say of its client, if it comes from somebody else.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::message::client::unmapped;
use crate::message::geo::Geo;
use crate::message::names;
use crate::message::request::Request;

/// What a field tells an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What the request is about: its URL, host, scheme or method.
    Target,
    /// The client's address. The one in `X-Forwarded-For` is known.
    Address,
    /// The client's country.
    Country,
    /// Where the client is, or what a platform knows of it.
    Place,
    /// Who the client is, as a login layer tells.
    Identity,
}

/// Written anew for each origin by `forward::request_head`.
static WRITTEN: [HeaderName; 4] = [
    header::FORWARDED,
    names::X_FORWARDED_FOR,
    names::X_FORWARDED_HOST,
    names::X_FORWARDED_PROTO,
];

/// Of the families below, these are harmless: they are signed, or say nothing that an answer is
/// made of.
const HARMLESS: [&str; 9] = [
    "access-control-request-method",
    "cdn-loop",
    "cf-access-jwt-assertion",
    "cf-ew-via",
    "cf-ray",
    "cf-request-id",
    "cf-worker",
    "fastly-ff",
    "x-forwarded-request-id",
];

/// What beginnings of names say after `x-`, sorted by their first letters. The first that fits
/// counts.
const BEGINNINGS_OF_EXTENSIONS: [(&str, Kind); 73] = [
    ("auth-request-", Kind::Identity),
    ("authenticated-", Kind::Identity),
    ("authentik-", Kind::Identity),
    ("amzn-oidc-", Kind::Identity),
    ("amzn-mtls-", Kind::Identity),
    ("azure-clientip", Kind::Address),
    ("azure-socketip", Kind::Address),
    ("appengine-", Kind::Place),
    ("akamai-", Kind::Place),
    ("accel-", Kind::Target),
    ("arr-", Kind::Target),
    ("backend-", Kind::Target),
    ("base-", Kind::Target),
    ("client-cert", Kind::Identity),
    ("client-dn", Kind::Identity),
    ("client-verify", Kind::Identity),
    ("consumer-", Kind::Identity),
    ("credential-", Kind::Identity),
    ("country", Kind::Place),
    ("client-geo", Kind::Place),
    ("envoy-", Kind::Target),
    ("esi", Kind::Target),
    ("forwarded-user", Kind::Identity),
    ("forwarded-email", Kind::Identity),
    ("forwarded-group", Kind::Identity),
    ("forwarded-role", Kind::Identity),
    ("forwarded-preferred-username", Kind::Identity),
    ("forwarded-access-token", Kind::Identity),
    ("forwarded-id-token", Kind::Identity),
    ("forwarded-client-cert", Kind::Identity),
    ("forwarded-tls", Kind::Identity),
    ("forward", Kind::Target),
    ("goog-authenticated-", Kind::Identity),
    ("goog-iap-", Kind::Identity),
    ("geo", Kind::Place),
    ("http-", Kind::Target),
    ("host", Kind::Target),
    ("https", Kind::Target),
    ("invoke-", Kind::Target),
    ("ms-client-principal", Kind::Identity),
    ("ms-token-", Kind::Identity),
    ("method", Kind::Target),
    ("middleware-", Kind::Target),
    ("matched-", Kind::Target),
    ("now-", Kind::Target),
    ("oidc-", Kind::Identity),
    ("originating-", Kind::Address),
    ("original", Kind::Target),
    ("pomerium-", Kind::Identity),
    ("proxy-", Kind::Target),
    ("path", Kind::Target),
    ("port", Kind::Target),
    ("remote-user", Kind::Identity),
    ("remote-group", Kind::Identity),
    ("remote-", Kind::Address),
    ("rewrite", Kind::Target),
    ("request-uri", Kind::Target),
    ("request-path", Kind::Target),
    ("ssl-client-", Kind::Identity),
    ("saml-", Kind::Identity),
    ("sucuri-clientip", Kind::Address),
    ("sendfile", Kind::Target),
    ("script-name", Kind::Target),
    ("scheme", Kind::Target),
    ("server-", Kind::Target),
    ("tls-client-", Kind::Identity),
    ("userinfo", Kind::Identity),
    ("url", Kind::Target),
    ("uri", Kind::Target),
    ("vouch-", Kind::Identity),
    ("vercel-ip-", Kind::Place),
    ("vercel-", Kind::Target),
    ("webauth-", Kind::Identity),
];

/// What beginnings of other names say, sorted likewise. The first that fits counts.
const BEGINNINGS: [(&str, Kind); 21] = [
    ("akamai-", Kind::Place),
    ("cf-access-", Kind::Identity),
    ("client-cert", Kind::Identity),
    ("cf-visitor", Kind::Target),
    ("cloudfront-forwarded-", Kind::Target),
    ("cf-connecting-", Kind::Address),
    ("cf-pseudo-", Kind::Address),
    ("cf-", Kind::Place),
    ("cloudfront-", Kind::Place),
    ("fastly-geo", Kind::Place),
    ("fastly-client", Kind::Place),
    ("forwarded-", Kind::Target),
    ("front-end-", Kind::Target),
    ("geo-", Kind::Place),
    ("geoip", Kind::Place),
    ("oidc-", Kind::Identity),
    ("remote-user", Kind::Identity),
    ("remote-", Kind::Address),
    ("request-uri", Kind::Target),
    ("ssl-client-", Kind::Identity),
    ("surrogate-capability", Kind::Target),
];

/// What ends of names say.
const ENDS: [(&str, Kind); 12] = [
    ("-ip", Kind::Address),
    ("-ips", Kind::Address),
    ("-ipv4", Kind::Address),
    ("-ipv6", Kind::Address),
    ("clientip", Kind::Address),
    ("-ip-address", Kind::Address),
    ("-ipaddress", Kind::Address),
    ("-addr", Kind::Address),
    ("-country", Kind::Country),
    ("-country-code", Kind::Country),
    ("-ipcountry", Kind::Country),
    ("-method", Kind::Target),
];

/// What ends of names with `x-` say.
const ENDS_OF_EXTENSIONS: [&str; 9] = [
    "-url",
    "-uri",
    "-host",
    "-hostname",
    "-port",
    "-scheme",
    "-proto",
    "-protocol",
    "-ssl",
];

fn kind(name: &HeaderName) -> Option<Kind> {
    let text = name.as_str();
    let kind = if may_have_kind(text) {
        family(text)
    } else {
        None
    };
    kind.filter(|_| !WRITTEN.contains(name) && !HARMLESS.contains(&text))
}

fn family(name: &str) -> Option<Kind> {
    let ending = ENDS
        .iter()
        .find(|(end, _)| ends(name, end))
        .map(|(_, kind)| *kind);
    if ending == Some(Kind::Country) {
        return ending;
    }
    let extension = name.strip_prefix("x-");
    let beginning = match extension {
        Some(rest) => beginning(&BEGINNINGS_OF_EXTENSIONS, rest),
        None => beginning(&BEGINNINGS, name),
    };
    // Proxies that write X-Forwarded-Client-IP mean an address too.
    if beginning == Some(Kind::Target) && ending == Some(Kind::Address) {
        return ending;
    }
    if let Some(kind) = beginning.or(ending) {
        return Some(kind);
    }
    let overrides = name.as_bytes().contains(&b'v') && name.contains("override");
    let is_target = overrides || (extension.is_some() && ends_as_a_target(name));
    is_target.then_some(Kind::Target)
}

fn ends_as_a_target(name: &str) -> bool {
    ENDS_OF_EXTENSIONS.iter().any(|end| ends(name, end))
}

/// Finds the first of the beginnings that a text has.
fn beginning(table: &[(&str, Kind)], text: &str) -> Option<Kind> {
    let first = text.as_bytes().first();
    let from = table.partition_point(|(start, _)| start.as_bytes().first() < first);
    let mut same_letter = table
        .iter()
        .skip(from)
        .take_while(|(start, _)| start.as_bytes().first() == first);
    same_letter
        .find(|(start, _)| text.starts_with(start))
        .map(|(_, kind)| *kind)
}

/// Returns whether a name has a first letter of `BEGINNINGS`, a last one of `ENDS`, or something
/// else that is looked for: a quick look, for every field of every request comes here, and most
/// leave.
fn may_have_kind(name: &str) -> bool {
    let begins = matches!(
        name.as_bytes(),
        [b'x' | b'r' | b'c' | b's' | b'o' | b'g' | b'f' | b'a', ..]
    );
    let ends = matches!(
        name.as_bytes(),
        [.., b'p' | b's' | b'4' | b'6' | b'r' | b'y' | b'e' | b'd']
    );
    begins || ends || name.as_bytes().contains(&b'v')
}

/// As `ends_with`; one look is enough for nearly all of the many ends.
fn ends(text: &str, end: &str) -> bool {
    text.as_bytes().last() == end.as_bytes().last() && text.ends_with(end)
}

/// Returns whether a field may be kept from origins, whatever it says.
#[cfg(feature = "source")]
pub(crate) fn is_doubtful(name: &HeaderName) -> bool {
    kind(name).is_some()
}

/// Returns whether a field says what is known anyway.
fn is_known(kind: Kind, value: &HeaderValue, request: &Request) -> bool {
    let text = value.to_str().unwrap_or_default().trim();
    match kind {
        Kind::Address => text.parse().ok().map(unmapped) == Some(request.address),
        Kind::Country => request
            .geo
            .country
            .as_ref()
            .is_some_and(|country| country.as_bytes() == text.as_bytes()),
        Kind::Target | Kind::Place | Kind::Identity => false,
    }
}

/// Returns whether a field would make a response one that is not for all requests with the same
/// key. Of those whom the policy trusts to say it, what is said of the client's place and identity
/// is believed; what the request is about they may have passed on from anybody.
fn misleads(name: &HeaderName, value: &HeaderValue, request: &Request) -> bool {
    match kind(name) {
        Some(kind @ (Kind::Target | Kind::Address)) => !is_known(kind, value, request),
        Some(kind @ (Kind::Country | Kind::Place | Kind::Identity)) => {
            !request.from_trusted_peer && !is_known(kind, value, request)
        }
        None => false,
    }
}

/// Drops fields that would make an origin's response another one than its key says, unless they are
/// in the key, or `known`.
pub(crate) fn strip(
    headers: &mut HeaderMap,
    request: &Request,
    keyed: &[HeaderName],
    known: Option<&HeaderName>,
) {
    retain(headers, |name, value| {
        keyed.contains(name) || known == Some(name) || !misleads(name, value, request)
    });
}

/// Drops what goes with no request. `passed` are the fields that the policy names.
pub(crate) fn strip_always(headers: &mut HeaderMap, request: &Request, passed: &[HeaderName]) {
    retain(headers, |name, value| {
        let is_refused = is_of_cgi(name) || is_from_a_stranger(name, value, request);
        !ends_here(name) && (!is_refused || passed.contains(name))
    });
}

/// Returns whether a field stays with this hop: no trailer fields of requests are passed on, and the
/// shell's HTTP library answers expectations itself.
fn ends_here(name: &HeaderName) -> bool {
    *name == header::TRAILER || *name == header::EXPECT
}

/// Returns whether CGI programs take a field for another one.
fn is_of_cgi(name: &HeaderName) -> bool {
    name.as_str() == "proxy" || name.as_str().as_bytes().contains(&b'_')
}

/// Returns whether only a proxy may say this of its client, and somebody else does.
fn is_from_a_stranger(name: &HeaderName, value: &HeaderValue, request: &Request) -> bool {
    let text = name.as_str();
    // Nearly all fields leave here.
    if request.from_trusted_peer || !may_be_of_a_stranger(text) {
        return false;
    }
    match kind(name) {
        Some(kind @ (Kind::Address | Kind::Country)) => !is_known(kind, value, request),
        Some(Kind::Target | Kind::Identity) => is_of_proxies(text),
        // Where the platform knows the place, these are its own.
        Some(Kind::Place) => text.starts_with("cf-ip") && request.geo == Geo::default(),
        None => false,
    }
}

fn is_of_proxies(name: &str) -> bool {
    ["x-forward", "forwarded-", "x-envoy-", "client-cert"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Returns whether it is worth to look at a name more closely: quick, for every field of every
/// request comes here.
fn may_be_of_a_stranger(name: &str) -> bool {
    match name.as_bytes() {
        [b'x', b'-', ..] | [b'c', b'f', b'-', ..] => true,
        [b'r' | b'f' | b'c', ..]
            if ["remote-", "forwarded-", "client-cert"]
                .iter()
                .any(|start| name.starts_with(start)) =>
        {
            true
        }
        // The last letters of `ENDS`.
        [.., b'p' | b's' | b'4' | b'6' | b'r' | b'y' | b'e'] => {
            ENDS.iter().any(|(end, _)| ends(name, end))
        }
        _ => false,
    }
}

/// Drops all values of a field of which one is to go.
fn retain(headers: &mut HeaderMap, keeps: impl Fn(&HeaderName, &HeaderValue) -> bool) {
    let doomed: Vec<HeaderName> = headers
        .iter()
        .filter(|(name, value)| !keeps(name, value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// Returns whether a request has such fields, or says of its client what is not known, where it
/// went to an origin as it is.
pub(crate) fn has_unverified_fields(request: &Request, keyed: &[HeaderName]) -> bool {
    let headers = &request.head.headers;
    let first_is_known = |value: &HeaderValue| {
        let first = value.to_str().ok().and_then(|text| text.split(',').next());
        first
            .and_then(|text| text.trim().parse().ok())
            .map(unmapped)
            == Some(request.address)
    };
    let another_scheme =
        |value: &HeaderValue| value.as_bytes() != request.scheme.as_str().as_bytes();
    let continued = request.from_trusted_peer
        && (headers.contains_key(header::FORWARDED)
            || headers
                .get(names::X_FORWARDED_FOR)
                .is_some_and(|value| !first_is_known(value))
            || headers
                .get_all(names::X_FORWARDED_PROTO)
                .iter()
                .any(another_scheme));
    let says_more = |(name, value): (&HeaderName, &HeaderValue)| {
        let personal = matches!(kind(name), Some(Kind::Identity | Kind::Place));
        (personal || misleads(name, value, request)) && !keyed.contains(name)
    };
    continued || headers.iter().any(says_more)
}

#[cfg(test)]
mod tests;
