//! `[server]`: the pod's listener, and the bounds on what clients may send.

use http::HeaderName;
use serde::Deserialize;

use crate::message::bounds::Bounds;
use crate::operations;
use crate::policy::compiler::Compiler;
use crate::policy::error::KeyPath;
use crate::policy::settings::{AccessLog, Server, ServerTls};

/// The pod's listener.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawServer {
    /// Address and port to listen on. Default: 127.0.0.1:8080.
    pub listen: Option<String>,
    /// Address and port of /healthz, /metrics and /performance/; never public. Default:
    /// 127.0.0.1:9900. "off" disables it.
    pub admin: Option<String>,
    /// Names by which the admin address is asked for, such as "tidegate.default.svc" or
    /// "*.pods.example". Addresses, which probes and Prometheus use, and "localhost" need not be
    /// listed. Whoever asks by another name gets 421: a page in an operator's browser could have
    /// its own name lead here. Default: none.
    pub admin_hosts: Vec<String>,
    /// Number of worker threads. Default: one for each core.
    pub threads: Option<u16>,
    /// "json" writes one line for each exchange to standard output; "off" writes none. Default:
    /// "json".
    pub access_log: Option<AccessLog>,
    /// Certificate and key; with them the listener speaks TLS.
    pub tls: Option<ServerTls>,
    /// How long a stopping server waits for open exchanges. Default: 30s.
    pub drain: Option<String>,
    /// Request header fields with an underscore that go to origins, such as "`api_key`". Others do
    /// not, unless the policy names them elsewhere: CGI, and what comes from it, takes an
    /// underscore for a hyphen, so that a client could say what it may not. Default: none.
    pub underscore_headers: Vec<String>,
    /// Most header fields a request may have. Default: 100.
    pub header_count_max: Option<u16>,
    /// Most bytes the header fields of a request may take, names and values. Default: 32KiB.
    pub header_bytes_max: Option<String>,
    /// Longest request target. Default: 8KiB.
    pub uri_bytes_max: Option<String>,
    /// Largest request body. Default: 100MiB.
    pub body_bytes_max: Option<String>,
    /// How long a client may take to send its header fields. Default: 10s.
    pub header_timeout: Option<String>,
    /// How long a connection may stay idle between requests. Default: 60s.
    pub idle_timeout: Option<String>,
    /// Longest time without a byte in either direction on a connection that has switched to another
    /// protocol. Default: 1h.
    pub tunnel_idle_timeout: Option<String>,
    /// Most open client connections. A process that may open too few files holds fewer; it says so
    /// when it starts. Default: 10000.
    pub connections_max: Option<u32>,
    /// Most open connections of one client address (of one /64 network with IPv6). Trusted proxies
    /// may have any number. Default: 1000.
    pub connections_per_address_max: Option<u32>,
    /// Least bytes a second at which a client must send a request body and take a reply, such as
    /// "240B"; the time in which the origin is waited for does not count, and the first ten seconds
    /// are free. "0B" asks for nothing. Default: 240B.
    pub client_rate_min: Option<String>,
}

pub(in crate::policy) fn compile(c: &mut Compiler<'_>, raw: &RawServer) -> Server {
    let at = |key: &str| KeyPath::of(&["server", key]);
    let small = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let bounds = Bounds {
        header_count_max: raw.header_count_max.unwrap_or(100).into(),
        header_bytes_max: small(c.bytes(
            &at("header_bytes_max"),
            raw.header_bytes_max.as_ref(),
            32 << 10,
        )),
        uri_bytes_max: small(c.bytes(&at("uri_bytes_max"), raw.uri_bytes_max.as_ref(), 8 << 10)),
        body_bytes_max: c.bytes(
            &at("body_bytes_max"),
            raw.body_bytes_max.as_ref(),
            100 << 20,
        ),
        header_timeout: c.duration(&at("header_timeout"), raw.header_timeout.as_ref(), 10_000),
        idle_timeout: c.duration(&at("idle_timeout"), raw.idle_timeout.as_ref(), 60_000),
        tunnel_idle_timeout: c.duration(
            &at("tunnel_idle_timeout"),
            raw.tunnel_idle_timeout.as_ref(),
            3_600_000,
        ),
        connections_max: raw
            .connections_max
            .unwrap_or(10_000)
            .try_into()
            .unwrap_or(usize::MAX),
        connections_per_address_max: raw
            .connections_per_address_max
            .unwrap_or(1000)
            .try_into()
            .unwrap_or(usize::MAX),
        client_rate_min: c.bytes(&at("client_rate_min"), raw.client_rate_min.as_ref(), 240),
    };
    for (key, most) in [
        ("connections_max", raw.connections_max),
        (
            "connections_per_address_max",
            raw.connections_per_address_max,
        ),
    ] {
        if most == Some(0) {
            c.wrong(&at(key), "nobody could connect; write 1 or more");
        }
    }
    // The HTTP libraries of the shells hold no more than this.
    if bounds.header_bytes_max > 256 << 10
        || bounds.uri_bytes_max > 60_000
        || bounds.header_count_max > 1000
    {
        c.wrong(
            &KeyPath::of(&["server"]),
            "bounds go up to header_bytes_max = \"256KiB\", uri_bytes_max = \"60000B\", header_count_max = 1000",
        );
    }
    let listen = raw
        .listen
        .clone()
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let admin = raw
        .admin
        .clone()
        .unwrap_or_else(|| "127.0.0.1:9900".to_owned());
    let admin = (admin != "off").then_some(admin);
    for (key, address) in [("listen", Some(&listen)), ("admin", admin.as_ref())] {
        if address.is_some_and(|a| a.parse::<std::net::SocketAddr>().is_err()) {
            c.wrong(
                &at(key),
                "write an address and a port: \"0.0.0.0:8080\", \"[::]:8080\"",
            );
        }
    }
    if raw.threads == Some(0) {
        c.wrong(
            &at("threads"),
            "at least one thread is needed; leave it out for one a core",
        );
    }
    Server {
        listen,
        admin,
        threads: raw.threads,
        access_log: raw.access_log.unwrap_or(AccessLog::Json),
        tls: raw.tls.clone(),
        admin_hosts: admin_hosts(c, raw),
        drain: c.duration(&at("drain"), raw.drain.as_ref(), 30_000),
        bounds,
    }
}

fn admin_hosts(c: &mut Compiler<'_>, raw: &RawServer) -> Vec<String> {
    let at = KeyPath::of(&["server", "admin_hosts"]);
    for (i, text) in raw.admin_hosts.iter().enumerate() {
        if !operations::is_name(text) {
            let message = format!(
                "`{text}` is not a host; write tidegate.default.svc or *.pods.example, without scheme and port"
            );
            c.wrong(&at.index(i), message);
        }
    }
    raw.admin_hosts
        .iter()
        .map(|text| text.trim_end_matches('.').to_ascii_lowercase())
        .collect()
}

pub(in crate::policy) fn underscored(c: &mut Compiler<'_>, raw: &RawServer) -> Vec<HeaderName> {
    let at = KeyPath::of(&["server", "underscore_headers"]);
    let mut names = Vec::new();
    for (i, text) in raw.underscore_headers.iter().enumerate() {
        if !text.contains('_') {
            c.wrong(
                &at.index(i),
                format!("`{text}` has no `_`; such fields go to origins anyway"),
            );
        }
        names.extend(c.header_name(&at.index(i), text));
    }
    names
}
