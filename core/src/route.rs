//! Routes, pools and origins: where a request may go.

mod pool;
pub mod steering;

use std::sync::Arc;

use http::HeaderValue;

use crate::breaker::BreakerPolicy;
use crate::cache::Profile;
use crate::limit::{Bandwidth, Limit};
use crate::retry::RetryPolicy;

pub use crate::message::matching::{HostPattern, Matcher, PathPattern};
pub use pool::{Origin, OriginTls, Pool, Steering, Timeouts};

/// What applies to the requests that match.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The name in reports.
    pub name: Arc<str>,
    /// Which requests match.
    pub matcher: Matcher,
    /// Who answers.
    pub pool: Arc<Pool>,
    /// What is stored; `None` stores and looks up nothing.
    pub cache: Option<Arc<Profile>>,
    /// Limits, all of which must allow.
    pub limits: Vec<Arc<Limit>>,
    /// What paces bodies.
    pub bandwidths: Vec<Arc<Bandwidth>>,
    /// `RateLimit-Policy` of the limits.
    pub rate_limit_policy: Option<HeaderValue>,
    /// The breaker of each origin.
    pub breaker: Option<Arc<BreakerPolicy>>,
    /// When an attempt is repeated.
    pub retry: Arc<RetryPolicy>,
}
