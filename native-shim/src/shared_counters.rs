//! Counters in Redis, which all pods share.
//!
//! What is asked, in which order, and what it means if nobody answers, is said by
//! [`tidegate_core::limit::round::Round`]; what a node may count for itself is counted in its memory.

mod connection;
mod leases;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use scopeguard::{ScopeGuard, guard};
use tidegate_core::exchange::Settlement;
use tidegate_core::limit::lease::Leased;
use tidegate_core::limit::leases::LOOKED_AT_EVERY;
use tidegate_core::limit::owing::{Owing, StoodIn};
use tidegate_core::limit::round::{Ask, Layout, Place, Round};
use tidegate_core::limit::{
    Act, Answer, Charge, Charged, CounterStore, Mode, OnStoreError, SettledBy, StoreFault,
};
use tidegate_core::{Policy, Timestamp};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::counters::{Charging, Counters, Ending, Later};
use crate::limits::Limits;
use crate::node::Node;
use crate::tls::{TlsError, TlsFiles};
use connection::Connector;
use leases::Shards;
use store::Store;

pub use connection::Credentials;

/// How often leases are looked after that nobody uses.
const LOOKED_AFTER_EVERY: Duration = Duration::from_millis(LOOKED_AT_EVERY);

/// How many counters are told something at once for which nobody waits.
const INFORMED_AT_ONCE: usize = 64;

/// Counters that pods share.
#[derive(Debug)]
pub struct SharedCounters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    layout: Layout,
    /// What this node counts for itself.
    here: Arc<Limits>,
    /// What this node holds in advance.
    leases: Shards,
    /// Whether somebody looks after them.
    is_looked_after: AtomicBool,
    /// Whether this node has counted for itself what is counted in the store.
    has_stood_in: AtomicBool,
    clock: Clock,
}

impl SharedCounters {
    /// Makes the counters that a policy names, for a node; `None` if it counts in its memory.
    ///
    /// # Errors
    /// Says which file cannot be used.
    pub fn of_policy(
        policy: &Policy,
        files: &TlsFiles,
        node: &Node,
    ) -> Result<Option<Arc<Self>>, String> {
        let Some(store) = &policy.counters.store else {
            return Ok(None);
        };
        let credentials = Credentials::from_environment()?;
        let here = Arc::clone(&node.limits);
        let counters = Self::new(store, files, credentials, here, node.clock.clone());
        counters
            .map(|counters| Some(Arc::new(counters)))
            .map_err(|error| error.to_string())
    }

    /// Makes counters in a store. It is connected to when it is needed first, so a store that is not
    /// there keeps nobody from starting. `here` counts what this node counts for itself.
    ///
    /// # Errors
    /// Says which file of `files` cannot be used.
    pub fn new(
        policy: &CounterStore,
        files: &TlsFiles,
        credentials: Credentials,
        here: Arc<Limits>,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let connector = Connector::new(policy, files, credentials)?;
        Ok(Self(Arc::new(Inner {
            store: Arc::new(Store::new(connector, policy, clock.clone())),
            layout: policy.kind.layout(),
            here,
            leases: Shards::default(),
            is_looked_after: AtomicBool::new(false),
            has_stood_in: AtomicBool::new(false),
            clock,
        })))
    }

    /// Asks the store whether it is there, and says so on standard error if it is not. A process that
    /// starts thus says at once that its limits are not counted.
    pub async fn greet(&self) {
        self.0.store.greet().await;
    }
}

impl Counters for SharedCounters {
    fn charge(&self, charges: &[Charge], now: Timestamp) -> Charging {
        let is_here = |charge: &Charge| charge.limit.mode == Mode::Local;
        if charges.iter().all(is_here) {
            return Charging::Now(self.0.here.charge(charges, now));
        }
        let inner = Arc::clone(&self.0);
        let charges = charges.to_vec();
        let mut answers: Later = Box::pin(async move { inner.charge(&charges).await });
        // Where leases are enough, there is nothing to wait for.
        let mut nobody = Context::from_waker(Waker::noop());
        match answers.as_mut().poll(&mut nobody) {
            Poll::Ready(answers) => Charging::Now(answers),
            Poll::Pending => Charging::Later(answers),
        }
    }

    fn settle(&self, settlements: &[Settlement], now: Timestamp) {
        let mut elsewhere = Vec::new();
        for settlement in settlements {
            let (charge, act) = settlement;
            match charge.settled_by(*act) {
                SettledBy::Here => self.0.here.settle(std::slice::from_ref(settlement), now),
                SettledBy::Lease => {
                    self.0.leases.of(&charge.key).act(*act, charge, now);
                    self.0.look_after_leases();
                }
                SettledBy::Counter => elsewhere.push(settlement.clone()),
            }
        }
        // Where no runtime is left, this process ends. What it holds expires.
        if let Ok(runtime) = Handle::try_current()
            && !elsewhere.is_empty()
        {
            let inner = Arc::clone(&self.0);
            runtime.spawn(async move { inner.inform(elsewhere, true).await });
        }
    }

    fn end(&self) -> Ending {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.give_back(true).await })
    }

    fn faults(&self) -> Vec<(StoreFault, u64)> {
        self.0.store.faults()
    }

    fn is_lost(&self) -> bool {
        self.0.store.is_lost()
    }
}

