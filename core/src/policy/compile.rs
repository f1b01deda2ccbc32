//! Raw TOML becomes a valid policy, or a list of everything wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::uri::{Authority, Scheme, Uri};
use http::{HeaderName, HeaderValue};

use crate::operations;
use crate::limit::key::KeyPart;
use crate::message::{names, unkeyed};
use crate::message::bounds::Bounds;
use crate::message::client::{ClientPolicy, Nat64, Network};
use crate::message::geo::{Code, Position};
use crate::policy::{Policy, Server, StoreBounds, reading, rules, units};
use crate::policy::error::{KeyPath, PolicyError, Problem, Source};
use crate::policy::list::OneOrMany;
use crate::policy::raw::{RawAccessLog, RawClient, RawOnFailure, RawOrigin, RawPolicy, RawPool, RawServer, RawSteering, RawStore};
use crate::route::{Origin, OriginTls, Pool, Route, Steering, Timeouts};
use crate::time::Millis;

pub(super) fn compile(file: &str, text: &str) -> Result<Policy, PolicyError> {
    let mut source = Source::new(file, text);
    let (raw, problems) = reading::read(&mut source);
    let Some(raw) = raw else {
        return Err(PolicyError::of(problems));
    };
    let mut c = Compiler { source, problems, identity: Identity::default(), ipv6_prefix: 64 };
    c.ipv6_prefix = c.read_ipv6_prefix(&raw.client);
    c.identity = c.identity(&raw.client);
    let server = c.server(&raw.server);
    let client = c.client(&raw.client);
    let store = c.store(&raw.store);
    let origins: BTreeMap<&str, Arc<Origin>> = raw
        .origins
        .iter()
        .enumerate()
        .filter_map(|(i, (name, o))| Some((name.as_str(), Arc::new(c.origin(name, i, o)?))))
        .collect();
    let pools: BTreeMap<&str, Arc<Pool>> = raw
        .pools
        .iter()
        .filter_map(|(name, pool)| Some((name.as_str(), Arc::new(c.pool(name, pool, &raw, &origins)?))))
        .collect();
    let rules = rules::compile(&mut c, &raw);
    let routes = rules::routes(&mut c, &raw, &pools, &rules);
    let underscored = c.underscored(&raw.server);
    if c.problems.is_empty() {
        let origins = sorted_by_index(origins);
        let on_failure = raw.edge.on_failure.unwrap_or(RawOnFailure::Closed);
        let passed = passed(underscored, &routes, &client);
        return Ok(Policy {
            server,
            client,
            store,
            on_failure,
            origins,
            breakers: rules.breakers.into_values().collect(),
            passed,
            routes,
        });
    }
    Err(PolicyError::of(c.problems))
}

/// Lists the request header fields that go to origins because a policy names them: those with `_`, and those of doubtful families that are in a key.
fn passed(underscored: Vec<HeaderName>, routes: &[Arc<Route>], client: &ClientPolicy) -> Vec<HeaderName> {
    let mut names = underscored;
    names.push(client.address_header.clone());
    let mut keyed: Vec<HeaderName> = Vec::new();
    for route in routes {
        names.extend(route.matcher.headers.iter().map(|(name, _)| name.clone()));
        for limit in &route.limits {
            names.extend(limit.key.iter().filter_map(named_field));
        }
        if let Steering::Weighted { affinity } = &route.pool.steering {
            names.extend(affinity.iter().filter_map(named_field));
        }
        if let Some(profile) = &route.cache {
            keyed.extend(profile.key_headers.iter().cloned());
            names.extend(profile.bypass_headers.iter().filter_map(|name| HeaderName::try_from(name.as_str()).ok()));
        }
    }
    names.retain(|name| name.as_str().contains('_'));
    names.extend(keyed.into_iter().filter(|name| name.as_str().contains('_') || unkeyed::is_doubtful(name)));
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

fn named_field(part: &KeyPart) -> Option<HeaderName> {
    match part {
        KeyPart::Header(name) => Some(name.clone()),
        KeyPart::Ip { .. }
        | KeyPart::Cookie(_)
        | KeyPart::Query(_)
        | KeyPart::Path
        | KeyPart::Route
        | KeyPart::Country => None,
    }
}

fn sorted_by_index(origins: BTreeMap<&str, Arc<Origin>>) -> Vec<Arc<Origin>> {
    let mut origins: Vec<Arc<Origin>> = origins.into_values().collect();
    origins.sort_by_key(|o| o.index);
    origins
}

/// Collects problems on the way, so that an author sees all of them at once.
pub(super) struct Compiler<'a> {
    source: Source<'a>,
    problems: Vec<Problem>,
    identity: Identity,
    /// Leading bits of an IPv6 address that are one client.
    ipv6_prefix: u8,
}

