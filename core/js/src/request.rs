//! A request as JavaScript describes it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, request};
use serde::Deserialize;
use tidegate_core::message::geo::{Code, Geo};
use tidegate_core::{Client, RequestBody, Scheme};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, Lines>,
    client: Option<IpAddr>,
    country: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    One(String),
    Many(Vec<String>),
}

/// Reads the JSON of a request.
pub(crate) fn read(json: &str) -> Result<(request::Parts, Client), String> {
    let described: Described =
        serde_json::from_str(json).map_err(|error| format!("request: {error}"))?;
    let url: Uri = described
        .url
        .parse()
        .map_err(|error| format!("request.url: {error}"))?;
    let (Some(scheme), Some(authority)) = (scheme(&url), url.authority()) else {
        return Err("request.url: write an absolute http or https URL".to_owned());
    };
    let (mut head, ()) = http::Request::new(()).into_parts();
    let method = described.method.as_deref().unwrap_or("GET");
    head.method = Method::from_bytes(method.as_bytes())
        .map_err(|error| format!("request.method: {error}"))?;
    head.uri = url
        .path_and_query()
        .and_then(|p| p.as_str().parse().ok())
        .unwrap_or_default();
    head.headers = headers(described.headers)?;
    if !head.headers.contains_key(header::HOST) {
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|error| format!("request.url: {error}"))?;
        head.headers.insert(header::HOST, host);
    }
    Ok((
        head,
        client(scheme, described.client, described.country.as_deref())?,
    ))
}

fn scheme(url: &Uri) -> Option<Scheme> {
    match url.scheme_str()? {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    }
}

fn client(
    scheme: Scheme,
    address: Option<IpAddr>,
    country: Option<&str>,
) -> Result<Client, String> {
    let code =
        |text| Code::parse(text).ok_or("request.country: write a code of two letters, such as DE");
    let country = country.map(code).transpose()?;
    Ok(Client {
        peer: address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        geo: country.map(|code| Geo {
            country: Some(code),
            ..Geo::default()
        }),
        tls_subject: None,
        scheme,
        body: RequestBody::Empty,
        fresh_trace: 1,
    })
}

fn headers(described: BTreeMap<String, Lines>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, lines) in described {
        let wrong = |error: &dyn std::fmt::Display| format!("request.headers[{name:?}]: {error}");
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&error))?;
        let lines = match lines {
            Lines::One(line) => vec![line],
            Lines::Many(lines) => lines,
        };
        for line in lines {
            headers.append(
                &field,
                HeaderValue::from_str(&line).map_err(|error| wrong(&error))?,
            );
        }
    }
    Ok(headers)
}
