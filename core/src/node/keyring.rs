//! The issuer's keys as a node knows them, and when they are fetched anew.
//!
//! Why: an issuer changes its keys, and nobody tells. So a set is fetched again when its time is
//! over, and before that when a token names a key that is not in it; a client that makes up names
//! must not cause more than a fetch in half a minute by that. When it trips: a set that cannot be
//! fetched leaves the one that is known in place, because tokens that are signed by its keys are as
//! good as before; without any set no token is verified. How it recovers: the fetch is made again
//! after half a minute, or after five seconds if there is no set at all.
//!
//! A set whose time has just ended is used while it is fetched. One that nobody has looked at for
//! longer, because no request came, may lack a key that the issuer has taken back since: whoever comes
//! first waits for the next one.
//!
//! One fetch serves all who wait for it. Whoever waits does so for a second at most, and once.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, StatusCode, header, response};

use crate::cache::control::Control;
use crate::time::{Millis, Timestamp};
use crate::token::{KeySet, KeySource, Unusable};

/// How long a set counts as new if the issuer does not say it, and within which bounds it may.
const LIFETIME: Millis = 600_000;
const LIFETIME_MIN: Millis = 60_000;
const LIFETIME_MAX: Millis = 86_400_000;

/// For how long a set is used after its time without waiting for the next one.
const GRACE: Millis = 60_000;

/// How far apart fetches are that fail, or are made because a key is not known.
const APART: Millis = 30_000;

/// How far apart they are as long as there is no set.
const APART_WITHOUT: Millis = 5000;

/// How long a fetch may take.
const PATIENCE: Millis = 5000;

/// How long a fetch is waited for that nobody ends: its node may have let go of it.
const LEASE: Millis = PATIENCE + 1000;

/// The issuer's keys, as far as known.
#[derive(Debug)]
pub(crate) struct Keyring {
    source: KeySource,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// When the set is to be fetched. The first time is now.
    due: Timestamp,
    /// When the last fetch began, if there was one.
    began: Option<Timestamp>,
    /// The fetch that is under way.
    under_way: Option<u64>,
    /// How many have begun.
    count: u64,
    fails: bool,
}

impl State {
    /// Returns whether a fetch is under way.
    fn is_fetching(&mut self, now: Timestamp) -> bool {
        let Some(began) = self.began.as_mut() else {
            return false;
        };
        self.under_way.is_some() && now.since_guarded(began) < LEASE
    }

    /// Returns whether it is time for a fetch. A time that is further ahead than any lifetime comes
    /// from a clock that has been set back.
    fn is_due(&self, now: Timestamp) -> bool {
        self.due <= now || self.due.since(now) > LIFETIME_MAX
    }

    fn apart(&self) -> Millis {
        if self.keys.is_some() {
            APART
        } else {
            APART_WITHOUT
        }
    }
}

impl Keyring {
    /// Makes one that knows the keys that its source has, and no others.
    pub(super) fn new(source: KeySource) -> Self {
        let keys = match &source {
            KeySource::Given(keys) => Some(Arc::clone(keys)),
            KeySource::Url(_) | KeySource::Secret(_) => None,
        };
        let state = State {
            keys,
            ..State::default()
        };
        Self {
            source,
            state: Mutex::new(state),
        }
    }

    /// Returns whether it knows more than what this source says by itself: keys from the same URL, or
    /// the same secret.
    pub(super) fn is_of(&self, source: &KeySource) -> bool {
        match (&self.source, source) {
            (KeySource::Url(known), KeySource::Url(other))
            | (KeySource::Secret(known), KeySource::Secret(other)) => known == other,
            (KeySource::Given(_) | KeySource::Url(_) | KeySource::Secret(_), _) => false,
        }
    }

    /// Returns the keys, if any are known.
    pub(crate) fn keys(&self) -> Option<Arc<KeySet>> {
        self.lock().keys.clone()
    }

    /// Takes a secret, or what has become of it.
    pub(crate) fn know(&self, keys: Option<KeySet>) {
        self.lock().keys = keys.map(Arc::new);
    }

    /// Returns under which name the shell finds the secret.
    pub(crate) fn secret_name(&self) -> Option<&str> {
        match &self.source {
            KeySource::Secret(name) => Some(name),
            KeySource::Given(_) | KeySource::Url(_) => None,
        }
    }

