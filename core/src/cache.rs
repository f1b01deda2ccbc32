//! Stored responses: what is kept, under which key, for how long, and when it may be used. RFC 9111
//! and RFC 5861.

pub mod control;
pub mod date;
pub mod deception;
pub mod freshness;
pub mod key;
mod profile;
pub mod range;
pub mod record;
pub mod search;
pub mod stale;
pub mod storable;
mod stored;
pub mod tags;
pub(crate) mod told;
pub mod validation;
mod validators;
pub mod variants;
pub mod vary;

pub use key::CacheKey;
pub use profile::{Lifetimes, Mode, Profile, Query};
pub use stored::{SentAt, Stored};

#[cfg(test)]
pub(crate) mod tests_support {
    //! What the tests of the cache modules share.

    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    use super::freshness::Freshness;
    use super::{Lifetimes, Mode, Profile, Query, Stored};
    use crate::time::Timestamp;

    pub(crate) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    pub(crate) fn profile(mode: Mode) -> Profile {
        Profile {
            name: "p".into(),
            mode,
            lifetimes: Lifetimes::default(),
            share_authorized: false,
            grace: 0,
            stale_if_error: None,
            query: Query::All,
            query_sort: false,
            key_headers: vec![],
            key_cookies: vec![],
            key_country: false,
            bypass_cookies: vec![],
            bypass_headers: vec![],
            body_bytes_max: 1 << 20,
            cache_control: None,
            client_directives: false,
            coalesce: 5000,
            strip_tags: false,
            guards_deception: true,
            show_key: false,
            early_refresh: 0,
        }
    }

    pub(crate) fn stored(lines: &[(&str, &str)]) -> Stored {
        Stored {
            status: StatusCode::OK,
            headers: headers(lines),
            received: Timestamp::from_millis(1_700_000_000_000),
            initial_age: 0,
            freshness: Freshness {
                lifetime: 60_000,
                ..Freshness::default()
            },
            vary: vec![],
            epoch: 0,
            labels: vec![],
        }
    }
}
