//! A request on its way to origins: which one is asked next, and what is remembered of those that
//! were.

use std::sync::Arc;

use super::state::{Caching, Exchange};
use crate::breaker::Permit;
use crate::cache::SentAt;
use crate::problem::Refusal;
use crate::report::{AttemptOutcome, AttemptReport, Happening};
use crate::route::{Origin, steering};
use crate::time::{Millis, Timestamp};

/// An exchange whose origins are asked.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) exchange: Box<Exchange>,
    pub(super) caching: Option<Caching>,
    /// Positions in the pool, best first.
    order: Vec<usize>,
    /// Positions looked at so far; beyond the length of `order` it begins again.
    looked_at: usize,
    /// Attempts that may have reached an origin.
    pub(super) sent: u8,
    /// Attempts made.
    pub(super) made: u8,
    /// Whether the pause before trying an origin again is over.
    paused: bool,
    /// Why the client is refused when nothing is left to try.
    pub(super) refusal: Refusal,
    /// When the first open circuit gives permits again.
    reopens: Option<Timestamp>,
    /// Whether the client's own conditions are left out: a 304 has spoken of a response that nobody
    /// has.
    pub(super) unconditional: bool,
    /// Until when an origin asked to be left alone (Retry-After, RFC 9110, section 10.2.3).
    left_alone: Timestamp,
}

/// What comes next.
pub(super) enum Next {
    /// This origin is asked.
    Ask(Arc<Origin>, Option<Permit>),
    /// The next origin is asked after so long a pause.
    Pause(Millis),
    /// Nothing is left to try.
    Nothing,
}

impl Fetching {
    pub(super) fn new(mut exchange: Box<Exchange>, caching: Option<Caching>) -> Self {
        let order = steering::order(
            &exchange.route.pool,
            &exchange.request,
            &exchange.route.name,
        );
        let origins = &exchange.route.pool.origins;
        let names = order
            .iter()
            .filter_map(|position| origins.get(*position))
            .map(|origin| Arc::clone(&origin.name));
        exchange.report.origins = names.collect();
        Self {
            exchange,
            caching,
            order,
            looked_at: 0,
            sent: 0,
            made: 0,
            paused: false,
            refusal: Refusal::CircuitsOpen,
            reopens: None,
            unconditional: false,
            left_alone: Timestamp::default(),
        }
    }

    /// Looks for the next origin that a circuit permits to ask.
    pub(super) fn look(&mut self, now: Timestamp) -> Next {
        while self.looked_at < self.bound() {
            let again = self.looked_at >= self.order.len();
            if again && !self.paused && self.made > 0 {
                // An origin that wants more time than the rule allows is not asked again.
                if self.left_alone.since(now) > self.exchange.route.retry.backoff_max {
                    return Next::Nothing;
                }
                let pause = self.pause(now);
                if pause > 0 {
                    return Next::Pause(pause);
                }
            }
            let Some(origin) = self.take_position() else {
                return Next::Nothing;
            };
            match self.permit(&origin, now) {
                Ok(permit) => return Next::Ask(origin, permit),
                Err(until) => self.note_open(&origin, until, again),
            }
        }
        Next::Nothing
    }

    /// How many positions are looked at: each origin once, and again for each further attempt.
    fn bound(&self) -> usize {
        self.order.len() + usize::from(self.exchange.route.retry.attempts.saturating_sub(1))
    }

    /// Returns whether an origin may be asked after this attempt.
    pub(super) fn has_more(&self) -> bool {
        self.looked_at < self.bound()
    }

    /// Returns whether nobody will look at the client's header fields after this attempt, so that
    /// it may have them instead of a copy.
    pub(super) fn is_last(&self) -> bool {
        self.caching.is_none() && self.exchange.request.head.method.is_safe() && !self.has_more()
    }

