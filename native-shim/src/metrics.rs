//! What is counted, and how: relaxed atomics in tables that are laid out when a policy is taken, a
//! few copies of each, so that threads do not meet.
//!
//! A name that a new policy keeps keeps its counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use strum::{EnumCount, VariantArray};
use tidegate_core::limit::Limit;
use tidegate_core::problem::Refusal;
use tidegate_core::report::{
    AttemptOutcome, CacheOutcome, Difference, Kind, LimitOutcome, TokenOutcome,
};
use tidegate_core::{Millis, Policy, Report};

use crate::stripes::{STRIPES, stripe};

/// Upper bounds of the histograms' buckets in milliseconds; what is longer counts in the last,
/// which has none.
pub(crate) const BUCKETS: [Millis; 11] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/// Counters that stand in one cache line or more of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const N: usize>([AtomicU64; N]);

/// `N` counters.
#[derive(Debug)]
pub(crate) struct Counters<const N: usize>([Stripe<N>; STRIPES]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| {
            Stripe(std::array::from_fn(|_| AtomicU64::new(0)))
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

/// What the cache may have done, or that there is no profile.
pub(crate) const CACHE_OUTCOMES: usize = CacheOutcome::COUNT + 1;
const STATUS_CLASSES: usize = 6;

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
    pub(crate) attempts: Counters<{ AttemptOutcome::COUNT }>,
    pub(crate) duration: Histogram,
}

/// The tables of one policy, in its order.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) routes: Named<RouteCounters>,
    pub(crate) origins: Named<OriginCounters>,
    pub(crate) limits: Named<Counters<{ LimitOutcome::COUNT }>>,
    /// Limits whose answers differ from those that they are compared with.
    pub(crate) differences: Named<Counters<{ Difference::COUNT }>>,
    /// Milliseconds that bodies have waited for limits of bandwidth.
    pub(crate) bandwidths: Named<Counters<1>>,
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
    pub(crate) refusals: Counters<{ Refusal::COUNT }>,
    /// Tokens that limits count by.
    pub(crate) tokens: Counters<{ TokenOutcome::COUNT }>,
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
            tokens: Counters::default(),
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
        let all = policy.routes.iter().flat_map(|r| &r.limits);
        let is_compared = |limit: &&Arc<Limit>| limit.compares_with.is_some();
        let mut compared: Vec<Arc<str>> = all
            .filter(is_compared)
            .map(|limit| Arc::clone(&limit.name))
            .collect();
        compared.sort();
        compared.dedup();
        limits.sort();
        limits.dedup();
        let mut bandwidths: Vec<Arc<str>> = policy
            .routes
            .iter()
            .flat_map(|r| &r.bandwidths)
            .map(|l| Arc::clone(&l.name))
            .collect();
        bandwidths.sort();
        bandwidths.dedup();
        self.tables.store(Arc::new(Tables {
            routes: old
                .routes
                .follow(policy.routes.iter().map(|r| Arc::clone(&r.name))),
            origins: old
                .origins
                .follow(policy.origins.iter().map(|o| Arc::clone(&o.name))),
            differences: old.differences.follow(compared.into_iter()),
            limits: old.limits.follow(limits.into_iter()),
            bandwidths: old.bandwidths.follow(bandwidths.into_iter()),
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
        cache_names()
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
                let cache = cache_number(report.cache.as_ref().map(|cache| cache.outcome));
                route.requests.add(class * CACHE_OUTCOMES + cache, 1);
                route.duration.observe(report.until_reply());
            }
            Kind::Revalidation => route.revalidations.add(class, 1),
            Kind::Warming => {}
        }
        if let Some(token) = &report.token {
            self.tokens.add(token.outcome as usize, 1);
        }
        for limit in &report.limits {
            if let Some(differs) = limit.differs
                && let Some(counters) = tables.differences.find(&limit.name)
            {
                counters.add(differs as usize, 1);
            }
            if let Some(counters) = tables.limits.find(&limit.name) {
                counters.add(limit.outcome as usize, 1);
            }
        }
        for limit in &report.bandwidth {
            if let Some(counters) = tables.bandwidths.find(&limit.name) {
                counters.add(0, limit.paced_ms);
            }
        }
        for attempt in &report.attempts {
            if let Some(counters) = tables.origins.find(&attempt.origin) {
                counters.attempts.add(attempt.outcome as usize, 1);
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

/// Says which number stands for what the cache did; 0 for a request without a profile.
pub(crate) fn cache_number(outcome: Option<CacheOutcome>) -> usize {
    outcome.map_or(0, |outcome| outcome as usize + 1)
}

/// Lists what the cache may have done, in the order of the numbers.
pub(crate) fn cache_names() -> impl Iterator<Item = &'static str> {
    ["none"].into_iter().chain(names::<CacheOutcome>())
}

/// Lists the names of an enum's variants, in their order.
pub(crate) fn names<E>() -> impl Iterator<Item = &'static str>
where
    E: VariantArray + Into<&'static str> + Copy,
{
    E::VARIANTS.iter().map(|variant| (*variant).into())
}
