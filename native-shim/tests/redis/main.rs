//! Counters in real servers of Redis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod exact;
mod faults;
mod leased;
mod memory;
mod pods;
mod script;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod vectors;
