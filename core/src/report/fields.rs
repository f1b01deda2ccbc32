//! The fields that tell a client what was decided.

pub mod cache_status;
pub mod rate_limit;
