//! What is counted, and how: relaxed atomics in tables that are laid out when a policy is taken, a
//! few copies of each, so that threads do not meet.
//!
//! A name that a new policy keeps keeps its counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tidegate_core::problem::Refusal;
use tidegate_core::report::{AttemptOutcome, CacheOutcome, Kind, LimitOutcome};
use tidegate_core::{Millis, Policy, Report};

use crate::stripes::{STRIPES, stripe};

/// Upper bounds of the histograms' buckets in milliseconds; what is longer counts in the last,
/// which has none.
pub(crate) const BUCKETS: [Millis; 11] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/// Counters that stand in one cache line or more of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Copy<const N: usize>([AtomicU64; N]);

/// `N` counters.
#[derive(Debug)]
pub(crate) struct Counters<const N: usize>([Copy<N>; STRIPES]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| {
            Copy(std::array::from_fn(|_| AtomicU64::new(0)))
        }))
    }
}

impl<const N: usize> Counters<N> {
    pub(crate) fn add(&self, at: usize, count: u64) {
        if let Some(counter) = self.0[stripe()].0.get(at) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self, at: usize) -> u64 {
        self.0
            .iter()
            .filter_map(|copy| copy.0.get(at))
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }
}

/// A histogram: the buckets, then one without bound, then the sum.
pub(crate) type Histogram = Counters<{ BUCKETS.len() + 2 }>;

impl Histogram {
    fn observe(&self, millis: Millis) {
        self.add(
            BUCKETS
                .iter()
                .position(|bound| millis <= *bound)
                .unwrap_or(BUCKETS.len()),
            1,
        );
        self.add(BUCKETS.len() + 1, millis);
    }
}

pub(crate) const CACHE_OUTCOMES: usize = 12;
const STATUS_CLASSES: usize = 6;
const LIMIT_OUTCOMES: usize = 5;
const ATTEMPT_OUTCOMES: usize = 12;
const REFUSALS: usize = Refusal::ALL.len();

/// Requests of one route: a row for each status class, a column for each cache outcome; the rest as
/// named.
#[derive(Debug, Default)]
pub(crate) struct RouteCounters {
    pub(crate) requests: Counters<{ STATUS_CLASSES * CACHE_OUTCOMES }>,
    pub(crate) revalidations: Counters<STATUS_CLASSES>,
    pub(crate) duration: Histogram,
}

#[derive(Debug, Default)]
pub(crate) struct OriginCounters {
    pub(crate) attempts: Counters<ATTEMPT_OUTCOMES>,
    pub(crate) duration: Histogram,
}

/// The tables of one policy, in its order.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) routes: Named<RouteCounters>,
    pub(crate) origins: Named<OriginCounters>,
    pub(crate) limits: Named<Counters<LIMIT_OUTCOMES>>,
}

/// Counters by name. Reports share their names with the policy, so the first look compares
/// pointers.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) Vec<(Arc<str>, Arc<T>)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Named<T> {
    fn find(&self, name: &Arc<str>) -> Option<&T> {
        let same = self.0.iter().find(|(n, _)| Arc::ptr_eq(n, name));
        same.or_else(|| self.0.iter().find(|(n, _)| n == name))
            .map(|(_, counters)| &**counters)
    }

    /// Makes the tables of other names; names that stay keep their counts, and those that go are
    /// kept behind them for the sake of the sums.
    fn follow(&self, names: impl Iterator<Item = Arc<str>>) -> Self {
        let mut old: BTreeMap<Arc<str>, Arc<T>> = self.0.iter().cloned().collect();
        let mut next: Vec<(Arc<str>, Arc<T>)> = names
            .map(|name| (Arc::clone(&name), old.remove(&name).unwrap_or_default()))
            .collect();
        next.extend(old);
        Self(next)
    }
}

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) tables: ArcSwap<Tables>,
    /// Requests that no route matched.
    pub(crate) unrouted: RouteCounters,
    pub(crate) refusals: Counters<REFUSALS>,
    /// Open client connections.
    pub(crate) connections: AtomicI64,
    /// Connections closed at once, because there were too many.
    pub(crate) connections_refused: AtomicU64,
    /// Replies that their clients did not read.
    pub(crate) replies_cut: AtomicU64,
    /// Wrong tokens that were shown to operations, and requests refused because their addresses had
    /// shown too many.
    pub(crate) guesses: [AtomicU64; 2],
    /// Policies taken, and refused.
    pub(crate) reloads: [AtomicU64; 2],
}

impl Metrics {
    /// Lays the tables out.
    pub fn new(policy: &Policy) -> Self {
        let metrics = Self {
            tables: ArcSwap::default(),
            unrouted: RouteCounters::default(),
            refusals: Counters::default(),
            connections: AtomicI64::new(0),
            connections_refused: AtomicU64::new(0),
            replies_cut: AtomicU64::new(0),
            guesses: Default::default(),
            reloads: Default::default(),
        };
        metrics.follow(policy);
        metrics
    }

