//! The engine: what a shell asks for decisions.

use std::sync::Arc;

#[cfg(feature = "source")]
use http::StatusCode;
use http::request;

use crate::breaker::StateName;
use crate::cache::CacheKey;
use crate::exchange::{Fill, Reply, Step};
#[cfg(feature = "source")]
use crate::limit::{key::named, overrides::OVERRIDES_MAX};
use crate::message::request::Client;
use crate::node::{KeyFetch, Node};
use crate::operations::Token;
#[cfg(feature = "source")]
use crate::operations::{self, LimitOperation, Refused};
use crate::policy::Policy;
use crate::purge::{NumberedPurge, Purge};
use crate::report::Kind;
use crate::time::Timestamp;
use crate::token::KeySet;
use crate::{exchange, purge};

/// Decides. Cheap to clone; clones share their state.
///
/// The state is small and per origin: circuit breakers, and which responses are being fetched. An
/// exchange keeps the engine that began it, so a policy can be replaced while exchanges are under
/// way.
///
/// A shell takes one step after another. This one stores nothing and asks no origin:
///
/// ```
/// use tidegate_core::limit::{Charged, charge_all};
/// use tidegate_core::{
///     BodyEnd, Client, Engine, Failure, FailureKind, Policy, RequestBody, Scheme, Step, Timestamp,
/// };
///
/// let policy = r#"
///     [origins.service]
///     url = "http://service"
///
///     [pools.main]
///     origins = ["service"]
///
///     [[routes]]
///     pool = "main"
/// "#;
/// let engine = Engine::new(Policy::parse("tidegate.toml", policy)?, 7);
/// let (head, ()) = http::Request::get("/").header("host", "shop.example").body(())?.into_parts();
/// let client = Client {
///     peer: [192, 0, 2, 1].into(),
///     geo: None,
///     tls_subject: None,
///     scheme: Scheme::Http,
///     body: RequestBody::Empty,
///     fresh_trace: 1,
/// };
/// let now = Timestamp::from_millis(1_800_000_000_000);
/// let mut step = engine.begin(head, client, now);
/// let reply = loop {
///     step = match step {
///         Step::Verify(next) => next.resume(false, now),
///         Step::Charge(next) => {
///             let mut counters = vec![None; next.charges().len()];
///             let verdicts = charge_all(next.charges(), &mut counters, now);
///             let answers: Vec<Charged> = verdicts.into_iter().map(Charged::Verdict).collect();
///             next.resume(&answers, now)
///         }
///         Step::Lookup(next) => next.resume(&[], now),
///         Step::Fetch(attempt, next) => {
///             assert_eq!(attempt.url(), "http://service/");
///             let kind = FailureKind::Unreachable;
///             let failure = Failure { kind, sent: false, body_intact: true };
///             next.resume(attempt.number, Err(failure), now)
///         }
///         Step::Await(_) => unreachable!("no rule makes attempts beside each other"),
///         Step::Wait(next) => next.resume(now),
///         Step::Finish(reply) => break reply,
///     };
/// };
/// assert_eq!(reply.head.status, 502);
/// let report = reply.hold.end(BodyEnd::Whole, None, now).report;
/// assert_eq!(report.refusal.map(|why| why.as_str()), Some("origin_unreachable"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Engine(Node);