/// Where user and workspace of a request are named.
pub(super) struct Identity {
    user: KeyPart,
    workspace: KeyPart,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            user: KeyPart::Header(HeaderName::from_static("x-user-id")),
            workspace: KeyPart::Header(HeaderName::from_static("x-workspace-id")),
        }
    }
}

impl Compiler<'_> {
    pub(super) fn wrong(&mut self, path: &KeyPath, message: impl Into<String>) {
        let problem = self.source.problem(path, message.into());
        self.problems.push(problem);
    }

    pub(super) fn duration(&mut self, path: &KeyPath, text: Option<&String>, default: Millis) -> Millis {
        self.read(path, text, default, units::duration)
    }

    pub(super) fn bytes(&mut self, path: &KeyPath, text: Option<&String>, default: u64) -> u64 {
        self.read(path, text, default, units::bytes)
    }

    fn read<T>(
        &mut self,
        path: &KeyPath,
        text: Option<&String>,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        match text.map(|t| parse(t)) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(message)) => {
                self.wrong(path, message);
                default
            }
        }
    }

    pub(super) fn header_name(&mut self, path: &KeyPath, text: &str) -> Option<HeaderName> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let name = HeaderName::try_from(text).ok().filter(|name| name.as_str().bytes().all(is_name));
        if name.is_none() {
            let hint = if text.contains('*') { "; there are no patterns here, write each name by itself" } else { "" };
            self.wrong(path, format!("`{text}` is not a header field name; use letters, digits and hyphens{hint}"));
        }
        name
    }

    /// Finds a name among those defined, or says which there are.
    pub(super) fn find<'m, T>(
        &mut self,
        path: &KeyPath,
        kind: &str,
        name: &str,
        defined: &'m BTreeMap<&str, T>,
        written: &[&str],
    ) -> Option<&'m T> {
        let found = defined.get(name);
        // What was written but is wrong itself has been reported already.
        if found.is_none() && !written.contains(&name) {
            let known = if written.is_empty() {
                format!("none is defined; {}", how_to_define(kind, name))
            } else {
                format!("defined are: {}", written.join(", "))
            };
            self.wrong(path, format!("there is no {kind} named `{name}`; {known}"));
        }
        found
    }

    /// Reads the parts of a limit's or an affinity's key.
    pub(super) fn key_parts(&mut self, path: &KeyPath, texts: &[String]) -> Vec<KeyPart> {
        let parts =
            texts.iter().enumerate().filter_map(|(i, text)| match key_part(text, &self.identity, self.ipv6_prefix) {
                Ok(part) => Some(part),
                Err(message) => {
                    self.wrong(&path.index(i), message);
                    None
                }
            });
        parts.collect()
    }

    /// Returns how many leading bits of an IPv6 address are one client.
    pub(super) fn ipv6_prefix(&self) -> u8 {
        self.ipv6_prefix
    }

    fn read_ipv6_prefix(&mut self, raw: &RawClient) -> u8 {
        let prefix = raw.ipv6_prefix.unwrap_or(64);
        if !(1..=128).contains(&prefix) {
            self.wrong(&KeyPath::of(&["client", "ipv6_prefix"]), "from 1 to 128");
        }
        prefix
    }

    fn identity(&mut self, raw: &RawClient) -> Identity {
        let default = Identity::default();
        let mut named =
            |key: &str, text: Option<&String>, otherwise: KeyPart| match text.map(|t| key_part(t, &default, 64)) {
                None => otherwise,
                Some(Ok(part @ (KeyPart::Header(_) | KeyPart::Cookie(_)))) => part,
                Some(Ok(_) | Err(_)) => {
                    self.wrong(&KeyPath::of(&["client", key]), "write \"header:NAME\" or \"cookie:NAME\"");
                    otherwise
                }
            };
        let user = named("user", raw.user.as_ref(), default.user.clone());
        let workspace = named("workspace", raw.workspace.as_ref(), default.workspace.clone());
        Identity { user, workspace }
    }

    fn server(&mut self, raw: &RawServer) -> Server {
        let at = |key: &str| KeyPath::of(&["server", key]);
        let small = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let bounds = Bounds {
            header_count_max: raw.header_count_max.unwrap_or(100).into(),
            header_bytes_max: small(self.bytes(&at("header_bytes_max"), raw.header_bytes_max.as_ref(), 32 << 10)),
            uri_bytes_max: small(self.bytes(&at("uri_bytes_max"), raw.uri_bytes_max.as_ref(), 8 << 10)),
            body_bytes_max: self.bytes(&at("body_bytes_max"), raw.body_bytes_max.as_ref(), 100 << 20),
            header_timeout: self.duration(&at("header_timeout"), raw.header_timeout.as_ref(), 10_000),
            idle_timeout: self.duration(&at("idle_timeout"), raw.idle_timeout.as_ref(), 60_000),
            tunnel_idle_timeout: self.duration(&at("tunnel_idle_timeout"), raw.tunnel_idle_timeout.as_ref(), 3_600_000),
            connections_max: raw.connections_max.unwrap_or(10_000).try_into().unwrap_or(usize::MAX),
            connections_per_address_max: raw
                .connections_per_address_max
                .unwrap_or(1000)
                .try_into()
                .unwrap_or(usize::MAX),
            client_rate_min: self.bytes(&at("client_rate_min"), raw.client_rate_min.as_ref(), 240),
        };
        for (key, most) in
            [("connections_max", raw.connections_max), ("connections_per_address_max", raw.connections_per_address_max)]
        {
            if most == Some(0) {
                self.wrong(&at(key), "nobody could connect; write 1 or more");
            }
        }
        // The HTTP libraries of the shells hold no more than this.
        if bounds.header_bytes_max > 256 << 10 || bounds.uri_bytes_max > 60_000 || bounds.header_count_max > 1000 {
            self.wrong(
                &KeyPath::of(&["server"]),
                "bounds go up to header_bytes_max = \"256KiB\", uri_bytes_max = \"60000B\", header_count_max = 1000",
            );
        }
        let listen = raw.listen.clone().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let admin = raw.admin.clone().unwrap_or_else(|| "127.0.0.1:9900".to_owned());
        let admin = (admin != "off").then_some(admin);
        for (key, address) in [("listen", Some(&listen)), ("admin", admin.as_ref())] {
            if address.is_some_and(|a| a.parse::<std::net::SocketAddr>().is_err()) {
                self.wrong(&at(key), "write an address and a port: \"0.0.0.0:8080\", \"[::]:8080\"");
            }
        }
        if raw.threads == Some(0) {
            self.wrong(&at("threads"), "at least one thread is needed; leave it out for one a core");
        }
        Server {
            listen,
            admin,
            threads: raw.threads,
            access_log: raw.access_log.unwrap_or(RawAccessLog::Json),
            tls: raw.tls.clone(),
            admin_hosts: self.admin_hosts(raw),
            drain: self.duration(&at("drain"), raw.drain.as_ref(), 30_000),
            bounds,
        }
    }

    fn admin_hosts(&mut self, raw: &RawServer) -> Vec<String> {
        let at = KeyPath::of(&["server", "admin_hosts"]);
        for (i, text) in raw.admin_hosts.iter().enumerate() {
            if !operations::is_name(text) {
                let message = format!(
                    "`{text}` is not a host; write tidegate.default.svc or *.pods.example, without scheme and port"
                );
                self.wrong(&at.index(i), message);
            }
        }
        raw.admin_hosts.iter().map(|text| text.trim_end_matches('.').to_ascii_lowercase()).collect()
    }

    fn underscored(&mut self, raw: &RawServer) -> Vec<HeaderName> {
        let at = KeyPath::of(&["server", "underscore_headers"]);
        let mut names = Vec::new();
        for (i, text) in raw.underscore_headers.iter().enumerate() {
            if !text.contains('_') {
                self.wrong(&at.index(i), format!("`{text}` has no `_`; such fields go to origins anyway"));
            }
            names.extend(self.header_name(&at.index(i), text));
        }
        names
    }

    fn client(&mut self, raw: &RawClient) -> ClientPolicy {
        let at = KeyPath::of(&["client", "trusted_proxies"]);
        let mut trusted_proxies = Vec::new();
        for (i, text) in raw.trusted_proxies.iter().enumerate() {
            match Network::parse(text) {
                Some(network) => trusted_proxies.push(network),
                None => self.wrong(
                    &at.index(i),
                    format!("`{text}` is not a network; write an address or CIDR: 10.0.0.0/8, 2001:db8::/32"),
                ),
            }
        }
        let default = names::X_FORWARDED_FOR;
        let address_header = match &raw.address_header {
            None => default,
            Some(text) => self.header_name(&KeyPath::of(&["client", "address_header"]), text).unwrap_or(default),
        };
        let country_header = match raw.country_header.as_deref() {
            None => Some(names::CF_IPCOUNTRY),
            Some("off") => None,
            Some(text) => self.header_name(&KeyPath::of(&["client", "country_header"]), text),
        };
        let mut nat64 = vec![Nat64::well_known()];
        for (i, text) in raw.nat64_prefixes.iter().enumerate() {
            match Nat64::parse(text) {
                Some(gateway) => nat64.push(gateway),
                None => self.wrong(
                    &KeyPath::of(&["client", "nat64_prefixes"]).index(i),
                    format!("`{text}` is not a NAT64 network; write IPv6 with /32, /40, /48, /56, /64 or /96: 2001:db8:64::/96"),
                ),
            }
        }
        ClientPolicy { trusted_proxies, address_header, country_header, nat64 }
    }

    fn store(&mut self, raw: &RawStore) -> StoreBounds {
        let bytes_max = self.bytes(&KeyPath::of(&["store", "bytes_max"]), raw.bytes_max.as_ref(), 256 << 20);
        StoreBounds { bytes_max, entries_max: raw.entries_max.unwrap_or(10_000).try_into().unwrap_or(usize::MAX) }
    }

    fn origin(&mut self, name: &str, index: usize, raw: &RawOrigin) -> Option<Origin> {
        let at = KeyPath::of(&["origins", name]);
        if name.is_empty() {
            self.wrong(&at, "an origin needs a name");
        }
        let timeouts = Timeouts {
            connect: self.duration(&at.key("connect_timeout"), raw.connect_timeout.as_ref(), 2000),
            response: self.duration(&at.key("response_timeout"), raw.response_timeout.as_ref(), 30_000),
            body: self.duration(&at.key("body_timeout"), raw.body_timeout.as_ref(), 30_000),
            idle: self.duration(&at.key("idle_timeout"), raw.idle_timeout.as_ref(), 4000),
            age: self.duration(&at.key("connection_age_max"), raw.connection_age_max.as_ref(), 30_000),
        };
        let position = match (raw.latitude, raw.longitude) {
            (None, None) => None,
            (Some(lat), Some(lon)) => {
                let position = Position::from_degrees(lat, lon);
                if position.is_none() {
                    self.wrong(&at.key("latitude"), "latitude goes from -90 to 90, longitude from -180 to 180");
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

    fn origin_tls(&mut self, at: &KeyPath, raw: &RawOrigin) -> Option<OriginTls> {
        let tls = raw.tls.as_ref()?;
        let client_certificate = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                self.wrong(&at.key("tls"), "a client certificate needs both certificate and key");
                None
            }
        };
        Some(OriginTls { ca: tls.ca.clone(), server_name: tls.server_name.clone(), client_certificate })
    }

    fn pool(
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
                self.wrong(&path, format!("`{origin}` is listed twice; each origin once"));
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
                let affinity = self.key_parts(&at.key("affinity"), raw.affinity.as_deref().unwrap_or(&default));
                Steering::Weighted { affinity }
            }
            RawSteering::Nearest => Steering::Nearest {
                countries: self.places(&at.key("countries"), &raw.countries, &raw.origins),
                continents: self.places(&at.key("continents"), &raw.continents, &raw.origins),
            },
        };
        if raw.steering != RawSteering::Nearest && !(raw.countries.is_empty() && raw.continents.is_empty()) {
            self.wrong(&at, "countries and continents are for steering = \"nearest\"");
        }
        if raw.steering != RawSteering::Weighted && raw.affinity.is_some() {
            self.wrong(&at.key("affinity"), "affinity is for steering = \"weighted\"");
        }
        (self.problems.len() == before && !members.is_empty()).then_some(Pool {
            name: name.into(),
            origins: members,
            steering,
        })
    }

    fn places(
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
                    None => self.wrong(&path, format!("`{name}` is not in this pool; it has: {}", members.join(", "))),
                }
            }
            compiled.push((code, positions));
        }
        compiled
    }
}

