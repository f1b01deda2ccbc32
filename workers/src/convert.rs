//! Between the runtime's objects and the vocabulary of the `http` crate.
//!
//! Heads are copied; bodies are left where they are. A field value is bytes in HTTP and in `http`;
//! the runtime reads and writes those bytes as UTF-8.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, response};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::{js_sys, web_sys};

type Result<T, E = worker::Error> = std::result::Result<T, E>;

#[wasm_bindgen(module = "/js/messages.mjs")]
extern "C" {
    /// Names and values of the fields in turn, a line each.
    fn fields(headers: &web_sys::Headers) -> String;

    /// The status and the fields.
    #[wasm_bindgen(js_name = describeResponse)]
    fn describe_response(response: &web_sys::Response) -> String;

    /// A response with these fields; the body is null, bytes or a stream.
    #[wasm_bindgen(catch)]
    fn respond(status: u16, fields: &str, body: &JsValue) -> Result<web_sys::Response, JsValue>;

    /// A response that hands a connection over.
    #[wasm_bindgen(js_name = switchProtocols, catch)]
    fn switch_protocols(
        status: u16,
        fields: &str,
        origin: &web_sys::Response,
    ) -> Result<web_sys::Response, JsValue>;

    /// A promise of an origin's response.
    #[wasm_bindgen(catch)]
    fn send(
        url: &str,
        method: &str,
        fields: &str,
        body: &JsValue,
        abort: &web_sys::AbortController,
    ) -> Result<js_sys::Promise, JsValue>;
}

/// The body of a message.
pub(crate) enum Body {
    /// None.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// These bytes, in the runtime's memory.
    Buffer(js_sys::Uint8Array),
    /// A stream of the runtime, whose bytes never enter wasm memory.
    Stream(web_sys::ReadableStream),
}

impl Body {
    /// Returns how many bytes there are, if all of them are at hand.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Buffer(bytes) => Some(u64::from(bytes.length())),
            Self::Stream(_) => None,
        }
    }
}

impl From<Option<web_sys::ReadableStream>> for Body {
    fn from(stream: Option<web_sys::ReadableStream>) -> Self {
        stream.map_or(Self::Empty, Self::Stream)
    }
}

/// Most requests and responses have fewer fields.
const FIELDS_USUAL: usize = 24;

/// Reads header fields. Every Set-Cookie line stays a field of its own.
pub(crate) fn header_map(headers: &web_sys::Headers) -> HeaderMap {
    read_fields(fields(headers).split('\n'))
}

/// Reads names and values in turn.
pub(crate) fn read_fields<'a>(mut lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(FIELDS_USUAL);
    while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value.as_bytes()),
        ) {
            map.append(name, value);
        }
    }
    map
}

/// Reads the head of an origin's response.
pub(crate) fn response_head(response: &web_sys::Response) -> Option<response::Parts> {
    let text = describe_response(response);
    let mut lines = text.split('\n');
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::from_bytes(lines.next()?.as_bytes()).ok()?;
    head.headers = read_fields(lines);
    Some(head)
}

/// Writes header fields, every line of them: names and values in turn.
fn write_fields(map: &HeaderMap) -> String {
    let lengths = map
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 2);
    let mut text = Vec::with_capacity(lengths.sum());
    for (name, value) in map {
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            text.extend_from_slice(part);
            text.push(b'\n');
        }
    }
    String::from_utf8(text)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Makes a response for the client. Its body goes out as it is, in whatever encoding the head
/// names. [9111-5.2.2.6-1]
pub(crate) fn response(head: &response::Parts, body: Body) -> Result<web_sys::Response> {
    // RFC 9110, section 6.4.1; the runtime refuses a body here, even an empty one.
    let null_body = matches!(head.status.as_u16(), 101 | 204 | 205 | 304);
    let body = match body {
        Body::Bytes(bytes) if !null_body => js_sys::Uint8Array::from(&*bytes).into(),
        Body::Buffer(bytes) if !null_body => bytes.into(),
        Body::Stream(stream) if !null_body => stream.into(),
        Body::Empty | Body::Bytes(_) | Body::Buffer(_) | Body::Stream(_) => JsValue::NULL,
    };
    let fields = write_fields(&head.headers);
    Ok(respond(head.status.as_u16(), &fields, &body)?)
}

/// Hands the connection of an origin that changed protocols over to the client.
pub(crate) fn switched(
    head: &response::Parts,
    origin: &web_sys::Response,
) -> Result<web_sys::Response> {
    let mut fields = head.headers.clone();
    // The runtime writes the handshake's own fields.
    for name in [
        http::header::CONNECTION,
        http::header::UPGRADE,
        http::header::SEC_WEBSOCKET_ACCEPT,
    ] {
        fields.remove(name);
    }
    let fields = write_fields(&fields);
    Ok(switch_protocols(head.status.as_u16(), &fields, origin)?)
}

/// Sends a request to an origin. Without a body it is null or undefined.
pub(crate) fn request(
    url: &str,
    method: &Method,
    fields: &HeaderMap,
    body: &JsValue,
    abort: &web_sys::AbortController,
) -> Result<js_sys::Promise> {
    let fields = write_fields(fields);
    Ok(send(url, method.as_str(), &fields, body, abort)?)
}
