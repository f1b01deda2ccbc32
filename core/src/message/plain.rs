//! Paths as origins may read them: decoded, without parameters, with one slash where several are
//! written.
//!
//! Rules look at a path as it is written, up to equivalent spellings. An origin may read another
//! one: `/api%2Fx` and `/api;a/x` are `/api/x` to some, and `*` is `/`. Where that leads to another
//! route, the limits of both routes count, so that no spelling gets around a limit; and counts by
//! path are kept for the plain path.

use std::borrow::Cow;

/// How often a path is decoded: some origins decode what another one in front has decoded already.
const DECODED_MOST: usize = 3;

/// Returns the path as an origin may read it, if that differs from how it is written.
pub(crate) fn read(path: &str) -> Option<String> {
    if is_plain(path.as_bytes()) {
        return None;
    }
    if path == "*" {
        return Some("/".to_owned());
    }
    let text = fully_decoded(path);
    let mut read = String::with_capacity(text.len());
    for (i, segment) in text.split(['/', '\\']).enumerate() {
        if i > 0 && !read.ends_with('/') {
            read.push('/');
        }
        read.push_str(segment.split(';').next().unwrap_or_default());
    }
    (read != path).then_some(read)
}

/// Returns whether a path can be read in one way only: nearly all can.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().all(|byte| {
        let another_slash = *byte == b'/' && before == b'/';
        before = *byte;
        !another_slash && !matches!(byte, b'%' | b';' | b'\\' | b'*')
    })
}

/// Returns what a path of the policy is compared with once requests' paths are read so.
pub(crate) fn pattern(path: &str) -> Cow<'_, str> {
    if path.contains('%') {
        fully_decoded(path).into()
    } else {
        path.into()
    }
}

fn fully_decoded(path: &str) -> String {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..DECODED_MOST {
        let decoded = decoded(&bytes);
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns what is the same for all paths that are counted together: the plain path in lower case,
/// without a slash at the end.
pub(crate) fn counted(path: &str) -> Cow<'_, str> {
    let read = read(path).map_or(Cow::Borrowed(path), Cow::Owned);
    let as_it_is = !read.bytes().any(|byte| byte.is_ascii_uppercase())
        && (read == "/" || !read.ends_with('/'));
    if as_it_is {
        return read;
    }
    let lower = read.to_ascii_lowercase();
    let end = lower.trim_end_matches('/').len().max(1);
    Cow::Owned(lower.get(..end).unwrap_or("/").to_owned())
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = crate::message::query::decode_first(rest) {
        bytes.push(byte);
        rest = after;
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn spellings_are_read_as_one_path() {
        let spellings = [
            "/api%2Fx",
            "/api%2fx",
            "/api;a/x",
            "/api;a=1;b/x;c",
            "/api%3Ba/x",
            "//api//x",
            "/api%252Fx",
            "/api\\x",
            "/api%5Cx",
        ];
        for path in spellings {
            assert_eq!(read(path).as_deref(), Some("/api/x"), "{path}");
        }
        assert_eq!(read("*").as_deref(), Some("/"));
        for path in ["/", "/api/x", "/a.b/c-d", "/100%", "/*"] {
            assert_eq!(read(path), None, "{path}");
        }
        assert_eq!(read("/%FF").as_deref(), Some("/\u{fffd}"));
    }

    #[test]
    fn paths_are_counted_without_case_and_final_slash() {
        for path in ["/a/b", "/A/b/", "/a/%62", "/a/b//", "/a;x/b/"] {
            assert_eq!(counted(path), "/a/b", "{path}");
        }
        assert_eq!(counted("/"), "/");
        assert_eq!(counted("//"), "/");
        assert_eq!(counted("*"), "/");
    }
}
