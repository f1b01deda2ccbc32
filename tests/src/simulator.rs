//! A shell without I/O: a map for a store, scripted origins, a clock that jumps.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::cache::Stored;
use tidegate_core::cache::range::Piece;
use tidegate_core::cache::variants::{Put, put};
use tidegate_core::limit::gcra::Tat;
use tidegate_core::limit::{Charged, charge_all};
use tidegate_core::{
    Attempt, Engine, Failure, FailureKind, Fill, FillKind, Policy, Reply, Report, Source, Step, Timestamp,
};

use crate::fixture::{Answer, Expected, Fails, Fixture, Scripted};
use crate::text;

/// A node and its world.
pub struct Simulator {
    engine: Engine,
    stored: BTreeMap<Vec<u8>, Vec<(Arc<Stored>, Bytes)>>,
    counters: BTreeMap<Vec<u8>, Tat>,
    now: Timestamp,
    /// Answers still to come, and requests already seen, in the exchange that runs.
    script: VecDeque<Answer>,
    seen: Vec<String>,
}

/// What came out of one exchange.
struct Outcome {
    reply: String,
    report: Report,
    background: Option<Report>,
}

/// Runs a fixture and returns what comes out of each exchange.
///
/// # Panics
/// When the policy is wrong, or an origin is asked that has no answer in the script.
pub fn run(fixture: &Fixture) -> Vec<Expected> {
    let policy = Policy::parse("policy", &fixture.policy).unwrap_or_else(|error| panic!("{error}"));
    let mut simulator = Simulator {
        engine: Engine::new(policy, 7),
        stored: BTreeMap::new(),
        counters: BTreeMap::new(),
        now: Timestamp::from_millis(0),
        script: VecDeque::new(),
        seen: Vec::new(),
    };
    fixture.exchange.iter().map(|scripted| simulator.exchange(scripted)).collect()
}

impl Simulator {
    fn exchange(&mut self, scripted: &Scripted) -> Expected {
        self.now = self.now.max(scripted.begins());
        self.script = scripted.origin.iter().cloned().collect();
        let step = self.engine.begin(scripted.head(), scripted.client(), self.now);
        let outcome = self.drive_all(step);
        assert!(self.script.is_empty(), "{}: nobody asked for these answers: {:?}", scripted.request, self.script);
        Expected {
            reply: outcome.reply,
            origins: std::mem::take(&mut self.seen).join("\n"),
            report: text::json(&outcome.report),
            background: outcome.background.as_ref().map_or_else(String::new, text::json),
        }
    }

    fn drive_all(&mut self, step: Step) -> Outcome {
        let (mut reply, found, body) = self.drive(step);
        self.engine.carry_out(&mut reply);
        let Reply { head, source, fill, invalidate, background, report, .. } = reply;
        let served = match &source {
            Source::Empty => Bytes::new(),
            Source::Bytes(bytes) => bytes.clone(),
            Source::Stored(head) => body_of(&found, head),
            Source::Pieces(head, pieces) => {
                let stored = body_of(&found, head);
                pieces.iter().flat_map(|piece| bytes(piece, &stored)).collect()
            }
            Source::Origin => body.clone(),
        };
        for key in invalidate {
            self.stored.remove(key.as_bytes());
        }
        self.fill(fill, &body);
        let background = background.map(|work| {
            let (reply, _, body) = self.drive(work.begin(self.now));
            self.fill(reply.fill, &body);
            reply.report
        });
        Outcome { reply: text::reply(&head, &served), report, background }
    }

