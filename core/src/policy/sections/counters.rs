//! `[counters]`: where limits are counted.

use serde::Deserialize;

use crate::limit::{CounterStore, Counters, StoreKind, StoreTls};
use crate::policy::compiler::Compiler;
use crate::policy::error::KeyPath;

/// Where limits are counted.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawCounters {
    /// "memory": in each pod by itself. "redis": in one Redis or Valkey server that all pods share.
    /// "sentinel": in the master that Sentinels name. "cluster": in a Redis Cluster. At the edge
    /// limits are counted in Durable Objects, whatever is said here. Default: "memory".
    pub store: RawStoreKind,
    /// Host and port of the server, of the Sentinels, or of some nodes of the cluster, such as
    /// "redis.internal:6379". User and password are never in a policy: they are the environment
    /// variables `TIDEGATE_REDIS_USERNAME` and `TIDEGATE_REDIS_PASSWORD`, or
    /// `TIDEGATE_REDIS_PASSWORD_FILE` names a file with the password.
    pub addresses: Vec<String>,
    /// Of Sentinels: the name of the master.
    pub master: Option<String>,
    /// Number of the database; 0 in a cluster. Default: 0.
    pub database: Option<u16>,
    /// What the names of all keys begin with. Default: "tidegate".
    pub prefix: Option<String>,
    /// How long a request waits for its counters. What has not answered then counts as a limit's
    /// `on_store_error` says. Default: 20ms.
    pub timeout: Option<String>,
    /// How many nodes count together, at most; it changes nothing but what is said of leased limits:
    /// how much may pass too much. Default: 1.
    pub nodes: Option<u32>,
    /// Connects by TLS.
    pub tls: Option<RawStoreTls>,
}

/// TLS to the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawStoreTls {
    /// PEM file with the certificate authorities to trust instead of the public ones; relative to
    /// the policy file.
    pub ca: Option<String>,
    /// PEM file with a client certificate chain; relative to the policy file.
    pub certificate: Option<String>,
    /// PEM file with the client certificate's key; relative to the policy file.
    pub key: Option<String>,
}

/// Where limits are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawStoreKind {
    /// In each pod by itself.
    #[default]
    Memory,
    /// In one server.
    Redis,
    /// In the master that Sentinels name.
    Sentinel,
    /// In a cluster.
    Cluster,
}

pub(in crate::policy) fn compile(c: &mut Compiler<'_>, raw: &RawCounters) -> Counters {
    let nodes = raw.nodes.unwrap_or(1);
    if nodes == 0 {
        c.wrong(&at("nodes"), "at least 1");
    }
    Counters {
        store: store(c, raw),
        nodes,
    }
}

fn at(key: &str) -> KeyPath {
    KeyPath::of(&["counters", key])
}

fn store(c: &mut Compiler<'_>, raw: &RawCounters) -> Option<CounterStore> {
    let kind = match raw.store {
        RawStoreKind::Memory => {
            in_memory(c, raw);
            return None;
        }
        RawStoreKind::Redis => StoreKind::Server,
        RawStoreKind::Sentinel => StoreKind::Sentinel {
            master: raw.master.clone().unwrap_or_default(),
        },
        RawStoreKind::Cluster => StoreKind::Cluster,
    };
    match &raw.master {
        Some(_) if raw.store != RawStoreKind::Sentinel => {
            let message =
                "only Sentinels name a master: write store = \"sentinel\" too, or leave this out";
            c.wrong(&at("master"), message);
        }
        None if raw.store == RawStoreKind::Sentinel => {
            let message = "say which master the Sentinels are asked for: master = \"mymaster\"";
            c.wrong(&at("store"), message);
        }
        Some(_) | None => {}
    }
    if raw.addresses.is_empty() {
        let message = "say where it is: addresses = [\"redis.internal:6379\"]";
        c.wrong(&at("store"), message);
    }
    if raw.store == RawStoreKind::Redis && raw.addresses.len() > 1 {
        let message =
            "one server has one address; write store = \"sentinel\" or \"cluster\" for several";
        c.wrong(&at("addresses"), message);
    }
    let mut addresses = Vec::new();
    for (index, text) in raw.addresses.iter().enumerate() {
        match address(text) {
            Some(address) => addresses.push(address),
            None => c.wrong(
                &at("addresses").index(index),
                format!("`{text}` is not an address; write host and port alone, such as redis.internal:6379"),
            ),
        }
    }
    let database = raw.database.unwrap_or(0);
    if kind == StoreKind::Cluster && database != 0 {
        c.wrong(
            &at("database"),
            "a cluster has database 0 only; leave this out",
        );
    }
    let timeout = c.duration(&at("timeout"), raw.timeout.as_ref(), 20);
    if !(1..=1000).contains(&timeout) {
        c.wrong(&at("timeout"), "from 1ms to 1s, such as 20ms");
    }
    let prefix = raw.prefix.clone().unwrap_or_else(|| "tidegate".to_owned());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    if prefix.is_empty() || !prefix.bytes().all(is_plain) {
        c.wrong(&at("prefix"), "letters, digits, and any of - _ . : /");
    }
    let tls = raw.tls.as_ref().map(|tls| tls_of(c, tls));
    Some(CounterStore {
        kind,
        addresses,
        database,
        prefix,
        timeout,
        tls,
    })
}

/// What makes sense for a store only is wrong without one.
fn in_memory(c: &mut Compiler<'_>, raw: &RawCounters) {
    let said = [
        ("addresses", !raw.addresses.is_empty()),
        ("master", raw.master.is_some()),
        ("database", raw.database.is_some()),
        ("prefix", raw.prefix.is_some()),
        ("timeout", raw.timeout.is_some()),
        ("tls", raw.tls.is_some()),
    ];
    for (key, is_said) in said {
        if is_said {
            let message =
                "limits are counted in memory: write store = \"redis\" too, or leave this out";
            c.wrong(&at(key), message);
        }
    }
}

fn tls_of(c: &mut Compiler<'_>, raw: &RawStoreTls) -> StoreTls {
    let client_certificate = match (&raw.certificate, &raw.key) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let message = "a client certificate needs both certificate and key";
            c.wrong(&at("tls"), message);
            None
        }
    };
    StoreTls {
        ca: raw.ca.clone(),
        client_certificate,
    }
}

/// Reads host and port; an IPv6 address is in brackets.
fn address(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .or_else(|| Some(host).filter(|host| !host.contains(':')))?;
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let is_valid = !host.is_empty() && host.bytes().all(is_host);
    is_valid.then(|| (host.to_owned(), port))
}
