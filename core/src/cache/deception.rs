//! Against cache deception: a dynamic page that an origin serves under the name of a static file
//! must not be stored for all.
//!
//! The attack: a victim is led to `/account/x.css`; an origin that ignores the rest of the path
//! answers with the account's page, and a cache that trusts the name keeps it. So a page under a
//! static name is not stored.

use http::{HeaderMap, StatusCode, header};

/// Endings of names of static files, none of which is a page.
const STATIC: [&str; 119] = [
    "3gp",
    "7z",
    "aac",
    "aif",
    "aiff",
    "apk",
    "appcache",
    "asc",
    "atom",
    "avi",
    "avif",
    "bin",
    "bmp",
    "br",
    "bz2",
    "cab",
    "class",
    "css",
    "csv",
    "cur",
    "dat",
    "deb",
    "dll",
    "dmg",
    "doc",
    "docm",
    "docx",
    "ejs",
    "eot",
    "eps",
    "epub",
    "exe",
    "flac",
    "flv",
    "gif",
    "gz",
    "heic",
    "heif",
    "ico",
    "ics",
    "img",
    "iso",
    "jar",
    "jp2",
    "jpe",
    "jpeg",
    "jpg",
    "js",
    "json",
    "jsx",
    "jxl",
    "less",
    "lz",
    "m3u8",
    "m4a",
    "m4s",
    "m4v",
    "map",
    "mid",
    "midi",
    "mjs",
    "mkv",
    "mobi",
    "mov",
    "mp3",
    "mp4",
    "mpd",
    "mpeg",
    "mpg",
    "msi",
    "odp",
    "ods",
    "odt",
    "oga",
    "ogg",
    "ogv",
    "opus",
    "otf",
    "pdf",
    "pict",
    "pkg",
    "pls",
    "png",
    "ppt",
    "pptx",
    "ps",
    "psd",
    "rar",
    "rpm",
    "rss",
    "rtf",
    "scss",
    "svg",
    "svgz",
    "swf",
    "tar",
    "tgz",
    "tif",
    "tiff",
    "ttc",
    "ttf",
    "txt",
    "vtt",
    "wasm",
    "wav",
    "weba",
    "webm",
    "webmanifest",
    "webp",
    "wma",
    "wmv",
    "woff",
    "woff2",
    "xls",
    "xlsm",
    "xlsx",
    "xz",
    "zip",
    "zst",
];

/// Endings of names of data, which may well be JSON or XML.
const DATA: [&str; 11] = [
    "json",
    "map",
    "js",
    "mjs",
    "webmanifest",
    "jsx",
    "svg",
    "svgz",
    "rss",
    "atom",
    "mpd",
];

/// Returns whether a response is a page although the last segment of its path names a static file.
/// Errors are pages everywhere.
pub fn is_disguised(path: &str, status: StatusCode, response: &HeaderMap) -> bool {
    let Some(page) = page(response).filter(|_| status.is_success()) else {
        return false;
    };
    let among = |names: &[&str], ending: &[u8]| {
        names
            .iter()
            .any(|known| known.as_bytes().eq_ignore_ascii_case(ending))
    };
    let is_static =
        |ending: &[u8]| among(&STATIC, ending) && (page == Page::Html || !among(&DATA, ending));
    // Some origins decode a path more than once.
    let mut path = path.as_bytes().to_vec();
    for _ in 0..3 {
        if endings(&path).any(is_static) {
            return true;
        }
        let decoded = crate::message::query::decoded(&path);
        if decoded == path {
            break;
        }
        path = decoded;
    }
    false
}

/// The endings that the last segment of a path has to one origin or another. Some end a path at a
/// delimiter, and some drop what has no meaning to them, such as white space and dots, from its
/// end.
fn endings(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = path
        .iter()
        .rposition(|byte| !is_slash(*byte))
        .map_or(0, |last| last + 1);
    let name = path
        .get(..end)
        .unwrap_or_default()
        .rsplit(|byte| is_slash(*byte))
        .next()
        .unwrap_or_default();
    name.split(|byte| DELIMITERS.contains(byte)).map(|piece| {
        let end = piece
            .iter()
            .rposition(u8::is_ascii_alphanumeric)
            .map_or(0, |last| last + 1);
        let piece = piece.get(..end).unwrap_or_default();
        let dot = piece.iter().rposition(|byte| *byte == b'.');
        dot.and_then(|dot| piece.get(dot + 1..)).unwrap_or_default()
    })
}

fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

const DELIMITERS: &[u8] = b";#?&,!@:=$|\0\t\n\r";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Html,
    Data,
}

fn page(response: &HeaderMap) -> Option<Page> {
    // Of several types, which are no valid field, a browser may take any.
    let lines = response
        .get_all(header::CONTENT_TYPE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).find_map(page_of)
}

fn page_of(kind: &str) -> Option<Page> {
    let kind = kind.split(';').next()?.trim();
    let is = |known: &str| kind.eq_ignore_ascii_case(known);
    let ends = |with: &str| {
        kind.get(kind.len().saturating_sub(with.len())..)
            .is_some_and(|end| end.eq_ignore_ascii_case(with))
    };
    let data = || {
        is("application/json")
            || is("text/xml")
            || is("application/xml")
            || ends("+json")
            || (ends("+xml") && !is("image/svg+xml"))
    };
    match () {
        () if is("text/html") || is("application/xhtml+xml") => Some(Page::Html),
        () if data() => Some(Page::Data),
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
        let disguised = |path: &str, kind: &str| {
            is_disguised(path, StatusCode::OK, &headers(&[("content-type", kind)]))
        };
        for path in [
            "/account/x.css",
            "/x.JS",
            "/account;x.css",
            "/account%3Bx.png",
            "/account%0a.js",
            "/a/.css",
            "/x.css;a",
            "/x.css%3Ba",
            "/x.css%20",
            "/x.css%09",
            "/x.css+",
            "/x.css.",
            "/x.css%2e",
            "/x.css%00.html",
            "/x.css%2500",
            "/x.css%253Bb",
            "/x.css/",
            "/x.css%2F",
            "/a%2Fx.css",
            "/a%5Cx.css",
            "/x.css~",
            "/x.css::$DATA",
            "/x.css%23",
            "/x.css%3Fa",
            "/x.css&a",
            "/x.css%C2%A0",
            "/x.bin",
            "/x.tif",
            "/x.TIFF",
            "/x.xls",
            "/x.xlsx",
            "/x.txt",
            "/x.m4a",
            "/x.svgz",
            "/x.swf",
        ] {
            assert!(disguised(path, "Text/HTML; charset=utf-8"), "{path}");
        }
        assert!(
            disguised("/api/me/x.css", "application/json")
                && disguised("/api/me/x.png", "application/ld+json")
        );
        for (path, kind) in [
            ("/x.css", "text/css"),
            ("/x.js", "text/javascript"),
            ("/data.json", "application/json"),
            ("/feed.rss", "application/rss+xml"),
            ("/logo.svg", "text/xml"),
            ("/logo.css", "image/svg+xml"),
            ("/sitemap.xml", "application/xml"),
            ("/x.html", "text/html"),
            ("/css", "text/html"),
            ("/x.css/account", "text/html"),
            ("/about.pdf.html", "text/html"),
            ("/node.js-tutorial", "text/html"),
            ("/learn-node.js-today/", "text/html"),
            ("/wiki/Node.js_(book)", "text/html"),
            ("/article.php", "text/html"),
            ("/manifest.webmanifest", "application/manifest+json"),
        ] {
            assert!(!disguised(path, kind), "{path} {kind}");
        }
        assert!(
            disguised("/me/x.css", "application/xml")
                && disguised("/me/x.png", "application/atom+xml")
        );
        assert!(disguised("/x.css", "text/css, text/html"));
        assert!(!is_disguised(
            "/x.css",
            StatusCode::NOT_FOUND,
            &headers(&[("content-type", "text/html")])
        ));
        assert!(!is_disguised("/x.css", StatusCode::OK, &headers(&[])));
    }
}
