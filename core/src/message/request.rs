//! The request as the core sees it: read, bounded, its client known.

use std::net::IpAddr;

use http::{HeaderName, Method, header};
use serde::Serialize;

use crate::message::bounds::Bounds;
use crate::message::claim::Claim;
use crate::message::client::{ClientPolicy, unmapped};
use crate::message::geo::Geo;
use crate::message::tls_subject::TlsSubject;
use crate::message::trace::Trace;
use crate::message::{authority, framing, hop_by_hop, names, path};
use crate::problem::Refusal;

/// What a shell knows of a request besides its head.
#[derive(Debug, Clone)]
pub struct Client {
    /// The address that the connection, or at the edge the platform, names.
    pub peer: IpAddr,
    /// Where the client is, if the platform says so. Otherwise trusted proxies may say it in header
    /// fields.
    pub geo: Option<Geo>,
    /// Whom the client's certificate names, if this node or its platform has verified one. Otherwise
    /// trusted proxies may say it in a header field.
    pub tls_subject: Option<TlsSubject>,
    /// How the client reached this node.
    pub scheme: Scheme,
    /// Whether a body follows.
    pub body: RequestBody,
    /// A random number, used as trace id when the request has none.
    pub fresh_trace: u128,
}

/// How a client reached a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// Returns `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Whether a request has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// None.
    Empty,
    /// Of this many bytes.
    Sized(u64),
    /// Of unknown length.
    Streamed,
}

/// Fields by which a client wants less than the whole response.
static SELECTIVE: [HeaderName; 5] = [
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// A request that is being answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// As received, without the fields that speak of the client's connection: no decision may rest
    /// on a field that an origin never sees.
    pub head: http::request::Parts,
    /// Host and port, in lower case; without the scheme's own port.
    pub authority: String,
    /// Length of the host inside the authority.
    host_length: usize,
    /// The path as it is compared, where it differs from the path as received.
    normalised_path: Option<String>,
    /// The connection's other end.
    pub peer: IpAddr,
    /// Whether the peer is a trusted proxy.
    pub from_trusted_peer: bool,
    /// The client, behind any trusted proxies.
    pub address: IpAddr,
    /// Where the client is.
    pub geo: Geo,
    /// Whom the client's certificate names, once somebody who is believed has verified it.
    pub tls_subject: Option<TlsSubject>,
    /// What the client's token claims, once it is verified; nothing before that.
    pub claims: Vec<Claim>,
    /// How the client reached this node, or the trusted proxy in front of it.
    pub scheme: Scheme,
    /// Whether a body follows.
    pub body: RequestBody,
    /// The trace this request belongs to.
    pub trace: Trace,
    /// Whether the client asks for a WebSocket.
    pub websocket: bool,
    /// Whether there are conditions or ranges: usually not, and then nobody looks for them one by
    /// one.
    pub selective: bool,
}

impl Request {
    /// Reads a request. The refusal says why it must not be answered, if so; the request is then
    /// good for a report only.
    pub(crate) fn read(
        bounds: &Bounds,
        clients: &ClientPolicy,
        mut head: http::request::Parts,
        client: Client,
    ) -> (Self, Option<Refusal>) {
        let authority = authority_of(&head);
        let normalised_path = path::normalised(head.uri.path());
        let ambiguous =
            path::has_dot_segment(normalised_path.as_deref().unwrap_or(head.uri.path()));
        let peer = unmapped(client.peer);
        let from_trusted_peer = clients.trusts(peer);
        let of_scheme = from_trusted_peer || is_of_scheme(&head, client.scheme);
        let refusal = check(
            bounds,
            &head,
            authority.is_some(),
            ambiguous,
            of_scheme,
            client.body,
        );
        let websocket = hop_by_hop::wants_websocket(&head);
        hop_by_hop::strip_hop_by_hop(&mut head.headers);
        let geo = client.geo.unwrap_or_else(|| {
            let fields = from_trusted_peer.then_some(&head.headers);
            fields.map(|fields| clients.geo(fields)).unwrap_or_default()
        });
        let tls_subject = client.tls_subject.or_else(|| {
            let fields = from_trusted_peer.then_some(&head.headers);
            fields.and_then(|fields| clients.tls_subject(fields))
        });
        let scheme = if from_trusted_peer {
            forwarded_scheme(clients, &head).unwrap_or(client.scheme)
        } else {
            client.scheme
        };
        let mut authority = authority.unwrap_or_default();
        // The same origin (RFC 9110, section 4.2.3).
        authority.truncate(authority::without_default_port(scheme.as_str(), &authority).len());
        let request = Self {
            host_length: authority::host_length(&authority),
            normalised_path,
            authority,
            peer,
            from_trusted_peer,
            address: clients.address(peer, &head.headers),
            geo,
            tls_subject,
            claims: Vec::new(),
            scheme,
            body: client.body,
            trace: Trace::read(&head.headers, client.fresh_trace),
            websocket,
            selective: head.headers.keys().any(|name| SELECTIVE.contains(name)),
            head,
        };
        (request, refusal)
    }

    /// Returns the host in lower case, without port.
    pub fn host(&self) -> &str {
        self.authority.get(..self.host_length).unwrap_or("")
    }

    /// Returns the path as routes and keys compare it: equivalent spellings are one path.
    pub fn path(&self) -> &str {
        self.normalised_path
            .as_deref()
            .unwrap_or(self.head.uri.path())
    }
}

