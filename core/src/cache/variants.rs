//! The stored responses under one key: which one a request may use, and where a new one goes.

use std::sync::Arc;

use http::HeaderMap;

use super::{Stored, vary};

/// Most stored responses under one key.
pub const VARIANTS_MAX: usize = 16;

/// Where a new response goes among those already stored under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In place of this one, which answers the same requests.
    Replace(usize),
    /// Behind the others.
    Append,
}

/// Chooses the response for a request: of those that match the most recent (RFC 9111, section 4.1).
pub fn choose<'a>(variants: impl IntoIterator<Item = &'a Arc<Stored>>, request: &HeaderMap) -> Option<&'a Arc<Stored>> {
    variants.into_iter().filter(|v| vary::matches(&v.vary, &v.headers, request)).max_by_key(|v| v.received)
}

/// Says where a new response goes. Beyond [`VARIANTS_MAX`] the oldest leaves.
pub fn place(variants: &[Arc<Stored>], new: &Stored) -> Placement {
    if let Some(same) = variants.iter().position(|v| v.vary == new.vary) {
        return Placement::Replace(same);
    }
    if variants.len() < VARIANTS_MAX {
        return Placement::Append;
    }
    let oldest = variants.iter().enumerate().min_by_key(|(_, v)| v.received);
    oldest.map_or(Placement::Append, |(position, _)| Placement::Replace(position))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::{headers, stored};

    fn variant(language: &str, received: u64) -> Arc<Stored> {
        let mut s = stored(&[]);
        s.vary = vary::nominate(&headers(&[("vary", "accept-language")]), &headers(&[("accept-language", language)]));
        s.received = crate::Timestamp::from_millis(received);
        Arc::new(s)
    }

    #[test]
    fn the_most_recent_match_is_chosen() {
        let mut variants = vec![variant("de", 1), variant("en", 3)];
        let mut unvarying = stored(&[]);
        unvarying.received = crate::Timestamp::from_millis(2);
        variants.push(Arc::new(unvarying));
        let chosen = |language: &str| {
            choose(&variants, &headers(&[("accept-language", language)])).map(|v| v.received.as_millis())
        };
        assert_eq!(chosen("de"), Some(2));
        assert_eq!(chosen("en"), Some(3));
        assert_eq!(choose(&variants[..1], &headers(&[])), None);
    }

    #[test]
    fn variants_are_bounded() {
        let variants: Vec<_> = (0..16).map(|i| variant(&i.to_string(), 100 - i)).collect();
        assert_eq!(place(&variants, &variant("3", 200)), Placement::Replace(3));
        assert_eq!(place(&variants, &variant("new", 200)), Placement::Replace(15));
        assert_eq!(place(&variants[..5], &variant("new", 200)), Placement::Append);
    }
}
