//! Between the runtime's objects and the vocabulary of the `http` crate.
//!
//! Heads are copied; bodies are left where they are. A field value is bytes in HTTP and in `http`; the runtime reads and
//! writes those bytes as UTF-8.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{Result, js_sys, web_sys};

/// The head of a request as the core wants it.
pub(crate) fn request_parts(request: &web_sys::Request) -> Result<request::Parts> {
    let mut builder = http::Request::builder()
        .method(Method::from_bytes(request.method().as_bytes()).map_err(http::Error::from)?)
        .uri(Uri::try_from(request.url()).map_err(http::Error::from)?);
    if let Some(headers) = builder.headers_mut() {
        *headers = header_map(&request.headers());
    }
    Ok(builder.body(())?.into_parts().0)
}

/// The fields of a head. Every Set-Cookie line stays a field of its own.
pub(crate) fn header_map(headers: &web_sys::Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for entry in headers.entries().into_iter().flatten() {
        let pair: js_sys::Array = entry.unchecked_into();
        let (Some(name), Some(value)) = (pair.get(0).as_string(), pair.get(1).as_string()) else {
            continue;
        };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            map.append(name, value);
        }
    }
    map
}

/// The runtime's form of `map`.
pub(crate) fn headers(map: &HeaderMap) -> Result<web_sys::Headers> {
    let headers = web_sys::Headers::new()?;
    for (name, value) in map {
        headers.append(name.as_str(), &String::from_utf8_lossy(value.as_bytes()))?;
    }
    Ok(headers)
}

/// A response with a plain text body.
pub(crate) fn text(status: u16, body: &str) -> Result<web_sys::Response> {
    let init = web_sys::ResponseInit::new();
    init.set_status(status);
    Ok(web_sys::Response::new_with_opt_str_and_init(Some(body), &init)?)
}

/// One field of `request.cf`, where it is a string.
pub(crate) fn cf_string(request: &web_sys::Request, field: &str) -> Option<String> {
    let cf = js_sys::Reflect::get(request.as_ref(), &JsValue::from_str("cf")).ok()?;
    if !cf.is_object() {
        return None;
    }
    js_sys::Reflect::get(&cf, &JsValue::from_str(field)).ok()?.as_string()
}
