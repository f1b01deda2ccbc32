//! The life of one request. Start reading here.
//!
//! ```text
//! begin -> Charge -> Lookup -> Fetch -> Finish      (Verify, Wait: before Charge, if limits count by claims)
//!            |        |  ^      |  ^
//!            |        v  |      v  |
//!            |        Wait      Wait, Await   (another fetch of the same key; backoff; other attempts)
//!            +--------+---------+----> Finish (refused; stored; failed)
//! ```
//!
//! Every step carries what the shell must do next and the continuation that accepts only its
//! answer, so an illegal order does not compile. A stage that does not apply is left out: a route
//! without limits charges nothing. Work after the reply (revalidation in the background) is another
//! exchange, driven by the same loop.
//!
//! The stages: [`request`](crate::message::request) reads and bounds the request, `identify`
//! verifies who the client is, `admission` charges limits, `lookup` uses the store, `fetch` asks origins, `response` takes what they answer, `settle` draws the conclusions
//! from what they say (`store` stores, `serve` serves from the store, `invalidate` says what a change reaches),
//! `finish` writes the reply.

mod admission;
mod attempt;
mod background;
mod bypass;
mod charging;
mod conditions;
mod fetch;
mod fetching;
mod fill;
mod finish;
mod hold;
mod identify;
mod identifying;
mod invalidate;
mod lead;
mod lookup;
mod pacing;
mod reply;
mod response;
mod serve;
mod settle;
mod state;
mod step;
mod store;
mod taken;
mod under_way;
mod wait;

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Uri};

use crate::message::client::unmapped;
use crate::message::request::{Client, Request};
use crate::message::trace::TraceId;
use crate::node::Node;
use crate::problem::Refusal;
use crate::report::{CacheOutcome, Kind, Report, Subject};
use crate::time::Timestamp;
use state::{Exchange, new_report};

pub use attempt::{Answer, Attempt, Failure, FailureKind};
pub use background::Background;
pub use fill::{Fill, FillKind};
pub use hold::{BodySeen, Ended, Hold};
pub use reply::{Reply, Source};
pub use step::{AwaitEvent, AwaitLookup, AwaitResponse, AwaitSignature, AwaitVerdict, Event, Step};
pub use taken::Settlement;

/// Begins an exchange: bounds, then route, then limits.
pub(crate) fn begin(node: &Node, head: Parts, client: Client, kind: Kind, now: Timestamp) -> Step {
    let policy = node.policy();
    let misaimed = node.is_operators(&head).then_some(Refusal::OperatorsToken);
    let (request, refusal) = Request::read(&policy.server.bounds, &policy.client, head, client);
    let refusal = misaimed.or(refusal);
    let report = new_report(&request, kind, now);
    if let Some(refusal) = refusal {
        return Step::Finish(Box::new(finish::refuse_unrouted(report, refusal, now)));
    }
    let Some(route) = policy.route(&request.head.method, &request) else {
        return Step::Finish(Box::new(finish::refuse_unrouted(
            report,
            Refusal::NoRoute,
            now,
        )));
    };
    let read_as = policy
        .other_reading(&request.head.method, &request, route)
        .map(Arc::clone);
    let (node, route) = (node.clone(), Arc::clone(route));
    let mut exchange = Box::new(Exchange {
        node,
        route,
        read_as,
        request,
        report,
        call: None,
        taken: Vec::new(),
        // Whoever warms the store is an operator.
        is_charged_at_origin: kind != Kind::Request,
        paces: Vec::new(),
        planned: Vec::new(),
    });
    exchange.report.route = Some(Arc::clone(&exchange.route.name));
    if kind == Kind::Warming {
        lookup::start(exchange, now)
    } else {
        identify::start(exchange, now)
    }
}

/// Refuses what could not be read as a request, so that it is answered and reported as others are.
/// `client` says who sent it.
pub fn refuse_unread(refusal: Refusal, client: &Client, now: Timestamp) -> Reply {
    let subject = Subject {
        trace: TraceId::from_number(client.fresh_trace),
        kind: Kind::Request,
        method: Method::from_bytes(b"-").unwrap_or_default(),
        scheme: client.scheme,
        host: String::new(),
        // A URI without a path.
        path: Uri::from_static("-"),
        network: unmapped(client.peer),
        country: client.geo.and_then(|geo| geo.country),
    };
    let report = Report::begin(subject, now);
    finish::refuse_unrouted(report, refusal, now)
}

impl Background {
    /// Begins the revalidation.
    pub fn begin(self, now: Timestamp) -> Step {
        let Self {
            mut exchange,
            caching,
        } = self;
        exchange.report.time = now;
        if let Some(report) = &mut exchange.report.cache {
            report.outcome = CacheOutcome::Expired;
        }
        fetch::start(exchange, Some(caching), now)
    }
}
