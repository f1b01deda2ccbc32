//! An exchange waits: for another one's fetch, for the time to try an origin again, or for keys.

use super::hold::Ended;
use super::step::{AwaitEvent, Event, Step, Then};
use super::{fetch, finish};
use crate::time::Timestamp;

impl AwaitEvent {
    /// Returns the latest time at which to resume.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Returns what is waited for. A shell that learns of it before the latest time may resume then.
    pub fn event(&self) -> Event<'_> {
        match &self.then {
            Then::LookUp(lookup) => Event::FetchEnds(lookup.key()),
            Then::TryAgain(..) => Event::Moment,
            Then::Identify(_) => Event::KeysCome,
        }
    }

    /// Returns whether the wait is over. A shell that cannot be woken asks now and then.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let ended = match &self.then {
            Then::LookUp(lookup) => !lookup.exchange.node.flights().is_led(lookup.key(), now),
            Then::TryAgain(..) => false,
            Then::Identify(identifying) => identifying.is_over(now),
        };
        ended || now >= self.until
    }

    /// Ends the exchange without an answer: its client has gone, or this node stops.
    pub fn abandon(self, now: Timestamp) -> Ended {
        let exchange = match self.then {
            Then::LookUp(lookup) => lookup.exchange,
            Then::TryAgain(fetching) => fetching.exchange,
            Then::Identify(identifying) => identifying.exchange,
        };
        finish::abandoned(*exchange, now)
    }

    /// Goes on.
    pub fn resume(self, now: Timestamp) -> Step {
        match self.then {
            Then::LookUp(lookup) => lookup.ask_again(now),
            Then::TryAgain(fetching) => fetch::again(fetching, now),
            Then::Identify(identifying) => identifying.again(now),
        }
    }
}
