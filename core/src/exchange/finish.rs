//! The reply is written: from the store, from an origin, or as a refusal.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, response};

use super::{Caching, Exchange, RequestBody, Step, fetch, new_report};
use crate::cache::control::Control;
use crate::cache::stale::{self, Usability};
use crate::cache::storable::NotStored;
use crate::cache::{Asked, CacheKey, Profile, Stored, date, freshness, key, status, storable, tags, validation, vary};
use crate::flight::Lead;
use crate::forward;
use crate::limit::fields;
use crate::location;
use crate::names;
use crate::problem::{self, Refusal};
use crate::purge::{Place, Purge, Target};
use crate::report::{CacheOutcome, CacheReport, Kind, LimitOutcome, Report, StepName};
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
    /// What is of no more use under any key. The shell makes these purges before it answers, so that whoever asks afterwards sees the change.
    pub purges: Vec<Purge>,
    /// Another exchange to drive, after the client has its answer.
    pub background: Option<Background>,
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
    /// The body of the last response of an origin. A 101 hands the connections over instead.
    Origin,
}

/// A response to put into the store.
#[derive(Debug)]
pub struct Fill {
    /// Under which key; [`crate::cache::variants::place`] says where among the key's responses.
    pub key: CacheKey,
    /// The head to store.
    pub head: Arc<Stored>,
    /// Whether the body comes from the origin or stays.
    pub kind: FillKind,
    /// Most bytes of body; a longer one is not stored.
    pub body_bytes_max: u64,
    /// Ends the wait of other requests when dropped: keep it until the response is stored, or has proved not to be.
    pub lead: Option<Lead>,
}

/// What a fill does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FillKind {
    /// Stores head and body of the origin's response.
    Insert,
    /// Replaces the head of this stored response; its body stays.
    Refresh(Arc<Stored>),
}

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
        let exchange =
            Box::new(Exchange { engine: from.engine.clone(), route: Arc::clone(&from.route), request, report });
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

/// Answers with a stored response.
pub(super) fn stored(
    mut exchange: Box<Exchange>,
    caching: &Caching,
    stored: &Arc<Stored>,
    outcome: CacheOutcome,
    background: Option<Background>,
    now: Timestamp,
) -> Step {
    note_stored(&mut exchange, stored, outcome, now);
    if let Some(report) = &mut exchange.report.cache {
        report.revalidates = background.is_some();
    }
    let (head, source) = from_store(&exchange, &caching.profile, stored, now);
    conclude(exchange, Draft { background, ..Draft::new(head, source) }, now)
}

/// Answers with an origin's response, or with the stored one that it confirms or cannot replace.
pub(super) fn from_origin(
    mut exchange: Box<Exchange>,
    caching: Option<Caching>,
    mut head: response::Parts,
    asked: Asked,
    now: Timestamp,
) -> Step {
    if let Some(report) = &mut exchange.report.cache {
        report.fetched_status = Some(head.status.as_u16());
    }
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        forward::strip_hop_by_hop(&mut head.headers);
    }
    let Some(mut caching) = caching else {
        let draft = Draft::new(head, Source::Origin);
        let draft = if changes(&exchange, draft.head.status) {
            Draft { invalidate: own_key(&exchange), purges: purges(&exchange, &draft.head.headers), ..draft }
        } else {
            draft
        };
        return conclude(exchange, draft, now);
    };
    if let Some(candidate) = caching.candidate.take() {
        if head.status == StatusCode::NOT_MODIFIED {
            return confirmed(exchange, caching, &candidate, &head.headers, asked, now);
        }
        if is_error(head.status) && stale::stands_in_for_error(&candidate, now) {
            return stored(exchange, &caching, &candidate, CacheOutcome::StaleIfError, None, now);
        }
    }
    store(exchange, caching, head, asked, now)
}

