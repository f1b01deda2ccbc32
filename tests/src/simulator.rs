//! A shell without I/O: a map for a store, origins that answer at once, a clock that jumps.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{request, response};
use tidegate_core::cache::range::Piece;
use tidegate_core::cache::variants::{Put, put};
use tidegate_core::cache::{CacheKey, Stored};
use tidegate_core::limit::{Charged, State, act, charge_all};
use tidegate_core::{
    Attempt, BodyEnd, BodySeen, Client, Ended, Engine, Failure, Fill, FillKind, Policy, Reply,
    Report, RequestBody, Source, Step, Timestamp,
};

use crate::paced::Pacing;

/// What an origin says: a head and a body, or why there is none.
pub type Answer = Result<(response::Parts, Bytes), Failure>;

/// The origins of a simulated node.
pub trait Origins {
    /// Answers an attempt, and moves the clock as far as that takes.
    fn answer(&mut self, attempt: &Attempt, now: &mut Timestamp) -> Answer;
}

/// A node and its store.
pub struct Simulator {
    engine: Engine,
    stored: BTreeMap<Vec<u8>, Vec<(Arc<Stored>, Bytes)>>,
    counters: BTreeMap<Vec<u8>, State>,
    pacing: Pacing,
    now: Timestamp,
    forged: bool,
}

/// What came out of one exchange.
#[derive(Debug)]
pub struct Outcome {
    /// Status and header fields for the client.
    pub head: response::Parts,
    /// The body for the client.
    pub body: Bytes,
    /// Where the body came from.
    pub source: Source,
    /// Every decision and its reason.
    pub report: Box<Report>,
    /// The report of the background revalidation, if there was one.
    pub background: Option<Box<Report>>,
}

impl Simulator {
    /// Makes a node that has seen nothing.
    pub fn new(policy: Policy) -> Self {
        Self {
            engine: Engine::new(policy, 7),
            stored: BTreeMap::new(),
            counters: BTreeMap::new(),
            pacing: Pacing::new(),
            now: Timestamp::from_millis(0),
            forged: false,
        }
    }

    /// Returns the engine, which shares its state with that of the node.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Says whether the signatures of the tokens that come are somebody else's. Nothing here verifies
    /// one: pods and the edge do, when they run the same fixtures.
    pub fn forge(&mut self, forged: bool) {
        self.forged = forged;
    }

    /// Returns the clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Lists what is stored.
    pub fn stored(&self) -> impl Iterator<Item = &(Arc<Stored>, Bytes)> {
        self.stored.values().flatten()
    }

