//! Where a message ends: what says so is read once, and nothing that two readers could understand
//! differently goes on.
//!
//! Why: if the node in front and the one behind disagree about where a message ends, the rest of
//! one message becomes the beginning of the next one, which may be another client's (request
//! smuggling, response splitting). RFC 9112, sections 6.1 to 6.3.

use http::{HeaderMap, HeaderValue, StatusCode, Version, header, response};

use crate::message::syntax::members;
use crate::message::{hop_by_hop, names};
use crate::problem::Refusal;

/// A response that is no HTTP, or whose end is not certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Returns why a request whose fields say this about its body must not be answered, if so.
pub(crate) fn check_request(headers: &HeaderMap) -> Option<Refusal> {
    let said = Said::by(headers);
    if said.coding && !is_chunked(headers) {
        return Some(Refusal::TransferCoding);
    }
    let first = said.length?;
    let is_one_number = !said.lengths && decimal(first.as_bytes()).is_some();
    // Both at once is how requests are smuggled.
    (!is_one_number || said.coding).then_some(Refusal::Malformed)
}

/// What a message says about its end. One look over its fields costs less than a search for each of
/// these.
struct Said<'a> {
    coding: bool,
    /// The first length.
    length: Option<&'a HeaderValue>,
    /// Whether there are further ones.
    lengths: bool,
}

impl<'a> Said<'a> {
    fn by(headers: &'a HeaderMap) -> Self {
        let mut said = Self {
            coding: false,
            length: None,
            lengths: false,
        };
        for (name, value) in headers {
            if *name == header::CONTENT_LENGTH {
                said.lengths = said.length.is_some();
                said.length = said.length.or(Some(value));
            } else if *name == header::TRANSFER_ENCODING {
                said.coding = true;
            }
        }
        said
    }
}

/// Checks the head of an origin's response and makes it say one thing. `websocket` says whether the
/// request asked to switch to that protocol.
pub(crate) fn read_response(head: &mut response::Parts, websocket: bool) -> Result<(), Unreadable> {
    // What the origin speaks is between it and this node.
    head.version = Version::HTTP_11;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return if websocket && switches_to_websocket(&head.headers) {
            Ok(())
        } else {
            Err(Unreadable)
        };
    }
    // RFC 9110, section 15: other classes do not exist. An interim response is no answer.
    if !(200..600).contains(&head.status.as_u16()) {
        return Err(Unreadable);
    }
    let headers = &mut head.headers;
    let said = Said::by(headers);
    let is_plain = !said.lengths
        && said
            .length
            .is_none_or(|length| decimal(length.as_bytes()).is_some());
    if is_plain && !said.coding && head.status != StatusCode::NO_CONTENT {
        return Ok(());
    }
    if said.coding {
        if !is_chunked(headers) && !is_no_coding(headers) {
            return Err(Unreadable);
        }
        // The coding counts (RFC 9112, section 6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    if head.status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    one_length(headers)
}

/// Returns the fields of an interim response as a client may have them; `None` if it is not for
/// clients: 100 answers an expectation of this node, and 101 is no interim response (RFC 9110,
/// section 15.2).
pub fn interim_fields(status: StatusCode, headers: &HeaderMap) -> Option<HeaderMap> {
    if !status.is_informational()
        || status == StatusCode::CONTINUE
        || status == StatusCode::SWITCHING_PROTOCOLS
    {
        return None;
    }
    let mut headers = headers.clone();
    hop_by_hop::strip_hop_by_hop(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    Some(headers)
}

/// Several equal lengths become one; different ones say nothing.
fn one_length(headers: &mut HeaderMap) -> Result<(), Unreadable> {
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return Ok(());
    }
    let mut length = None;
    for line in headers.get_all(header::CONTENT_LENGTH) {
        for member in line.as_bytes().split(|byte| *byte == b',') {
            let member = decimal(member.trim_ascii()).ok_or(Unreadable)?;
            if length.is_some_and(|length| length != member) {
                return Err(Unreadable);
            }
            length = Some(member);
        }
    }
    let length = length.ok_or(Unreadable)?;
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(())
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let only = codings.next().is_some_and(|coding| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    });
    only && codings.next().is_none()
}

/// Returns whether a response names one coding that does not exist, or `identity`: then its body is
/// what comes until the connection is closed (RFC 9112, section 6.3). What is coded in a known way
/// would reach clients in a coding that nobody tells them.
fn is_no_coding(headers: &HeaderMap) -> bool {
    const CODINGS: [&str; 6] = [
        "chunked",
        "compress",
        "deflate",
        "gzip",
        "x-compress",
        "x-gzip",
    ];
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let only = lines
        .next()
        .and_then(|line| line.to_str().ok())
        .filter(|_| lines.next().is_none());
    only.is_some_and(|text| {
        !text.contains([',', ';'])
            && !CODINGS
                .iter()
                .any(|coding| coding.eq_ignore_ascii_case(text.trim()))
    })
}

fn switches_to_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let only = protocols
        .next()
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    only && protocols.next().is_none()
}

/// Drops trailer fields of a response that may not stand there: whoever merges them into the head
/// would be told by the origin's body what only its head may say (RFC 9110, section 6.5.1). What a
/// message's end, routing, storing or identity rests on is among them.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    let doomed: Vec<_> = trailers
        .keys()
        .filter(|name| !may_trail(name.as_str()))
        .cloned()
        .collect();
    for name in doomed {
        trailers.remove(name);
    }
}

