//! Why a request is refused, and the problem document (RFC 9457) that says so.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, response};
use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::message::names;

/// Why the client gets an answer that is neither an origin's nor a stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// The request is not valid HTTP.
    Malformed,
    /// Host is missing, repeated or not a host.
    BadHost,
    /// The path has `.` or `..` segments, which origins read differently.
    AmbiguousPath,
    /// The method is CONNECT.
    MethodNotAllowed,
    /// The request target is longer than the policy allows.
    UriTooLong,
    /// More or larger header fields than the policy allows.
    HeadersTooLarge,
    /// A larger body than the policy allows.
    BodyTooLarge,
    /// The header fields took longer than the policy allows.
    HeadersTooSlow,
    /// No route matches.
    NoRoute,
    /// A limit is used up.
    LimitExceeded,
    /// A limit that callers share is used up, which is not this client's doing.
    CapacityExceeded,
    /// A limit's counter could not be reached, and the policy refuses then.
    LimitUnavailable,
    /// The client wanted a stored response only, and none could be used.
    OnlyIfCached,
    /// Every origin's circuit is open.
    CircuitsOpen,
    /// No origin could be reached.
    OriginUnreachable,
    /// The origin took too long.
    OriginTimeout,
    /// The origin closed the connection or sent something that is not HTTP.
    OriginFailed,
    /// The exchange ended before there was an answer: its client went away, or this node stopped.
    Abandoned,
    /// A stored response does not meet the client's If-Match or If-Unmodified-Since.
    PreconditionFailed,
    /// None of the ranges lies in the stored response.
    RangeNotSatisfiable,
    /// The request's transfer coding is not `chunked`.
    TransferCoding,
    /// The client sent its body too slowly, or stopped.
    BodyTooSlow,
    /// The request has passed through Tidegate so often that it goes round in a circle.
    LoopDetected,
    /// The target names another scheme than the one by which the request came.
    Misdirected,
    /// An OPTIONS request that may not be passed on any further (Max-Forwards): it is answered
    /// here.
    FinalRecipient,
    /// A connection has more exchanges under way than it may have streams: it leaves them behind
    /// and asks for more.
    TooManyUnderWay,
    /// The request does not say what a limit counts by, and the policy refuses then.
    UnknownCaller,
    /// The request names more callers than a limit charges.
    AmbiguousCaller,
    /// The request shows the operators' token, which no origin may see.
    OperatorsToken,
}

/// What a refusal tells the client.
struct Text {
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
    /// Error type of Proxy-Status (RFC 9209, section 2.3).
    proxy_error: Option<&'static str>,
}

impl Refusal {
    /// Returns the name used in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the status of the reply.
    pub fn status(self) -> StatusCode {
        self.text().status
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    fn text(self) -> Text {
        let text = |status, title, detail, proxy_error| Text {
            status,
            title,
            detail,
            proxy_error,
        };
        let denied = Some("http_request_denied");
        let error = Some("http_request_error");
        match self {
            Self::Malformed => text(
                StatusCode::BAD_REQUEST,
                "Bad request",
                "The request is not valid HTTP.",
                error,
            ),
            Self::BadHost => text(
                StatusCode::BAD_REQUEST,
                "Bad host",
                "Send exactly one Host field with a valid host name.",
                error,
            ),
            Self::AmbiguousPath => text(
                StatusCode::BAD_REQUEST,
                "Ambiguous path",
                "Resolve `.` and `..` segments before sending the path.",
                error,
            ),
            Self::MethodNotAllowed => text(
                StatusCode::NOT_IMPLEMENTED,
                "Method not supported",
                "CONNECT is not supported.",
                error,
            ),
            Self::UriTooLong => text(
                StatusCode::URI_TOO_LONG,
                "URI too long",
                "The request target is longer than this service accepts.",
                error,
            ),
            Self::HeadersTooLarge => text(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Header fields too large",
                "Send fewer or shorter header fields.",
                error,
            ),
            Self::BodyTooLarge => text(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Body too large",
                "The request body is larger than this service accepts.",
                error,
            ),
            Self::HeadersTooSlow => text(
                StatusCode::REQUEST_TIMEOUT,
                "Request timeout",
                "The header fields took too long to arrive.",
                error,
            ),
            Self::NoRoute => text(
                StatusCode::NOT_FOUND,
                "No route",
                "Nothing is served at this address.",
                denied,
            ),
            Self::LimitExceeded => text(
                StatusCode::TOO_MANY_REQUESTS,
                "Quota exceeded",
                "Wait as long as Retry-After says.",
                denied,
            ),
            Self::CapacityExceeded => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Capacity exceeded",
                "More is asked for than can be served. Wait as long as Retry-After says.",
                denied,
            ),
            Self::LimitUnavailable => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Limit unavailable",
                "A quota cannot be checked right now.",
                denied,
            ),
            Self::OnlyIfCached => text(
                StatusCode::GATEWAY_TIMEOUT,
                "Not cached",
                "No stored response can answer this request.",
                denied,
            ),
            Self::CircuitsOpen => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Service unavailable",
                "Every origin is recovering.",
                Some("destination_unavailable"),
            ),
            Self::OriginUnreachable => text(
                StatusCode::BAD_GATEWAY,
                "Origin unreachable",
                "No origin could be reached.",
                Some("destination_unavailable"),
            ),
            Self::OriginTimeout => text(
                StatusCode::GATEWAY_TIMEOUT,
                "Origin timeout",
                "The origin took too long.",
                Some("http_response_timeout"),
            ),
            Self::OriginFailed => text(
                StatusCode::BAD_GATEWAY,
                "Origin failed",
                "The origin did not complete its response.",
                Some("connection_terminated"),
            ),
            Self::PreconditionFailed => text(
                StatusCode::PRECONDITION_FAILED,
                "Precondition failed",
                "The response is another one than the request requires.",
                None,
            ),
            Self::RangeNotSatisfiable => text(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "Range not satisfiable",
                "None of the ranges lies in the response.",
                None,
            ),
            Self::TransferCoding => text(
                StatusCode::NOT_IMPLEMENTED,
                "Transfer coding not supported",
                "Send the body in chunks without any other transfer coding.",
                error,
            ),
            Self::BodyTooSlow => text(
                StatusCode::REQUEST_TIMEOUT,
                "Request timeout",
                "The request body took too long to arrive.",
                error,
            ),
            Self::LoopDetected => text(
                StatusCode::LOOP_DETECTED,
                "Loop detected",
                "The request has passed through this service too often.",
                Some("proxy_loop_detected"),
            ),
            Self::Misdirected => text(
                StatusCode::MISDIRECTED_REQUEST,
                "Misdirected request",
                "The target names a scheme that is not served here.",
                error,
            ),
            Self::FinalRecipient => text(
                StatusCode::NO_CONTENT,
                "No content",
                "The request is not passed on any further.",
                None,
            ),
            Self::TooManyUnderWay => text(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests",
                "Wait for the answers to earlier requests.",
                denied,
            ),
            Self::UnknownCaller => text(
                StatusCode::BAD_REQUEST,
                "Unknown caller",
                "The request does not say who sends it, and a quota counts by that.",
                denied,
            ),
            Self::AmbiguousCaller => text(
                StatusCode::BAD_REQUEST,
                "Ambiguous caller",
                "The request names too many callers; a quota counts by who sends it.",
                error,
            ),
            Self::OperatorsToken => text(
                StatusCode::MISDIRECTED_REQUEST,
                "Misdirected request",
                "This is the operators' token, and origins must not see it: in a pod operations are at the admin address, at the edge below /performance/cache/.",
                denied,
            ),
            // No RFC knows this status; in logs it is the customary one.
            Self::Abandoned => text(
                StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
                "Abandoned",
                "The exchange ended before there was an answer.",
                None,
            ),
        }
    }
}

