//! The life of one request. Start reading here.
//!
//! ```text
//! begin -> Charge -> Lookup -> Fetch -> Finish
//!            |        |  ^      |  ^
//!            |        v  |      v  |
//!            |        Wait      Wait          (another fetch of the same key; backoff)
//!            +--------+---------+----> Finish (refused; stored; failed)
//! ```
//!
//! Every step carries what the shell must do next and the continuation that accepts only its answer, so an illegal order does not compile. A
//! stage that does not apply is left out: a route without limits charges nothing. Work after the reply (revalidation in the background) is another
//! exchange, driven by the same loop.
//!
//! The stages: [`request`](crate::message::request) reads and bounds the request, [`admission`] charges limits, [`lookup`] uses the store, [`fetch`] asks origins, `settle`
//! draws the conclusions from what they say (`keep` stores, `reuse` serves what is stored, `change` invalidates), [`finish`] writes the reply.

pub mod admission;
pub mod background;
mod change;
pub mod fetch;
pub mod fill;
pub mod finish;
pub mod hold;
mod keep;
pub mod lookup;
mod reuse;
mod settle;

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, StatusCode, Uri, response};

use crate::cache::{CacheKey, Profile, Stored, key, validation};
use crate::engine::Engine;
use crate::flight::Lead;
use crate::message::client::unmapped;
use crate::message::request::{Client, Request};
use crate::problem::Refusal;
use crate::purge::Verdict;
use crate::purge::label::Place;
use crate::report::{Kind, Report, StepName, Steps};
use crate::route::Route;
use crate::time::Timestamp;

pub use admission::AwaitVerdict;
pub use background::Background;
pub use fetch::{Answer, Attempt, AwaitResponse, Failure, FailureKind};
pub use fill::{Fill, FillKind};
pub use finish::{Reply, Source};
pub use hold::{BodyEnd, BodySeen, Hold};
pub use lookup::{AwaitLookup, AwaitTime};

/// The one thing the shell must do next.
#[derive(Debug)]
#[must_use = "an exchange that is not driven to its end answers nobody"]
pub enum Step {
    /// Charge the limits: check all, then consume all, as [`crate::limit::charge_all`] does.
    Charge(AwaitVerdict),
    /// Look up the responses stored under the key.
    Lookup(AwaitLookup),
    /// Send a request to an origin.
    Fetch(Box<Attempt>, Box<AwaitResponse>),
    /// Let time pass.
    Wait(AwaitTime),
    /// Answer the client.
    Finish(Box<Reply>),
}

/// What all stages after routing share.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) engine: Engine,
    pub(crate) route: Arc<Route>,
    /// The route that the request would take if its path were read as some origins read it; its limits count too.
    pub(crate) read_as: Option<Arc<Route>>,
    pub(crate) request: Request,
    pub(crate) report: Report,
    /// Of the origin's response that is being answered with.
    pub(crate) hold: Option<Hold>,
}

/// What the stages share when the route caches and nothing bypasses the store.
#[derive(Debug)]
pub(crate) struct Caching {
    pub(crate) profile: Arc<Profile>,
    pub(crate) key: CacheKey,
    /// A stored response that must be validated, or may be served if every origin fails.
    pub(crate) candidate: Option<Arc<Stored>>,
    /// Stored responses for other requests, one of which the origin may find to be right for this one too.
    pub(crate) others: Vec<Arc<Stored>>,
    /// What is stored and a purge has made void: a part put to it would be void too.
    pub(crate) void: Vec<Arc<Stored>>,
    /// The duty to fetch for all who want the same.
    pub(crate) lead: Option<Lead>,
}

impl Caching {
    /// Returns whether the request's conditions are ours and no longer the client's.
    pub(crate) fn validates(&self) -> bool {
        self.candidate.is_some() || !self.others.is_empty()
    }

    /// Drops what has been purged since it was looked up.
    pub(crate) fn forget_void(&mut self, exchange: &Exchange) {
        self.candidate = self.candidate.take().filter(|stored| exchange.keeps(stored));
        self.others.retain(|stored| exchange.keeps(stored));
    }

