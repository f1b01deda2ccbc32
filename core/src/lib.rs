//! Tidegate's core: it decides how traffic is cached, limited, routed and failed over.
//!
//! It does no I/O, reads no clock, draws no randomness, spawns nothing and logs nothing. A shell drives one [`Step`] after another and gives each
//! continuation its answer; [`exchange`] has the diagram, and is the place to start reading. The same request, state and clock give the same
//! decision, byte for byte, natively and in WebAssembly.
//!
//! - [`Policy`]: `tidegate.toml`, parsed and checked once. Only a policy can be wrong.
//! - [`Engine`]: a policy together with a node's own state; [`Engine::begin`] starts an exchange.
//! - [`Reply`]: what to answer, store and do afterwards, and the [`Report`] that says why.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests may fail"
    )
)]

mod authority;
pub mod breaker;
pub mod cache;
pub mod client;
mod cookie;
pub mod engine;
pub mod exchange;
pub mod explain;
mod flight;
mod forward;
pub mod framing;
pub mod hash;
pub mod limit;
mod location;
mod names;
pub mod operations;
mod parts;
mod path;
pub mod policy;
pub mod problem;
pub mod purge;
mod query;
pub mod report;
pub mod retry;
pub mod route;
pub mod time;
mod trace;
mod unkeyed;

pub use engine::Engine;
pub use exchange::{
    Answer, Attempt, AwaitLookup, AwaitResponse, AwaitTime, AwaitVerdict, Background, BodyEnd, BodySeen, Client,
    Failure, FailureKind, Fill, FillKind, Hold, Reply, RequestBody, Scheme, Source, Step,
};
pub use flight::Lead;
pub use policy::{Policy, PolicyError, Problem};
pub use report::Report;
pub use time::{Millis, Timestamp};
