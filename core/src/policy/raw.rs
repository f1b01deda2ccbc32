//! The shape of `tidegate.toml` as serde reads it. Everything is checked and compiled in
//! `compile.rs`; nothing else reads these types.
//!
//! The doc comments become the descriptions of the JSON Schema, so they speak to the author of a
//! policy.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::list::OneOrMany;

/// A Tidegate policy: how traffic to a service is cached, limited, routed and failed over.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawPolicy {
    /// The pod's listener and the bounds on what clients may send.
    pub server: RawServer,
    /// Where the client's address, identity and country come from.
    pub client: RawClient,
    /// The memory store of responses in a pod.
    pub store: RawStore,
    /// How the Worker behaves.
    pub edge: RawEdge,
    /// Upstream addresses by name.
    pub origins: BTreeMap<String, RawOrigin>,
    /// Sets of origins by name.
    pub pools: BTreeMap<String, RawPool>,
    /// Cache profiles by name.
    pub cache: BTreeMap<String, RawProfile>,
    /// Rate limits by name.
    pub limits: BTreeMap<String, RawLimit>,
    /// Circuit breakers by name.
    pub breakers: BTreeMap<String, RawBreaker>,
    /// Retry rules by name.
    pub retry: BTreeMap<String, RawRetry>,
    /// Routes; the first that matches a request is used. A route without conditions, placed last,
    /// is the default route.
    pub routes: Vec<RawRoute>,
}

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
    pub access_log: Option<RawAccessLog>,
    /// Certificate and key; with them the listener speaks TLS.
    pub tls: Option<RawServerTls>,
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

/// Where access records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawAccessLog {
    /// One JSON object a line on standard output.
    Json,
    /// None.
    Off,
}

/// Certificate and key of the listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawServerTls {
    /// PEM file with the certificate chain; relative to the policy file.
    pub certificate: String,
    /// PEM file with the private key; relative to the policy file.
    pub key: String,
}

/// Where facts about the client come from.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawClient {
    /// Networks whose forwarding header fields are believed, such as "10.0.0.0/8". Default: none.
    pub trusted_proxies: Vec<String>,
    /// The header field with the client's address, read from the right past trusted proxies; what
    /// stands left of something unreadable is not believed. "forwarded" is read as RFC 7239 says,
    /// every other field as a list of addresses. Default: x-forwarded-for.
    pub address_header: Option<String>,
    /// The header field in which trusted proxies say the client's country by its two-letter code;
    /// "off": nobody says it in a field. With Cloudflare's "cf-ipcountry" its fields for continent
    /// and place are read too. XX is an unknown country, T1 is Tor. A proxy that is trusted must
    /// set this field or remove it: what it passes on from clients is believed. At the edge the
    /// platform says it. Default: cf-ipcountry.
    pub country_header: Option<String>,
    /// How many leading bits of an IPv6 address are one client, where a key says "ip": 1 to 128.
    /// Default: 64.
    pub ipv6_prefix: Option<u8>,
    /// IPv6 networks of NAT64 gateways (RFC 6052: /32, /40, /48, /56, /64 or /96): a client inside
    /// is the IPv4 client whose address is embedded. `64:ff9b::/96` always is one.
    pub nat64_prefixes: Vec<String>,
    /// Where the user of a request is named: "header:NAME" or "cookie:NAME". Default:
    /// header:x-user-id.
    pub user: Option<String>,
    /// Where the workspace of a request is named: "header:NAME" or "cookie:NAME". Default:
    /// header:x-workspace-id.
    pub workspace: Option<String>,
}

/// Bounds of the memory store.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawStore {
    /// Most bytes, counting keys, header fields and bodies. Default: 256MiB.
    pub bytes_max: Option<String>,
    /// Most entries. Default: 10000.
    pub entries_max: Option<u32>,
}

/// How the Worker behaves.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawEdge {
    /// What a request gets when the Worker itself fails: "closed" answers 503, "open" sends it to
    /// the last route's first origin unchecked.
    pub on_failure: Option<RawOnFailure>,
}

/// What happens when Tidegate itself cannot decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawOnFailure {
    /// The request passes.
    Open,
    /// The request is refused.
    Closed,
}

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

