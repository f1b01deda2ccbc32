//! Counters in Redis, which all pods share.
//!
//! What is asked, in which order, and what it means if nobody answers, is said by
//! [`tidegate_core::limit::round::Round`]; what a node may count for itself is counted in its memory.

mod connection;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_core::limit::round::{Ask, Layout, Place, Round};
use tidegate_core::limit::{
    Act, Answer, Charge, Charged, CounterStore, Mode, OnStoreError, Slot, StoreFault, StoreKind,
};
use tidegate_core::{Policy, Timestamp};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::counters::{Charging, Counters};
use crate::limits::Limits;
use crate::node::Node;
use crate::tls::{TlsError, TlsFiles};
use connection::Connector;
use store::Store;

pub use connection::Credentials;

/// Counters that pods share.
#[derive(Debug)]
pub struct SharedCounters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    layout: Layout,
    /// What this node counts for itself.
    here: Arc<Limits>,
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
        let layout = match policy.kind {
            StoreKind::Server | StoreKind::Sentinel { .. } => Layout::Together,
            StoreKind::Cluster => Layout::ByHome,
        };
        Ok(Self(Arc::new(Inner {
            store: Store::new(connector, policy, clock.clone()),
            layout,
            here,
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
        Charging::Later(Box::pin(async move { inner.charge(&charges).await }))
    }

    fn release(&self, slots: &[Slot], now: Timestamp) {
        let mut elsewhere = Vec::new();
        for slot in slots {
            if slot.charge.limit.mode == Mode::Local {
                self.0.here.release(std::slice::from_ref(slot), now);
            } else {
                elsewhere.push(slot.clone());
            }
        }
        // Where no runtime is left, this process ends, and what it holds expires.
        if let Ok(runtime) = Handle::try_current()
            && !elsewhere.is_empty()
        {
            let inner = Arc::clone(&self.0);
            runtime.spawn(async move { inner.release(elsewhere).await });
        }
    }

    fn faults(&self) -> Vec<(StoreFault, u64)> {
        self.0.store.faults()
    }

    fn is_lost(&self) -> bool {
        self.0.store.is_lost()
    }
}

impl Inner {
    async fn charge(&self, charges: &[Charge]) -> Vec<Charged> {
        let now = self.clock.now();
        let mut round = Round::new(charges, self.layout, |charge| self.owed(charge, now));
        loop {
            let asks = round.asks();
            if asks.is_empty() {
                return round.finish();
            }
            let mut asked = Vec::with_capacity(asks.len());
            for ask in asks {
                let acts = round.acts(ask);
                asked.push(async move { (ask, self.answer(ask, acts).await) });
            }
            for (ask, answers) in futures_util::future::join_all(asked).await {
                round.answer(ask, answers);
            }
        }
    }

    async fn answer(&self, ask: Ask, acts: Vec<(Charge, Act)>) -> Result<Vec<Answer>, StoreFault> {
        match ask.place {
            Place::Here => {
                let stands_in = |(charge, _): &(Charge, Act)| {
                    matches!(charge.limit.on_store_error, OnStoreError::Local { .. })
                };
                if acts.iter().any(stands_in) {
                    self.has_stood_in.store(true, Ordering::Relaxed);
                }
                Ok(self.here.act(&acts, self.clock.now()))
            }
            Place::Leased(_) | Place::Apart(_) => self.store.ask(&acts).await,
        }
    }

    /// Returns what this node has let pass by itself; the store is told when it is charged. While the
    /// store is not asked, nobody could tell it.
    fn owed(&self, charge: &Charge, now: Timestamp) -> u64 {
        let may_owe = matches!(charge.limit.on_store_error, OnStoreError::Local { .. })
            && charge.limit.mode != Mode::Local
            && self.has_stood_in.load(Ordering::Relaxed)
            && !self.store.is_lost();
        if !may_owe {
            return 0;
        }
        let state = self.here.take(&charge.key);
        state.map_or(0, |state| charge.owed(state, now))
    }

    /// Gives slots back. What the store does not hear of expires.
    async fn release(&self, slots: Vec<Slot>) {
        let released = slots.into_iter().map(|slot| async move {
            let act = Act::Refund(slot.period_end);
            // The store has said already that it is lost.
            let _ = self.store.ask(&[(slot.charge, act)]).await;
        });
        futures_util::future::join_all(released).await;
    }
}
