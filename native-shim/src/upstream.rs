//! Connections to origins: one pool a thread, so that no request wakes another thread.
//!
//! A connection has no task of its own. Whoever waits for its response, and then whoever reads its
//! body, drives it; an idle one is looked at when it is wanted again, and closed after the time
//! that the policy or the origin allows.

mod ahead;
mod body;
mod connect;
mod exchange;
mod link;
mod pool;
mod socket;
mod stream;

use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;
use tidegate_core::{Attempt, Failure};

use crate::attempts::Upstream;
use crate::interim::Interim;
use crate::request_body::RequestBody;
use crate::tls::TlsFiles;

pub use body::OriginBody;
use pool::Pool;

/// A thread's connections to all origins.
#[derive(Debug, Clone)]
pub struct Connections {
    pool: Arc<Pool>,
    /// Where interim responses go, if the client takes any.
    interim: Option<Arc<Interim>>,
}

impl Connections {
    /// Makes an empty pool. Files of origins' TLS come from `files`.
    pub fn new(files: Arc<TlsFiles>) -> Self {
        Self {
            pool: Arc::new(Pool::new(files)),
            interim: None,
        }
    }

    /// Closes connections that have been idle for too long.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// Returns the same connections, for a client that takes interim responses.
    pub(crate) fn with_interim(&self, interim: Arc<Interim>) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
            interim: Some(interim),
        }
    }
}

impl Upstream for Connections {
    type ClientBody = Incoming;
    type Body = OriginBody;

    fn for_nobody(&self) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
            interim: None,
        }
    }

    fn fetch(
        &self,
        attempt: Box<Attempt>,
        body: RequestBody<Incoming>,
    ) -> impl Future<Output = Result<Response<OriginBody>, Failure>> {
        exchange::fetch(&self.pool, attempt, body, self.interim.as_ref())
    }
}