/// A set of origins and the order in which they are tried.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawPool {
    /// Names of origins, in order of preference.
    pub origins: Vec<String>,
    /// "ordered": as listed. "weighted": by weight, the same client always first to the same
    /// origin. "nearest": by the client's country, then continent, then distance, then as listed.
    /// Default: "ordered".
    #[serde(default)]
    pub steering: RawSteering,
    /// For weighted steering: what stays with one origin; key parts as in a limit. A request that
    /// has none of them goes to any origin, by weight. Default: the client's address.
    #[serde(default)]
    pub affinity: Option<Vec<String>>,
    /// For nearest steering: two-letter country code to origins, nearest first. EU stands for every
    /// member of the European Union that is not named itself, XX for an unknown country, T1 for
    /// Tor.
    #[serde(default)]
    pub countries: BTreeMap<String, OneOrMany>,
    /// For nearest steering: continent code (AF, AN, AS, EU, NA, OC, SA) to origins, nearest first.
    #[serde(default)]
    pub continents: BTreeMap<String, OneOrMany>,
}

/// How a pool orders its origins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawSteering {
    /// As listed.
    #[default]
    Ordered,
    /// By weight, stable for a client.
    Weighted,
    /// By geography.
    Nearest,
}

/// What is stored, for how long, under which key.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the policy file"
)]
pub struct RawProfile {
    /// "respect": as the origin's Cache-Control and Expires say; what sets a cookie is stored only
    /// with a lifetime that they tell. "override": for `ttl`, whatever they say, unless no-store,
    /// private or Set-Cookie forbid it. "never": nothing is looked up or stored.
    pub mode: RawMode,
    /// Freshness lifetime of successes in override mode.
    #[serde(default)]
    pub ttl: Option<String>,
    /// Freshness lifetimes of redirects and errors in override mode: { "3xx" = "1m", "404" = "30s"
    /// }. A status counts before its class. Only statuses that speak of what is there are stored in
    /// override mode: 300, 301, 302, 307, 308, 404, 405, 410, 414 and 451. Default: a minute for
    /// redirects and ten seconds for errors, but no longer than `ttl`. `grace` is never longer for
    /// them than this.
    #[serde(default)]
    pub ttl_by_status: BTreeMap<String, String>,
    /// Whether override mode shares answers to requests with Authorization. Only for what does not
    /// depend on who asks. Default: false: they are shared if the origin says `public`, or
    /// `s-maxage` with a number above 0.
    #[serde(default)]
    pub share_authorized: bool,
    /// How long after its lifetime a response is served stale while it is revalidated in the
    /// background. In respect mode the origin's stale-while-revalidate wins; without a value it
    /// allows this time. What has no lifetime, sets a cookie, or comes with must-revalidate or
    /// proxy-revalidate is not served stale, nor what comes with s-maxage, which forbids it to
    /// shared caches (RFC 9111, section 5.2.2.10), unless stale-while-revalidate stands beside it.
    /// Default: 0s.
    #[serde(default)]
    pub grace: Option<String>,
    /// How long after its lifetime a response is served stale when every origin fails. In respect
    /// mode as for `grace`, with stale-if-error. Default: 1h when no origin answers at all, 0s for
    /// an origin's error.
    #[serde(default)]
    pub keep: Option<String>,
    /// Which query parameters distinguish responses: "all" or "none". Default: "all".
    #[serde(default)]
    pub query: Option<RawQuery>,
    /// Only these query parameters distinguish responses. A trailing `*` matches any ending. What
    /// an application may take for one of them, such as `ID`, `id[]` or `x;id=1` for `id`, counts
    /// too.
    #[serde(default)]
    pub query_allow: Vec<String>,
    /// These query parameters do not distinguish responses, spelt exactly so. A trailing `*`
    /// matches any ending: "utm_*".
    #[serde(default)]
    pub query_deny: Vec<String>,
    /// Whether the order of query parameters is ignored, that of different names: not in a query
    /// that applications may split in different ways. Default: false.
    #[serde(default)]
    pub query_sort: bool,
    /// Request header fields that distinguish responses. Fields that could make an origin answer
    /// for another URL, method, address, country or user, such as X-Original-URL, X-HTTP-Method,
    /// X-Real-IP or `X-Envoy-*`, go with a request for what may be stored only if they are here.
    /// What a trusted proxy says of country, place and user goes on.
    #[serde(default)]
    pub key_headers: Vec<String>,
    /// Cookies that distinguish responses. Several of a name all count. A trailing `*` matches any
    /// ending. Spellings of a name that an application takes for it (case, percent-encoding, `.`
    /// for `_` and the like) count as the name.
    #[serde(default)]
    pub key_cookies: Vec<String>,
    /// Whether the client's country distinguishes responses. Default: false.
    #[serde(default)]
    pub key_country: bool,
    /// A request with one of these cookies, as spelt for `key_cookies`, is neither answered from
    /// the store nor stored: "`wordpress_logged_in_*`".
    #[serde(default)]
    pub bypass_cookies: Vec<String>,
    /// A request with one of these header fields is neither answered from the store nor stored. A
    /// trailing `*` matches any ending; `_` counts as `-`.
    #[serde(default)]
    pub bypass_headers: Vec<String>,
    /// Largest body that is stored. Default: 8MiB.
    #[serde(default)]
    pub body_bytes_max: Option<String>,
    /// The Cache-Control that clients get instead of the origin's; override mode only. Only
    /// successes that are stored get it, fresh or stale: what is not stored, errors and redirects
    /// leave with the origin's.
    #[serde(default)]
    pub cache_control: Option<String>,
    /// Whether a client's own Cache-Control (no-cache, max-age, ...) may cause a fetch. Default:
    /// false, so that clients cannot burden the origin.
    #[serde(default)]
    pub client_directives: bool,
    /// Longest wait of a request for another one that already fetches the same response. "0s" turns
    /// coalescing off. Default: 5s.
    #[serde(default)]
    pub coalesce: Option<String>,
    /// Whether `Cache-Tag` and `Surrogate-Key` are kept from clients. Default: false, so that
    /// another cache in front can read them.
    #[serde(default)]
    pub strip_tags: bool,
    /// Whether a page (HTML, JSON or XML) that comes under the name of a static file, such as
    /// `/account/x.css` or `/account/x.css;a`, is not stored. Default: true.
    #[serde(default)]
    pub deception_armour: Option<bool>,
    /// Whether Cache-Status shows a fingerprint of the cache key, for those who look for what two
    /// requests do not share. Default: false.
    #[serde(default)]
    pub show_key: bool,
    /// How long before the end of its lifetime a response is refreshed in the background when it is
    /// asked for; each at a moment of its own within that time, so that they do not expire
    /// together. Default: 0s, never.
    #[serde(default)]
    pub early_refresh: Option<String>,
}