fn check(
    bounds: &Bounds,
    head: &http::request::Parts,
    has_authority: bool,
    ambiguous_path: bool,
    of_scheme: bool,
    body: RequestBody,
) -> Option<Refusal> {
    let fields = Fields::of(&head.headers);
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let too_large = matches!(body, RequestBody::Sized(bytes) if bytes > bounds.body_bytes_max);
    match () {
        () if head.method == Method::CONNECT => Some(Refusal::MethodNotAllowed),
        // Only CONNECT has a target that is an authority (RFC 9112, section 3.2.3).
        () if head.uri.authority().is_some() && head.uri.scheme().is_none() => {
            Some(Refusal::Malformed)
        }
        () if !is_http(head) => Some(Refusal::Malformed),
        () if target > bounds.uri_bytes_max => Some(Refusal::UriTooLong),
        () if fields.count > bounds.header_count_max || fields.bytes > bounds.header_bytes_max => {
            Some(Refusal::HeadersTooLarge)
        }
        () if !has_authority => Some(Refusal::BadHost),
        () if !of_scheme => Some(Refusal::Misdirected),
        () if ambiguous_path => Some(Refusal::AmbiguousPath),
        () if too_large => Some(Refusal::BodyTooLarge),
        () if fields.passed_on && framing::goes_round(&head.headers) => Some(Refusal::LoopDetected),
        () => framing::check_request(&head.headers).or_else(|| ends_here(head)),
    }
}

/// What one look over the fields of a request tells.
struct Fields {
    /// How many there are. An HTTP/2 client may send one Cookie field in any number of pieces (RFC
    /// 9113, section 8.2.3).
    count: usize,
    /// Bytes of their names and values.
    bytes: usize,
    /// Whether a proxy has left its name.
    passed_on: bool,
}

impl Fields {
    fn of(headers: &http::HeaderMap) -> Self {
        let (mut bytes, mut crumbs, mut passed_on) = (0, 0_usize, false);
        for (name, value) in headers {
            bytes += name.as_str().len() + value.len();
            crumbs += usize::from(*name == header::COOKIE);
            passed_on |= *name == names::CDN_LOOP;
        }
        Self {
            count: headers.len() - crumbs.saturating_sub(1),
            bytes,
            passed_on,
        }
    }
}

/// Returns whether a target that names a scheme names one that is served.
fn is_http(head: &http::request::Parts) -> bool {
    head.uri.scheme().is_none_or(|scheme| {
        *scheme == http::uri::Scheme::HTTP || *scheme == http::uri::Scheme::HTTPS
    })
}

/// Returns whether a target that names a scheme names the one by which it came (RFC 9110, section
/// 7.4). An HTTP/2 client always names one, and a proxy that ends TLS names its own client's.
fn is_of_scheme(head: &http::request::Parts, scheme: Scheme) -> bool {
    head.version == http::Version::HTTP_2
        || head
            .uri
            .scheme_str()
            .is_none_or(|named| named == scheme.as_str())
}

/// Returns how a request is answered that must not be passed on any further (RFC 9110, section
/// 7.6.2).
fn ends_here(head: &http::request::Parts) -> Option<Refusal> {
    if hop_by_hop::passes_left(head) != Some(0) {
        return None;
    }
    Some(if head.method == Method::OPTIONS {
        Refusal::FinalRecipient
    } else {
        Refusal::MethodNotAllowed
    })
}

/// How the client reached the proxy that this node believes.
fn forwarded_scheme(clients: &ClientPolicy, head: &http::request::Parts) -> Option<Scheme> {
    // Proxies behind each other write a list; the first one is the client's. Some name a WebSocket.
    let in_forwarded = clients.forwarded_protocol(&head.headers);
    let said = in_forwarded.or_else(|| {
        head.headers
            .get(names::X_FORWARDED_PROTO)
            .map(http::HeaderValue::as_bytes)
    })?;
    let first = std::str::from_utf8(said)
        .ok()?
        .split(',')
        .next()?
        .trim()
        .trim_matches('"');
    let is_one_of = |names: [&str; 2]| names.iter().any(|name| first.eq_ignore_ascii_case(name));
    match () {
        () if is_one_of(["http", "ws"]) => Some(Scheme::Http),
        () if is_one_of(["https", "wss"]) => Some(Scheme::Https),
        () => None,
    }
}

/// Finds the authority: the target's own if it has one (RFC 9112, section 3.2.2), otherwise the one
/// Host field. A field that is no host makes the request void all the same (section 3.2).
fn authority_of(head: &http::request::Parts) -> Option<String> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = match hosts.next() {
        Some(host) => Some(authority::read(host.to_str().ok()?)?),
        None => None,
    };
    if hosts.next().is_some() {
        return None;
    }
    match head.uri.authority() {
        Some(target) => authority::read(target.as_str()),
        None => host,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn exactly_one_valid_host_is_needed() {
        let host = |hosts: &[&str], target: &str| {
            let mut builder = http::Request::builder().uri(target);
            for host in hosts {
                builder = builder.header("host", *host);
            }
            authority_of(&builder.body(()).unwrap().into_parts().0)
        };
        assert_eq!(
            host(&["Shop.Example:80"], "/"),
            Some("shop.example:80".into())
        );
        assert_eq!(
            host(&["other"], "http://shop.example/"),
            Some("shop.example".into())
        );
        assert_eq!(host(&[], "/"), None);
        assert_eq!(host(&["a", "a"], "/"), None);
        assert_eq!(host(&["a/b"], "/"), None);
        assert_eq!(host(&[""], "/"), None);
        assert_eq!(host(&["user@a"], "/"), None);
        assert_eq!(host(&["a/b"], "http://shop.example/"), None);
    }
}
