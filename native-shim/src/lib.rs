//! Tidegate in a pod: the shell that carries out what `tidegate-core` decides, over tokio, hyper
//! and rustls.
//!
//! It decides nothing: retries, stale responses, failover and coalescing come as steps from the
//! core, and `drive.rs` takes them one after the other. Here are sockets, bodies, the memory store,
//! the counters, clocks and records.
//!
//! - [`Node`]: what all threads of a process share.
//! - [`Server`]: the proxy, a thread a core. `tidegate serve` is this.
//! - [`TidegateLayer`]: the same exchange around any `tower::Service`, which is then the origin.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests may fail"
    )
)]

mod access_log;
mod attempts;
mod body;
mod box_error;
mod clock;
mod counters;
mod deadline;
mod dial;
mod drive;
mod exposition;
mod filling;
mod in_flight;
mod interim;
mod kept;
mod keys;
mod layer;
mod limits;
mod metrics;
mod node;
mod pace_table;
mod pacing;
mod random;
mod recording;
mod request_body;
mod reservation;
mod seats;
mod server;
mod shared_body;
mod shared_counters;
mod store;
mod stripes;
mod tls;
mod upstream;
mod waiters;
mod watch;
mod watched;

pub use access_log::AccessLog;
pub use attempts::Upstream;
pub use body::Body;
pub use box_error::BoxError;
pub use clock::Clock;
pub use counters::{Charging, Counters, Ending, Later};
pub use keys::is_right;
pub use layer::{PeerAddress, Tidegate, TidegateLayer};
pub use limits::Limits;
pub use metrics::Metrics;
pub use node::Node;
pub use request_body::{BodyFault, RequestBody};
pub use server::{Admin, Phase, Server};
pub use shared_counters::{Credentials, SharedCounters};
pub use store::{Entry, Store};
pub use tidegate_core::Policy;
pub use tls::{Finding, TlsError, TlsFiles};
pub use upstream::{Connections, OriginBody};
pub use watch::{Look, PolicyFile};
