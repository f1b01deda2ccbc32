//! HTTP dates (RFC 9110, section 5.6.7) in all three formats.

use std::time::Duration;
// Arithmetic on the epoch only: the clock itself is never read here.
#[expect(clippy::disallowed_types, reason = "httpdate speaks SystemTime; only UNIX_EPOCH is used")]
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::time::Timestamp;

/// Reads the date in a header field; `None` when it is absent or not a date.
pub fn read(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    parse(headers.get(name)?.to_str().ok()?)
}

/// Reads an HTTP date.
pub fn parse(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    #[expect(clippy::disallowed_types, reason = "httpdate speaks SystemTime; only UNIX_EPOCH is used")]
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(u64::try_from(since.as_millis()).ok()?))
}

/// Writes an HTTP date.
pub fn write(at: Timestamp) -> HeaderValue {
    // httpdate refuses years after 9999.
    let seconds = at.as_secs().min(253_402_300_799);
    #[expect(clippy::disallowed_types, reason = "httpdate speaks SystemTime; only UNIX_EPOCH is used")]
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{parse, write};
    use crate::time::Timestamp;

    #[test]
    fn all_three_formats_are_read() {
        let expected = Some(Timestamp::from_millis(784_111_777_000));
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse(text), expected, "{text}");
        }
        for text in ["", "0", "-1", "Sun, 06 Nov 1994", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn writing_saturates() {
        assert_eq!(write(Timestamp::from_millis(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(write(Timestamp::from_millis(u64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
