//! The store is asked, unless something bypasses it; concurrent misses of one key wait for one
//! fetch.

use std::sync::Arc;

use http::{Method, StatusCode, header};

use super::background::Background;
use super::state::{Caching, Exchange};
use super::step::{AwaitEvent, AwaitLookup, Step, Then};
use super::{bypass, fetch, finish, serve, settle};
use crate::cache::control::Control;
use crate::cache::stale::Usability;
use crate::cache::{CacheKey, Stored, key, range, stale, variants};
use crate::flight::Joined;
use crate::hash;
use crate::message::request::Request;
use crate::problem::Refusal;
use crate::purge::Verdict;
use crate::report::{Bypass, CacheOutcome, CacheReport, Happening};
use crate::time::{Millis, Timestamp};

/// How long a fetch in the background may take before a request takes it over. A lead that is
/// dropped ends at once.
const BACKGROUND_LEASE: Millis = 60_000;

pub(super) fn start(mut exchange: Box<Exchange>, now: Timestamp) -> Step {
    let Some(profile) = exchange.route.cache.clone() else {
        return fetch::start(exchange, None, now);
    };
    let mut report = CacheReport::new(&profile.name);
    if let Some(why) = bypass::bypass(&exchange, &profile) {
        report.bypass = Some(why);
        exchange.report.cache = Some(report);
        return fetch::start(exchange, None, now);
    }
    let key = key::of(
        &exchange.request,
        &exchange.route.pool.name,
        &profile,
        exchange.node.rules(),
    );
    let key_hash = hash::stable(key.as_bytes());
    report.key = Some(key_hash);
    report.outcome = CacheOutcome::Miss;
    exchange.report.cache = Some(report);
    let patience = now.plus(profile.coalesce);
    let seen = exchange.node.flights().seen(key_hash);
    AwaitLookup {
        exchange,
        seen,
        looks_again: false,
        caching: Caching {
            profile,
            key,
            candidate: None,
            others: Vec::new(),
            void: Vec::new(),
            lead: None,
        },
        patience,
        gives_up: None,
    }
    .ask(now)
}

impl AwaitLookup {
    /// Returns the key to look up.
    pub fn key(&self) -> &CacheKey {
        &self.caching.key
    }

