//! `[origins]` and `[pools]`: where requests may go.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;
use http::uri::{Authority, Scheme, Uri};

use super::compiler::Compiler;
use crate::message::geo::{Code, Position};
use crate::policy::error::KeyPath;
use crate::policy::list::OneOrMany;
use crate::policy::raw::{RawOrigin, RawPolicy, RawPool, RawSteering};
use crate::route::{Origin, OriginTls, Pool, Steering, Timeouts};

impl Compiler<'_> {
    pub(super) fn origin(&mut self, name: &str, index: usize, raw: &RawOrigin) -> Option<Origin> {
        let at = KeyPath::of(&["origins", name]);
        if name.is_empty() {
            self.wrong(&at, "an origin needs a name");
        }
        let timeouts = Timeouts {
            connect: self.duration(
                &at.key("connect_timeout"),
                raw.connect_timeout.as_ref(),
                2000,
            ),
            response: self.duration(
                &at.key("response_timeout"),
                raw.response_timeout.as_ref(),
                30_000,
            ),
            body: self.duration(&at.key("body_timeout"), raw.body_timeout.as_ref(), 30_000),
            idle: self.duration(&at.key("idle_timeout"), raw.idle_timeout.as_ref(), 4000),
            age: self.duration(
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
                    self.wrong(
                        &at.key("latitude"),
                        "latitude goes from -90 to 90, longitude from -180 to 180",
                    );
                }
                position
            }
            (Some(_), None) | (None, Some(_)) => {
                self.wrong(&at, "give both latitude and longitude, or neither");
                None
            }
        };
        let tls = self.origin_tls(&at, raw);
        let (scheme, authority) = match origin_url(&raw.url) {
            Ok(parts) => parts,
            Err(message) => {
                self.wrong(&at.key("url"), message);
                return None;
            }
        };
        if tls.is_some() && scheme == Scheme::HTTP {
            self.wrong(&at.key("tls"), "tls needs an https url");
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

    pub(super) fn origin_tls(&mut self, at: &KeyPath, raw: &RawOrigin) -> Option<OriginTls> {
        let tls = raw.tls.as_ref()?;
        let client_certificate = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                self.wrong(
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

    pub(super) fn pool(
        &mut self,
        name: &str,
        raw: &RawPool,
        policy: &RawPolicy,
        origins: &BTreeMap<&str, Arc<Origin>>,
    ) -> Option<Pool> {
        let at = KeyPath::of(&["pools", name]);
        let written: Vec<&str> = policy.origins.keys().map(String::as_str).collect();
        let before = self.problems.len();
        let mut members: Vec<Arc<Origin>> = Vec::new();
        for (i, origin) in raw.origins.iter().enumerate() {
            let path = at.key("origins").index(i);
            let Some(found) = self.find(&path, "origin", origin, origins, &written) else {
                continue;
            };
            if members.iter().any(|m| m.name == found.name) {
                self.wrong(
                    &path,
                    format!("`{origin}` is listed twice; each origin once"),
                );
            }
            members.push(Arc::clone(found));
        }
        if raw.origins.is_empty() {
            self.wrong(&at.key("origins"), "a pool needs at least one origin: write origins = [\"NAME\"] and [origins.NAME] with url = \"http://HOST\"");
        }
        let steering = match raw.steering {
            RawSteering::Ordered => Steering::Ordered,
            RawSteering::Weighted => {
                let default = ["ip".to_owned()];
                let affinity = self.key_parts(
                    &at.key("affinity"),
                    raw.affinity.as_deref().unwrap_or(&default),
                );
                Steering::Weighted { affinity }
            }
            RawSteering::Nearest => Steering::Nearest {
                countries: self.places(&at.key("countries"), &raw.countries, &raw.origins),
                continents: self.places(&at.key("continents"), &raw.continents, &raw.origins),
            },
        };
        if raw.steering != RawSteering::Nearest
            && !(raw.countries.is_empty() && raw.continents.is_empty())
        {
            self.wrong(
                &at,
                "countries and continents are for steering = \"nearest\"",
            );
        }
        if raw.steering != RawSteering::Weighted && raw.affinity.is_some() {
            self.wrong(
                &at.key("affinity"),
                "affinity is for steering = \"weighted\"",
            );
        }
        (self.problems.len() == before && !members.is_empty()).then_some(Pool {
            name: name.into(),
            origins: members,
            steering,
        })
    }

    pub(super) fn places(
        &mut self,
        at: &KeyPath,
        places: &BTreeMap<String, OneOrMany>,
        members: &[String],
    ) -> Vec<(Code, Vec<usize>)> {
        let mut compiled = Vec::new();
        for (place, OneOrMany(names)) in places {
            let path = at.key(place);
            let Some(code) = Code::parse(place) else {
                self.wrong(&path, format!("`{place}` is not a two-letter code"));
                continue;
            };
            let mut positions = Vec::new();
            for name in names {
                match members.iter().position(|m| m == name) {
                    Some(position) => positions.push(position),
                    None => self.wrong(
                        &path,
                        format!(
                            "`{name}` is not in this pool; it has: {}",
                            members.join(", ")
                        ),
                    ),
                }
            }
            compiled.push((code, positions));
        }
        compiled
    }
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
