//! What all threads of a process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::request;
use tidegate_core::exchange::Settlement;
use tidegate_core::limit::Charge;
use tidegate_core::operations::Token;
use tidegate_core::purge::{self, Purge};
use tidegate_core::{Ended, Engine, Policy, Reply, Step, Timestamp};

use crate::access_log::AccessLog;
use crate::clock::Clock;
use crate::counters::{Charging, Counters};
use crate::in_flight::InFlight;
use crate::keys::Keys;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::pace_table::PaceTable;
use crate::random;
use crate::reservation::Reserved;
use crate::seats::Seats;
use crate::store::Store;
use crate::tls::Finding;
use crate::waiters::Waiters;

/// The engine, the store, the counters and the records of one process. Shared by all its threads.
#[derive(Debug)]
pub struct Node {
    engine: ArcSwap<Engine>,
    /// Stored responses.
    pub store: Store,
    /// Counters of limits in this process.
    pub limits: Arc<Limits>,
    /// Counters that are asked instead.
    counters: ArcSwapOption<Counting>,
    /// Paces of bodies in this process.
    pub(crate) paces: PaceTable,
    /// What is counted.
    pub metrics: Metrics,
    /// Where reports are written.
    pub access_log: AccessLog,
    pub(crate) clock: Clock,
    /// Who is connected.
    pub(crate) seats: Arc<Seats>,
    pub(crate) waiters: Arc<Waiters>,
    /// What verifies tokens.
    pub(crate) keys: Arc<Keys>,
    /// Responses on their way into the store.
    pub(crate) in_flight: InFlight,
    /// Room that they take.
    pub(crate) reserved: Arc<Reserved>,
    /// Work under way for which no client waits.
    work: AtomicUsize,
}

/// Where limits are counted.
#[derive(Debug)]
struct Counting(Arc<dyn Counters>);

/// Work that goes on without a client. A server that drains waits until it is dropped.
#[derive(Debug)]
pub(crate) struct Work(Arc<Node>);

