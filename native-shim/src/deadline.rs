//! A deadline that is moved often and passes seldom.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline. Moving it later costs nothing: the timer below stays where it is, and is set again
/// when it fires too early.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Instant,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Self {
            at: Instant::now() + time,
            timer: None,
        }
    }

    pub(crate) fn set(&mut self, time: Duration) {
        self.at = Instant::now() + time;
    }

    /// Moves it later by this time.
    pub(crate) fn extend(&mut self, time: Duration) {
        self.at += time;
    }

    /// Returns ready when the deadline has passed; otherwise wakes the task then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let at = self.at;
            let (armed, timer) = self
                .timer
                .get_or_insert_with(|| (at, Box::pin(sleep_until(at))));
            if at < *armed {
                *armed = at;
                timer.as_mut().reset(at);
            }
            // A task that has used up its turn is told by no timer that its time is over: somebody
            // who sends without a pause could hold it for ever.
            let may_ask_timer = tokio::task::coop::has_budget_remaining();
            if may_ask_timer && timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if !may_ask_timer && Instant::now() < at {
                return Poll::Pending;
            }
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            *armed = at;
            timer.as_mut().reset(at);
        }
    }
}