    /// Asks for a fetch, because a key is not known. Returns whether one is to be waited for.
    pub(crate) fn want(&self, now: Timestamp) -> bool {
        if !matches!(self.source, KeySource::Url(_)) {
            return false;
        }
        let mut state = self.lock();
        let apart = state.apart();
        if state.is_fetching(now) || state.is_due(now) {
            return true;
        }
        let may_fetch = match state.began.as_mut() {
            None => true,
            Some(began) => now.since_guarded(began) >= apart,
        };
        if may_fetch {
            state.due = now;
        }
        may_fetch
    }

    /// Returns whether the set is so old that the next one is waited for. One that cannot be fetched
    /// is not: the old one is all there is.
    pub(crate) fn is_late(&self, now: Timestamp) -> bool {
        let state = self.lock();
        let is_fetched = matches!(self.source, KeySource::Url(_)) && state.keys.is_some();
        is_fetched && !state.fails && now.since(state.due) >= GRACE
    }

    /// Returns whether nothing is under way or due.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        let mut state = self.lock();
        !state.is_fetching(now) && !state.is_due(now)
    }

    /// Begins a fetch, if it is time for one and none is under way.
    pub(crate) fn begin(self: &Arc<Self>, now: Timestamp) -> Option<KeyFetch> {
        let KeySource::Url(url) = &self.source else {
            return None;
        };
        let mut state = self.lock();
        if !state.is_due(now) || state.is_fetching(now) {
            return None;
        }
        state.count += 1;
        state.began = Some(now);
        state.under_way = Some(state.count);
        Some(KeyFetch {
            keyring: Arc::clone(self),
            url: Arc::clone(url),
            number: state.count,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to fetch the issuer's keys for all. One that is dropped has failed.
#[derive(Debug)]
#[must_use = "nobody else fetches meanwhile"]
pub struct KeyFetch {
    keyring: Arc<Keyring>,
    url: Arc<str>,
    number: u64,
}

/// What operators are told of an issuer's keys: that they cannot be fetched, and that they can be
/// again, once each. It is a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNews(String);

impl fmt::Display for KeyNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyFetch {
    /// Longest body that is read, in bytes. What is longer has failed.
    pub const BODY_BYTES_MAX: usize = 256 << 10;

    /// How long it may take, in milliseconds. What takes longer has failed.
    pub const PATIENCE: Millis = PATIENCE;

    /// Returns what to ask for, by GET. No redirection is to be followed.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes the answer, or why there is none. Returns what operators are to be told, if anything.
    pub fn done(
        self,
        answer: Result<(&response::Parts, &[u8]), String>,
        now: Timestamp,
    ) -> Option<KeyNews> {
        let read = answer.and_then(|(head, body)| {
            let keys = read(head.status, body)?;
            Ok((keys, lifetime(&head.headers)))
        });
        let mut state = self.keyring.lock();
        if state.under_way != Some(self.number) {
            return None;
        }
        state.under_way = None;
        let failed_before = state.fails;
        state.fails = read.is_err();
        match read {
            Ok((keys, lifetime)) => {
                state.keys = Some(Arc::new(keys));
                state.due = now.plus(lifetime);
                failed_before.then(|| KeyNews(format!("the keys at {} are known again", self.url)))
            }
            Err(why) => {
                state.due = now.plus(state.apart());
                let meanwhile = if state.keys.is_some() {
                    "the keys that are known are used meanwhile"
                } else {
                    "until then no token is verified, and limits count as `absent` says"
                };
                (!failed_before).then(|| {
                    KeyNews(format!(
                        "the keys at {} cannot be read: {why}; look at this URL, it is asked again and again; {meanwhile}",
                        self.url
                    ))
                })
            }
        }
    }
}

impl Drop for KeyFetch {
    fn drop(&mut self) {
        let mut state = self.keyring.lock();
        if state.under_way == Some(self.number) {
            state.under_way = None;
            let began = state.began.unwrap_or_default();
            state.due = began.plus(state.apart());
        }
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<KeySet, String> {
    if status != StatusCode::OK {
        return Err(format!("the answer has status {}", status.as_u16()));
    }
    let text = std::str::from_utf8(body).map_err(|_| Unusable::NotJson.to_string())?;
    KeySet::read(text).map_err(|why| why.to_string())
}

fn lifetime(headers: &HeaderMap) -> Millis {
    let control = Control::read(headers, header::CACHE_CONTROL);
    let said = control.max_age.map(|seconds| seconds.saturating_mul(1000));
    said.unwrap_or(LIFETIME).clamp(LIFETIME_MIN, LIFETIME_MAX)
}

#[cfg(test)]
mod tests;