    /// Lays the tables out for another policy.
    pub(crate) fn follow(&self, policy: &Policy) {
        let old = self.tables.load();
        let mut limits: Vec<Arc<str>> = policy
            .routes
            .iter()
            .flat_map(|r| &r.limits)
            .map(|l| Arc::clone(&l.name))
            .collect();
        limits.sort();
        limits.dedup();
        self.tables.store(Arc::new(Tables {
            routes: old
                .routes
                .follow(policy.routes.iter().map(|r| Arc::clone(&r.name))),
            origins: old
                .origins
                .follow(policy.origins.iter().map(|o| Arc::clone(&o.name))),
            limits: old.limits.follow(limits.into_iter()),
        }));
    }

    /// Sums requests by what the cache did with them.
    pub(crate) fn cache_outcomes(&self) -> BTreeMap<&'static str, u64> {
        let tables = self.tables.load();
        let routes = || {
            tables
                .routes
                .0
                .iter()
                .map(|(_, counters)| &**counters)
                .chain([&self.unrouted])
        };
        let sum = |outcome: usize| {
            let of = |route: &RouteCounters| {
                (0..STATUS_CLASSES)
                    .map(|i| route.requests.get(i * CACHE_OUTCOMES + outcome))
                    .sum::<u64>()
            };
            routes().map(of).sum()
        };
        CACHE
            .into_iter()
            .enumerate()
            .map(|(outcome, name)| (name, sum(outcome)))
            .collect()
    }

    /// Counts one exchange.
    pub(crate) fn record(&self, report: &Report) {
        let tables = self.tables.load();
        let route = report
            .route
            .as_ref()
            .and_then(|name| tables.routes.find(name))
            .unwrap_or(&self.unrouted);
        let class = usize::from(report.status / 100).min(STATUS_CLASSES - 1);
        match report.kind {
            Kind::Request => {
                let cache = report
                    .cache
                    .as_ref()
                    .map_or(0, |cache| cache_outcome(cache.outcome));
                route.requests.add(class * CACHE_OUTCOMES + cache, 1);
                route.duration.observe(report.duration_ms);
            }
            Kind::Revalidation => route.revalidations.add(class, 1),
            Kind::Warming => {}
        }
        for limit in &report.limits {
            if let Some(counters) = tables.limits.find(&limit.name) {
                counters.add(limit_outcome(limit.outcome), 1);
            }
        }
        for attempt in &report.attempts {
            if let Some(counters) = tables.origins.find(&attempt.origin) {
                counters.attempts.add(attempt_outcome(attempt.outcome), 1);
                if attempt.status.is_some() {
                    counters.duration.observe(attempt.took_ms);
                }
            }
        }
        if let Some(refusal) = report.refusal {
            self.refusals.add(refusal as usize, 1);
        }
    }
}

/// Names of classes of statuses, by number.
pub(crate) const STATUS: [&str; STATUS_CLASSES] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Names of what the cache did, by number.
pub(crate) const CACHE: [&str; CACHE_OUTCOMES] = [
    "none",
    "hit",
    "stale",
    "stale_if_error",
    "revalidated",
    "expired",
    "miss",
    "vary_miss",
    "bypass",
    "only_if_cached",
    "request",
    "partial",
];

fn cache_outcome(outcome: CacheOutcome) -> usize {
    match outcome {
        CacheOutcome::Hit => 1,
        CacheOutcome::Stale => 2,
        CacheOutcome::StaleIfError => 3,
        CacheOutcome::Revalidated => 4,
        CacheOutcome::Expired => 5,
        CacheOutcome::Miss => 6,
        CacheOutcome::VaryMiss => 7,
        CacheOutcome::Bypass => 8,
        CacheOutcome::OnlyIfCached => 9,
        CacheOutcome::Request => 10,
        CacheOutcome::Partial => 11,
    }
}

/// Names of what limits said, by number.
pub(crate) const LIMIT: [&str; LIMIT_OUTCOMES] = [
    "allowed",
    "rejected",
    "would_reject",
    "unavailable_allowed",
    "unavailable_denied",
];

fn limit_outcome(outcome: LimitOutcome) -> usize {
    match outcome {
        LimitOutcome::Allowed => 0,
        LimitOutcome::Rejected => 1,
        LimitOutcome::WouldReject => 2,
        LimitOutcome::UnavailableAllowed => 3,
        LimitOutcome::UnavailableDenied => 4,
    }
}

/// Names of how attempts ended, by number.
pub(crate) const ATTEMPT: [&str; ATTEMPT_OUTCOMES] = [
    "response",
    "circuit_open",
    "unreachable",
    "connect_timeout",
    "tls",
    "response_timeout",
    "closed",
    "protocol",
    "request_body",
    "abandoned",
    "body_broken",
    "body_timeout",
];

fn attempt_outcome(outcome: AttemptOutcome) -> usize {
    match outcome {
        AttemptOutcome::Response => 0,
        AttemptOutcome::CircuitOpen => 1,
        AttemptOutcome::Unreachable => 2,
        AttemptOutcome::ConnectTimeout => 3,
        AttemptOutcome::Tls => 4,
        AttemptOutcome::ResponseTimeout => 5,
        AttemptOutcome::Closed => 6,
        AttemptOutcome::Protocol => 7,
        AttemptOutcome::RequestBody => 8,
        AttemptOutcome::Abandoned => 9,
        AttemptOutcome::BodyBroken => 10,
        AttemptOutcome::BodyTimeout => 11,
    }
}