    /// Looks for an origin to ask beside the attempt that is under way. If there is none, it is as if
    /// nobody had looked: what was not asked is still there for a repetition.
    pub(super) fn look_beside(&mut self, now: Timestamp) -> Option<(Arc<Origin>, Option<Permit>)> {
        if now < self.left_alone {
            return None;
        }
        let (looked_at, paused) = (self.looked_at, self.paused);
        let reported = self.exchange.report.attempts.len();
        // That the answer is late was the pause.
        self.paused = true;
        if let Next::Ask(origin, permit) = self.look(now) {
            return Some((origin, permit));
        }
        (self.looked_at, self.paused) = (looked_at, paused);
        self.exchange.report.attempts.truncate(reported);
        None
    }

    /// Returns the turn of the origin that was taken last.
    pub(super) fn turn(&self) -> usize {
        self.looked_at.saturating_sub(1)
    }

    /// Returns how long to wait before an origin is asked again.
    fn pause(&self, now: Timestamp) -> Millis {
        let seed = self.exchange.node.seed() ^ self.exchange.request.trace.id.low();
        let backoff = self
            .exchange
            .route
            .retry
            .pause(self.made.saturating_add(1), seed);
        backoff.max(self.left_alone.since(now))
    }

    fn take_position(&mut self) -> Option<Arc<Origin>> {
        let position = self
            .order
            .get(self.looked_at % self.order.len().max(1))
            .copied();
        self.looked_at += 1;
        self.exchange
            .route
            .pool
            .origins
            .get(position?)
            .map(Arc::clone)
    }

    fn permit(&self, origin: &Origin, now: Timestamp) -> Result<Option<Permit>, Timestamp> {
        let Some(rule) = &self.exchange.route.breaker else {
            return Ok(None);
        };
        let lease = origin
            .timeouts
            .connect
            .saturating_add(origin.timeouts.response);
        self.exchange
            .node
            .acquire(origin, rule, lease, now)
            .map(Some)
    }

    /// Notes an origin that is not asked, because its circuit is open `until` then.
    fn note_open(&mut self, origin: &Origin, until: Timestamp, again: bool) {
        self.reopens = Some(self.reopens.map_or(until, |reopens| reopens.min(until)));
        if !again {
            self.exchange.report.attempts.push(AttemptReport {
                number: None,
                origin: Arc::clone(&origin.name),
                region: origin.region.clone(),
                outcome: AttemptOutcome::CircuitOpen,
                status: None,
                took_ms: 0,
                circuit: None,
            });
        }
    }

    /// Begins an attempt. Returns its number, and when it is sent.
    pub(super) fn begin_attempt(&mut self, now: Timestamp) -> (u8, SentAt) {
        self.made = self.made.saturating_add(1);
        let report = &mut self.exchange.report;
        report.note_attempt(Happening::Fetch, self.made, now);
        // Nobody reads the body of the attempt before any more.
        self.exchange.call = None;
        self.paused = false;
        let asked = SentAt {
            at: now,
            epoch: self.exchange.node.purges().last(),
        };
        // After the number was read: a 304 must not make younger than a purge what that purge has
        // reached.
        if let Some(caching) = &mut self.caching {
            caching.forget_void(&self.exchange);
        }
        (self.made, asked)
    }

    /// The pause before an origin is tried again is over.
    pub(super) fn end_pause(&mut self) {
        self.paused = true;
    }

    /// An origin asks to be left alone until then.
    pub(super) fn heed(&mut self, left_alone: Timestamp) {
        self.left_alone = self.left_alone.max(left_alone);
    }

    /// Asks the origin of this turn once more, without conditions: its 304 has spoken of a response
    /// that nobody has.
    pub(super) fn ask_unconditionally(&mut self, turn: usize) {
        if let Some(caching) = &mut self.caching {
            caching.candidate = None;
            caching.others.clear();
        }
        self.unconditional = true;
        self.looked_at = turn;
    }

    /// Returns after how long the first open circuit gives permits again, if it is circuits that
    /// leave nothing to try.
    pub(super) fn reopens_in(&self, now: Timestamp) -> Option<Millis> {
        let reopens = self
            .reopens
            .filter(|_| self.refusal == Refusal::CircuitsOpen);
        reopens.map(|until| until.since(now))
    }
}
