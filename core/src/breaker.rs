//! Circuit breakers: Closed, Open, `HalfOpen`.
//!
//! Why: an origin that fails or crawls must not take its callers down with it, and needs quiet to
//! recover. A circuit opens when, over its window and at least `minimum_calls`, the share of failed
//! or of slow calls reaches its threshold. It recovers through `HalfOpen`: a few permits are given
//! out; when all of them have answered, their failure share closes or opens the circuit again.
//!
//! A permit ends exactly once, with its outcome, or expires. A permit of an older generation never
//! moves the state. Nothing here needs a timer: every deadline is looked at when the next call
//! comes. What is remembered is when something began, not when it ends: a beginning that lies in
//! the future, because the clock was set back, is taken to be now, so nothing lasts longer than its
//! rule says from then on.

mod policy;
mod window;

use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::time::{Millis, Timestamp};
use window::{Tally, reaches};

pub use policy::{BreakerPolicy, Window};

/// Leave to call an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    generation: u64,
    /// Number of the lease while half open.
    lease: Option<u32>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it counts as a failure.
    pub failed: bool,
    /// For how long its origin was waited for, from sending the request to the response's head or
    /// the failure.
    pub took: Millis,
}

/// The state's name, for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StateName {
    /// Calls pass and are counted.
    Closed,
    /// No call passes.
    Open,
    /// A few calls pass, to try the origin.
    HalfOpen,
}

/// The state of one origin under one rule.
#[derive(Debug, Clone)]
pub struct Breaker {
    /// Counts transitions; a permit carries the generation it was given in.
    generation: u64,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Closed(Tally),
    Open { since: Timestamp },
    HalfOpen(Trial),
}

/// What is known of the calls tried while half open.
#[derive(Debug, Clone, Default)]
struct Trial {
    leases: Vec<Lease>,
    /// Leases given so far.
    given: u32,
    answered: u32,
    failed: u32,
    slow: u32,
}

/// A call that is being tried.
#[derive(Debug, Clone, Copy)]
struct Lease {
    number: u32,
    since: Timestamp,
    lasts: Millis,
    /// Whether the response's head has come, and then whether it was slow.
    head: Option<bool>,
}

/// A call is tried again no sooner than this while others are under way.
const PATIENCE: Millis = 1000;

impl Breaker {
    /// Makes a closed breaker that has seen nothing.
    pub fn new(rule: &BreakerPolicy) -> Self {
        Self {
            generation: 0,
            state: State::Closed(Tally::new(rule.window)),
        }
    }

    /// Returns the state's name, without moving it.
    pub fn state(&self) -> StateName {
        match self.state {
            State::Closed(_) => StateName::Closed,
            State::Open { .. } => StateName::Open,
            State::HalfOpen(_) => StateName::HalfOpen,
        }
    }

    /// Asks for a permit that expires `lease` from now.
    ///
    /// # Errors
    /// Returns when it is worth asking again.
    pub fn acquire(
        &mut self,
        rule: &BreakerPolicy,
        lease: Millis,
        now: Timestamp,
    ) -> Result<Permit, Timestamp> {
        self.handle_timeout(rule, now);
        match &mut self.state {
            State::Closed(_) => Ok(Permit {
                generation: self.generation,
                lease: None,
            }),
            State::Open { since } => Err(since.plus(rule.open)),
            State::HalfOpen(trial) => {
                let number = trial.lease(rule, lease.max(1), now)?;
                Ok(Permit {
                    generation: self.generation,
                    lease: Some(number),
                })
            }
        }
    }

    /// Returns when the circuit next moves of its own accord: to half open, or because calls that
    /// are tried have taken too long.
    pub fn poll_timeout(&self, rule: &BreakerPolicy) -> Option<Timestamp> {
        match &self.state {
            State::Closed(_) => None,
            State::Open { since } => Some(since.plus(rule.open)),
            State::HalfOpen(trial) => {
                let ends = trial
                    .leases
                    .iter()
                    .map(|lease| lease.since.plus(lease.lasts));
                ends.min()
            }
        }
    }

    /// Lets the circuit move. Asking for a permit does so too.
    pub fn handle_timeout(&mut self, rule: &BreakerPolicy, now: Timestamp) {
        match &mut self.state {
            State::Closed(_) => {}
            State::Open { since } => {
                if now.since_guarded(since) >= rule.open {
                    self.enter(State::HalfOpen(Trial::default()));
                }
            }
            State::HalfOpen(trial) => {
                trial.end_expired(now);
                // Calls whose bodies go on for longer than a call may be tried have answered well.
                self.conclude(rule, now);
            }
        }
    }

    /// Takes a permit back with the call's outcome, or with `None` when the call says nothing about
    /// the origin. Returns the new state if it moved.
    pub fn record(
        &mut self,
        rule: &BreakerPolicy,
        permit: Permit,
        outcome: Option<Outcome>,
        now: Timestamp,
    ) -> Option<StateName> {
        if permit.generation != self.generation {
            return None;
        }
        match &mut self.state {
            State::Closed(tally) => {
                let outcome = outcome?;
                tally.add(outcome.failed, outcome.took >= rule.slow_call, now);
                tally.trips(rule).then(|| self.open(now))
            }
            State::Open { .. } => None,
            State::HalfOpen(trial) => {
                trial.take(permit)?;
                let outcome = outcome?;
                trial.count(outcome.failed, outcome.took >= rule.slow_call);
                self.conclude(rule, now)
            }
        }
    }

