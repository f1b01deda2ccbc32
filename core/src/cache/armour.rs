//! Against cache deception: a dynamic page that an origin serves under the name of a static file must not be stored for all.
//!
//! The attack: a victim is led to `/account/x.css`; an origin that ignores the rest of the path answers with the account's page, and a cache that
//! trusts the name keeps it. So a page under a static name is not stored.

use http::{HeaderMap, StatusCode, header};

/// Endings of names of static files, none of which is a page.
const STATIC: [&str; 44] = [
    "7z", "aac", "apk", "avi", "avif", "bmp", "bz2", "class", "css", "csv", "doc", "docx", "eot", "exe", "flac", "gif",
    "gz", "ico", "jar", "jpeg", "jpg", "js", "json", "map", "mjs", "mkv", "mp3", "mp4", "ogg", "otf", "pdf", "png",
    "ppt", "pptx", "svg", "tar", "ttf", "wasm", "wav", "webm", "webp", "woff", "woff2", "zip",
];

/// Returns whether a response is a page although the last segment of its path names a static file. Errors are pages everywhere.
pub fn is_disguised(path: &str, status: StatusCode, response: &HeaderMap) -> bool {
    let Some(page) = page(response).filter(|_| status.is_success()) else {
        return false;
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    // Some origins end a path at an encoded delimiter.
    let name = DELIMITERS.into_iter().fold(name, |name, end| name.rsplit(end).next().unwrap_or_default());
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let among = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(ending));
    among(&STATIC) && (page == Page::Html || !among(&["json", "map", "js", "mjs"]))
}

const DELIMITERS: [&str; 9] = ["%3b", "%3B", ";", "%23", "%3f", "%3F", "%00", "%0a", "%0A"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Html,
    Json,
}

fn page(response: &HeaderMap) -> Option<Page> {
    let kind = response.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    let is = |known: &str| kind.eq_ignore_ascii_case(known);
    let json = || {
        is("application/json")
            || kind.get(kind.len().saturating_sub(5)..).is_some_and(|end| end.eq_ignore_ascii_case("+json"))
    };
    match () {
        () if is("text/html") || is("application/xhtml+xml") => Some(Page::Html),
        () if json() => Some(Page::Json),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    #[test]
    fn pages_under_static_names_are_found() {
        let disguised =
            |path: &str, kind: &str| is_disguised(path, StatusCode::OK, &headers(&[("content-type", kind)]));
        for path in ["/account/x.css", "/x.JS", "/account;x.css", "/account%3Bx.png", "/account%0a.js", "/a/.css"] {
            assert!(disguised(path, "Text/HTML; charset=utf-8"), "{path}");
        }
        assert!(disguised("/api/me/x.css", "application/json") && disguised("/api/me/x.png", "application/ld+json"));
        for (path, kind) in [
            ("/x.css", "text/css"),
            ("/x.js", "text/javascript"),
            ("/data.json", "application/json"),
            ("/x.html", "text/html"),
            ("/css", "text/html"),
            ("/x.css/account", "text/html"),
        ] {
            assert!(!disguised(path, kind), "{path} {kind}");
        }
        assert!(!is_disguised("/x.css", StatusCode::NOT_FOUND, &headers(&[("content-type", "text/html")])));
        assert!(!is_disguised("/x.css", StatusCode::OK, &headers(&[])));
    }
}