    /// Lets time pass, and the engine do what is due meanwhile.
    fn pass_time(&mut self, to: Timestamp) {
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= to) {
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
        }
        self.now = self.now.max(to);
    }

    /// Drives an exchange, and the work that it leaves for the background, to the end. It begins at
    /// `at`, or when the one before has ended.
    pub fn exchange(
        &mut self,
        head: request::Parts,
        client: Client,
        at: Timestamp,
        origins: &mut impl Origins,
    ) -> Outcome {
        self.pass_time(at);
        let sent = client.body;
        let step = self.engine.begin(head, client, self.now);
        let (mut reply, found, body) = self.drive(step, sent, origins);
        self.engine.apply_purges(&mut reply);
        origin_ended(&mut reply, self.now);
        let Reply {
            head,
            source,
            fill,
            invalidate,
            background,
            paces,
            hold,
            ..
        } = reply;
        let served = match &source {
            Source::Empty => Bytes::new(),
            Source::Bytes(bytes) => bytes.clone(),
            Source::Stored(head) => body_of(&found, head),
            Source::Pieces(head, pieces) => {
                let stored = body_of(&found, head);
                pieces
                    .iter()
                    .flat_map(|piece| bytes(piece, &stored))
                    .collect()
            }
            Source::Origin => body.clone(),
        };
        let length = served.len() as u64;
        self.pacing.send(&paces, length, &mut self.now);
        let ended = hold.end(BodyEnd::Whole, Some(length), self.now);
        let mut report = self.end(ended);
        self.pacing.note(&mut report);
        self.invalidate(&invalidate);
        self.fill(fill, &body);
        let background = background.map(|work| {
            let (mut reply, _, body) =
                self.drive(work.begin(self.now), RequestBody::Empty, origins);
            origin_ended(&mut reply, self.now);
            self.invalidate(&reply.invalidate);
            self.fill(reply.fill, &body);
            self.end(reply.hold.unseen())
        });
        Outcome {
            head,
            body: served,
            source,
            report,
            background,
        }
    }

    /// The loop. Returns the reply, what the last lookup found, and the last origin's body.
    fn drive(
        &mut self,
        mut step: Step,
        sent: RequestBody,
        origins: &mut impl Origins,
    ) -> (Reply, Vec<(Arc<Stored>, Bytes)>, Bytes) {
        let (mut found, mut body) = (Vec::new(), Bytes::new());
        let mut under_way: Vec<UnderWay> = Vec::new();
        loop {
            if !matches!(step, Step::Fetch(..) | Step::Await(_)) {
                under_way.clear();
            }
            step = match step {
                Step::Verify(next) => next.resume(!self.forged, self.now),
                Step::Charge(next) => {
                    let keys: Vec<Vec<u8>> = next
                        .charges()
                        .iter()
                        .map(|c| c.key.as_bytes().to_vec())
                        .collect();
                    let mut states: Vec<Option<State>> =
                        keys.iter().map(|k| self.counters.get(k).copied()).collect();
                    let verdicts = charge_all(next.charges(), &mut states, self.now);
                    let changed = keys
                        .into_iter()
                        .zip(states)
                        .filter_map(|(key, state)| Some((key, state?)));
                    self.counters.extend(changed);
                    let answers: Vec<Charged> =
                        verdicts.into_iter().map(Charged::Verdict).collect();
                    next.resume(&answers, self.now)
                }
                Step::Lookup(next) => {
                    found = self
                        .stored
                        .get(next.key().as_bytes())
                        .cloned()
                        .unwrap_or_default();
                    let heads: Vec<Arc<Stored>> =
                        found.iter().map(|(head, _)| Arc::clone(head)).collect();
                    next.resume(&heads, self.now)
                }
                Step::Fetch(attempt, next) => {
                    if let RequestBody::Sized(bytes) = sent {
                        self.pacing.send(&attempt.paces, bytes, &mut self.now);
                    }
                    let mut comes = self.now;
                    let answer = origins.answer(&attempt, &mut comes);
                    under_way.push(UnderWay {
                        comes,
                        number: attempt.number,
                        body_intact: !attempt.body,
                        answer,
                    });
                    Step::Await(next)
                }
                Step::Await(next) => {
                    let first = first(&under_way);
                    let comes = under_way[first].comes;
                    if let Some(late) = next.hedge_at().filter(|late| *late < comes) {
                        self.now = self.now.max(late);
                        next.hedge(self.now)
                    } else {
                        let UnderWay {
                            number,
                            body_intact,
                            answer,
                            ..
                        } = under_way.remove(first);
                        self.now = self.now.max(comes);
                        body = answer
                            .as_ref()
                            .map_or_else(|_| Bytes::new(), |(_, body)| body.clone());
                        let answer =
                            answer.map(|(head, _)| tidegate_core::Answer { head, body_intact });
                        next.resume(number, answer, self.now)
                    }
                }
                Step::Wait(next) => {
                    self.now = self.now.max(next.until());
                    next.resume(self.now)
                }
                Step::Finish(reply) => return (*reply, found, body),
            }
        }
    }

    /// Settles what an exchange was charged, and returns its record.
    fn end(&mut self, ended: Ended) -> Box<Report> {
        for (charge, what) in ended.settlements {
            let key = charge.key.as_bytes().to_vec();
            let terms = charge.limit.rule.terms(self.now);
            let state = self.counters.get(&key).copied();
            let (next, _) = act(what, &terms, charge.cost, state, self.now);
            if let Some(next) = next {
                self.counters.insert(key, next);
            }
        }
        ended.report
    }

    fn invalidate(&mut self, keys: &[CacheKey]) {
        for key in keys {
            self.stored.remove(key.as_bytes());
        }
    }

    fn fill(&mut self, fill: Option<Fill>, body: &Bytes) {
        let Some(fill) = fill else { return };
        let variants = self.stored.entry(fill.key.as_bytes().to_vec()).or_default();
        let response = match &fill.kind {
            FillKind::Refresh(old) => {
                let body = variants
                    .iter()
                    .find(|(h, _)| h == old)
                    .map(|(_, body)| body.clone());
                body.map(|body| (Arc::clone(&fill.head), body))
            }
            FillKind::Insert => fill
                .completed(body.len() as u64)
                .map(|head| (head, body.clone())),
        };
        let Some((head, body)) = response else { return };
        let heads: Vec<Arc<Stored>> = variants.iter().map(|(h, _)| Arc::clone(h)).collect();
        let Put {
            at,
            head,
            before,
            after,
        } = put(&heads, head, fill.joined_max);
        let Some(variant) = at.and_then(|at| variants.get_mut(at)) else {
            return variants.push((head, body));
        };
        let joined = [
            &bytes(&Piece::Body(before), &variant.1)[..],
            &body,
            &bytes(&Piece::Body(after), &variant.1),
        ];
        *variant = (head, joined.concat().into());
    }
}

/// An attempt under way.
struct UnderWay {
    /// When its answer comes.
    comes: Timestamp,
    number: u8,
    body_intact: bool,
    answer: Answer,
}

/// Returns the position of the attempt whose answer comes first.
fn first(under_way: &[UnderWay]) -> usize {
    let positions = 0..under_way.len();
    let first = positions.min_by_key(|at| (under_way[*at].comes, under_way[*at].number));
    first.unwrap_or_default()
}

/// Every body comes whole, at once.
fn origin_ended(reply: &mut Reply, now: Timestamp) {
    reply.hold.origin_ended(BodySeen::only(BodyEnd::Whole), now);
}

fn body_of(found: &[(Arc<Stored>, Bytes)], head: &Arc<Stored>) -> Bytes {
    found
        .iter()
        .find(|(h, _)| h == head)
        .map(|(_, body)| body.clone())
        .unwrap_or_default()
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
