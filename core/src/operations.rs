//! What operators ask for at `/performance/cache/`: read and checked here, carried out by the
//! shell.

mod guesses;
mod hosts;
#[cfg(feature = "source")]
mod limits;
mod refused;
mod token;
mod warming;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header, response};
use serde::Deserialize;

use crate::purge::{Order, Purge, order, url};

pub use guesses::Guesses;
pub use hosts::admit_host;
#[cfg(feature = "source")]
pub(crate) use hosts::is_name;
#[cfg(feature = "source")]
pub use limits::{LIMITS_ROOT, LimitOperation, read_limits, told};
pub use refused::Refused;
pub use token::{CHARACTERS_MIN, Shown, Token};
pub use warming::Warmed;

/// Where operations are.
pub const ROOT: &str = "/performance/cache/";

/// Most bytes of an order.
pub const ORDER_BYTES_MAX: usize = 256 << 10;

/// Most URLs of an order to warm.
const WARMED_MAX: usize = 100;

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// `POST invalidate`, `DELETE {pattern}`: these purges.
    Purge(Vec<Purge>),
    /// `GET stats`: figures about the store.
    Stats,
    /// `POST warm`: a GET of each of these absolute URLs, beside all limits. [`Warmed`] writes the
    /// answer.
    Warm(Vec<Uri>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Warm {
    urls: Vec<String>,
}

/// Checks that an operator shows the token; without one nobody may do anything.
///
/// # Errors
/// Says what to send or to set.
pub fn admit(headers: &HeaderMap, token: Option<&Token>) -> Result<(), Refused> {
    match token.map(|token| token.shown(headers)) {
        None => Err(Refused::new(
            StatusCode::FORBIDDEN,
            "Operations are off",
            "Set TIDEGATE_ADMIN_TOKEN where tidegate runs to allow operations.",
        )),
        Some(Shown::Right) => Ok(()),
        Some(Shown::Nothing | Shown::Wrong) => Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "Who are you?",
            "Send Authorization: Bearer TOKEN, the token in TIDEGATE_ADMIN_TOKEN where tidegate runs.",
        )),
    }
}

