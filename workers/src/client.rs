//! A request and its client, as the platform describes them.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header, request};
use tidegate_core::message::geo::{Code, Geo, Position};
use tidegate_core::{Client, RequestBody, Scheme};
use worker::wasm_bindgen::JsValue;
use worker::{js_sys, web_sys};

use crate::{clock, convert};

/// Reads what the core wants to know; the head is `None` if it is not one that the core can read.
///
/// The platform's own fields (`cf-ray`, ...) pass through to origins as they are: it writes them
/// anew for every request, so nobody else can.
pub(crate) fn read(request: &web_sys::Request) -> (Option<request::Parts>, Client) {
    let url = request.url();
    let cf = js_sys::Reflect::get(request, &"cf".into()).unwrap_or(JsValue::UNDEFINED);
    let fields = convert::header_map(&request.headers());
    let client = Client {
        peer: peer(&fields),
        geo: geo(&cf),
        scheme: if url.starts_with("http:") {
            Scheme::Http
        } else {
            Scheme::Https
        },
        body: body(request, &fields),
        fresh_trace: u128::from_le_bytes(clock::random()),
    };
    (head(&request.method(), &url, fields, &cf), client)
}

fn head(method: &str, url: &str, fields: HeaderMap, cf: &JsValue) -> Option<request::Parts> {
    let url: Uri = url.parse().ok()?;
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::from_bytes(method.as_bytes()).ok()?;
    head.uri = url.path_and_query()?.as_str().parse().ok()?;
    head.headers = fields;
    head.headers.insert(
        header::HOST,
        HeaderValue::from_str(url.authority()?.as_str()).ok()?,
    );
    head.version = version(cf, &mut head.headers);
    Some(head)
}

/// The address that the platform names. It always does; its simulator may not, and serves this
/// machine only.
fn peer(headers: &HeaderMap) -> IpAddr {
    let named = headers
        .get("cf-connecting-ip")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    named.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn body(request: &web_sys::Request, headers: &HeaderMap) -> RequestBody {
    if request.body().is_none() {
        return RequestBody::Empty;
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match length {
        Some(0) => RequestBody::Empty,
        Some(bytes) => RequestBody::Sized(bytes),
        None => RequestBody::Streamed,
    }
}

/// The version that the client spoke. A WebSocket handshake is one of HTTP/1.1 whatever carried it,
/// and the platform keeps its Upgrade field only.
fn version(cf: &JsValue, headers: &mut HeaderMap) -> Version {
    if headers.contains_key(header::UPGRADE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        return Version::HTTP_11;
    }
    match text(cf, "httpProtocol").as_deref() {
        Some("HTTP/1.0") => Version::HTTP_10,
        Some("HTTP/2") => Version::HTTP_2,
        Some("HTTP/3") => Version::HTTP_3,
        Some(_) | None => Version::HTTP_11,
    }
}

/// Where the platform says that the client is.
fn geo(cf: &JsValue) -> Option<Geo> {
    let country = text(cf, "country").and_then(|code| Code::of_country(&code));
    let continent = text(cf, "continent").and_then(|code| Code::parse(&code));
    let degrees = |member| text(cf, member).and_then(|text| text.parse::<f64>().ok());
    let position = degrees("latitude")
        .zip(degrees("longitude"))
        .and_then(|(lat, lon)| Position::from_degrees(lat, lon));
    let known = country.is_some() || continent.is_some() || position.is_some();
    known.then_some(Geo {
        country,
        continent,
        position,
    })
}

/// A member of `request.cf`, where it is a string.
fn text(cf: &JsValue, member: &str) -> Option<String> {
    if !cf.is_object() {
        return None;
    }
    js_sys::Reflect::get(cf, &member.into()).ok()?.as_string()
}