/// How a profile decides about storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawMode {
    /// As the origin says.
    Respect,
    /// As the policy says.
    Override,
    /// Not at all.
    Never,
}

/// The query's part in a cache key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawQuery {
    /// The whole query.
    All,
    /// Nothing of it.
    None,
}

/// A rate limit.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawLimit {
    /// Amount and period: "10/sec", "1000/min", "5000/hour", "100000/day".
    pub quota: String,
    /// Most that may be used at once. Default: the quota's amount.
    #[serde(default)]
    pub burst: Option<u64>,
    /// What shares one count, in order: "ip" (IPv6 by `client.ipv6_prefix`), "ip/56",
    /// "header:NAME", "cookie:NAME", "query:NAME", "path", "route", "country", "user", "workspace".
    /// An empty list is one count for all. Spellings that applications take for the same are one
    /// value: white space or quotes around it, percent-encoding, the scheme of Authorization in any
    /// case, paths in any case, with `;` parameters or a final slash. A name that occurs several
    /// times with several values is charged for each of them; a request with more than 8 is
    /// refused. A cookie's value with a comma, white space or a quote in it is charged twice:
    /// whole, and up to there, because some applications end it there.
    pub key: Vec<String>,
    /// What counts instead of a header field, cookie or query parameter that a request does not
    /// have, or that is empty. "address": the client's address, so that whoever is not named has a
    /// count of its own. "share": one count for all who do not have it; one of them can use it up
    /// for the others. "skip": nothing, the limit does not apply; whoever leaves it out is not
    /// limited. "refuse": such requests get 400. Default: "address".
    #[serde(default)]
    pub absent: RawAbsent,
    /// What one request uses. Default: 1.
    #[serde(default)]
    pub cost: Option<u64>,
    /// Counts and reports, but refuses nothing. Default: false.
    #[serde(default)]
    pub dry_run: bool,
    /// What happens when the counter cannot be reached: "allow" or "deny". Default: "allow".
    #[serde(default)]
    pub on_store_error: Option<RawOnStoreError>,
}