    /// Returns the stored response that a 304 speaks of.
    pub(crate) fn confirmed(&self, head: &response::Parts) -> Option<Arc<Stored>> {
        let not_modified = head.status == StatusCode::NOT_MODIFIED;
        not_modified.then(|| validation::confirmed(&head.headers, self.candidate.as_ref(), &self.others)).flatten()
    }
}

/// Begins an exchange: bounds, then route, then limits.
pub(crate) fn begin(engine: &Engine, head: Parts, client: Client, kind: Kind, now: Timestamp) -> Step {
    let policy = engine.policy();
    let misaimed = engine.is_operators(&head).then_some(Refusal::OperatorsToken);
    let (request, refusal) = Request::read(&policy.server.bounds, &policy.client, head, client);
    let refusal = misaimed.or(refusal);
    let report = new_report(&request, kind, now);
    if let Some(refusal) = refusal {
        return Step::Finish(Box::new(finish::refuse_unrouted(report, refusal, now)));
    }
    let Some(route) = policy.route(&request.head.method, &request) else {
        return Step::Finish(Box::new(finish::refuse_unrouted(report, Refusal::NoRoute, now)));
    };
    let read_as = policy.other_reading(&request.head.method, &request, route).map(Arc::clone);
    let (engine, route) = (engine.clone(), Arc::clone(route));
    let mut exchange = Box::new(Exchange { engine, route, read_as, request, report, hold: None });
    exchange.report.route = Some(Arc::clone(&exchange.route.name));
    if kind == Kind::Warming { lookup::start(exchange, now) } else { admission::start(exchange, now) }
}

/// Refuses what could not be read as a request, so that it is answered and reported as others are. `client` says who sent it.
pub fn refuse_unread(refusal: Refusal, client: &Client, now: Timestamp) -> Reply {
    let report = Report {
        time: now,
        duration_ms: 0,
        trace: client.fresh_trace,
        kind: Kind::Request,
        method: Method::from_bytes(b"-").unwrap_or_default(),
        scheme: client.scheme,
        host: String::new(),
        // A URI without a path.
        path: Uri::from_static("-"),
        network: unmapped(client.peer),
        country: client.geo.and_then(|geo| geo.country),
        route: None,
        limits: Vec::new(),
        cache: None,
        origins: Vec::new(),
        attempts: Vec::new(),
        refusal: None,
        retry_after_ms: None,
        steps: Steps::default(),
        status: 0,
    };
    finish::refuse_unrouted(report, refusal, now)
}

pub(crate) fn new_report(request: &Request, kind: Kind, now: Timestamp) -> Report {
    Report {
        time: now,
        duration_ms: 0,
        trace: request.trace.id,
        kind,
        method: request.head.method.clone(),
        scheme: request.scheme,
        host: request.host().to_owned(),
        path: request.head.uri.clone(),
        network: request.address,
        country: request.geo.country,
        route: None,
        limits: Vec::new(),
        cache: None,
        origins: Vec::new(),
        attempts: Vec::new(),
        refusal: None,
        retry_after_ms: None,
        steps: Steps::default(),
        status: 0,
    }
}

impl Exchange {
    pub(crate) fn step(&mut self, name: StepName) {
        self.report.steps.push(name);
    }

    /// Says what purges have left of a stored response.
    pub(crate) fn verdict(&self, stored: &Stored) -> Verdict {
        let purges = self.engine.purges();
        if !purges.may_reach(stored.born) {
            return Verdict::Kept;
        }
        let place = Place::of(&self.request);
        let query = self.route.cache.as_deref().map_or(place.query.map(Cow::Borrowed), |p| key::query(p, place.query));
        purges.verdict(Place { query: query.as_deref(), ..place }, &stored.labels, stored.born)
    }

    /// Returns whether purges have left a stored response for anybody.
    pub(crate) fn keeps(&self, stored: &Stored) -> bool {
        self.verdict(stored) != Verdict::Void
    }
}
