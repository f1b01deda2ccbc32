//! What a response can be validated by (RFC 9110, section 8.8).

use http::{HeaderMap, header};

use crate::cache::date;
use crate::time::Timestamp;

/// Returns whether a response can be validated.
pub(super) fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(header::ETAG) || is_dated(response)
}

/// Returns whether Last-Modified is a date. When it is read must not matter, but in the seventies a
/// year of two digits may be one before the epoch.
pub(super) fn is_dated(response: &HeaderMap) -> bool {
    const LATE_ENOUGH: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    date::read(response, header::LAST_MODIFIED, LATE_ENOUGH).is_some()
}