    /// Learns that a response's head came well, `took` after it was asked for. A closed circuit
    /// counts the call now, and may be told worse by [`Breaker::ended`]; a half-open one waits for
    /// the body, at most until the permit expires. Returns the new state if it moved.
    pub fn answered(
        &mut self,
        rule: &BreakerPolicy,
        permit: Permit,
        took: Millis,
        now: Timestamp,
    ) -> Option<StateName> {
        if permit.generation != self.generation {
            return None;
        }
        let slow = took >= rule.slow_call;
        match &mut self.state {
            State::Closed(tally) => {
                tally.add(false, slow, now);
                tally.trips(rule).then(|| self.open(now))
            }
            State::Open { .. } => None,
            State::HalfOpen(trial) => {
                if let Some(lease) = trial
                    .leases
                    .iter_mut()
                    .find(|lease| Some(lease.number) == permit.lease)
                {
                    lease.head = Some(slow);
                }
                None
            }
        }
    }

    /// Learns how the body ended whose head came well: whether it failed, and whether it made slow
    /// a call that was not slow by its head. Returns the new state if it moved.
    pub fn ended(
        &mut self,
        rule: &BreakerPolicy,
        permit: Permit,
        failed: bool,
        made_slow: bool,
        now: Timestamp,
    ) -> Option<StateName> {
        if permit.generation != self.generation {
            return None;
        }
        match &mut self.state {
            State::Closed(tally) => {
                tally.worsen(failed, made_slow, now);
                tally.trips(rule).then(|| self.open(now))
            }
            State::Open { .. } => None,
            State::HalfOpen(trial) => {
                let lease = trial.take(permit)?;
                trial.count(failed, made_slow || lease.head == Some(true));
                self.conclude(rule, now)
            }
        }
    }

    /// Closes or opens a half-open circuit when all calls that are tried have answered.
    fn conclude(&mut self, rule: &BreakerPolicy, now: Timestamp) -> Option<StateName> {
        let State::HalfOpen(trial) = &self.state else {
            return None;
        };
        if trial.answered < rule.half_open_permits {
            return None;
        }
        let bad = reaches(trial.failed, trial.answered, rule.failure_rate)
            || reaches(trial.slow, trial.answered, rule.slow_rate);
        if bad {
            return Some(self.open(now));
        }
        self.enter(State::Closed(Tally::new(rule.window)));
        Some(StateName::Closed)
    }

    fn open(&mut self, now: Timestamp) -> StateName {
        self.enter(State::Open { since: now });
        StateName::Open
    }

    fn enter(&mut self, state: State) {
        self.generation = self.generation.wrapping_add(1);
        self.state = state;
    }
}

impl Trial {
    /// Gives a lease out, or says when it is worth asking again: when a call that is tried will
    /// probably have answered. How long that takes nobody knows; as long again as it has taken
    /// already is a fair guess.
    fn lease(
        &mut self,
        rule: &BreakerPolicy,
        lasts: Millis,
        now: Timestamp,
    ) -> Result<u32, Timestamp> {
        let in_flight = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        if in_flight.saturating_add(self.answered) >= rule.half_open_permits {
            let again = self
                .leases
                .iter()
                .map(|lease| lease.worth_asking(now))
                .min();
            return Err(again.unwrap_or(now));
        }
        let number = self.given;
        self.given = self.given.wrapping_add(1);
        self.leases.push(Lease {
            number,
            since: now,
            lasts,
            head: None,
        });
        Ok(number)
    }

    fn take(&mut self, permit: Permit) -> Option<Lease> {
        let position = self
            .leases
            .iter()
            .position(|lease| Some(lease.number) == permit.lease)?;
        Some(self.leases.swap_remove(position))
    }

    fn count(&mut self, failed: bool, slow: bool) {
        self.answered = self.answered.saturating_add(1);
        self.failed += u32::from(failed);
        self.slow += u32::from(slow);
    }

    /// Forgets calls that are lost, and counts those whose head has come.
    fn end_expired(&mut self, now: Timestamp) {
        let (mut answered, mut slow) = (0, 0);
        self.leases.retain_mut(|lease| {
            let runs = now.since_guarded(&mut lease.since) < lease.lasts;
            if let Some(was_slow) = lease.head.filter(|_| !runs) {
                answered += 1;
                slow += u32::from(was_slow);
            }
            runs
        });
        self.answered = self.answered.saturating_add(answered);
        self.slow += slow;
    }
}

impl Lease {
    fn worth_asking(&self, now: Timestamp) -> Timestamp {
        let as_long_again = now.plus(now.since(self.since).max(PATIENCE));
        as_long_again.min(self.since.plus(self.lasts))
    }
}

#[cfg(test)]
mod tests;