impl Engine {
    /// Makes an engine with no history. `seed` moves jitter, and which keys share a place in
    /// tables: nobody outside may know it.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self(Node::new(policy, seed))
    }

    /// Makes an engine that refuses requests which show the operators' token, so that no origin and
    /// no key has it. History is kept.
    #[must_use]
    pub fn keeping(&self, token: Option<Token>) -> Self {
        Self(self.0.keeping(token))
    }

    /// Makes an engine for another policy that keeps the history of this one: fetches under way, the
    /// circuits of origins whose address and rule are the same, purges, and keys that come from the
    /// same place.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self(self.0.with_policy(policy))
    }

    /// Begins the exchange for one request.
    pub fn begin(&self, head: request::Parts, client: Client, now: Timestamp) -> Step {
        exchange::begin(&self.0, head, client, Kind::Request, now)
    }

    /// Begins an exchange that only fills the store: it charges no limit.
    pub fn warm(&self, head: request::Parts, client: Client, now: Timestamp) -> Step {
        exchange::begin(&self.0, head, client, Kind::Warming, now)
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        self.0.policy()
    }

    /// Lists the circuits: origin, rule, state.
    pub fn circuits(&self) -> Vec<(Arc<str>, Arc<str>, StateName)> {
        self.0.circuits()
    }

    /// Returns when this node next has something to do of its own accord: [`Engine::handle_timeout`].
    /// What begins later may be due earlier, so a shell asks again now and then, each second say.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.poll_timeout()
    }

    /// Does what is due: circuits whose time is over are tried again, and what is over is
    /// forgotten. A shell that has no timer need not call it; requests see the same without.
    pub fn handle_timeout(&self, now: Timestamp) {
        self.0.handle_timeout(now);
    }

    /// Begins a fetch of the keys by which tokens are verified, if it is time for one and nobody else
    /// fetches them. A shell asks for it when an exchange waits for [`crate::exchange::Event::KeysCome`],
    /// and now and then: each second, or with each request.
    pub fn keys_due(&self, now: Timestamp) -> Option<KeyFetch> {
        self.0.keyring()?.begin(now)
    }

    /// Returns under which name the shell finds the secret of tokens, if there is to be one.
    pub fn secret_name(&self) -> Option<&str> {
        self.0.keyring()?.secret_name()
    }

    /// Takes the secret that the shell has found under that name.
    ///
    /// # Errors
    /// If there is none, or it is none: no token is verified then.
    pub fn know_secret(&self, secret: Option<&str>) -> Result<(), String> {
        let Some(keyring) = self.0.keyring() else {
            return Ok(());
        };
        let read = match secret {
            None => Err("it is not set".to_owned()),
            Some(text) => KeySet::read_secret(text).map_err(|why| why.to_string()),
        };
        let (keys, known) = match read {
            Ok(keys) => (Some(keys), Ok(())),
            Err(why) => (None, Err(why)),
        };
        keyring.know(keys);
        known
    }

    /// Carries out what an operator asks of limits, and returns what to tell. What was used of a key
    /// still counts, as if the policy had changed.
    ///
    /// # Errors
    /// Says what is wrong with it, and what to do.
    #[cfg(feature = "source")]
    pub fn operate_limits(&self, operation: LimitOperation) -> Result<String, Refused> {
        let (policy, overrides) = (self.policy(), self.0.overrides());
        let wrong = |why: String| Refused::new(StatusCode::BAD_REQUEST, "Not understood", why);
        match operation {
            LimitOperation::List(limit) => Ok(operations::told(overrides.list(&limit))),
            LimitOperation::Set(order) => {
                let meant = policy.meaning(&order).map_err(wrong)?;
                let limit = order.limit.clone();
                if !overrides.set(order, meant) {
                    let detail = format!(
                        "This node has {OVERRIDES_MAX} overrides already; remove some, or give the limit plans."
                    );
                    return Err(Refused::new(StatusCode::CONFLICT, "Too many", detail));
                }
                Ok(operations::told(overrides.list(&limit)))
            }
            LimitOperation::Remove { limit, key } => {
                let known = policy.limit(&limit);
                let counter = known.and_then(|limit| named::key_of(limit, &key).ok());
                if !overrides.remove(&limit, &key, counter.as_ref()) {
                    let detail = "There is no override for this key of this limit.";
                    return Err(Refused::new(StatusCode::NOT_FOUND, "Nothing there", detail));
                }
                Ok(operations::told(overrides.list(&limit)))
            }
        }
    }

    /// Makes a purge: what it reaches is void, or stale, from here on. Returns its number.
    pub fn purge(&self, purge: &Purge) -> purge::Number {
        self.0.purges().make(&purge.expand(self.policy()))
    }

    /// Says what others must number and learn, for a purge to count everywhere.
    pub fn prepare(&self, purge: &Purge) -> Vec<NumberedPurge> {
        purge
            .expand(self.policy())
            .iter()
            .map(NumberedPurge::of)
            .collect()
    }

    /// Makes the purges of a reply. What the reply stores is younger than they are, unless another
    /// purge has reached it meanwhile.
    pub fn apply_purges(&self, reply: &mut Reply) {
        if reply.purges.is_empty() {
            return;
        }
        let head = reply.fill.as_ref().map(|fill| fill.head.marks());
        let number = self.0.purges().make_all(&reply.purges, head);
        Self::date(&mut reply.fill, number);
    }

    /// Learns of purges that others have made and numbered. A node that learns of such makes none
    /// of its own.
    pub fn learn(&self, made: &[NumberedPurge]) {
        self.0.purges().learn(made);
    }

    /// Does as [`Engine::apply_purges`] with purges that were made elsewhere: the last of `made` are
    /// those of the reply.
    pub fn apply_numbered(&self, reply: &mut Reply, made: &[NumberedPurge]) {
        let (others, own) = made.split_at(made.len().saturating_sub(reply.purges.len()));
        let head = reply.fill.as_ref().map(|fill| fill.head.marks());
        let number = self.0.purges().settle(others, own, &reply.purges, head);
        Self::date(&mut reply.fill, number);
    }

    /// Treats what the purges of a reply reach as void for now, because nobody could number them;
    /// the reply is not stored.
    pub fn apply_provisionally(&self, reply: &mut Reply) {
        for purge in &reply.purges {
            self.0.purges().make_provisionally(purge);
        }
        reply.fill = None;
    }

    fn date(fill: &mut Option<Fill>, number: Option<purge::Number>) {
        match (number, fill) {
            (Some(number), Some(fill)) => Arc::make_mut(&mut fill.head).epoch = number,
            (None, fill) => *fill = None,
            (Some(_), None) => {}
        }
    }

    /// Returns the number of the last purge; 0 if there was none.
    pub fn last_purge(&self) -> purge::Number {
        self.0.purges().last()
    }

    /// Lets requests for a key go to their origins one by one for a while: its response has proved
    /// to be nothing that can be shared.
    pub fn go_alone(&self, key: &CacheKey, now: Timestamp) {
        self.0.flights().go_alone(key, now);
    }

    /// Counts the responses that are being fetched into the store, on behalf of every request that
    /// wants them.
    pub fn fetches_under_way(&self, now: Timestamp) -> usize {
        self.0.flights().led(now)
    }
}
