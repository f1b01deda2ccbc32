//! Tidegate's core: it decides how traffic is cached, limited, routed and failed over.
//!
//! It does no I/O, reads no clock, draws no randomness, spawns nothing and logs nothing. A shell
//! drives one [`Step`] after another and gives each continuation its answer; [`exchange`] has the
//! diagram, and is the place to start reading. The same request, state and clock give the same
//! decision, byte for byte, natively and in WebAssembly.
//!
//! - [`Policy`]: `tidegate.toml`, parsed and checked once. Only a policy can be wrong.
//! - [`Engine`]: a policy together with a node's own state; [`Engine::begin`] starts an exchange.
//! - [`Reply`]: what to answer, store and do afterwards, and the [`Report`] that says why.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]
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

pub mod breaker;
pub mod cache;
pub mod engine;
pub mod exchange;
pub mod explain;
mod flight;
mod forward;
pub mod hash;
pub mod limit;
pub mod map;
pub mod message;
mod node;
pub mod operations;
mod packed;
mod parts;
pub mod policy;
pub mod problem;
pub mod purge;
pub mod report;
pub mod retry;
pub mod route;
pub mod sorting;
pub mod time;
pub mod token;

pub use engine::Engine;
pub use exchange::{
    Answer, Attempt, AwaitEvent, AwaitLookup, AwaitResponse, AwaitSignature, AwaitVerdict,
    Background, BodySeen, Ended, Failure, FailureKind, Fill, FillKind, Hold, Reply, Source, Step,
};
pub use flight::Lead;
pub use message::request::{Client, RequestBody, Scheme};
pub use node::{KeyFetch, KeyNews};
pub use policy::Policy;
#[cfg(feature = "source")]
pub use policy::{PolicyError, Problem};
pub use report::{BodyEnd, Report};
pub use time::{Millis, Timestamp};
