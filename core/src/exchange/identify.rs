//! Who a client is by its token: found, verified and read, if a limit of the route counts by what it
//! claims. A token that proves to be none is no reason to refuse a request: the origin may know it
//! by other means, and the limit says what counts instead.

use std::sync::Arc;

use super::hold::Ended;
use super::identifying::Identifying;
use super::state::Exchange;
use super::step::{AwaitEvent, AwaitSignature, Step, Then};
use super::{admission, finish};
use crate::limit::KeyPart;
use crate::message::claim::Claim;
use crate::report::Happening;
use crate::time::{Millis, Timestamp};
use crate::token::{self, ClaimReport, Compact, KeySet, Signed, TokenOutcome, TokenReport};

/// With how many keys a token is tried that does not say by which it is signed: whoever makes tokens up
/// must not have all keys of a large set tried.
const TRIES_MAX: u8 = 8;

/// How long an exchange waits for keys, as for counters.
const PATIENCE: Millis = 1000;

pub(super) fn start(exchange: Box<Exchange>, now: Timestamp) -> Step {
    let Some(rule) = &exchange.node.policy().token else {
        return admission::start(exchange, now);
    };
    if !counts_by_claims(&exchange) {
        return admission::start(exchange, now);
    }
    let rule = Arc::clone(rule);
    let found = token::find(&rule.place, &exchange.request.head.headers);
    match found.and_then(|text| Compact::read(text, &rule)) {
        Ok(token) => Identifying {
            exchange,
            rule,
            token,
            tries: 0,
            waited: false,
        }
        .choose(now),
        Err(outcome) => conclude(exchange, outcome, Vec::new(), now),
    }
}

/// Lists the claims by which limits count this request, find its plan, or pace its bodies.
fn claims_counted(exchange: &Exchange) -> impl Iterator<Item = &Arc<str>> {
    let routes = [Some(&exchange.route), exchange.read_as.as_ref()];
    let parts = routes.into_iter().flatten().flat_map(|route| {
        let counting = route
            .limits
            .iter()
            .filter(|limit| limit.counts(&exchange.request));
        let counted = counting.flat_map(|limit| limit.parts());
        counted.chain(route.bandwidths.iter().flat_map(|limit| &limit.key))
    });
    parts.filter_map(KeyPart::claim)
}

fn counts_by_claims(exchange: &Exchange) -> bool {
    claims_counted(exchange).next().is_some()
}

impl Identifying {
    /// Has the signature verified by the first key that may have made it.
    fn choose(self, now: Timestamp) -> Step {
        let ring = self.exchange.node.keyring();
        if !self.waited && ring.is_some_and(|ring| ring.is_late(now)) {
            return self.wait(now);
        }
        match ring.and_then(|ring| ring.keys()) {
            Some(keys) => self.verify(keys, 0, now),
            None => self.wait_or(TokenOutcome::KeysUnavailable, now),
        }
    }

    /// Has the signature verified by the next key that may have made it, from this position on.
    fn verify(mut self, keys: Arc<KeySet>, from: usize, now: Timestamp) -> Step {
        let (algorithm, id) = (self.token.algorithm, self.token.key.as_deref());
        if let Some((at, _)) = keys.candidate(from, algorithm, id) {
            if self.tries == TRIES_MAX {
                return conclude(self.exchange, TokenOutcome::BadSignature, Vec::new(), now);
            }
            self.tries += 1;
            self.exchange.report.note(Happening::Verify, now);
            return Step::Verify(AwaitSignature {
                identifying: self,
                keys,
                at,
            });
        }
        match from {
            0 => self.wait_or(TokenOutcome::UnknownKey, now),
            // It does not say which key it is signed by: that may be a new one.
            _ if id.is_none() => self.wait_or(TokenOutcome::BadSignature, now),
            _ => conclude(self.exchange, TokenOutcome::BadSignature, Vec::new(), now),
        }
    }

    /// Waits for keys that are being fetched, if that may change anything.
    fn wait_or(self, outcome: TokenOutcome, now: Timestamp) -> Step {
        let ring = self.exchange.node.keyring();
        if self.waited || !ring.is_some_and(|ring| ring.want(now)) {
            return conclude(self.exchange, outcome, Vec::new(), now);
        }
        self.wait(now)
    }

    fn wait(mut self, now: Timestamp) -> Step {
        self.waited = true;
        self.exchange.report.note(Happening::WaitForKeys, now);
        Step::Wait(AwaitEvent {
            until: now.plus(PATIENCE),
            then: Then::Identify(Box::new(self)),
        })
    }

    /// Goes on after the wait.
    pub(super) fn again(self, now: Timestamp) -> Step {
        self.choose(now)
    }
}

impl AwaitSignature {
    /// Returns what to verify.
    pub fn signed(&self) -> Option<Signed<'_>> {
        let token = &self.identifying.token;
        let key = self.keys.keys().get(self.at)?;
        Some(Signed {
            algorithm: token.algorithm,
            key,
            input: token.input.as_bytes(),
            signature: &token.signature,
        })
    }

    /// Ends the exchange without an answer: its client has gone, or this node stops.
    pub fn abandon(self, now: Timestamp) -> Ended {
        finish::abandoned(*self.identifying.exchange, now)
    }

    /// Takes the answer: whether the signature is right. A shell that cannot tell says that it is
    /// not.
    pub fn resume(self, is_right: bool, now: Timestamp) -> Step {
        let Self {
            identifying,
            keys,
            at,
        } = self;
        if !is_right {
            return identifying.verify(keys, at + 1, now);
        }
        let Identifying {
            exchange,
            rule,
            token,
            ..
        } = identifying;
        match token.claims(&rule, now) {
            Ok(claims) => conclude(exchange, TokenOutcome::Verified, claims, now),
            Err(outcome) => conclude(exchange, outcome, Vec::new(), now),
        }
    }
}

/// Notes what became of the token, and goes on to the limits.
fn conclude(
    mut exchange: Box<Exchange>,
    outcome: TokenOutcome,
    claims: Vec<Claim>,
    now: Timestamp,
) -> Step {
    let mut told: Vec<ClaimReport> = Vec::new();
    for name in claims_counted(&exchange) {
        if told.iter().all(|known| known.name != *name) {
            told.push(ClaimReport {
                name: Arc::clone(name),
                present: claims.iter().any(|claim| claim.name == *name),
            });
        }
    }
    exchange.report.token = Some(Box::new(TokenReport {
        outcome,
        claims: told,
    }));
    exchange.request.claims = claims;
    admission::start(exchange, now)
}

#[cfg(all(test, feature = "source"))]
mod tests;
