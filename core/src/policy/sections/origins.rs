//! `[origins]`: upstream addresses.

use std::collections::BTreeMap;

use http::HeaderValue;
use http::uri::{Authority, Scheme, Uri};
use serde::Deserialize;

use crate::message::geo::Position;
use crate::policy::compiler::Compiler;
use crate::policy::defined::Defined;
use crate::policy::error::KeyPath;
use crate::route::{Origin, OriginTls, Timeouts};

/// One upstream address.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawOrigin {
    /// `http://` or `https://`, a host and optionally a port. No path.
    pub url: String,
    /// A name for the place, shown in reports.
    #[serde(default)]
    pub region: Option<String>,
    /// Degrees north, -90 to 90; for steering by distance.
    #[serde(default)]
    pub latitude: Option<f64>,
    /// Degrees east, -180 to 180; for steering by distance.
    #[serde(default)]
    pub longitude: Option<f64>,
    /// Share of the traffic in a pool with weighted steering. Default: 1. 0 takes it out of
    /// rotation except for failover.
    #[serde(default)]
    pub weight: Option<u16>,
    /// Longest time to connect, TLS included. Default: 2s.
    #[serde(default)]
    pub connect_timeout: Option<String>,
    /// Longest time from sending the request to the response's header fields. For a request that is
    /// lost on a kept connection, and sent once more over a new one, `connect_timeout` is added.
    /// Default: 30s.
    #[serde(default)]
    pub response_timeout: Option<String>,
    /// Longest pause inside a response body. Default: 30s.
    #[serde(default)]
    pub body_timeout: Option<String>,
    /// How long an unused connection is kept; shorter if the origin says so (`Keep-Alive:
    /// timeout`). Keep it below the origin's own time, or the origin closes connections just as
    /// they are used again. In a pod only. Default: 4s.
    #[serde(default)]
    pub idle_timeout: Option<String>,
    /// How old a connection may be when it is used again; then another one is made, and the name
    /// resolved anew. In a pod only. Default: 30s.
    #[serde(default)]
    pub connection_age_max: Option<String>,
    /// Sends the client's Host to the origin instead of the url's. In a pod only. Default: false.
    #[serde(default)]
    pub preserve_host: bool,
    /// How TLS to the origin is verified; for https urls.
    #[serde(default)]
    pub tls: Option<RawOriginTls>,
}

/// TLS to an origin. In a pod only; at the edge the platform decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawOriginTls {
    /// PEM file with the certificate authorities to trust instead of the public ones; relative to
    /// the policy file.
    pub ca: Option<String>,
    /// The name the origin's certificate must have. Default: the url's host.
    pub server_name: Option<String>,
    /// PEM file with a client certificate chain; relative to the policy file.
    pub certificate: Option<String>,
    /// PEM file with the client certificate's key; relative to the policy file.
    pub key: Option<String>,
}

pub(in crate::policy) fn compile(
    c: &mut Compiler<'_>,
    raw: &BTreeMap<String, RawOrigin>,
) -> Defined<Origin> {
    Defined::new("origin", how_to_define, raw, |position, name, raw| {
        origin(c, name, position, raw)
    })
}

fn how_to_define(name: &str) -> String {
    format!("write [origins.{name}] with url = \"http://HOST\"")
}

fn origin(c: &mut Compiler<'_>, name: &str, index: usize, raw: &RawOrigin) -> Option<Origin> {
    let at = KeyPath::of(&["origins", name]);
    if name.is_empty() {
        c.wrong(&at, "an origin needs a name");
    }
    let timeouts = Timeouts {
        connect: c.duration(
            &at.key("connect_timeout"),
            raw.connect_timeout.as_ref(),
            2000,
        ),
        response: c.duration(
            &at.key("response_timeout"),
            raw.response_timeout.as_ref(),
            30_000,
        ),
        body: c.duration(&at.key("body_timeout"), raw.body_timeout.as_ref(), 30_000),
        idle: c.duration(&at.key("idle_timeout"), raw.idle_timeout.as_ref(), 4000),
        age: c.duration(
            &at.key("connection_age_max"),
            raw.connection_age_max.as_ref(),
            30_000,
        ),
    };
    let position = match (raw.latitude, raw.longitude) {
        (None, None) => None,
        (Some(lat), Some(lon)) => {
            let position = Position::from_degrees(lat, lon);
            if position.is_none() {
                c.wrong(
                    &at.key("latitude"),
                    "latitude goes from -90 to 90, longitude from -180 to 180",
                );
            }
            position
        }
        (Some(_), None) | (None, Some(_)) => {
            c.wrong(&at, "give both latitude and longitude, or neither");
            None
        }
    };
    let tls = origin_tls(c, &at, raw);
    let (scheme, authority) = match origin_url(&raw.url) {
        Ok(parts) => parts,
        Err(message) => {
            c.wrong(&at.key("url"), message);
            return None;
        }
    };
    if tls.is_some() && scheme == Scheme::HTTP {
        c.wrong(&at.key("tls"), "tls needs an https url");
    }
    Some(Origin {
        name: name.into(),
        index,
        scheme,
        host: HeaderValue::from_str(authority.as_str()).ok()?,
        authority,
        region: raw.region.as_deref().map(Into::into),
        direction: position.map(Position::direction),
        weight: raw.weight.unwrap_or(1),
        timeouts,
        preserve_host: raw.preserve_host,
        tls,
    })
}

fn origin_tls(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawOrigin) -> Option<OriginTls> {
    let tls = raw.tls.as_ref()?;
    let client_certificate = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            c.wrong(
                &at.key("tls"),
                "a client certificate needs both certificate and key",
            );
            None
        }
    };
    Some(OriginTls {
        ca: tls.ca.clone(),
        server_name: tls.server_name.clone(),
        client_certificate,
    })
}

fn origin_url(text: &str) -> Result<(Scheme, Authority), String> {
    let wrong = || {
        format!(
            "`{text}` is not an origin url; write http:// or https://, a host and optionally a port, without path or user"
        )
    };
    let parts = text.parse::<Uri>().map_err(|_| wrong())?.into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |p| p.as_str());
    match (parts.scheme, parts.authority) {
        (Some(scheme), Some(authority))
            if (scheme == Scheme::HTTP || scheme == Scheme::HTTPS)
                && path == "/"
                && !authority.host().is_empty()
                && !authority.as_str().contains('@') =>
        {
            Ok((scheme, authority))
        }
        _ => Err(wrong()),
    }
}
