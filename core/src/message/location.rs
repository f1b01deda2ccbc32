//! References to other URLs of the same origin, as Location and Content-Location give them (RFC
//! 3986, section 4.2).

use http::Uri;

use super::authority::without_default_port;
use super::request::Request;

/// Resolves a reference against the request's URL. Returns path and query if it leads to the same
/// origin.
pub(crate) fn at_same_origin(
    request: &Request,
    reference: &str,
) -> Option<(String, Option<String>)> {
    let reference = reference.split('#').next().unwrap_or_default();
    resolve(
        request.scheme.as_str(),
        &request.authority,
        &request.head.uri,
        reference,
    )
}

fn resolve(
    scheme: &str,
    authority: &str,
    base: &Uri,
    reference: &str,
) -> Option<(String, Option<String>)> {
    let own = |text: &str| -> Option<String> {
        let uri: Uri = text.parse().ok()?;
        let same = uri.scheme_str()?.eq_ignore_ascii_case(scheme)
            && without_default_port(scheme, uri.authority()?.as_str())
                .eq_ignore_ascii_case(authority);
        same.then(|| {
            uri.path_and_query()
                .map_or("/", http::uri::PathAndQuery::as_str)
                .to_owned()
        })
    };
    let has_scheme = reference
        .split(['/', '?'])
        .next()
        .is_some_and(|first| first.contains(':'));
    let target = match reference.as_bytes() {
        [] => base.path_and_query()?.as_str().to_owned(),
        [b'/', b'/', ..] => own(&format!("{scheme}:{reference}"))?,
        [b'/', ..] => reference.to_owned(),
        [b'?', ..] => format!("{}{reference}", base.path()),
        _ if has_scheme => own(reference)?,
        _ => format!(
            "{}/{reference}",
            base.path()
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder)
        ),
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target.as_str(), None),
    };
    Some((without_dot_segments(path), query))
}

/// RFC 3986, section 5.2.4.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            ".." => {
                kept.pop();
            }
            "." => {}
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use http::Uri;

    use super::resolve;

    /// [9111-4.4-2]
    #[test]
    fn references_are_resolved() {
        let cases = [
            ("/x?y=1", Some("/x?y=1")),
            ("http://Shop.example/x", Some("/x")),
            ("http://shop.example:80", Some("/")),
            ("//shop.example/x", Some("/x")),
            ("d", Some("/a/b/d")),
            ("./d/../e?f", Some("/a/b/e?f")),
            ("../../../d", Some("/d")),
            ("..", Some("/a/")),
            ("?z", Some("/a/b/c?z")),
            ("", Some("/a/b/c?q=1")),
            ("d/x:y", Some("/a/b/d/x:y")),
            ("http://other.example/x", None),
            ("https://shop.example/x", None),
            ("http://shop.example:8080/x", None),
            ("mailto:a@b", None),
        ];
        for (reference, expected) in cases {
            let resolved = resolve(
                "http",
                "shop.example",
                &Uri::from_static("/a/b/c?q=1"),
                reference,
            );
            let text =
                resolved.map(|(path, query)| query.map_or(path.clone(), |q| format!("{path}?{q}")));
            assert_eq!(text.as_deref(), expected, "{reference}");
        }
    }
}
