//! Under which key a response is stored.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderValue, header};

use crate::cache::profile::{Profile, Query};
use crate::cache::search::{Rule, Rules};
use crate::cache::storable::NotStored;
use crate::cache::stored::Stored;
use crate::hash;
use crate::message::request::Request;
use crate::message::{cookie, geo, names, query};
use crate::parts::push_part;
use crate::sorting::sort_by;

/// The bytes under which responses are stored. Injective: each part is preceded by its length, so
/// no crafted URL equals another request's key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(Vec<u8>);

impl CacheKey {
    /// Returns the key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns 16 hexadecimal digits that stand for the key in reports; not unique enough to store
    /// by.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", hash::stable(&self.0))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({})", self.fingerprint())
    }
}

/// Makes the key of a request. The path and query are those that the origin gets, letter by letter,
/// unless a rule says what does not matter in the query. The pool and the profile are in it, so
/// that two routes share a response only if they share both. [9111-4-1]
pub(crate) fn of(request: &Request, pool: &str, profile: &Profile, rules: &Rules) -> CacheKey {
    let path = path_part(request, pool, profile);
    let rule = has_whole_query(profile)
        .then(|| rules.find(&path))
        .flatten();
    by_rule(request, profile, path, rule.as_deref())
}

/// Makes the key of a request from what stands before the query, and what is known not to matter in
/// that.
pub(crate) fn by_rule(
    request: &Request,
    profile: &Profile,
    path: Vec<u8>,
    rule: Option<&Rule>,
) -> CacheKey {
    let mut key = path;
    let raw = request.head.uri.query();
    match rule {
        Some(rule) => {
            let mut matters = Vec::with_capacity(64);
            rule.push(&mut matters, raw.unwrap_or_default());
            push_part(&mut key, Some(&matters));
        }
        None => push_part(&mut key, query(profile, raw).as_deref().map(str::as_bytes)),
    }
    // The names too, so that a changed profile never finds what another one stored.
    for name in &profile.key_headers {
        push_part(&mut key, Some(name.as_str().as_bytes()));
        push_part(&mut key, combined(&request.head.headers, name).as_deref());
    }
    for name in &profile.key_cookies {
        push_part(&mut key, Some(name.as_bytes()));
        // All of them, as they are written: which one counts is the origin's choice.
        for text in cookie::texts(&request.head.headers, name) {
            push_part(&mut key, Some(text));
        }
        push_part(&mut key, None);
    }
    // Where an origin decides by what stands before a cookie whether it is one, all of that counts.
    let is_doubtful = |name: &String| cookie::is_doubtful(&request.head.headers, name);
    let has_cookies = !profile.key_cookies.is_empty();
    if has_cookies
        && (cookie::runs_on(&request.head.headers) || profile.key_cookies.iter().any(is_doubtful))
    {
        push_part(
            &mut key,
            combined(&request.head.headers, &header::COOKIE).as_deref(),
        );
    }
    if profile.key_country {
        push_part(
            &mut key,
            request.geo.country.as_ref().map(geo::Code::as_bytes),
        );
    }
    CacheKey(key)
}

/// Makes the part of a key that stands before the query.
pub(crate) fn path_part(request: &Request, pool: &str, profile: &Profile) -> Vec<u8> {
    let uri = &request.head.uri;
    let mut key = Vec::with_capacity(96 + uri.path().len() + uri.query().map_or(0, str::len));
    push_part(&mut key, Some(pool.as_bytes()));
    push_part(&mut key, Some(profile.name.as_bytes()));
    push_part(&mut key, Some(request.scheme.as_str().as_bytes()));
    push_part(&mut key, Some(request.authority.as_bytes()));
    // An origin behind a trusted proxy may take this for the host.
    let forwarded = request
        .from_trusted_peer
        .then(|| combined(&request.head.headers, &names::X_FORWARDED_HOST))
        .flatten();
    push_part(&mut key, forwarded.as_deref());
    push_part(&mut key, Some(uri.path().as_bytes()));
    key
}

/// Returns whether the policy leaves it to origins what matters in a query.
pub(crate) fn has_whole_query(profile: &Profile) -> bool {
    profile.query == Query::All && !profile.query_sort
}

/// Brings a query into the form that it has in keys. What may matter to an origin stays in it.
pub(crate) fn query<'a>(profile: &Profile, query: Option<&'a str>) -> Option<Cow<'a, str>> {
    let keeps: Box<dyn Fn(&str) -> bool> = match &profile.query {
        Query::All if !profile.query_sort => return query.map(Cow::Borrowed),
        Query::None => return None,
        Query::All => Box::new(|_| true),
        Query::Allow(names) => {
            Box::new(|pair| query::pairs(pair).any(|pair| may_be_among(pair.name, names)))
        }
        Query::Deny(names) => {
            Box::new(|pair| !query::pairs(pair).all(|pair| is_surely_among(pair.name, names)))
        }
    };
    let raw = query.unwrap_or("");
    let mut kept: Vec<&str> = raw
        .split('&')
        .filter(|pair| !pair.is_empty() && keeps(pair))
        .collect();
    if profile.query_sort && query::may_be_sorted(raw) {
        // By name only, and stably: the order of a repeated parameter's values may matter to the
        // origin.
        let mut named: Vec<(String, &str)> = Vec::with_capacity(kept.len());
        for pair in kept {
            let name = pair.split('=').next().unwrap_or_default();
            named.push((query::group(name), pair));
        }
        sort_by(&mut named, |(a, _), (b, _)| a.cmp(b));
        kept = named.into_iter().map(|(_, pair)| pair).collect();
    }
    // Joined with a byte that separates pairs in a query too, so no two lists of pairs look the
    // same.
    (!kept.is_empty()).then(|| kept.join("&").into())
}