/// Writes the reply to an operator: its head and its body. What has been done is told in JSON.
pub fn reply(done: Result<String, Refused>) -> (response::Parts, String) {
    let retry_after = done.as_ref().err().and_then(|refused| refused.retry_after);
    let (status, kind, text) = match done {
        Ok(told) => (StatusCode::OK, "application/json", told),
        Err(refused) => (
            refused.status,
            "application/problem+json",
            refused.document(),
        ),
    };
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    head.headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    head.headers
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        head.headers
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = retry_after {
        head.headers
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    (head, format!("{text}\n"))
}

/// Reads an operation from an operator's request.
pub fn read(method: &Method, uri: &Uri, body: &[u8]) -> Result<Operation, Refused> {
    let Some(name) = uri.path().strip_prefix(ROOT) else {
        return Err(unknown());
    };
    let wrong = |why: String| Refused::new(StatusCode::BAD_REQUEST, "Not understood", why);
    match (method, name) {
        (&Method::POST, "invalidate") => Order::parse(body)
            .and_then(|order| order.purges())
            .map(Operation::Purge)
            .map_err(wrong),
        (&Method::DELETE, _) if !body.is_empty() => Err(wrong(
            "DELETE has no body; POST invalidate takes an order, soft or not".into(),
        )),
        (&Method::DELETE, pattern) => {
            let query = uri
                .query()
                .map(|query| format!("?{query}"))
                .unwrap_or_default();
            let order = Order::of_pattern(&format!("{pattern}{query}"));
            order
                .and_then(|order| order.purges())
                .map(Operation::Purge)
                .map_err(wrong)
        }
        (&Method::GET, "stats") => Ok(Operation::Stats),
        (&Method::POST, "warm") => urls(body).map(Operation::Warm).map_err(wrong),
        _ => Err(unknown()),
    }
}

fn unknown() -> Refused {
    let detail = format!(
        "At {ROOT} there are POST invalidate, DELETE {{pattern}}, GET stats and POST warm."
    );
    Refused::new(StatusCode::NOT_FOUND, "No such operation", detail)
}

fn urls(body: &[u8]) -> Result<Vec<Uri>, String> {
    let Warm { urls } = order::read_json(body).map_err(|error| {
        format!("not an order to warm: {error}; write {{\"urls\": [\"https://HOST/PATH\"]}}")
    })?;
    if urls.is_empty() || urls.len() > WARMED_MAX {
        return Err(format!(
            "{} urls; an order has 1 to {WARMED_MAX}",
            urls.len()
        ));
    }
    let absolute = |(position, url): (usize, &String)| {
        let uri = if url.contains("://") {
            url::absolute(url)
        } else {
            Err(None)
        };
        uri.map_err(|help| {
            let help =
                help.unwrap_or_else(|| format!("`{url}` is not a URL; write https://HOST/PATH"));
            format!("urls[{position}]: {help}")
        })
    };
    urls.iter().enumerate().map(absolute).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;
    use crate::purge::Target;

    #[test]
    fn operations_are_for_those_with_the_token() {
        let token = Token::new("a");
        assert_eq!(
            admit(&headers(&[]), None).unwrap_err().status,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            admit(&headers(&[]), token.as_ref()).unwrap_err().status,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(
            admit(&headers(&[("authorization", "Bearer a")]), token.as_ref()),
            Ok(())
        );
    }

    #[test]
    fn operations_are_read() {
        let read = |method: Method, path: &str, body: &str| {
            read(
                &method,
                &format!("/performance/cache/{path}").parse().unwrap(),
                body.as_bytes(),
            )
        };
        let all = Ok(Operation::Purge(vec![Purge {
            target: Target::All,
            soft: false,
        }]));
        assert_eq!(
            read(Method::POST, "invalidate", r#"{"everything": true}"#),
            all
        );
        assert_eq!(read(Method::DELETE, "*", ""), all);
        let url = Target::Url {
            host: "a.example".into(),
            path: "/b".into(),
            query: Some("c".into()),
        };
        let one = Ok(Operation::Purge(vec![Purge {
            target: url,
            soft: false,
        }]));
        assert_eq!(read(Method::DELETE, "a.example/b?c", ""), one);
        assert_eq!(read(Method::GET, "stats", ""), Ok(Operation::Stats));
        let warm = read(Method::POST, "warm", r#"{"urls": ["https://a.example/b"]}"#);
        assert_eq!(
            warm,
            Ok(Operation::Warm(vec![
                "https://a.example/b".parse().unwrap()
            ]))
        );
        let warm = read(
            Method::POST,
            "warm",
            r#"{"urls": ["https://bücher.example/für?q=ä b"]}"#,
        );
        let requested = "https://xn--bcher-kva.example/f%C3%BCr?q=%C3%A4%20b";
        assert_eq!(warm, Ok(Operation::Warm(vec![requested.parse().unwrap()])));
        for (method, path, body, status, part) in [
            (
                Method::POST,
                "invalidate",
                "{",
                400,
                "not an order of purges",
            ),
            (Method::DELETE, "", "", 400, "the pattern is empty"),
            (Method::POST, "warm", r#"{"urls": []}"#, 400, "1 to 100"),
            (Method::POST, "warm", r#"{"urls": ["/a"]}"#, 400, "urls[0]"),
            (
                Method::POST,
                "warm",
                r#"{"urls": ["https://u@a.example/"]}"#,
                400,
                "urls[0]",
            ),
            (Method::GET, "nothing", "", 404, "POST warm"),
        ] {
            let refused = read(method, path, body).unwrap_err();
            assert!(
                refused.status == status && refused.detail.contains(part),
                "{path}: {refused:?}"
            );
        }
    }
}
