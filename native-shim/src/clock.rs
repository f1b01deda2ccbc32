//! The time that exchanges are given.
//!
//! Durations must not depend on who sets the system's clock: an hour back would keep clients out
//! for an hour, an hour ahead would give everybody a new quota. So the time is that of the system
//! when the process started, and goes on with its monotonic clock. Dates of HTTP need the true time
//! of day, so it is led back to the system's clock, by at most a tenth of the time that passes: a
//! second's difference is gone after ten.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_core::{Millis, Timestamp};

/// Where `now` comes from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's clock, without its steps.
    #[default]
    System,
    /// A number that a test moves. Waiting for time to pass moves it too.
    Manual(Arc<AtomicU64>),
    /// The time of the runtime since then, which a test may pause.
    #[cfg(test)]
    Paused(tokio::time::Instant),
}

impl Clock {
    /// Makes a clock that stands still at `start` until it is moved.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(start.as_millis())))
    }

    /// Reads the clock.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::from_millis(STEADY.now()),
            Self::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::Relaxed)),
            #[cfg(test)]
            Self::Paused(since) => {
                let passed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                Timestamp::from_millis(1_800_000_000_000 + passed)
            }
        }
    }

    /// Moves a manual clock to `to`, never back; the system's clock moves by itself.
    pub fn advance_to(&self, to: Timestamp) {
        match self {
            Self::System => {}
            #[cfg(test)]
            Self::Paused(_) => {}
            Self::Manual(millis) => {
                millis.fetch_max(to.as_millis(), Ordering::Relaxed);
            }
        }
    }

    /// Lets time pass: sleeps, or moves a manual clock at once.
    pub(crate) async fn sleep_until(&self, until: Timestamp) {
        match self {
            Self::System => tokio::time::sleep(self.remaining(until)).await,
            #[cfg(test)]
            Self::Paused(_) => tokio::time::sleep(self.remaining(until)).await,
            Self::Manual(_) => self.advance_to(until),
        }
    }

    /// Moves a manual clock at once, and returns whether it is one: nobody need wait.
    pub(crate) fn jumps_to(&self, until: Timestamp) -> bool {
        self.advance_to(until);
        matches!(self, Self::Manual(_))
    }

    pub(crate) fn remaining(&self, until: Timestamp) -> Duration {
        let left: Millis = until.since(self.now());
        Duration::from_millis(left)
    }
}

/// The clock of this process.
static STEADY: LazyLock<Steady> = LazyLock::new(|| Steady::new(system_millis()));

/// How often the system's clock is looked at.
const LOOKED_EVERY: u64 = 10;

/// Milliseconds that go on steadily from a point in time.
#[derive(Debug)]
struct Steady {
    began: Instant,
    wall: u64,
    /// What has been added so far to follow the system's clock.
    offset: AtomicI64,
    /// When that was last looked at, in milliseconds after the beginning.
    looked: AtomicU64,
}

impl Steady {
    fn new(wall: u64) -> Self {
        Self {
            began: Instant::now(),
            wall,
            offset: AtomicI64::new(0),
            looked: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at(passed, system_millis)
    }

    /// Says what time it is so many milliseconds after the beginning.
    fn at(&self, passed: u64, wall: impl FnOnce() -> u64) -> u64 {
        let looked = self.looked.load(Ordering::Relaxed);
        let since = passed.saturating_sub(looked);
        let mine = since >= LOOKED_EVERY
            && self
                .looked
                .compare_exchange(looked, passed, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            let ahead = wall().checked_signed_diff(self.told(passed)).unwrap_or(0);
            let most = i64::try_from(since / 10).unwrap_or(i64::MAX);
            self.offset
                .fetch_add(ahead.clamp(-most, most), Ordering::Relaxed);
        }
        self.told(passed)
    }

    fn told(&self, passed: u64) -> u64 {
        self.wall
            .saturating_add(passed)
            .saturating_add_signed(self.offset.load(Ordering::Relaxed))
    }
}

fn system_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_700_000_000_000;
    const HOUR: i64 = 3_600_000;

    /// What a clock says after a minute, in steps of ten milliseconds, of a system whose clock was
    /// set by so much at the beginning.
    fn after_a_minute(set_by: i64) -> u64 {
        let clock = Steady::new(NOON);
        let mut told = NOON;
        for passed in (0..=60_000).step_by(10) {
            let now = clock.at(passed, || (NOON + passed).saturating_add_signed(set_by));
            assert!(now >= told, "it never goes back");
            told = now;
        }
        told - NOON
    }

    #[test]
    fn steps_of_the_systems_clock_are_followed_slowly() {
        assert_eq!(after_a_minute(0), 60_000);
        assert_eq!(after_a_minute(-HOUR), 54_000);
        assert_eq!(after_a_minute(HOUR), 66_000);
        assert_eq!(after_a_minute(-1000), 59_000, "what is small is made good");
        assert_eq!(after_a_minute(1000), 61_000);
    }
}
