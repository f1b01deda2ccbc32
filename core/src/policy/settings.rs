//! What shells read of a valid policy, beside its routes.

use serde::Deserialize;

use crate::message::bounds::Bounds;
use crate::packed::{packed_enum, packed_struct};
use crate::time::Millis;

/// Where access records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// One JSON object a line on standard output.
    Json,
    /// None.
    Off,
}

packed_enum!(AccessLog { 0 = Json, 1 = Off });

/// Certificate and key of the listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// PEM file with the certificate chain; relative to the policy file.
    pub certificate: String,
    /// PEM file with the private key; relative to the policy file.
    pub key: String,
}

packed_struct!(ServerTls { certificate, key });

/// The pod's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address and port.
    pub listen: String,
    /// Address and port of health and metrics; `None` is off.
    pub admin: Option<String>,
    /// Worker threads; `None` is one for each core.
    pub threads: Option<u16>,
    /// Where access records go.
    pub access_log: AccessLog,
    /// Certificate and key files.
    pub tls: Option<ServerTls>,
    /// Names by which the admin address may be asked for, in lower case, besides `localhost` and
    /// addresses.
    pub admin_hosts: Vec<String>,
    /// How long a stopping server waits for open exchanges.
    pub drain: Millis,
    /// Bounds on what clients may send.
    pub bounds: Bounds,
}

packed_struct!(Server {
    listen,
    admin,
    threads,
    access_log,
    tls,
    admin_hosts,
    drain,
    bounds
});

/// Bounds of the memory store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreBounds {
    /// Bytes of keys, header fields and bodies.
    pub bytes_max: u64,
    /// Entries.
    pub entries_max: usize,
}

packed_struct!(StoreBounds {
    bytes_max,
    entries_max
});

/// What happens when Tidegate itself cannot decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The request passes.
    Open,
    /// The request is refused.
    Closed,
}

packed_enum!(OnFailure { 0 = Open, 1 = Closed });