fn may_trail(name: &str) -> bool {
    const FAMILIES: [&str; 8] = [
        "content-",
        "x-forwarded-",
        "cache-",
        "cdn-",
        "proxy-",
        "access-control-",
        "if-",
        "www-",
    ];
    const NAMES: [&str; 34] = [
        "age",
        "allow",
        "authorization",
        "authentication-info",
        "connection",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "forwarded",
        "host",
        "keep-alive",
        "last-modified",
        "location",
        "max-forwards",
        "pragma",
        "range",
        "accept-ranges",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "set-cookie",
        "strict-transport-security",
        "surrogate-control",
        "surrogate-key",
        "te",
        "tidegate-cdn-cache-control",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
    ];
    !NAMES.contains(&name) && !FAMILIES.iter().any(|family| name.starts_with(family))
}

/// How often a request may pass through Tidegate: at the edge, in a gateway and in a sidecar, with
/// room for more.
const PASSES_MAX: usize = 8;

/// Returns whether a request has come through Tidegate so often that it goes round in a circle (RFC
/// 9110, section 7.6.3; RFC 8586).
pub(crate) fn goes_round(headers: &HeaderMap) -> bool {
    let passes = members(headers, names::CDN_LOOP).filter(|member| is_ours(member));
    passes.count() >= PASSES_MAX
}

fn is_ours(member: &[u8]) -> bool {
    let name = member
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"tidegate")
}

/// Reads a valid Content-Length.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    fn request(fields: &[(&str, &str)]) -> Option<Refusal> {
        check_request(&headers(fields))
    }

    fn response(status: u16, fields: &[(&str, &str)]) -> Result<HeaderMap, Unreadable> {
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = StatusCode::from_u16(status).unwrap();
        head.version = Version::HTTP_10;
        head.headers = headers(fields);
        read_response(&mut head, false)?;
        assert_eq!(head.version, Version::HTTP_11);
        Ok(head.headers)
    }

    #[test]
    fn requests_say_once_where_they_end() {
        assert_eq!(request(&[]), None);
        assert_eq!(request(&[("content-length", "5")]), None);
        assert_eq!(request(&[("transfer-encoding", "Chunked")]), None);
        let malformed: [&[(&str, &str)]; 5] = [
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
        ];
        for fields in malformed {
            assert_eq!(request(fields), Some(Refusal::Malformed), "{fields:?}");
        }
        for coding in [
            "gzip, chunked",
            "identity",
            "chunked, chunked",
            "x",
            "",
            "chunked;a=1",
        ] {
            assert_eq!(
                request(&[("transfer-encoding", coding)]),
                Some(Refusal::TransferCoding),
                "{coding}"
            );
        }
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(request(&twice), Some(Refusal::TransferCoding));
    }

    #[test]
    fn responses_say_one_thing_or_are_none() {
        let five = headers(&[("content-length", "5")]);
        assert_eq!(response(200, &[("content-length", "5")]), Ok(five.clone()));
        assert_eq!(
            response(200, &[("content-length", "5, 5")]),
            Ok(five.clone())
        );
        assert_eq!(
            response(200, &[("content-length", "5"), ("content-length", " 5")]),
            Ok(five)
        );
        let chunked = headers(&[("transfer-encoding", "chunked")]);
        assert_eq!(
            response(
                200,
                &[("transfer-encoding", "chunked"), ("content-length", "500")]
            ),
            Ok(chunked)
        );
        for none in ["identity", "x3rj"] {
            assert_eq!(
                response(200, &[("transfer-encoding", none)]),
                Ok(headers(&[("transfer-encoding", none)]))
            );
        }
        assert_eq!(response(204, &[("content-length", "0")]), Ok(headers(&[])));
        let unreadable: [(u16, &[(&str, &str)]); 11] = [
            (200, &[("content-length", "5, 6")]),
            (200, &[("content-length", "5"), ("content-length", "6")]),
            (200, &[("content-length", "5,")]),
            (200, &[("content-length", "-5")]),
            (200, &[("transfer-encoding", "gzip, chunked")]),
            (200, &[("transfer-encoding", "gzip")]),
            (200, &[("transfer-encoding", "identity, chunked")]),
            (101, &[("upgrade", "websocket")]),
            (103, &[]),
            (600, &[]),
            (999, &[]),
        ];
        for (status, fields) in unreadable {
            assert_eq!(
                response(status, fields),
                Err(Unreadable),
                "{status} {fields:?}"
            );
        }
    }

    #[test]
    fn trailers_say_nothing_that_the_head_decides() {
        let mut trailers = headers(&[
            ("grpc-status", "0"),
            ("x-checksum", "1"),
            ("digest", "a"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a=b"),
            ("cache-control", "public"),
            ("via", "1.1 x"),
            ("x-forwarded-for", "1.2.3.4"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(
            trailers,
            headers(&[("grpc-status", "0"), ("x-checksum", "1"), ("digest", "a")])
        );
    }

    #[test]
    fn circles_end() {
        let passed = |times: usize| {
            headers(&[("cdn-loop", &vec!["other, Tidegate; v=1"; times].join(", "))])
        };
        assert!(!goes_round(&passed(PASSES_MAX - 1)));
        assert!(goes_round(&passed(PASSES_MAX)));
        let lines = vec![("cdn-loop", "tidegate"); PASSES_MAX];
        assert!(goes_round(&headers(&lines)));
    }
}