/// Says what to write for a name to be defined, in full.
pub(super) fn how_to_define(kind: &str, name: &str) -> String {
    let table = match kind {
        "pool" => {
            return format!(
                "write [pools.{name}] with origins = [\"NAME\"] and [origins.NAME] with url = \"http://HOST\""
            );
        }
        "origin" => return format!("write [origins.{name}] with url = \"http://HOST\""),
        "cache profile" => return format!("write [cache.{name}] with mode = \"respect\", or leave this out"),
        "limit" => {
            return format!("write [limits.{name}] with quota = \"100/min\" and key = [\"ip\"], or leave this out");
        }
        "breaker" => "breakers",
        _ => "retry",
    };
    format!("write [{table}.{name}], or leave this out")
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

fn key_part(text: &str, identity: &Identity, ipv6_prefix: u8) -> Result<KeyPart, String> {
    let wrong = || {
        format!(
            "`{text}` is not a key part; use ip, ip/PREFIX, header:NAME, cookie:NAME, query:NAME, path, route, country, user or workspace"
        )
    };
    if text.contains('*') {
        return Err(format!("`{text}` has a star, and there are no patterns here; write each name by itself"));
    }
    match text.split_once(':') {
        Some(("header", name)) => HeaderName::try_from(name).map(KeyPart::Header).map_err(|_| wrong()),
        Some(("cookie", name)) if !name.is_empty() => Ok(KeyPart::Cookie(name.to_owned())),
        Some(("query", name)) if !name.is_empty() => Ok(KeyPart::Query(name.to_owned())),
        Some(_) => Err(wrong()),
        None => match text {
            "ip" => Ok(KeyPart::Ip { ipv6_prefix }),
            "path" => Ok(KeyPart::Path),
            "route" => Ok(KeyPart::Route),
            "country" => Ok(KeyPart::Country),
            "user" => Ok(identity.user.clone()),
            "workspace" => Ok(identity.workspace.clone()),
            _ => match text.strip_prefix("ip/").and_then(|p| p.parse::<u8>().ok()) {
                Some(ipv6_prefix @ 1..=128) => Ok(KeyPart::Ip { ipv6_prefix }),
                Some(_) | None => Err(wrong()),
            },
        },
    }
}
