//! Where limits are counted.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use tidegate_core::Timestamp;
use tidegate_core::exchange::Settlement;
use tidegate_core::limit::{Charge, Charged, StoreFault};

/// How long an exchange waits for counters. What has not answered then counts as unavailable, as the
/// limit's `on_store_error` says.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Where limits are counted, if not in this process ([`crate::Limits`]).
pub trait Counters: Debug + Send + Sync {
    /// Charges all limits of one request, or none if one refuses it. The answers are in the order
    /// of the charges; a missing one counts as unavailable.
    ///
    /// Counters that live apart are charged as [`tidegate_core::limit::round::Round`] says. When the
    /// future is dropped, what it has charged is not given back: slots of concurrency expire.
    fn charge(&self, charges: &[Charge], now: Timestamp) -> Charging;

    /// Does what counters are asked when an exchange has ended: gives back, or adds. Nobody waits for
    /// it.
    fn settle(&self, settlements: &[Settlement], now: Timestamp);

    /// Gives back what is held in advance: the node ends.
    fn end(&self) -> Ending {
        Box::pin(std::future::ready(()))
    }

    /// Says how often counters could not be asked, and why.
    fn faults(&self) -> Vec<(StoreFault, u64)> {
        Vec::new()
    }

    /// Returns whether counters are not asked at the moment, because that has failed several times.
    fn is_lost(&self) -> bool {
        false
    }
}

/// Answers that come later. An exchange waits for a second at most, and drops the future then, or
/// when its client leaves.
pub type Later = Pin<Box<dyn Future<Output = Vec<Charged>> + Send>>;

/// The end of what is held in advance.
pub type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What counters answer, one answer for each charge.
pub enum Charging {
    /// At once.
    Now(Vec<Charged>),
    /// Later.
    Later(Later),
}
