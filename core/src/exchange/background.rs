//! Work after the reply: another exchange, for which nobody waits.

use std::sync::Arc;

use http::{Method, header};

use crate::cache::CacheKey;
use crate::exchange::{Caching, Exchange, Step, fetch, new_report};
use crate::message::request::RequestBody;
use crate::report::{CacheOutcome, Kind};
use crate::time::Timestamp;

/// A revalidation to drive after the reply.
#[derive(Debug)]
pub struct Background {
    exchange: Box<Exchange>,
    caching: Caching,
}

impl Background {
    pub(super) fn new(from: &Exchange, caching: Caching) -> Self {
        let mut request = from.request.clone();
        // Whatever the client wanted of the response, the store wants all of it.
        request.head.method = Method::GET;
        request.body = RequestBody::Empty;
        request.head.headers.remove(header::RANGE);
        request.head.headers.remove(header::CACHE_CONTROL);
        let mut report = new_report(&request, Kind::Revalidation, from.report.time);
        report.route.clone_from(&from.report.route);
        report.cache.clone_from(&from.report.cache);
        let (engine, route) = (from.engine.clone(), Arc::clone(&from.route));
        let exchange = Box::new(Exchange { engine, route, read_as: None, request, report, hold: None });
        Self { exchange, caching }
    }

    /// Returns the key whose response is revalidated. Requests that wait for it may be woken when the background exchange has ended in any way.
    pub fn key(&self) -> &CacheKey {
        &self.caching.key
    }

    /// Begins the revalidation.
    pub fn begin(self, now: Timestamp) -> Step {
        let Self { mut exchange, caching } = self;
        exchange.report.time = now;
        if let Some(report) = &mut exchange.report.cache {
            report.outcome = CacheOutcome::Expired;
        }
        fetch::start(exchange, Some(caching), now)
    }
}
