//! Requests to origins.

use http::request::Parts;
use worker::js_sys::futures::JsFuture;
use worker::wasm_bindgen::JsCast;
use worker::{Env, Result, js_sys, web_sys};

use crate::convert;

/// Sends the request on to the configured origin; its body streams through.
pub(crate) async fn fetch(env: &Env, request: &web_sys::Request, parts: Parts) -> Result<web_sys::Response> {
    let base = env.var("ORIGIN")?.to_string();
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let init = web_sys::RequestInit::new();
    init.set_method(parts.method.as_str());
    init.set_headers(convert::headers(&parts.headers)?.as_ref());
    init.set_redirect(web_sys::RequestRedirect::Manual);
    if let Some(body) = request.body() {
        init.set_body(&body);
    }
    let outbound = web_sys::Request::new_with_str_and_init(&format!("{base}{path}"), &init)?;
    let scope: web_sys::WorkerGlobalScope = js_sys::global().unchecked_into();
    let response = JsFuture::from(scope.fetch_with_request(&outbound)).await?;
    Ok(response.unchecked_into())
}

/// Passes an origin's response on: the head copied, the body the same stream.
pub(crate) fn pass_on(response: &web_sys::Response) -> Result<web_sys::Response> {
    let init = web_sys::ResponseInit::new();
    init.set_status(response.status());
    let mut map = convert::header_map(&response.headers());
    map.append(http::header::VIA, http::HeaderValue::from_static("1.1 tidegate"));
    init.set_headers(convert::headers(&map)?.as_ref());
    Ok(web_sys::Response::new_with_opt_readable_stream_and_init(response.body().as_ref(), &init)?)
}
