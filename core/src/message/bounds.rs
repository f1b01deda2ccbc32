//! How much clients may send, and how slowly.

use crate::packed::packed_struct;
use crate::time::Millis;

/// Bounds on what clients may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Header fields of a request.
    pub header_count_max: usize,
    /// Bytes of header fields, names and values.
    pub header_bytes_max: usize,
    /// Bytes of path and query.
    pub uri_bytes_max: usize,
    /// Bytes of a request body.
    pub body_bytes_max: u64,
    /// Time to send the header fields.
    pub header_timeout: Millis,
    /// Time between requests on a connection.
    pub idle_timeout: Millis,
    /// Longest time without a byte in either direction on a connection that has switched to another
    /// protocol.
    pub tunnel_idle_timeout: Millis,
    /// Open client connections.
    pub connections_max: usize,
    /// Open connections of one client address, unless it is a trusted proxy's.
    pub connections_per_address_max: usize,
    /// Least bytes a second at which a client sends a body and takes a reply, while it is waited
    /// for; 0 asks for none.
    pub client_rate_min: u64,
}

packed_struct!(Bounds {
    header_count_max,
    header_bytes_max,
    uri_bytes_max,
    body_bytes_max,
    header_timeout,
    idle_timeout,
    tunnel_idle_timeout,
    connections_max,
    connections_per_address_max,
    client_rate_min
});
