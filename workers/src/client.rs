//! A request and its client, as the platform describes them.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header, request};
use tidegate_core::message::geo::{Code, Geo, Position};
use tidegate_core::message::tls_subject::TlsSubject;
use tidegate_core::{Client, RequestBody, Scheme};
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::web_sys;

use crate::{clock, convert};

#[wasm_bindgen(module = "/js/messages.mjs")]
extern "C" {
    /// Method, URL, whether there is a body, what the platform says of the client, and the fields:
    /// a line each.
    #[wasm_bindgen(js_name = describeRequest)]
    fn describe(request: &web_sys::Request) -> String;
}

/// Reads what the core wants to know; the head is `None` if it is not one that the core can read.
///
/// The platform's own fields (`cf-ray`, ...) pass through to origins as they are: it writes them
/// anew for every request, so nobody else can.
pub(crate) fn read(request: &web_sys::Request) -> (Option<request::Parts>, Client) {
    let text = describe(request);
    let mut lines = text.split('\n');
    let [method, url, body_mark] = next_lines(&mut lines);
    let [country, continent, latitude, longitude, protocol] = next_lines(&mut lines);
    let [asn, subject] = next_lines(&mut lines);
    let fields = convert::read_fields(lines);
    let client = Client {
        peer: peer(&fields),
        geo: geo(country, continent, latitude, longitude, asn),
        tls_subject: subject
            .strip_prefix('=')
            .map(|name| TlsSubject(name.into())),
        scheme: if url.starts_with("http:") {
            Scheme::Http
        } else {
            Scheme::Https
        },
        body: body(!body_mark.is_empty(), &fields),
        fresh_trace: u128::from_le_bytes(clock::random()),
    };
    (head(method, url, fields, protocol), client)
}

fn next_lines<'a, const N: usize>(lines: &mut impl Iterator<Item = &'a str>) -> [&'a str; N] {
    [(); N].map(|()| lines.next().unwrap_or_default())
}

fn head(method: &str, url: &str, fields: HeaderMap, protocol: &str) -> Option<request::Parts> {
    let url: Uri = url.parse().ok()?;
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::from_bytes(method.as_bytes()).ok()?;
    head.uri = url.path_and_query()?.as_str().parse().ok()?;
    head.headers = fields;
    head.headers.insert(
        header::HOST,
        HeaderValue::from_str(url.authority()?.as_str()).ok()?,
    );
    head.version = version(protocol, &mut head.headers);
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

fn body(is_there: bool, headers: &HeaderMap) -> RequestBody {
    if !is_there {
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
fn version(protocol: &str, headers: &mut HeaderMap) -> Version {
    if headers.contains_key(header::UPGRADE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        return Version::HTTP_11;
    }
    match protocol {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/2" => Version::HTTP_2,
        "HTTP/3" => Version::HTTP_3,
        _ => Version::HTTP_11,
    }
}

/// Where the platform says that the client is; what it does not say is empty.
fn geo(country: &str, continent: &str, latitude: &str, longitude: &str, asn: &str) -> Option<Geo> {
    let country = Code::of_country(country);
    let continent = Code::parse(continent);
    let position = Position::parse(latitude, longitude);
    let asn = Geo::read_asn(asn);
    let is_placed = country.is_some() || continent.is_some() || position.is_some();
    let known = is_placed || asn.is_some();
    known.then_some(Geo {
        country,
        continent,
        position,
        asn,
    })
}
