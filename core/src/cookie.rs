//! Cookies of a request (RFC 6265, section 5.4), read without decoding.

use http::{HeaderMap, header};

/// Returns the value of the first cookie with this name, over all Cookie fields.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get_all(header::COOKIE).into_iter().find_map(|field| {
        let pairs = field.as_bytes().split(|b| *b == b';').map(<[u8]>::trim_ascii);
        pairs.filter_map(split).find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| value)
    })
}

fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = pair.iter().position(|b| *b == b'=')?;
    let (name, rest) = pair.split_at_checked(equals)?;
    Some((name.trim_ascii(), rest.get(1..)?.trim_ascii()))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::find;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("xauth=no; auth=first;auth=second; flag"));
        headers.append("cookie", HeaderValue::from_static("other=a=b"));
        assert_eq!(find(&headers, "auth"), Some(&b"first"[..]));
        assert_eq!(find(&headers, "other"), Some(&b"a=b"[..]));
        assert_eq!(find(&headers, "flag"), None);
    }
}
