//! A store of counters that several nodes share: what a policy says of it, and how a node gets along
//! with it.

use std::sync::Arc;

use super::charge::StoreFault;
use super::round::Layout;
use super::script::SKEW_OF_CALLER;
use crate::breaker::{Breaker, BreakerPolicy, Outcome, Permit, StateName, Window};
use crate::packed::{packed_enum, packed_struct};
use crate::time::{Millis, Timestamp};

/// Where limits are counted in pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// The store that pods share; without one each counts in its memory.
    pub store: Option<CounterStore>,
    /// How many nodes count together, at most.
    pub nodes: u32,
}

packed_struct!(Counters { store, nodes });

/// A store that pods share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterStore {
    /// What it is.
    pub kind: StoreKind,
    /// Hosts and ports.
    pub addresses: Vec<(String, u16)>,
    /// Number of the database.
    pub database: u16,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// How long a request waits for its counters.
    pub timeout: Millis,
    /// How TLS is made; none is plain text.
    pub tls: Option<StoreTls>,
}

packed_struct!(CounterStore {
    kind,
    addresses,
    database,
    prefix,
    timeout,
    tls
});

/// What a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// One server of Redis or Valkey.
    Server,
    /// The master that Sentinels name.
    Sentinel {
        /// Its name.
        master: String,
    },
    /// A cluster.
    Cluster,
}

impl StoreKind {
    /// Says which counters in it can be charged in one go.
    pub const fn layout(&self) -> Layout {
        match self {
            Self::Server | Self::Sentinel { .. } => Layout::Together,
            Self::Cluster => Layout::ByHome,
        }
    }
}

packed_enum!(StoreKind { 0 = Server, 1 = Sentinel { master }, 2 = Cluster });

/// TLS to a store. Files are relative to the policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTls {
    /// Certificate authorities to trust instead of the public ones.
    pub ca: Option<String>,
    /// Certificate chain and key.
    pub client_certificate: Option<(String, String)>,
}

packed_struct!(StoreTls {
    ca,
    client_certificate
});

/// How a node gets along with a store: whether it is worth to be asked, and how far its clock is
/// from this node's.
///
/// Why: a store that is down must not cost every request its patience, and a node whose clock is
/// wrong must not spoil the counts of all. So the store has a circuit of its own, and this node
/// takes its time as far as its own one differs by more than it may.
#[derive(Debug)]
pub struct StoreHealth {
    breaker: Breaker,
    rule: BreakerPolicy,
    /// The store's time less this node's, in milliseconds.
    ahead: i64,
}

/// What has changed with an answer, or with none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreChange {
    /// It is not asked any more for a while.
    Lost,
    /// It can be asked again.
    Back,
}

impl Default for StoreHealth {
    fn default() -> Self {
        let rule = BreakerPolicy {
            name: Arc::from("counters"),
            index: 0,
            window: Window::Calls(20),
            failure_rate: 50,
            slow_call: Millis::MAX,
            slow_rate: 100,
            minimum_calls: 5,
            open: 1000,
            half_open_permits: 1,
            failure_statuses: Vec::new(),
        };
        Self {
            breaker: Breaker::new(&rule),
            rule,
            ahead: 0,
        }
    }
}

impl StoreHealth {
    /// Asks whether the store is worth to be asked. `patience` is how long an answer is waited for.
    ///
    /// # Errors
    /// It has failed several times, and is left alone for a second.
    pub fn ask(&mut self, patience: Millis, now: Timestamp) -> Result<Permit, StoreFault> {
        self.breaker
            .acquire(&self.rule, patience, now)
            .map_err(|_| StoreFault::Resting)
    }

    /// Learns what came of asking; nothing if nobody waited for it to the end.
    pub fn ended(
        &mut self,
        permit: Permit,
        outcome: Option<Result<(), StoreFault>>,
        now: Timestamp,
    ) -> Option<StoreChange> {
        let was = self.breaker.state();
        let outcome = outcome.map(|outcome| Outcome {
            failed: outcome.is_err(),
            took: 0,
        });
        self.breaker.record(&self.rule, permit, outcome, now);
        match (was, self.breaker.state()) {
            (StateName::Closed, StateName::Open) => Some(StoreChange::Lost),
            (StateName::HalfOpen, StateName::Closed) => Some(StoreChange::Back),
            _ => None,
        }
    }

    /// Returns whether it is left alone at the moment, or tried again.
    pub fn is_lost(&self) -> bool {
        self.breaker.state() != StateName::Closed
    }

    /// Returns whether it is left alone at the moment.
    pub fn is_resting(&self, now: Timestamp) -> bool {
        let is_open = self.breaker.state() == StateName::Open;
        let until = self.breaker.poll_timeout(&self.rule);
        is_open && until.is_some_and(|until| until > now)
    }

    /// Returns the time by which counters are charged: this node's, unless that is too far from the
    /// store's.
    pub fn time(&self, now: Timestamp) -> Timestamp {
        // Less than a store accepts, since an answer takes some time too.
        let most = i64::try_from(SKEW_OF_CALLER / 5 * 4).unwrap_or(0);
        let too_much = match self.ahead {
            ahead if ahead > most => ahead - most,
            ahead if ahead < -most => ahead + most,
            _ => 0,
        };
        let now = now.as_millis();
        Timestamp::from_millis(now.saturating_add_signed(too_much))
    }

    /// Learns the store's time.
    pub fn learn(&mut self, store: Timestamp, now: Timestamp) {
        let (store, now) = (store.as_millis(), now.as_millis());
        self.ahead = store.checked_signed_diff(now).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn asked(
        health: &mut StoreHealth,
        outcome: Result<(), StoreFault>,
        now: Timestamp,
    ) -> Option<StoreChange> {
        let permit = health.ask(20, now).unwrap();
        health.ended(permit, Some(outcome), now)
    }

    #[test]
    fn a_store_that_fails_is_left_alone_for_a_second_and_tried_by_one() {
        let mut health = StoreHealth::default();
        let slow = Err(StoreFault::Slow);
        for _ in 0..4 {
            assert_eq!(asked(&mut health, slow, NOW), None);
        }
        assert_eq!(asked(&mut health, slow, NOW), Some(StoreChange::Lost));
        assert_eq!(health.ask(20, NOW.plus(999)), Err(StoreFault::Resting));
        let later = NOW.plus(1000);
        assert!(health.is_resting(NOW.plus(999)) && !health.is_resting(later));
        let permit = health.ask(20, later).unwrap();
        assert_eq!(health.ask(20, later), Err(StoreFault::Resting));
        assert_eq!(health.ended(permit, Some(slow), later), None);
        let later = NOW.plus(2000);
        assert_eq!(asked(&mut health, Ok(()), later), Some(StoreChange::Back));
        assert!(!health.is_lost());
    }

    #[test]
    fn a_clock_that_is_wrong_follows_the_stores() {
        let mut health = StoreHealth::default();
        for (store, time) in [
            (NOW, NOW),
            (NOW.plus(3000), NOW),
            (NOW.plus(3_600_000), NOW.plus(3_596_000)),
            (
                Timestamp::from_millis(NOW.as_millis() - 3_600_000),
                Timestamp::from_millis(NOW.as_millis() - 3_596_000),
            ),
        ] {
            health.learn(store, NOW);
            assert_eq!(health.time(NOW), time, "{store:?}");
            let apart = time.as_millis().abs_diff(store.as_millis());
            assert!(apart <= SKEW_OF_CALLER);
        }
    }
}
