//! The stored responses under one key: which one a request may use, and where a new one goes.

use std::ops::Range;
use std::sync::Arc;

use http::HeaderMap;

use super::range::{self, Combined};
use super::{Stored, vary};

/// Most stored responses under one key.
pub const VARIANTS_MAX: usize = 16;

/// How a new response goes among those already stored under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// In place of this one; behind all others if there is none.
    pub at: Option<usize>,
    /// The head to store.
    pub head: Arc<Stored>,
    /// What of the body that is replaced comes before the new one.
    pub before: Range<u64>,
    /// What of it comes after the new one.
    pub after: Range<u64>,
}

/// Chooses the response for a request: of those that match the most recent (RFC 9111, section 4.1). [9111-4-3] [9111-4-8]
pub fn choose<'a>(variants: impl IntoIterator<Item = &'a Arc<Stored>>, request: &HeaderMap) -> Option<&'a Arc<Stored>> {
    variants.into_iter().filter(|v| vary::matches(&v.vary, &v.headers, request)).max_by_key(|v| v.received)
}

/// Says how a new response is stored: in place of the one for the same requests, to which a part may be joined. Beyond [`VARIANTS_MAX`] the oldest
/// leaves.
pub fn put(variants: &[Arc<Stored>], head: Arc<Stored>) -> Put {
    if let Some((at, old)) = variants.iter().enumerate().find(|(_, v)| v.vary == head.vary) {
        if let Some(Combined { head, before, after }) = range::combine(old, &head) {
            return Put { at: Some(at), head, before, after };
        }
        return Put { at: Some(at), head, before: 0..0, after: 0..0 };
    }
    let oldest = variants.iter().enumerate().min_by_key(|(_, v)| v.received).map(|(position, _)| position);
    Put { at: oldest.filter(|_| variants.len() >= VARIANTS_MAX), head, before: 0..0, after: 0..0 }
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

    /// [9111-4-3]
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
        let at = |variants: &[Arc<Stored>], language: &str| put(variants, variant(language, 200)).at;
        assert_eq!(at(&variants, "3"), Some(3));
        assert_eq!(at(&variants, "new"), Some(15));
        assert_eq!(at(&variants[..5], "new"), None);
    }
}
