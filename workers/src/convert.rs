//! Between the runtime's objects and the vocabulary of the `http` crate.
//!
//! Heads are copied; bodies are left where they are. A field value is bytes in HTTP and in `http`;
//! the runtime reads and writes those bytes as UTF-8.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, response};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{js_sys, web_sys};

type Result<T, E = worker::Error> = std::result::Result<T, E>;

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

/// Reads header fields. Every Set-Cookie line stays a field of its own.
pub(crate) fn header_map(headers: &web_sys::Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for entry in headers.entries().into_iter().flatten() {
        let pair: js_sys::Array = entry.unchecked_into();
        let (Some(name), Some(value)) = (pair.get(0).as_string(), pair.get(1).as_string()) else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value.as_bytes()),
        ) {
            map.append(name, value);
        }
    }
    map
}

/// Writes header fields, every line of them.
pub(crate) fn headers(map: &HeaderMap) -> Result<web_sys::Headers> {
    let headers = web_sys::Headers::new()?;
    for (name, value) in map {
        headers.append(name.as_str(), &String::from_utf8_lossy(value.as_bytes()))?;
    }
    Ok(headers)
}

/// Makes a response for the client. Its body goes out as it is, in whatever encoding the head
/// names. [9111-5.2.2.6-1]
pub(crate) fn response(head: &response::Parts, body: Body) -> Result<web_sys::Response> {
    let init = web_sys::ResponseInit::new();
    init.set_status(head.status.as_u16());
    init.set_headers(headers(&head.headers)?.as_ref());
    set(&init, "encodeBody", &"manual".into())?;
    // RFC 9110, section 6.4.1; the runtime refuses a body here, even an empty one.
    let null_body = matches!(head.status.as_u16(), 101 | 204 | 205 | 304);
    let made = match body {
        Body::Bytes(bytes) if !null_body => buffered(&js_sys::Uint8Array::from(&*bytes), &init)?,
        Body::Buffer(bytes) if !null_body => buffered(&bytes, &init)?,
        Body::Stream(stream) if !null_body => {
            web_sys::Response::new_with_opt_readable_stream_and_init(Some(&stream), &init)?
        }
        Body::Empty | Body::Bytes(_) | Body::Buffer(_) | Body::Stream(_) => {
            web_sys::Response::new_with_opt_readable_stream_and_init(None, &init)?
        }
    };
    Ok(made)
}

fn buffered(
    bytes: &js_sys::Uint8Array,
    init: &web_sys::ResponseInit,
) -> Result<web_sys::Response, JsValue> {
    web_sys::Response::new_with_opt_buffer_source_and_init(Some(bytes.as_ref()), init)
}

/// Hands the connection of an origin that changed protocols over to the client.
pub(crate) fn switched(
    head: &response::Parts,
    origin: &web_sys::Response,
) -> Result<web_sys::Response> {
    let init = web_sys::ResponseInit::new();
    init.set_status(head.status.as_u16());
    let socket = js_sys::Reflect::get(origin, &"webSocket".into())?;
    set(&init, "webSocket", &socket)?;
    let mut fields = head.headers.clone();
    // The runtime writes the handshake's own fields.
    for name in [
        http::header::CONNECTION,
        http::header::UPGRADE,
        http::header::SEC_WEBSOCKET_ACCEPT,
    ] {
        fields.remove(name);
    }
    init.set_headers(headers(&fields)?.as_ref());
    Ok(web_sys::Response::new_with_opt_readable_stream_and_init(
        None, &init,
    )?)
}

/// Sets a member that the bindings do not know.
pub(crate) fn set(object: &JsValue, member: &str, value: &JsValue) -> Result<()> {
    js_sys::Reflect::set(object, &member.into(), value)?;
    Ok(())
}
