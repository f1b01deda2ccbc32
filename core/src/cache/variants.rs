//! The stored responses under one key: which one a request may use, and where a new one goes.

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, header};

use crate::cache::range::Combined;
use crate::cache::stored::Stored;
use crate::cache::{date, range, vary};

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

/// Chooses the response for a request (RFC 9111, section 4.1): of those that match one that varies,
/// because an origin may forget to say so of its default response; of these the most recent by
/// Date. [9111-4-3] [9111-4-8] [9111-4.1-2]
pub fn choose<'a>(
    variants: impl IntoIterator<Item = &'a Arc<Stored>>,
    request: &HeaderMap,
) -> Option<&'a Arc<Stored>> {
    let rank = |v: &Stored| {
        (
            !v.vary.is_empty(),
            date::read(&v.headers, header::DATE, v.received),
            v.received,
        )
    };
    let mut wanted = vary::Wanted::of(request);
    let matching = variants
        .into_iter()
        .filter(|v| wanted.matches(&v.vary, &v.headers));
    matching.reduce(|best, other| {
        if rank(other) >= rank(best) {
            other
        } else {
            best
        }
    })
}

/// Says how a new response is stored: in place of the one for the same requests, to which a part
/// may be joined. Beyond [`VARIANTS_MAX`] the oldest leaves. A part is joined to no more than
/// `joined_max` bytes.
pub fn put(variants: &[Arc<Stored>], head: Arc<Stored>, joined_max: u64) -> Put {
    if let Some((at, old)) = variants
        .iter()
        .enumerate()
        .find(|(_, v)| v.vary == head.vary)
    {
        if let Some(Combined {
            head,
            before,
            after,
        }) = range::combine(old, &head, joined_max)
        {
            return Put {
                at: Some(at),
                head,
                before,
                after,
            };
        }
        return Put {
            at: Some(at),
            head,
            before: 0..0,
            after: 0..0,
        };
    }
    let oldest = variants
        .iter()
        .enumerate()
        .min_by_key(|(_, v)| v.received)
        .map(|(position, _)| position);
    Put {
        at: oldest.filter(|_| variants.len() >= VARIANTS_MAX),
        head,
        before: 0..0,
        after: 0..0,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::{headers, stored};

    fn variant(language: &str, received: u64) -> Arc<Stored> {
        let mut s = stored(&[]);
        s.vary = vary::nominate(
            &headers(&[("vary", "accept-language")]),
            &headers(&[("accept-language", language)]),
        );
        s.received = crate::Timestamp::from_millis(received);
        Arc::new(s)
    }

    /// [9111-4-3] [9111-4-8] [9111-4.1-2]
    #[test]
    fn the_most_recent_match_that_varies_is_chosen() {
        let mut variants = vec![variant("de", 1), variant("en", 3)];
        let mut unvarying = stored(&[]);
        unvarying.received = crate::Timestamp::from_millis(2);
        variants.push(Arc::new(unvarying));
        let chosen = |variants: &[Arc<Stored>], language: &str| {
            choose(variants, &headers(&[("accept-language", language)]))
                .map(|v| v.received.as_millis())
        };
        assert_eq!(chosen(&variants, "de"), Some(1));
        assert_eq!(chosen(&variants, "en"), Some(3));
        assert_eq!(chosen(&variants, "fr"), Some(2));
        assert_eq!(choose(&variants[..1], &headers(&[])), None);
        let dated = |received, date: &str| {
            let s = Stored::clone(&variant("de", received));
            Arc::new(Stored {
                headers: headers(&[("date", date)]),
                ..s
            })
        };
        let early = dated(9, "Sun, 06 Nov 1994 08:49:36 GMT");
        assert_eq!(
            chosen(&[early, dated(8, "Sun, 06 Nov 1994 08:49:37 GMT")], "de"),
            Some(8)
        );
    }

    #[test]
    fn variants_are_bounded() {
        let variants: Vec<_> = (0..16).map(|i| variant(&i.to_string(), 100 - i)).collect();
        let at = |variants: &[Arc<Stored>], language: &str| {
            put(variants, variant(language, 200), u64::MAX).at
        };
        assert_eq!(at(&variants, "3"), Some(3));
        assert_eq!(at(&variants, "new"), Some(15));
        assert_eq!(at(&variants[..5], "new"), None);
    }
}