/// Answers when no origin did: with a stale stored response if one may be used, else with a refusal.
pub(super) fn failed(exchange: Box<Exchange>, caching: Option<Caching>, refusal: Refusal, now: Timestamp) -> Step {
    let candidate = caching.as_ref().and_then(|c| c.candidate.clone());
    let usable = candidate.filter(|candidate| stale::stands_in_for_the_disconnected(candidate, now));
    match caching.zip(usable) {
        Some((caching, candidate)) => stored(exchange, &caching, &candidate, CacheOutcome::StaleIfError, None, now),
        None => refuse(exchange, refusal, now),
    }
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

/// Ends an exchange whose client has gone.
pub(super) fn abandoned(exchange: Exchange, now: Timestamp) -> Report {
    let mut report = exchange.report;
    report.refusal = Some(Refusal::ClientGone);
    report.status = Refusal::ClientGone.status().as_u16();
    report.duration_ms = now.since(report.time);
    report
}

fn body_for(method: &Method, body: Vec<u8>) -> Source {
    if method == Method::HEAD { Source::Empty } else { Source::Bytes(body.into()) }
}

/// RFC 5861, section 4: the errors that a stale response may stand in for.
fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// The origin confirmed the stored response.
fn confirmed(
    mut exchange: Box<Exchange>,
    caching: Caching,
    candidate: &Arc<Stored>,
    not_modified: &HeaderMap,
    asked: Asked,
    now: Timestamp,
) -> Step {
    let Caching { profile, key, lead, .. } = caching;
    let updated = validation::update(candidate, not_modified, &profile, asked, exchange.request.host(), now);
    note_stored(&mut exchange, &updated, CacheOutcome::Revalidated, now);
    let (mut head, source) = from_store(&exchange, &profile, &updated, now);
    // These cookies are this client's; they are not merged into what all get.
    for cookie in not_modified.get_all(header::SET_COOKIE) {
        head.headers.append(header::SET_COOKIE, cookie.clone());
    }
    // The body is still the one stored with the old head.
    let source = if matches!(source, Source::Stored(_)) { Source::Stored(Arc::clone(candidate)) } else { source };
    let control = Control::of_response(&updated.headers);
    // A 304 may forbid what the stored response allowed.
    if let Err(why) = storable::check_directives(updated.status, &control) {
        if let Some(report) = &mut exchange.report.cache {
            report.not_stored = Some(why);
        }
        end_unshared(lead, now);
        return conclude(exchange, Draft { invalidate: vec![key], ..Draft::new(head, source) }, now);
    }
    if let Some(report) = &mut exchange.report.cache {
        report.stored = true;
    }
    let kind = FillKind::Refresh(Arc::clone(candidate));
    let lead = while_useful_to_others(lead, &updated, now);
    let fill = Fill { key, head: updated, kind, body_bytes_max: profile.body_bytes_max, lead };
    conclude(exchange, Draft { fill: Some(fill), ..Draft::new(head, source) }, now)
}

/// The origin sent a response of its own: it is stored if it may be.
fn store(
    mut exchange: Box<Exchange>,
    mut caching: Caching,
    mut head: response::Parts,
    asked: Asked,
    now: Timestamp,
) -> Step {
    let profile = Arc::clone(&caching.profile);
    let control = Control::of_response(&head.headers);
    let freshness = freshness::of(head.status, &head.headers, &control, &profile, now);
    let request = &exchange.request.head;
    let allowed =
        storable::check(&request.method, &request.headers, head.status, &head.headers, &control, &freshness, &profile);
    let labels = tags::read(&head.headers, exchange.request.host()).map_err(|_| NotStored::TooManyTags);
    let lead = caching.lead.take();
    let fill = match allowed.and(labels) {
        Ok(labels) => {
            let stored = new_stored(&request.headers, &head, &control, &freshness, &profile, asked, now);
            let stored = Arc::new(Stored { labels, ..stored });
            note_fill(&mut exchange.report.cache, &stored);
            let lead = while_useful_to_others(lead, &stored, now);
            let body_bytes_max = profile.body_bytes_max;
            Some(Fill { key: caching.key, head: stored, kind: FillKind::Insert, body_bytes_max, lead })
        }
        Err(why) => {
            if let Some(report) = &mut exchange.report.cache {
                report.not_stored = Some(why);
            }
            // What only this request asked for says nothing about the next one's response.
            if why.speaks_of_the_response() && head.status != StatusCode::NOT_MODIFIED {
                end_unshared(lead, now);
            }
            None
        }
    };
    write_for_client(&mut head.headers, &profile);
    let request = &exchange.request.head;
    let source =
        if fill.is_some() && validation::not_modified(&request.method, &request.headers, head.status, &head.headers) {
            head.status = StatusCode::NOT_MODIFIED;
            validation::strip_for_not_modified(&mut head.headers);
            Source::Empty
        } else {
            Source::Origin
        };
    conclude(exchange, Draft { fill, ..Draft::new(head, source) }, now)
}

/// A response that each request must validate anew is stored, but nobody waits for it.
fn while_useful_to_others(lead: Option<Lead>, stored: &Stored, now: Timestamp) -> Option<Lead> {
    match stale::usability(stored, now) {
        Usability::Fresh { .. } | Usability::Grace => lead,
        Usability::Validate => {
            end_unshared(lead, now);
            None
        }
    }
}

fn end_unshared(lead: Option<Lead>, now: Timestamp) {
    if let Some(lead) = lead {
        lead.end_unshared(now);
    }
}

fn note_fill(report: &mut Option<CacheReport>, stored: &Stored) {
    if let Some(report) = report {
        report.stored = true;
        report.ttl_ms = Some(ttl(stored, stored.received));
    }
}

fn new_stored(
    request: &HeaderMap,
    head: &response::Parts,
    control: &Control,
    freshness: &freshness::Freshness,
    profile: &Profile,
    asked: Asked,
    now: Timestamp,
) -> Stored {
    let mut headers = head.headers.clone();
    let initial_age = freshness::initial_age(&headers, profile, asked.at, now);
    headers.remove(header::AGE);
    // RFC 9111, section 3.1.
    for name in [header::PROXY_AUTHENTICATE, names::PROXY_AUTHENTICATION_INFO] {
        headers.remove(name);
    }
    for name in &control.withheld {
        headers.remove(name);
    }
    headers.entry(header::DATE).or_insert_with(|| date::write(now));
    Stored {
        status: head.status,
        vary: vary::nominate(&headers, request),
        headers,
        received: now,
        initial_age,
        freshness: *freshness,
        born: asked.born,
        labels: Vec::new(),
    }
}

/// Writes the head of a reply from the store: the stored fields, `Age`, and a 304 where the client's conditions allow one.
fn from_store(
    exchange: &Exchange,
    profile: &Profile,
    stored: &Arc<Stored>,
    now: Timestamp,
) -> (response::Parts, Source) {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = stored.status;
    head.headers = stored.headers.clone();
    head.headers.insert(header::AGE, HeaderValue::from(stored.age(now) / 1000));
    write_for_client(&mut head.headers, profile);
    let request = &exchange.request.head;
    if validation::not_modified(&request.method, &request.headers, stored.status, &stored.headers) {
        head.status = StatusCode::NOT_MODIFIED;
        validation::strip_for_not_modified(&mut head.headers);
        return (head, Source::Empty);
    }
    let source = if request.method == Method::HEAD { Source::Empty } else { Source::Stored(Arc::clone(stored)) };
    (head, source)
}

/// Changes the fields that are meant for caches as the profile says.
fn write_for_client(headers: &mut HeaderMap, profile: &Profile) {
    if profile.strip_tags {
        tags::strip(headers);
    }
    if let Some(told) = &profile.cache_control {
        headers.insert(header::CACHE_CONTROL, told.clone());
    }
}

fn note_stored(exchange: &mut Exchange, stored: &Stored, outcome: CacheOutcome, now: Timestamp) {
    if let Some(report) = &mut exchange.report.cache {
        report.outcome = outcome;
        report.age_ms = Some(stored.age(now));
        report.ttl_ms = Some(ttl(stored, now));
    }
}

fn ttl(stored: &Stored, now: Timestamp) -> i64 {
    let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
    signed(stored.freshness.lifetime).saturating_sub(signed(stored.age(now)))
}

/// RFC 9111, section 4.4: a successful request with an unsafe method, or with one that is not known to be safe, ends the use of what is stored.
fn changes(exchange: &Exchange, status: StatusCode) -> bool {
    !exchange.request.head.method.is_safe() && (status.is_success() || status.is_redirection())
}

/// The key under which a GET of the same URL would be stored.
fn own_key(exchange: &Exchange) -> Vec<CacheKey> {
    let request = &exchange.request;
    let route = exchange.engine.policy().route(&Method::GET, request);
    route.and_then(|r| r.cache.as_ref().map(|profile| key::of(request, r, profile))).into_iter().collect()
}

/// What a change reaches: the request's own URL, those of Location and Content-Location at the same origin, and the groups that the response names
/// (RFC 9875, section 3).
fn purges(exchange: &Exchange, response: &HeaderMap) -> Vec<Purge> {
    let own = Place::of(&exchange.request);
    let named = [header::LOCATION, header::CONTENT_LOCATION].into_iter().filter_map(|name| response.get(name));
    let named = named.filter_map(|value| location::at_same_origin(&exchange.request, value.to_str().ok()?));
    let urls = [(own.path.to_owned(), own.query.map(str::to_owned))].into_iter().chain(named);
    let urls = urls.map(|(path, query)| Target::Url { host: own.host.to_owned(), path, query });
    let groups = tags::groups(response, &names::CACHE_GROUP_INVALIDATION).into_iter();
    let groups = groups.map(|group| Target::Group(own.host.to_owned(), group));
    urls.chain(groups).map(|target| Purge { target, soft: false }).collect()
}

/// A reply without its report.
struct Draft {
    head: response::Parts,
    source: Source,
    fill: Option<Fill>,
    invalidate: Vec<CacheKey>,
    purges: Vec<Purge>,
    background: Option<Background>,
}

impl Draft {
    fn new(head: response::Parts, source: Source) -> Self {
        Self { head, source, fill: None, invalidate: Vec::new(), purges: Vec::new(), background: None }
    }

    fn reply(self, mut report: Report) -> Reply {
        let Self { head, source, fill, invalidate, purges, background } = self;
        report.status = head.status.as_u16();
        Reply { head, source, fill, invalidate, purges, background, report }
    }
}

/// Writes what the report says into the reply's fields and ends the exchange.
fn conclude(mut exchange: Box<Exchange>, mut draft: Draft, now: Timestamp) -> Step {
    exchange.step(StepName::Finish);
    let Exchange { route, mut report, .. } = *exchange;
    let headers = &mut draft.head.headers;
    if let Some(cache) = &report.cache {
        headers.append(header::CACHE_STATUS, status::field(cache));
    }
    if !report.limits.is_empty() {
        fields::write(headers, route.rate_limit_policy.as_ref(), &report.limits);
    }
    if matches!(draft.source, Source::Origin | Source::Stored(_)) {
        forward::add_via(headers, Version::HTTP_11);
    }
    report.duration_ms = now.since(report.time);
    Step::Finish(Box::new(draft.reply(report)))
}