    /// Returns the stored response that this request would use. A shell whose store keeps bodies
    /// apart fetches that one before it resumes.
    pub fn choose<'a>(&self, stored: &'a [Arc<Stored>], now: Timestamp) -> Option<&'a Arc<Stored>> {
        let request = &self.exchange.request;
        variants::choose(
            stored
                .iter()
                .filter(|s| self.is_there(s, now) && covers(request, s, now)),
            &request.head.headers,
        )
    }

    /// Returns whether a stored response may be used at all. Whether a store has dropped it already
    /// must not matter.
    fn is_there(&self, stored: &Stored, now: Timestamp) -> bool {
        !stored.has_expired(now) && self.exchange.keeps(stored)
    }

    /// Goes on without the store, because nobody can say what of it may be used: nothing is looked
    /// up, stored or waited for.
    pub fn forgo(mut self, now: Timestamp) -> Step {
        if self.clients_control().only_if_cached {
            self.note(CacheOutcome::OnlyIfCached);
            return finish::refuse(self.exchange, Refusal::OnlyIfCached, now);
        }
        self.note(CacheOutcome::Bypass);
        if let Some(report) = &mut self.exchange.report.cache {
            report.bypass = Some(Bypass::Store);
        }
        fetch::start(self.exchange, None, now)
    }

    fn void_among(&self, stored: &[Arc<Stored>]) -> Vec<Arc<Stored>> {
        stored
            .iter()
            .filter(|s| !self.exchange.keeps(s))
            .map(Arc::clone)
            .collect()
    }

    /// Takes the heads of all responses stored under the key; none is a miss.
    pub fn resume(mut self, stored: &[Arc<Stored>], now: Timestamp) -> Step {
        // What an earlier lookup found, before a wait, may be gone, and its body with it.
        self.caching.candidate = None;
        self.caching.others.clear();
        let Some(chosen) = self.choose(stored, now).cloned() else {
            return self.miss_among(stored, now);
        };
        let mut usability = stale::usability(&chosen, now);
        match self.exchange.verdict(&chosen) {
            Verdict::Kept => {}
            Verdict::Stale => usability = stale::purged_softly(usability, &chosen),
            // Another thread has purged it since it was chosen.
            Verdict::Void => return self.miss_among(stored, now),
        }
        let mut outcome = CacheOutcome::Expired;
        if self.caching.profile.client_directives && usability != Usability::Validate {
            usability = stale::as_the_client_asks(usability, &self.clients_control(), &chosen, now);
            outcome = CacheOutcome::Request;
        }
        match usability {
            Usability::Fresh { ttl } if self.is_due(&chosen, ttl) => {
                self.serve_and_refresh(&chosen, CacheOutcome::Hit, now)
            }
            Usability::Fresh { .. } => serve::stored(
                self.exchange,
                &self.caching,
                &chosen,
                CacheOutcome::Hit,
                None,
                now,
            ),
            Usability::Grace => self.serve_and_refresh(&chosen, CacheOutcome::Stale, now),
            Usability::Validate => {
                self.note(outcome);
                self.caching.candidate = Some(chosen);
                self.caching.void = self.void_among(stored);
                self.miss(now)
            }
        }
    }

    fn clients_control(&self) -> Control {
        Control::read(&self.exchange.request.head.headers, header::CACHE_CONTROL)
    }

    fn ask(mut self, now: Timestamp) -> Step {
        self.exchange.report.note(Happening::Lookup, now);
        Step::Lookup(self)
    }

    /// The response that another request fetched may have said by which key all look for it from
    /// now on (No-Vary-Search).
    pub(super) fn ask_again(mut self, now: Timestamp) -> Step {
        let Exchange {
            request,
            route,
            node,
            ..
        } = &*self.exchange;
        self.caching.key = key::of(
            request,
            &route.pool.name,
            &self.caching.profile,
            node.rules(),
        );
        let key_hash = hash::stable(self.caching.key.as_bytes());
        let seen = node.flights().seen(key_hash);
        self.seen = if self.looks_again {
            seen.for_the_last_time()
        } else {
            seen
        };
        if let Some(report) = &mut self.exchange.report.cache {
            report.key = Some(key_hash);
        }
        self.ask(now)
    }

    fn note(&mut self, outcome: CacheOutcome) {
        if let Some(report) = &mut self.exchange.report.cache {
            report.outcome = outcome;
        }
    }

    /// Returns whether a fresh response is to be refreshed already: each has a moment of its own
    /// within the profile's time before its end.
    fn is_due(&self, chosen: &Stored, ttl: Millis) -> bool {
        let window = self
            .caching
            .profile
            .early_refresh
            .min(chosen.freshness.lifetime / 2);
        if ttl >= window {
            return false;
        }
        let seed = self.exchange.node.seed() ^ hash::stable(self.caching.key.as_bytes());
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of a lifetime are exact in f64 for centuries"
        )]
        let (ttl, window) = (ttl as f64, window as f64);
        ttl < window * hash::unit(hash::draw(seed, chosen.received.as_millis()))
    }

    fn serve_and_refresh(
        self,
        chosen: &Arc<Stored>,
        outcome: CacheOutcome,
        now: Timestamp,
    ) -> Step {
        let node = self.exchange.node.clone();
        let background =
            match node
                .flights()
                .join(&self.caching.key, self.seen, BACKGROUND_LEASE, now)
            {
                Joined::Lead(lead) => {
                    let caching = Caching {
                        profile: Arc::clone(&self.caching.profile),
                        key: self.caching.key.clone(),
                        candidate: Some(Arc::clone(chosen)),
                        others: Vec::new(),
                        void: Vec::new(),
                        lead: Some(lead),
                    };
                    Some(Background::new(&self.exchange, caching))
                }
                Joined::Follow | Joined::Alone | Joined::LookAgain => None,
            };
        serve::stored(
            self.exchange,
            &self.caching,
            chosen,
            outcome,
            background,
            now,
        )
    }

    /// Nothing that is stored under the key can be used.
    fn miss_among(mut self, stored: &[Arc<Stored>], now: Timestamp) -> Step {
        self.caching.void = self.void_among(stored);
        let kept: Vec<Arc<Stored>> = stored
            .iter()
            .filter(|s| self.is_there(s, now))
            .map(Arc::clone)
            .collect();
        let complete = |s: &Arc<Stored>| s.status != StatusCode::PARTIAL_CONTENT;
        self.note(match () {
            () if kept.is_empty() => CacheOutcome::Miss,
            () if kept.iter().any(complete) => CacheOutcome::VaryMiss,
            () => CacheOutcome::Partial,
        });
        if !headers_contain_range(&self.exchange) {
            // [9111-4.3.2-4]
            let tagged = |s: &Arc<Stored>| complete(s) && s.headers.contains_key(header::ETAG);
            self.caching.others = kept.into_iter().filter(tagged).collect();
        }
        self.miss(now)
    }

    fn miss(mut self, now: Timestamp) -> Step {
        // [9111-5.2.1.7-1]
        if self.clients_control().only_if_cached {
            self.note(CacheOutcome::OnlyIfCached);
            return finish::refuse(self.exchange, Refusal::OnlyIfCached, now);
        }
        // What answers a HEAD, a range or a requirement is of no use to others.
        let shareable =
            self.exchange.request.head.method == Method::GET && !is_particular(&self.exchange);
        let lease = self.caching.profile.coalesce;
        if shareable && lease > 0 && !self.is_private() {
            match self
                .exchange
                .node
                .flights()
                .join(&self.caching.key, self.seen, lease, now)
            {
                Joined::Lead(lead) => self.caching.lead = Some(lead),
                Joined::Follow => return self.wait(now),
                Joined::LookAgain => {
                    self.looks_again = true;
                    return self.ask_again(now);
                }
                Joined::Alone => {}
            }
        }
        fetch::start(self.exchange, Some(self.caching), now)
    }

    /// Returns whether the response will be this client's alone: nobody waits for it, and it waits
    /// for nobody.
    fn is_private(&self) -> bool {
        self.exchange
            .request
            .head
            .headers
            .contains_key(header::AUTHORIZATION)
            || self.clients_control().no_store
    }

    /// Waits for another request's fetch. If that takes too long, one of those who wait takes it
    /// over and the others go on waiting: they must not all go to an origin that is slow already.
    /// Whoever has waited as long as an origin may take is told so.
    fn wait(mut self, now: Timestamp) -> Step {
        let gives_up = *self
            .gives_up
            .get_or_insert_with(|| now.plus(longest_fetch(&self.exchange)));
        if now >= gives_up {
            return settle::failed(
                self.exchange,
                Some(self.caching),
                Refusal::OriginTimeout.into(),
                now,
            );
        }
        if now >= self.patience {
            self.patience = now.plus(self.caching.profile.coalesce);
        }
        self.exchange.report.note(Happening::WaitForFetch, now);
        if let Some(report) = &mut self.exchange.report.cache {
            report.collapsed = true;
        }
        Step::Wait(AwaitEvent {
            until: self.patience.min(gives_up),
            then: Then::LookUp(self),
        })
    }
}

/// Returns how long the slowest origin of the route may take to answer.
fn longest_fetch(exchange: &Exchange) -> Millis {
    let timeouts = exchange
        .route
        .pool
        .origins
        .iter()
        .map(|origin| origin.timeouts);
    timeouts
        .map(|timeouts| timeouts.connect.saturating_add(timeouts.response))
        .max()
        .unwrap_or_default()
}

/// Returns whether a stored response has all that a request asks for. [9111-3.3-2]
fn covers(request: &Request, stored: &Stored, now: Timestamp) -> bool {
    stored.status != StatusCode::PARTIAL_CONTENT
        || range::give_of_part(&request.head.method, &request.head.headers, stored, now).is_some()
}

/// Returns whether the request asks for parts, or for one representation only.
fn is_particular(exchange: &Exchange) -> bool {
    let headers = &exchange.request.head.headers;
    exchange.request.selective
        && [header::RANGE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE]
            .iter()
            .any(|name| headers.contains_key(name))
}

fn headers_contain_range(exchange: &Exchange) -> bool {
    exchange.request.head.headers.contains_key(header::RANGE)
}
