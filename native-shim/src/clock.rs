//! The time that exchanges are given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_core::{Millis, Timestamp};

/// Where `now` comes from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A number that a test moves. Waiting for time to pass moves it too.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Makes a clock that stands still at `start` until it is moved.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(start.as_millis())))
    }

    /// Reads the clock.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::from_millis(system_millis()),
            Self::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock to `to`, never back; the system's clock moves by itself.
    pub fn advance_to(&self, to: Timestamp) {
        match self {
            Self::System => {}
            Self::Manual(millis) => {
                millis.fetch_max(to.as_millis(), Ordering::Relaxed);
            }
        }
    }

    /// Lets time pass: sleeps, or moves a manual clock at once.
    pub(crate) async fn sleep_until(&self, until: Timestamp) {
        match self {
            Self::System => tokio::time::sleep(self.remaining(until)).await,
            Self::Manual(_) => self.advance_to(until),
        }
    }

    pub(crate) fn remaining(&self, until: Timestamp) -> Duration {
        let left: Millis = until.since(self.now());
        Duration::from_millis(left)
    }
}

fn system_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
