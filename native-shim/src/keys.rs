//! The issuer's keys in a pod: they are fetched when the core says so, the secret is read from the
//! environment, and what operators are to know of either is kept until somebody asks.

mod fetch;
mod verify;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_core::token::Signed;
use tidegate_core::{Engine, KeyFetch};

use crate::clock::Clock;
use crate::tls::{Finding, TlsFiles};
use crate::waiters::Waiters;
use verify::Verified;

pub use verify::is_right;

/// Most findings that are kept, if nobody asks for them.
const FINDINGS_MAX: usize = 8;

/// What a node has for verifying tokens.
#[derive(Debug)]
pub(crate) struct Keys {
    verified: Verified,
    findings: Mutex<VecDeque<Finding>>,
    /// Trusts the public authorities: an issuer's files are not the policy's.
    tls: TlsFiles,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            verified: Verified::default(),
            findings: Mutex::default(),
            tls: TlsFiles::new(""),
        }
    }

    /// Says whether a signature is right.
    pub(crate) fn is_right(&self, signed: &Signed<'_>) -> bool {
        self.verified.is_right(signed)
    }

    /// Reads the secret that the policy names, if it names one.
    pub(crate) fn know_secret(&self, engine: &Engine) {
        let Some(name) = engine.secret_name() else {
            return;
        };
        let secret = std::env::var(name).ok();
        if let Err(why) = engine.know_secret(secret.as_deref()) {
            self.note(
                "secret_env",
                format!(
                    "the environment variable {name} has no secret: {why}; until it has one and this process is started again no token is verified, and limits count as `absent` says"
                ),
            );
        }
    }

    /// Fetches the keys for all who wait for them, as a task of its own: no client that goes away
    /// ends it.
    pub(crate) fn fetch(self: &Arc<Self>, fetch: KeyFetch, waiters: &Arc<Waiters>, clock: &Clock) {
        let (keys, waiters, clock) = (Arc::clone(self), Arc::clone(waiters), clock.clone());
        tokio::spawn(async move {
            let fetched = fetch::get(&fetch, &keys.tls).await;
            let answer = fetched.as_ref().map(|(head, body)| (head, &body[..]));
            let news = fetch.done(answer.map_err(Clone::clone), clock.now());
            if let Some(news) = news {
                keys.note("jwks_url", news.to_string());
            }
            waiters.keys_have_come();
        });
    }

    fn note(&self, key: &str, message: String) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.truncate(FINDINGS_MAX - 1);
        findings.push_front(Finding {
            keys: ["client", "token", key].map(str::to_owned).to_vec(),
            message,
            fatal: false,
        });
    }

    /// Returns what has been found since this was last asked, the first one first.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.drain(..).rev().collect()
    }
}