    /// The loop. Returns the reply, what the last lookup found, and the last origin's body.
    fn drive(&mut self, mut step: Step) -> (Reply, Vec<(Arc<Stored>, Bytes)>, Bytes) {
        let (mut found, mut body) = (Vec::new(), Bytes::new());
        loop {
            step = match step {
                Step::Charge(next) => {
                    let keys: Vec<Vec<u8>> = next.charges().iter().map(|c| c.key.clone()).collect();
                    let mut states: Vec<Option<Tat>> = keys.iter().map(|k| self.counters.get(k).copied()).collect();
                    let verdicts = charge_all(next.charges(), &mut states, self.now);
                    let changed = keys.into_iter().zip(states).filter_map(|(key, state)| Some((key, state?)));
                    self.counters.extend(changed);
                    let answers: Vec<Charged> = verdicts.into_iter().map(Charged::Verdict).collect();
                    next.resume(&answers, self.now)
                }
                Step::Lookup(next) => {
                    found = self.stored.get(next.key().as_bytes()).cloned().unwrap_or_default();
                    let heads: Vec<Arc<Stored>> = found.iter().map(|(head, _)| Arc::clone(head)).collect();
                    next.resume(&heads, self.now)
                }
                Step::Fetch(attempt, next) => {
                    let (answer, fetched) = self.fetch(&attempt);
                    body = fetched;
                    next.resume(answer, self.now)
                }
                Step::Wait(next) => {
                    self.now = self.now.max(next.until());
                    next.resume(self.now)
                }
                Step::Finish(reply) => return (*reply, found, body),
            }
        }
    }

    fn fetch(&mut self, attempt: &Attempt) -> (Result<http::response::Parts, Failure>, Bytes) {
        self.seen.push(text::request(attempt));
        let answer = self.script.pop_front().unwrap_or_else(|| panic!("no answer left for {}", attempt.origin.name));
        assert_eq!(answer.name, *attempt.origin.name, "another origin was asked than the script says");
        self.now = self.now.plus(answer.after);
        let failure = |kind, sent| Failure { kind, sent, body_intact: !(sent && attempt.body) };
        match answer.fails {
            Some(Fails::Unreachable) => (Err(failure(FailureKind::Unreachable, false)), Bytes::new()),
            Some(Fails::Closed) => (Err(failure(FailureKind::Closed, true)), Bytes::new()),
            Some(Fails::Timeout) => {
                self.now = self.now.plus(attempt.origin.timeouts.response);
                (Err(failure(FailureKind::ResponseTimeout, true)), Bytes::new())
            }
            None => {
                let empty = attempt.head.method == http::Method::HEAD || answer.status == Some(304);
                let body = if empty { Bytes::new() } else { Bytes::from(answer.body.clone()) };
                (Ok(answer.head(self.now)), body)
            }
        }
    }

    fn fill(&mut self, fill: Option<Fill>, body: &Bytes) {
        let Some(fill) = fill else { return };
        let variants = self.stored.entry(fill.key.as_bytes().to_vec()).or_default();
        let response = match &fill.kind {
            FillKind::Refresh(old) => {
                let body = variants.iter().find(|(h, _)| h == old).map(|(_, body)| body.clone());
                body.map(|body| (Arc::clone(&fill.head), body))
            }
            FillKind::Insert => fill.completed(body.len() as u64).map(|head| (head, body.clone())),
        };
        let Some((head, body)) = response else { return };
        let heads: Vec<Arc<Stored>> = variants.iter().map(|(h, _)| Arc::clone(h)).collect();
        let Put { at, head, before, after } = put(&heads, head);
        let Some(variant) = at.and_then(|at| variants.get_mut(at)) else { return variants.push((head, body)) };
        let joined = [&bytes(&Piece::Body(before), &variant.1)[..], &body, &bytes(&Piece::Body(after), &variant.1)];
        *variant = (head, joined.concat().into());
    }
}

fn body_of(found: &[(Arc<Stored>, Bytes)], head: &Arc<Stored>) -> Bytes {
    found.iter().find(|(h, _)| h == head).map(|(_, body)| body.clone()).unwrap_or_default()
}

fn bytes(piece: &Piece, body: &Bytes) -> Bytes {
    match piece {
        Piece::Text(text) => text.clone(),
        Piece::Body(range) => {
            let position = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
            body.slice(position(range.start)..position(range.end))
        }
    }
}
