//! The sections of a policy: each file has what is written there, what it is compiled to, and what
//! is doubtful in it. A new section is a new file, a line here, and one in `raw.rs`.

pub mod bandwidth;
pub mod breakers;
pub mod cache;
pub mod client;
pub mod conditions;
pub mod counters;
pub mod edge;
pub mod limit_plans;
pub mod limits;
pub mod origins;
pub mod pools;
pub mod retry;
pub mod route_limits;
pub mod routes;
pub mod server;
pub mod store;
pub mod token;