/// What counts instead of a part of a key that a request does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawAbsent {
    /// The client's address.
    #[default]
    Address,
    /// One count for all.
    Share,
    /// The limit does not apply.
    Skip,
    /// The request is refused.
    Refuse,
}

/// What a limit does without its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawOnStoreError {
    /// Requests pass.
    Allow,
    /// Requests are refused.
    Deny,
}

/// A circuit breaker; each origin of the route has its own state.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawBreaker {
    /// What is looked at: the last calls ("100 calls") or a time ("30s"). Default: "100 calls".
    pub window: Option<String>,
    /// Percentage of failed calls that opens the circuit: 1 to 100. Default: 50.
    pub failure_rate: Option<u8>,
    /// A call at least this long is slow: until the response's header fields have come, and in a
    /// pod as long as its body keeps the pod waiting. A body may take as long again for each
    /// further MiB; a stream of events (text/event-stream) may take any time. The header fields of
    /// a response to a request with a body are never late, because the client may be what the
    /// origin waits for. Default: 60s.
    pub slow_call: Option<String>,
    /// Percentage of slow calls that opens the circuit: 1 to 100. Default: 100.
    pub slow_rate: Option<u8>,
    /// Fewer calls than this in the window never open the circuit. Default: 20.
    pub minimum_calls: Option<u32>,
    /// How long the circuit stays open before calls are tried again. Default: 30s.
    pub open: Option<String>,
    /// How many calls are tried before the circuit closes or opens again. Default: 3.
    pub half_open_permits: Option<u32>,
    /// Statuses that count as failures. Default: 500, 502, 503, 504. Connection errors and timeouts
    /// always count, and so does a body that breaks off or pauses for longer than `body_timeout`.
    pub failure_statuses: Option<Vec<u16>>,
}

/// When a failed request is sent again, and how.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawRetry {
    /// Most attempts that may reach an origin, the first included: 1 to 10. Default: 2.
    pub attempts: Option<u8>,
    /// Methods that may be sent again. Default: the idempotent ones, GET, HEAD, OPTIONS, TRACE,
    /// PUT, DELETE.
    pub methods: Option<Vec<String>>,
    /// Statuses that are tried again. Default: 502, 503, 504.
    pub statuses: Option<Vec<u16>>,
    /// Pause before an origin is tried again; doubles with each attempt. The next origin of a pool
    /// is tried at once. Default: 25ms.
    pub backoff: Option<String>,
    /// Longest pause. Default: 1s.
    pub backoff_max: Option<String>,
}

/// What applies to the requests that match. Conditions of different kinds must all hold; within a
/// list one is enough.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawRoute {
    /// A name for reports and metrics. Default: route-1, route-2, ...
    pub name: Option<String>,
    /// Host names, without port: "shop.example" or "*.shop.example" (one or more labels more).
    pub host: Option<OneOrMany>,
    /// Exact paths.
    pub path: Option<OneOrMany>,
    /// Beginnings of paths.
    pub path_prefix: Option<OneOrMany>,
    /// Path patterns: `*` is any run of characters without a slash, `**` any run at all.
    pub path_glob: Option<OneOrMany>,
    /// Methods.
    pub method: Option<OneOrMany>,
    /// Header fields and their values, all of which must match; "*" matches any value.
    pub header: BTreeMap<String, String>,
    /// The pool that answers.
    pub pool: String,
    /// The cache profile. Default: none; nothing is stored, whatever the origin says, and replies
    /// have no Cache-Status.
    pub cache: Option<String>,
    /// Limits, all of which must allow a request.
    pub limits: Vec<String>,
    /// The circuit breaker of the pool's origins. Default: none.
    pub breaker: Option<String>,
    /// The retry rule. Default: an origin that cannot be reached is skipped, nothing is sent twice.
    pub retry: Option<String>,
}
