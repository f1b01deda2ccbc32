//! Messages of HTTP and who sends them: what everything else reads, and nothing that decides.

pub(crate) mod authority;
pub mod bounds;
pub mod claim;
pub mod client;
pub(crate) mod cookie;
pub mod framing;
pub mod geo;
pub(crate) mod hop_by_hop;
pub(crate) mod location;
pub mod matching;
pub(crate) mod names;
pub(crate) mod path;
pub(crate) mod plain;
pub(crate) mod query;
pub mod request;
pub(crate) mod structured;
pub(crate) mod syntax;
pub mod tls_subject;
pub mod trace;
pub(crate) mod unkeyed;