/// Writes the reply to a refused request: head and problem document. `violated` names the limits
/// that refused.
pub fn reply(refusal: Refusal, violated: &[&str]) -> (response::Parts, Vec<u8>) {
    let text = refusal.text();
    let kind = match refusal {
        Refusal::LimitExceeded => "https://iana.org/assignments/http-problem-types#quota-exceeded",
        Refusal::CapacityExceeded | Refusal::LimitUnavailable => {
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
        }
        _ => "about:blank",
    };
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = text.status;
    if text.status == StatusCode::NO_CONTENT {
        return (head, Vec::new());
    }
    let body = document(kind, &text, refusal.as_str(), violated);
    // With those about limits there are eight fields: one allocation instead of three.
    head.headers.reserve(12);
    head.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    head.headers
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(error) = text.proxy_error {
        let pieces = [
            "tidegate; error=",
            error,
            "; details=\"",
            refusal.as_str(),
            "\"",
        ];
        let field = Bytes::from(pieces.concat());
        if let Ok(value) = HeaderValue::from_maybe_shared(field) {
            head.headers.insert(names::PROXY_STATUS, value);
        }
    }
    (head, body)
}

/// Writes the document by hand: a flood is answered with these. Every text is ours and needs no
/// escaping; names of limits are tokens.
fn document(kind: &str, text: &Text, reason: &str, violated: &[&str]) -> Vec<u8> {
    let mut body = Vec::with_capacity(384);
    for piece in [
        "{\"type\":\"",
        kind,
        "\",\"title\":\"",
        text.title,
        "\",\"status\":",
    ] {
        body.extend_from_slice(piece.as_bytes());
    }
    body.extend_from_slice(&digits(text.status));
    let rest = [
        ",\"detail\":\"",
        text.detail,
        "\",\"reason\":\"",
        reason,
        "\"",
    ];
    for piece in rest {
        body.extend_from_slice(piece.as_bytes());
    }
    let mut before = ",\"violated-policies\":[\"";
    for name in violated {
        body.extend_from_slice(before.as_bytes());
        body.extend_from_slice(name.as_bytes());
        before = "\",\"";
    }
    body.extend_from_slice(if violated.is_empty() { b"}" } else { b"\"]}" });
    body
}

/// Writes a status. The library has a text with all of them, nearly three kilobytes.
fn digits(status: StatusCode) -> [u8; 3] {
    let number = status.as_u16();
    [number / 100, number / 10, number]
        .map(|leading| b'0' + u8::try_from(leading % 10).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn every_document_is_json() {
        for refusal in Refusal::VARIANTS.iter().copied() {
            for violated in [&[][..], &["a"], &["a", "b-c"]] {
                let (head, body) = reply(refusal, violated);
                if head.status == StatusCode::NO_CONTENT {
                    assert!(body.is_empty() && head.headers.is_empty());
                    continue;
                }
                let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(document["status"], head.status.as_u16());
                assert_eq!(document["reason"], serde_json::to_value(refusal).unwrap());
                assert_eq!(
                    document["violated-policies"].as_array().map_or(0, Vec::len),
                    violated.len()
                );
            }
        }
    }
}
