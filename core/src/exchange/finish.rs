//! The reply is written, with what the shell does besides.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Version, header, response};

use crate::cache::range::Piece;
use crate::cache::{CacheKey, Stored};
use crate::exchange::background::Background;
use crate::exchange::fill::{Fill, FillKind};
use crate::exchange::hold::{BodyEnd, BodySeen, Hold};
use crate::exchange::{Exchange, Step};
use crate::flight::Lead;
use crate::message::hop_by_hop;
use crate::problem;
use crate::problem::Refusal;
use crate::purge::Purge;
use crate::report::fields::{cache_status, rate_limit};
use crate::report::{LimitOutcome, Report, StepName};
use crate::time::Timestamp;

/// What the shell answers, stores and does afterwards.
#[derive(Debug)]
pub struct Reply {
    /// Status and header fields for the client.
    pub head: response::Parts,
    /// Where the body comes from.
    pub source: Source,
    /// What to store. When the source is not the origin, the origin's body is still read to its end into the store.
    pub fill: Option<Fill>,
    /// Keys whose stored responses are of no more use: they may be dropped at once.
    pub invalidate: Vec<CacheKey>,
    /// What is of no more use under any key. The shell has these purges made by [`crate::Engine::carry_out`] before it answers, so that whoever asks
    /// afterwards sees the change.
    pub purges: Vec<Purge>,
    /// Another exchange to drive, after the client has its answer.
    pub background: Option<Background>,
    /// What ends with the origin's body; `None` if no such body is read. The shell tells it how the body ended, and records the report then.
    pub hold: Option<Hold>,
    /// Every decision and its reason.
    pub report: Report,
}

/// Where a reply's body comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// There is none.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// The body stored with this head, one of those given at the last lookup.
    Stored(Arc<Stored>),
    /// These pieces of that body.
    Pieces(Arc<Stored>, Vec<Piece>),
    /// The body of the last response of an origin. A 101 hands the connections over instead.
    Origin,
}

/// Answers with a problem document.
pub(super) fn refuse(mut exchange: Box<Exchange>, refusal: Refusal, now: Timestamp) -> Step {
    let violated = |o: LimitOutcome| matches!(o, LimitOutcome::Rejected | LimitOutcome::UnavailableDenied);
    let names: Vec<&str> = exchange.report.limits.iter().filter(|l| violated(l.outcome)).map(|l| &*l.name).collect();
    let (mut head, body) = problem::reply(refusal, &names);
    if let Some(wait) = exchange.report.retry_after_ms {
        head.headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.div_ceil(1000).max(1)));
    }
    exchange.report.refusal = Some(refusal);
    let source = body_for(&exchange.request.head.method, body);
    conclude(exchange, Draft::new(head, source), now)
}

/// Answers what has no route.
pub(super) fn refuse_unrouted(mut report: Report, refusal: Refusal, now: Timestamp) -> Reply {
    let (head, body) = problem::reply(refusal, &[]);
    report.refusal = Some(refusal);
    report.steps.push(StepName::Finish);
    report.duration_ms = now.since(report.time);
    let source = body_for(&report.method, body);
    Draft::new(head, source).reply(report)
}

/// Ends an exchange that nobody waits for any more.
pub(super) fn abandoned(exchange: Exchange, now: Timestamp) -> Report {
    let mut report = exchange.report;
    report.refusal = Some(Refusal::Abandoned);
    report.status = Refusal::Abandoned.status().as_u16();
    report.duration_ms = now.since(report.time);
    report
}

pub(super) fn body_for(method: &Method, body: Vec<u8>) -> Source {
    if method == Method::HEAD || body.is_empty() { Source::Empty } else { Source::Bytes(body.into()) }
}

pub(super) fn end_unshared(lead: Option<Lead>, now: Timestamp) {
    if let Some(lead) = lead {
        lead.end_unshared(now);
    }
}

/// A reply without its report.
pub(super) struct Draft {
    pub(super) head: response::Parts,
    pub(super) source: Source,
    pub(super) fill: Option<Fill>,
    pub(super) invalidate: Vec<CacheKey>,
    pub(super) purges: Vec<Purge>,
    pub(super) background: Option<Background>,
}

impl Draft {
    pub(super) fn new(head: response::Parts, source: Source) -> Self {
        Self { head, source, fill: None, invalidate: Vec::new(), purges: Vec::new(), background: None }
    }

    fn reply(self, mut report: Report) -> Reply {
        let Self { head, source, fill, invalidate, purges, background } = self;
        report.status = head.status.as_u16();
        Reply { head, source, fill, invalidate, purges, background, hold: None, report }
    }
}

impl Source {
    /// Returns the stored response whose body is needed.
    pub fn stored(&self) -> Option<&Arc<Stored>> {
        match self {
            Self::Stored(head) | Self::Pieces(head, _) => Some(head),
            Self::Empty | Self::Bytes(_) | Self::Origin => None,
        }
    }
}

/// Writes what the report says into the reply's fields and ends the exchange.
pub(super) fn conclude(mut exchange: Box<Exchange>, mut draft: Draft, now: Timestamp) -> Step {
    exchange.step(StepName::Finish);
    let Exchange { route, read_as, mut report, hold, .. } = *exchange;
    let headers = &mut draft.head.headers;
    if let Some(cache) = &report.cache {
        headers.append(
            header::CACHE_STATUS,
            cache_status::field(cache, route.cache.as_ref().is_some_and(|profile| profile.show_key)),
        );
    }
    if !report.limits.is_empty() {
        let mut routes = [Some(&route), read_as.as_ref()].into_iter().flatten();
        rate_limit::write(headers, routes.find_map(|route| route.rate_limit_policy.as_ref()), &report.limits);
    }
    if matches!(draft.source, Source::Origin | Source::Stored(_) | Source::Pieces(..)) {
        hop_by_hop::add_via(headers, Version::HTTP_11);
    }
    report.duration_ms = now.since(report.time);
    let hold = if reads_body(&draft) { hold } else { end_at_once(hold, &mut report, now) };
    Step::Finish(Box::new(Reply { hold, ..draft.reply(report) }))
}

/// Returns whether the shell reads the origin's body, for the client or for the store.
fn reads_body(draft: &Draft) -> bool {
    draft.source == Source::Origin || draft.fill.as_ref().is_some_and(|fill| fill.kind == FillKind::Insert)
}

/// Ends the hold of a response that needs no body.
fn end_at_once(hold: Option<Hold>, report: &mut Report, now: Timestamp) -> Option<Hold> {
    hold?.end(report, BodySeen::only(BodyEnd::Unwanted), now);
    None
}
