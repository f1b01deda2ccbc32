//! Work after the reply: another exchange, for which nobody waits.

use std::sync::Arc;

use http::{Method, header};

use super::state::{Caching, Exchange, new_report};
use crate::cache::CacheKey;
use crate::message::request::RequestBody;
use crate::report::Kind;

/// A revalidation to drive after the reply.
#[derive(Debug)]
pub struct Background {
    pub(super) exchange: Box<Exchange>,
    pub(super) caching: Caching,
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
        let (node, route) = (from.node.clone(), Arc::clone(&from.route));
        let exchange = Box::new(Exchange {
            node,
            route,
            read_as: None,
            request,
            report,
            call: None,
            taken: Vec::new(),
            // It is no client's request.
            is_charged_at_origin: true,
            paces: Vec::new(),
            planned: Vec::new(),
        });
        Self { exchange, caching }
    }

    /// Returns the key whose response is revalidated. Requests that wait for it may be woken when
    /// the background exchange has ended in any way.
    pub fn key(&self) -> &CacheKey {
        &self.caching.key
    }
}
