//! What the stages of an exchange share.

use std::borrow::Cow;
use std::sync::Arc;

use http::{StatusCode, response};

use super::hold::Call;
use super::taken::Taken;
use crate::cache::{CacheKey, Profile, SentAt, Stored, key, validation};
use crate::flight::Lead;
use crate::limit::{Limit, Pace};
use crate::message::request::Request;
use crate::node::Node;
use crate::purge::Verdict;
use crate::purge::label::Resource;
use crate::report::{Kind, Report, Subject};
use crate::route::Route;
use crate::time::Timestamp;

/// What all stages after routing share.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) node: Node,
    pub(crate) route: Arc<Route>,
    /// The route that the request would take if its path were read as some origins read it; its
    /// limits count too.
    pub(crate) read_as: Option<Arc<Route>>,
    pub(crate) request: Request,
    pub(crate) report: Box<Report>,
    /// Of the origin whose response is being answered with.
    pub(crate) call: Option<Call>,
    /// The limits of the plans that the request is of, which count instead of their routes' own.
    pub(crate) planned: Vec<Arc<Limit>>,
    /// What was taken of limits, and may turn out to have been another amount.
    pub(crate) taken: Vec<Taken>,
    /// Whether limits were charged that count what is sent to an origin.
    pub(crate) is_charged_at_origin: bool,
    /// What paces its bodies.
    pub(crate) paces: Vec<Pace>,
}

/// What the stages share when the route caches and nothing bypasses the store.
#[derive(Debug)]
pub(crate) struct Caching {
    pub(crate) profile: Arc<Profile>,
    pub(crate) key: CacheKey,
    /// A stored response that must be validated, or may be served if every origin fails.
    pub(crate) candidate: Option<Arc<Stored>>,
    /// Stored responses for other requests, one of which the origin may find to be right for this
    /// one too.
    pub(crate) others: Vec<Arc<Stored>>,
    /// What is stored and a purge has made void: a part put to it would be void too.
    pub(crate) void: Vec<Arc<Stored>>,
    /// The duty to fetch for all who want the same.
    pub(crate) lead: Option<Lead>,
}

/// An origin has answered.
pub(super) struct Answered {
    pub(super) exchange: Box<Exchange>,
    pub(super) caching: Option<Caching>,
    pub(super) head: response::Parts,
    pub(super) asked: SentAt,
}

/// An origin has answered a request whose response may be stored.
pub(super) struct Cacheable {
    pub(super) exchange: Box<Exchange>,
    pub(super) caching: Caching,
    pub(super) head: response::Parts,
    pub(super) asked: SentAt,
}

impl Caching {
    /// Returns whether the request's conditions are ours and no longer the client's.
    pub(crate) fn validates(&self) -> bool {
        self.candidate.is_some() || !self.others.is_empty()
    }

    /// Drops what has been purged since it was looked up.
    pub(crate) fn forget_void(&mut self, exchange: &Exchange) {
        self.candidate = self
            .candidate
            .take()
            .filter(|stored| exchange.keeps(stored));
        self.others.retain(|stored| exchange.keeps(stored));
    }

    /// Returns the stored response that a 304 speaks of.
    pub(crate) fn confirmed(&self, head: &response::Parts) -> Option<Arc<Stored>> {
        let not_modified = head.status == StatusCode::NOT_MODIFIED;
        not_modified
            .then(|| validation::confirmed(&head.headers, self.candidate.as_ref(), &self.others))
            .flatten()
    }
}

/// Begins the record of a request's exchange.
pub(super) fn new_report(request: &Request, kind: Kind, now: Timestamp) -> Box<Report> {
    let subject = Subject {
        trace: request.trace.id,
        kind,
        method: request.head.method.clone(),
        scheme: request.scheme,
        host: request.host().to_owned(),
        path: request.head.uri.clone(),
        network: request.address,
        country: request.geo.country,
    };
    Report::begin(subject, now)
}

impl Exchange {
    /// Says what purges have left of a stored response.
    pub(crate) fn verdict(&self, stored: &Stored) -> Verdict {
        let purges = self.node.purges();
        if !purges.may_reach(stored.epoch) {
            return Verdict::Kept;
        }
        let resource = Resource::of(&self.request);
        let query = self
            .route
            .cache
            .as_deref()
            .map_or(resource.query.map(Cow::Borrowed), |p| {
                key::query(p, resource.query)
            });
        purges.verdict(
            Resource {
                query: query.as_deref(),
                ..resource
            },
            &stored.labels,
            stored.epoch,
        )
    }

    /// Returns whether purges have left a stored response for anybody.
    pub(crate) fn keeps(&self, stored: &Stored) -> bool {
        self.verdict(stored) != Verdict::Void
    }
}
