//! Golden fixtures: what they say, and a simulated shell that runs them against the core.
//!
//! A fixture is one file in `tests/golden`. It gives a policy and a list of exchanges (request,
//! client, clock, scripted answers of the origins), and for each the expected reply, the requests
//! that the origins saw, and the report. The same files run natively, on wasm32, over HTTP through
//! the native shim and over HTTP through the Worker.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

pub mod fixture;
pub mod fuzzed;
mod paced;
pub mod script;
pub mod simulator;
pub mod text;

include!(concat!(env!("OUT_DIR"), "/fixtures.rs"));