/// An encoded name may be any name to the origin, so it counts.
fn may_be_among(written: &str, names: &[String]) -> bool {
    let is_encoded = written
        .bytes()
        .any(|byte| matches!(byte, b'%' | b'+') || !byte.is_ascii());
    is_encoded || names.iter().any(|name| query::may_be(written, name))
}

fn is_surely_among(written: &str, names: &[String]) -> bool {
    names.iter().any(|name| query::is_surely(written, name))
}

/// All values of a field, each with its length, or `None` when it is absent.
fn combined(headers: &HeaderMap, name: &http::HeaderName) -> Option<Vec<u8>> {
    let mut values = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .peekable();
    values.peek()?;
    let mut all = Vec::new();
    for value in values {
        push_part(&mut all, Some(value));
    }
    Some(all)
}

/// Says whether an updated response is still looked up under the key that it has.
pub(crate) fn check_rule(
    profile: &Profile,
    old: &Stored,
    updated: &Stored,
) -> Result<(), NotStored> {
    let moves = has_whole_query(profile) && Rule::of(&old.headers) != Rule::of(&updated.headers);
    if moves {
        Err(NotStored::NoVarySearch)
    } else {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    pub(crate) fn key(text: &str) -> super::CacheKey {
        super::CacheKey(text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::profile::Mode;
    use crate::cache::tests_support::profile;

    fn query_part(profile: &Profile, query: &str) -> Vec<u8> {
        let mut key = Vec::new();
        push_part(
            &mut key,
            super::query(profile, Some(query))
                .as_deref()
                .map(str::as_bytes),
        );
        key
    }

    #[test]
    fn queries_are_selected_and_sorted() {
        let mut p = profile(Mode::Respect);
        assert_ne!(query_part(&p, "a=1&b=2"), query_part(&p, "b=2&a=1"));
        p.query_sort = true;
        assert_eq!(query_part(&p, "a=1&b=2"), query_part(&p, "b=2&a=1"));
        assert_ne!(query_part(&p, "a=1&a=2"), query_part(&p, "a=2&a=1"));
        p.query = Query::Deny(vec!["utm_*".into(), "fbclid".into()]);
        assert_eq!(
            query_part(&p, "utm_source=x&a=1&fbclid=z"),
            query_part(&p, "a=1")
        );
        assert_eq!(query_part(&p, "utm_source=x"), query_part(&p, ""));
        p.query = Query::Allow(vec!["a".into()]);
        assert_eq!(query_part(&p, "a=1&ab=2"), query_part(&p, "a=1"));
        assert_ne!(query_part(&p, "a=1&%61=2"), query_part(&p, "a=1"));
        p.query = Query::None;
        assert_eq!(query_part(&p, "a=1"), query_part(&p, ""));
    }

    #[test]
    fn what_may_matter_to_an_origin_stays() {
        let mut p = profile(Mode::Respect);
        p.query = Query::Deny(vec!["utm_*".into(), "id".into()]);
        for matters in [
            "utm_c=x;callback=evil",
            "utm_c;callback",
            "UTM_c=x",
            "utm.c=x",
            "%75tm_c=x",
            "id[]=1",
            "id[a]=1",
            "ID=1",
            "+id=1",
            "amp;id=1",
        ] {
            assert_ne!(query_part(&p, matters), query_part(&p, ""), "{matters}");
        }
        assert_eq!(query_part(&p, "utm_c=x;utm_d=y;id=1"), query_part(&p, ""));
        p.query = Query::Allow(vec!["id".into(), "user_id".into()]);
        for matters in [
            "x=1;id=2",
            "ID=1",
            "id[]=1",
            "id.x=1",
            "[id]=1",
            "user.id=1",
            "user[id=1",
            "x+=1",
            "_id=1",
        ] {
            assert_ne!(query_part(&p, matters), query_part(&p, ""), "{matters}");
        }
        assert_eq!(query_part(&p, "x=1;y=id&ids=3&Y[]=4"), query_part(&p, ""));
    }

    #[test]
    fn parameters_that_may_be_one_keep_their_order() {
        let mut p = profile(Mode::Respect);
        p.query_sort = true;
        for (one, two) in [
            ("a=1&A=2", "A=2&a=1"),
            ("a[]=1&a=2", "a=2&a[]=1"),
            ("a=1&%61=2", "%61=2&a=1"),
            ("a.b=1&a_b=2", "a_b=2&a.b=1"),
            ("x=1;a=2&a=3", "a=3&x=1;a=2"),
            ("a=1&[a]=2", "[a]=2&a=1"),
        ] {
            assert_ne!(query_part(&p, one), query_part(&p, two), "{one}");
        }
        assert_eq!(
            query_part(&p, "b[x]=1&a[]=2&a[]=3"),
            query_part(&p, "a[]=2&a[]=3&b[x]=1")
        );
    }
}
