//! What a fixture file says.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request, response};
use serde::Deserialize;
use tidegate_core::message::geo::{Code, Geo, Position};
use tidegate_core::message::tls_subject::TlsSubject;
use tidegate_core::{Client, RequestBody, Scheme, Timestamp};

/// The clock of every fixture starts here: 2027-01-15T08:00:00Z.
pub const START: u64 = 1_800_000_000_000;

/// Every request belongs to this trace, unless the fixture sends its own `traceparent`.
pub const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// What it shows.
    pub about: String,
    /// Why it runs against the core only, not over HTTP.
    pub core_only: Option<String>,
    /// The policy. `http://NAME.test` stands for the scripted origin NAME.
    pub policy: String,
    /// Exchanges, one after the other.
    pub exchange: Vec<Scripted>,
    /// What must come out of each; written by `UPDATE_GOLDEN=1 cargo test -p tidegate-tests`, and
    /// then reviewed.
    #[serde(default)]
    pub expected: Vec<Expected>,
}

/// One exchange.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// When it begins, in milliseconds after the start; at least the end of the one before.
    #[serde(default)]
    pub at: u64,
    /// Method and absolute URL.
    pub request: String,
    /// Header fields, `name: value`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Body.
    pub body: Option<String>,
    /// The peer's address. Default: 203.0.113.9.
    pub client: Option<IpAddr>,
    /// Where the platform says that the client is.
    pub geo: Option<ScriptedGeo>,
    /// The subject of the client's certificate, which somebody has verified.
    pub tls_subject: Option<String>,
    /// Whether the signature of the client's token is not by the key that it should be by: pods and
    /// the edge find that out.
    #[serde(default)]
    pub forged: bool,
    /// The origins' answers, in the order in which they are asked; those of a background
    /// revalidation come last.
    #[serde(default)]
    pub origin: Vec<Answer>,
}

/// Where a client is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedGeo {
    /// Country code.
    pub country: Option<String>,
    /// Continent code.
    pub continent: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// The number of its network.
    pub asn: Option<u32>,
}

/// An origin's answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Which origin is asked.
    pub name: String,
    /// Status. Default: 200.
    pub status: Option<u16>,
    /// Header fields, `name: value`. A Date of the clock is added if there is none.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Body. Default: empty.
    #[serde(default)]
    pub body: String,
    /// Milliseconds until the header fields, or the failure, come.
    #[serde(default)]
    pub after: u64,
    /// Instead of an answer.
    pub fails: Option<Fails>,
}

/// How an origin fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fails {
    /// The connection is refused.
    Unreachable,
    /// The connection is closed without an answer.
    Closed,
    /// Nothing comes for as long as the policy waits.
    Timeout,
}

/// What must come out of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Status, header fields sorted by name, body.
    pub reply: String,
    /// The requests that origins saw; compared where the core runs alone.
    pub origins: String,
    /// The report, as JSON.
    pub report: String,
    /// The report of the background revalidation, as JSON; empty when there was none.
    pub background: String,
}

impl Fixture {
    /// Reads a fixture.
    ///
    /// # Panics
    /// When the file is not a fixture.
    pub fn parse(name: &str, text: &str) -> Self {
        toml::from_str(text).unwrap_or_else(|error| panic!("tests/golden/{name}.toml: {error}"))
    }
}

/// The client of tests that need no other one.
pub const CLIENT: Client = Client {
    peer: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
    geo: None,
    tls_subject: None,
    scheme: Scheme::Http,
    body: RequestBody::Empty,
    fresh_trace: 1,
};

impl Scripted {
    /// Returns the request's head.
    ///
    /// # Panics
    /// When the fixture's request is not one.
    pub fn head(&self) -> request::Parts {
        let (method, url) = self.request.split_once(' ').expect("write METHOD URL");
        let url: Uri = url.parse().expect("an absolute URL");
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = Method::from_bytes(method.as_bytes()).expect("a method");
        head.headers = headers(&self.headers);
        if !head.headers.contains_key("host") {
            let authority = url.authority().expect("an absolute URL").as_str();
            head.headers
                .insert("host", HeaderValue::from_str(authority).expect("a host"));
        }
        if !head.headers.contains_key("traceparent") {
            head.headers
                .insert("traceparent", HeaderValue::from_static(TRACE));
        }
        head.uri = url
            .path_and_query()
            .expect("a path")
            .as_str()
            .parse()
            .expect("a path");
        head
    }

    /// Returns what a shell knows of the client.
    pub fn client(&self) -> Client {
        let length = self.body.as_ref().map(|b| b.len() as u64);
        Client {
            peer: self.client.unwrap_or(CLIENT.peer),
            geo: self.geo.as_ref().map(ScriptedGeo::geo),
            tls_subject: self
                .tls_subject
                .as_deref()
                .map(|name| TlsSubject(name.into())),
            scheme: if self.request.contains(" https://") {
                Scheme::Https
            } else {
                Scheme::Http
            },
            body: length.map_or(RequestBody::Empty, RequestBody::Sized),
            ..CLIENT
        }
    }

    /// Returns when the exchange begins.
    pub fn begins(&self) -> Timestamp {
        Timestamp::from_millis(START + self.at)
    }
}

impl ScriptedGeo {
    fn geo(&self) -> Geo {
        Geo {
            country: self.country.as_deref().and_then(Code::parse),
            continent: self.continent.as_deref().and_then(Code::parse),
            position: self
                .latitude
                .zip(self.longitude)
                .and_then(|(lat, lon)| Position::from_degrees(lat, lon)),
            asn: self.asn,
        }
    }
}

impl Answer {
    /// Returns the response's head at `now`.
    ///
    /// # Panics
    /// When the fixture's status is not one.
    pub fn head(&self, now: Timestamp) -> response::Parts {
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = self.status.unwrap_or(200).try_into().expect("a status");
        head.headers = headers(&self.headers);
        head.headers
            .entry("date")
            .or_insert_with(|| tidegate_core::cache::date::write(now));
        head
    }
}

fn headers(lines: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("write name: value");
        let name = HeaderName::from_bytes(name.trim().as_bytes()).expect("a field name");
        headers.append(
            name,
            HeaderValue::from_str(value.trim()).expect("a field value"),
        );
    }
    headers
}