impl Work {
    pub(crate) fn begin(node: &Arc<Node>) -> Self {
        node.work.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(node))
    }

    /// Begins work for a client that may go away, unless there is as much already as there may be
    /// clients.
    pub(crate) fn begin_bounded(node: &Arc<Node>) -> Option<Self> {
        let work = Self::begin(node);
        let most = node.engine.load().policy().server.bounds.connections_max;
        (node.work.load(Ordering::Relaxed) <= most).then_some(work)
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.work.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    /// Makes a node that has seen nothing. `seed` moves jitter, and which keys share a place in
    /// tables: nobody outside may know it.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self::with_clock(policy, seed, Clock::System)
    }

    /// Makes a node with a clock of its own, for tests in virtual time.
    pub fn with_clock(policy: Policy, seed: u64, clock: Clock) -> Self {
        let keys = Arc::new(Keys::new());
        let (store, metrics) = (Store::new(policy.store), Metrics::new(&policy));
        let access_log = AccessLog::new(policy.server.access_log);
        let engine = Engine::new(policy, seed);
        keys.know_secret(&engine);
        Self {
            store,
            limits: Arc::default(),
            counters: ArcSwapOption::empty(),
            paces: PaceTable::default(),
            metrics,
            access_log,
            engine: ArcSwap::from_pointee(engine),
            keys,
            clock,
            seats: Arc::default(),
            waiters: Arc::new(Waiters::new()),
            in_flight: InFlight::default(),
            reserved: Arc::default(),
            work: AtomicUsize::new(0),
        }
    }

    /// Returns what has been found about the keys of tokens since this was last asked: that they
    /// cannot be fetched, that they can be again, that there is no secret.
    pub fn findings(&self) -> Vec<Finding> {
        self.keys.findings()
    }

    /// Fetches the keys of tokens, if it is time for that. To be called within a runtime.
    pub(crate) fn fetch_keys(&self) {
        let now = self.now();
        if let Some(fetch) = self.engine.load().keys_due(now) {
            self.keys.fetch(fetch, &self.waiters, &self.clock);
        }
    }

    /// Makes a node with a random seed.
    pub fn with_random_seed(policy: Policy) -> Self {
        Self::new(policy, random::seed())
    }

    /// Counts limits somewhere else than in this process from here on; in this process if there is
    /// nothing else. What has been counted before is not carried over.
    pub fn count_in(&self, counters: Option<Arc<dyn Counters>>) {
        self.counters
            .store(counters.map(|counters| Arc::new(Counting(counters))));
    }

    /// Returns where limits are counted, if not in this process.
    pub fn counters(&self) -> Option<Arc<dyn Counters>> {
        let counting = self.counters.load();
        counting.as_ref().map(|counting| Arc::clone(&counting.0))
    }

    /// Charges all limits of one request.
    pub(crate) fn charge(&self, charges: &[Charge], now: Timestamp) -> Charging {
        match &*self.counters.load() {
            Some(counting) => counting.0.charge(charges, now),
            None => Charging::Now(self.limits.charge(charges, now)),
        }
    }

    /// Replaces the policy. Nothing stored, counted or under way is lost: an exchange ends under
    /// the policy that it began with.
    pub fn replace(&self, policy: Policy) {
        self.metrics.follow(&policy);
        self.store.resize(policy.store);
        self.access_log.set(policy.server.access_log);
        let engine = self.engine.load().with_policy(policy);
        self.keys.know_secret(&engine);
        self.engine.store(Arc::new(engine));
    }

    /// Refuses requests that show the operators' token from here on: no origin sees it. A policy
    /// that comes later changes nothing about that.
    pub fn keep_secret(&self, token: Option<Token>) {
        self.engine
            .store(Arc::new(self.engine.load().keeping(token)));
    }

    /// Returns the engine that begins exchanges now.
    pub fn engine(&self) -> Engine {
        Engine::clone(&self.engine.load())
    }

    /// Reads the node's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns whether anything goes on for which no client waits.
    pub(crate) fn works(&self) -> bool {
        self.work.load(Ordering::Relaxed) > 0
    }

    /// Returns how many bytes may be on their way into the store: with those that slow clients
    /// still hold of what it has given up, as many as it may have.
    pub(crate) fn reserved_max(&self) -> u64 {
        let bound = self.engine.load().policy().store.bytes_max;
        bound
            .saturating_mul(2)
            .saturating_sub(self.store.held_bytes())
            .min(bound)
    }

    /// Makes a purge: what it reaches is not used any more, or only as stale. Returns its number.
    pub fn purge(&self, purge: &Purge) -> purge::Number {
        self.engine.load().purge(purge)
    }

    /// Makes the purges of a reply.
    pub(crate) fn apply_purges(&self, reply: &mut Reply) {
        if !reply.purges.is_empty() {
            self.engine.load().apply_purges(reply);
        }
    }

    /// Does what the engine has to do of its own accord, if anything is due.
    pub(crate) fn handle_timeout(&self) {
        let (engine, now) = (self.engine(), self.now());
        if engine.poll_timeout().is_some_and(|due| due <= now) {
            engine.handle_timeout(now);
        }
    }

    /// Forgets what has expired, and does what is due. To be called now and then, away from
    /// requests: a layer has no server that keeps time.
    pub fn sweep(&self) {
        let now = self.now();
        self.handle_timeout();
        self.store.sweep(now);
        self.limits.sweep(now);
        self.paces.sweep(now);
    }

    pub(crate) fn begin(
        &self,
        head: request::Parts,
        client: tidegate_core::Client,
        now: Timestamp,
    ) -> Step {
        self.engine.load().begin(head, client, now)
    }

    /// Records an exchange that has ended, and gives back what it held.
    pub(crate) fn end(&self, ended: Ended) {
        let Ended {
            report,
            settlements,
        } = ended;
        if !settlements.is_empty() {
            self.settle(&settlements);
        }
        self.metrics.record(&report);
        self.access_log.write(&report);
    }

    fn settle(&self, settlements: &[Settlement]) {
        let now = self.now();
        match &*self.counters.load() {
            Some(counting) => counting.0.settle(settlements, now),
            None => self.limits.settle(settlements, now),
        }
    }
}
