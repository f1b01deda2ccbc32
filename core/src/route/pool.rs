//! Origins, and pools of them.

use std::sync::Arc;

use http::HeaderValue;
use http::uri::{Authority, Scheme};

use crate::limit::KeyPart;
use crate::message::geo::{Code, Direction};
use crate::packed::{packed_enum, packed_struct};
use crate::time::Millis;

/// One upstream address.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The name in the policy.
    pub name: Arc<str>,
    /// Position in [`crate::Policy::origins`].
    pub index: usize,
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and optional port.
    pub authority: Authority,
    /// The place, for reports.
    pub region: Option<Arc<str>>,
    /// Where it is, as a unit vector.
    pub direction: Option<Direction>,
    /// The authority as a field value.
    pub host: HeaderValue,
    /// Share of a weighted pool's traffic.
    pub weight: u16,
    /// Longest times, in milliseconds.
    pub timeouts: Timeouts,
    /// Whether the client's Host is sent.
    pub preserve_host: bool,
    /// Files and names for TLS; `None` verifies against the public authorities.
    pub tls: Option<OriginTls>,
}

packed_struct!(Origin {
    name,
    index,
    scheme,
    authority,
    region,
    direction,
    host,
    weight,
    timeouts,
    preserve_host,
    tls
});

/// How long an attempt may take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Millis,
    /// From sending the request to the response's header fields.
    pub response: Millis,
    /// Longest pause inside the body.
    pub body: Millis,
    /// How long an unused connection is kept.
    pub idle: Millis,
    /// How old a connection may be when it is used again.
    pub age: Millis,
}

packed_struct!(Timeouts {
    connect,
    response,
    body,
    idle,
    age
});

/// TLS to an origin; paths are relative to the policy file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginTls {
    /// PEM file of trusted authorities.
    pub ca: Option<String>,
    /// Name that the certificate must have.
    pub server_name: Option<String>,
    /// PEM files of a client certificate and its key.
    pub client_certificate: Option<(String, String)>,
}

packed_struct!(OriginTls {
    ca,
    server_name,
    client_certificate
});

/// A set of origins and the order in which they are tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// The name in the policy.
    pub name: Arc<str>,
    /// In order of preference; at least one.
    pub origins: Vec<Arc<Origin>>,
    /// How they are ordered for a request.
    pub steering: Steering,
}

/// How a pool orders its origins.
#[derive(Debug, Clone, PartialEq)]
pub enum Steering {
    /// As listed.
    Ordered,
    /// By weight, stable for what the parts name.
    Weighted {
        /// What stays with one origin.
        affinity: Vec<KeyPart>,
    },
    /// By the client's country, then continent, then distance, then as listed. Indexes are
    /// positions in the pool.
    Nearest {
        /// Origins of a country.
        countries: Vec<(Code, Vec<usize>)>,
        /// Origins of a continent.
        continents: Vec<(Code, Vec<usize>)>,
    },
}

packed_enum!(Steering {
    0 = Ordered,
    1 = Weighted { affinity },
    2 = Nearest { countries, continents },
});