impl Inner {
    async fn charge(self: &Arc<Self>, charges: &[Charge]) -> Vec<Charged> {
        // What the store is not told is still owed, also when nobody waits any more.
        let mut owing = guard(self.owing(charges), |owing| self.put_back(&owing.untold()));
        let owed = owing.amounts(charges, self.clock.now());
        let mut round = Round::new(charges, self.layout, &owed);
        loop {
            let asks = round.asks();
            if asks.is_empty() {
                return round.finish();
            }
            let mut asked = Vec::with_capacity(asks.len());
            for ask in asks {
                let acts = round.acts(ask);
                asked.push(async move { (ask, self.answer(ask, &acts).await, acts) });
            }
            for (ask, answers, acts) in join_all(asked).await {
                self.put_back(&owing.asked(ask, &acts, answers.is_ok()));
                round.answer(ask, answers);
            }
        }
    }

    async fn answer(
        self: &Arc<Self>,
        ask: Ask,
        acts: &[(Charge, Act)],
    ) -> Result<Vec<Answer>, StoreFault> {
        match ask.place {
            Place::Here => {
                let stands_in = |(charge, _): &(Charge, Act)| {
                    matches!(charge.limit.on_store_error, OnStoreError::Local { .. })
                };
                if acts.iter().any(stands_in) {
                    self.has_stood_in.store(true, Ordering::Relaxed);
                }
                Ok(self.here.act(acts, self.clock.now()))
            }
            Place::Leased(_) => {
                let mut answers = Vec::with_capacity(acts.len());
                for (charge, act) in acts {
                    answers.push(self.leased(*act, charge).await?);
                }
                Ok(answers)
            }
            Place::Apart(_) => self.store.ask(acts).await,
        }
    }

    /// Does what a counter is asked of which this node holds something, or takes more of it.
    async fn leased(self: &Arc<Self>, act: Act, charge: &Charge) -> Result<Answer, StoreFault> {
        let now = self.clock.now();
        // The lock ends with this line.
        let known = self.leases.of(&charge.key).act(act, charge, now);
        let more = match known {
            Leased::Known(answer) => {
                self.ask_ahead(charge);
                return Ok(answer);
            }
            Leased::Ask(more) => more,
        };
        self.look_after_leases();
        // Whoever leaves has not been answered.
        let more = guard(more, |more| {
            self.leases.of(&charge.key).unanswered(charge, more);
        });
        let lease = Act::Lease { most: more.most };
        let answers = self.store.ask(&[(charge.clone(), lease)]).await?;
        let given = answers.first().ok_or(StoreFault::Broken)?;
        let more = ScopeGuard::into_inner(more);
        let now = self.clock.now();
        let mut leases = self.leases.of(&charge.key);
        Ok(leases.answered(act, charge, more, given, now))
    }

    /// Takes more of a counter before it is needed.
    fn ask_ahead(self: &Arc<Self>, charge: &Charge) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let Some(more) = self
            .leases
            .of(&charge.key)
            .ask_ahead(charge, self.clock.now())
        else {
            return;
        };
        let (inner, charge) = (Arc::clone(self), charge.clone());
        runtime.spawn(async move {
            let lease = Act::Lease { most: more.most };
            let answers = inner.store.ask(&[(charge.clone(), lease)]).await;
            let mut leases = inner.leases.of(&charge.key);
            match answers.as_deref() {
                Ok([given]) => leases.take_in(&charge, more, given, inner.clock.now()),
                Ok(_) | Err(_) => leases.unanswered(&charge, more),
            }
        });
    }

    /// Has what is not used given back, until nothing is held any more.
    fn look_after_leases(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if self.is_looked_after.swap(true, Ordering::Relaxed) {
            return;
        }
        let inner = Arc::clone(self);
        runtime.spawn(async move {
            // A runtime that ends takes this with it; the next lease begins it anew.
            let _ended = guard((), |()| {
                inner.is_looked_after.store(false, Ordering::Relaxed);
            });
            while !inner.leases.is_empty() {
                tokio::time::sleep(LOOKED_AFTER_EVERY).await;
                inner.give_back(false).await;
            }
        });
    }

    /// Gives back what was not used for a while, or all that is held at the end of the node, which
    /// waits for no store that is away.
    async fn give_back(&self, all: bool) {
        let rests = self.leases.rests(self.clock.now(), all);
        self.inform(rests, !all).await;
    }

    /// Tells counters something of which nobody waits for the answer, not too many at once.
    async fn inform(&self, acts: Vec<(Charge, Act)>, perseveres: bool) {
        let acts = futures_util::stream::iter(acts);
        acts.for_each_concurrent(INFORMED_AT_ONCE, |act| self.store.inform(act, perseveres))
            .await;
    }

    /// Takes what this node owes to counters. While the store is not asked, nobody could tell it.
    fn owing(&self, charges: &[Charge]) -> Owing {
        if !self.has_stood_in.load(Ordering::Relaxed) || self.store.is_resting() {
            return Owing::default();
        }
        Owing::take(charges, |key| self.here.take(key))
    }

    fn put_back(&self, stood_in: &[StoodIn]) {
        for stood_in in stood_in {
            self.here.put_back(stood_in, self.clock.now());
        }
    }
}
