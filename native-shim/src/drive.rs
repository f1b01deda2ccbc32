//! The loop that drives an exchange through its steps. It decides nothing.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body as HttpBody;
use scopeguard::{ScopeGuard, guard};
use tidegate_core::cache::Stored;
use tidegate_core::cache::range::Piece;
use tidegate_core::exchange::Event;
use tidegate_core::operations::Warmed;
use tidegate_core::report::Kind;
use tidegate_core::{AwaitResponse, Background, Fill, FillKind, Reply, Source, Step, Timestamp};

use crate::attempts::{self, Upstream};
use crate::body::Body;
use crate::counters::{self, Charging, Later};
use crate::filling;
use crate::node::{Node, Work};
use crate::pacing::{Pacer, Tally};
use crate::recording::{self, Recording, ReplyWatch};
use crate::request_body::RequestBody;
use crate::shared_body::SharedBody;
use crate::store::{self, Entry};
use crate::waiters::WakeGuard;
use crate::watched::Watched;

/// How far an exchange has come that this node answers step by step.
///
/// The fields are dropped in this order: a lead inside the step ends before those who wait for it
/// are woken.
pub(crate) struct Drive {
    step: Step,
    /// What the counters will answer, if the step charges.
    charging: Option<Later>,
    /// What the last lookup found; the reply's body may be in it.
    found: Found,
    wake: Option<WakeGuard>,
}

/// Takes the steps that need no waiting. They take no time either. Counters that answer later are
/// left in `charging`.
fn advance(
    mut step: Step,
    node: &Node,
    found: &mut Found,
    charging: &mut Option<Later>,
    now: Timestamp,
) -> Step {
    loop {
        step = match step {
            Step::Verify(next) => {
                // A layer has no server that keeps time.
                node.fetch_keys();
                let is_right = next
                    .signed()
                    .is_some_and(|signed| node.keys.is_right(&signed));
                next.resume(is_right, now)
            }
            Step::Charge(next) => match node.charge(next.charges(), now) {
                Charging::Now(charged) => next.resume(&charged, now),
                Charging::Later(later) => {
                    *charging = Some(later);
                    return Step::Charge(next);
                }
            },
            Step::Lookup(next) => {
                // In this order: a response is stored before it is no longer on its way.
                let in_flight = node.in_flight.get(next.key());
                *found = Found {
                    stored: node.store.get(next.key(), now),
                    in_flight,
                };
                found.with_heads(|heads| next.resume(heads, now))
            }
            step @ (Step::Fetch(..) | Step::Await(_) | Step::Wait(_) | Step::Finish(_)) => {
                return step;
            }
        }
    }
}

impl Drive {
    /// Takes all steps to the end, and answers. Dropped before that, because the client has gone,
    /// it ends what only this client wanted, and goes on with what may be changing something at the
    /// origin; as long as that is not too much. `client` is what the client takes up at this node;
    /// it is kept as long as the work goes on, and comes back with the answer.
    pub(crate) async fn run_to_the_end<U: Upstream, C: Send + 'static>(
        self: Box<Self>,
        node: &Arc<Node>,
        upstream: &U,
        body: RequestBody<U::ClientBody>,
        client: C,
    ) -> (Response<Body<U::Body>>, C) {
        let mut this = self;
        // A second charge may come just before an origin is asked.
        while this.charging.is_some() {
            this = this.charged(node).await;
        }
        let outlives = matches!(&this.step, Step::Fetch(_, next) if next.outlives_its_client());
        let Some(work) = outlives.then(|| Work::begin_bounded(node)).flatten() else {
            return (this.run(node, upstream, body).await, client);
        };
        let upstream = upstream.clone();
        let work = async move {
            let response = this.run(work.node(), &upstream, body).await;
            (response, client)
        };
        match tokio::spawn(work).await {
            Ok(answered) => answered,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends an exchange that nobody has begun to drive: whoever was to do so does not want its answer.
    pub(crate) fn abandon(self, node: &Node) {
        let now = node.now();
        node.end(match self.step {
            Step::Charge(next) => next.abandon(now),
            Step::Verify(next) => next.abandon(now),
            Step::Fetch(_, next) | Step::Await(next) => next.abandon(now),
            Step::Wait(next) => next.abandon(now),
            // These are not left to others to drive.
            Step::Lookup(_) | Step::Finish(_) => return,
        });
    }

    /// Waits for counters, if they answer later.
    async fn charged(mut self: Box<Self>, node: &Arc<Node>) -> Box<Self> {
        let Some(later) = self.charging.take() else {
            return self;
        };
        let Step::Charge(next) = self.step else {
            return self;
        };
        if let Some(key) = next.leads() {
            self.wake = self.wake.or_else(|| Some(node.waiters.guard(key)));
        }
        let next = guard(next, |next| node.end(next.abandon(node.now())));
        // Boxed, since it would make the future of every request larger.
        let answers = Box::pin(tokio::time::timeout(counters::PATIENCE, later)).await;
        let now = node.now();
        let step = ScopeGuard::into_inner(next).resume(&answers.unwrap_or_default(), now);
        self.step = advance(step, node, &mut self.found, &mut self.charging, now);
        self
    }

    /// Takes all steps to the end, and answers. Dropped before that, it leaves a report that says
    /// so.
    pub(crate) async fn run<U: Upstream>(
        self: Box<Self>,
        node: &Arc<Node>,
        upstream: &U,
        body: RequestBody<U::ClientBody>,
    ) -> Response<Body<U::Body>> {
        let mut this = self;
        let mut answer: Option<Watched<U::Body>> = None;
        loop {
            if this.charging.is_some() {
                this = this.charged(node).await;
            }
            let (step, now) = match this.step {
                Step::Fetch(mut attempt, next) if next.hedge_at().is_none() => {
                    drop(answer.take());
                    if !attempt.paces.is_empty() {
                        body.pace(node, std::mem::take(&mut attempt.paces));
                    }
                    this.wake = this.wake.or_else(|| wake_guard(node, &next));
                    let number = attempt.number;
                    let next = guard(next, |next| {
                        let ended = next.abandon(node.now());
                        recording::end(node, ended, body.paced().as_deref());
                    });
                    let result = upstream.fetch(attempt, body.clone()).await;
                    let result = result.map(|response| {
                        let (head, fetched) = response.into_parts();
                        answer = Some(Watched::new(fetched));
                        attempts::to_answer(head, &body)
                    });
                    let now = node.now();
                    (
                        ScopeGuard::into_inner(next).resume(number, result, now),
                        now,
                    )
                }
                step @ (Step::Fetch(..) | Step::Await(_)) => {
                    drop(answer.take());
                    if let Step::Fetch(_, next) = &step {
                        this.wake = this.wake.or_else(|| wake_guard(node, next));
                    }
                    // Boxed, since it would make the future of every other request larger.
                    let fetched = Box::pin(attempts::run(node, upstream, &body, step));
                    let (step, fetched) = fetched.await;
                    answer = fetched.map(Watched::new);
                    (step, node.now())
                }
                Step::Wait(next) => {
                    if next.event() == Event::KeysCome {
                        node.fetch_keys();
                    }
                    let next = guard(next, |next| node.end(next.abandon(node.now())));
                    // Boxed likewise.
                    Box::pin(node.waiters.wait(&next, &node.clock)).await;
                    let now = node.now();
                    (ScopeGuard::into_inner(next).resume(now), now)
                }
                Step::Finish(reply) => {
                    return Finish {
                        node,
                        upstream,
                        found: this.found,
                        answer,
                        wake: this.wake,
                        paced: body.paced(),
                    }
                    .reply(*reply);
                }
                step @ (Step::Verify(_) | Step::Charge(_) | Step::Lookup(_)) => (step, node.now()),
            };
            this.step = advance(step, node, &mut this.found, &mut this.charging, now);
        }
    }
}

/// Returns what wakes those who wait for this fetch, if any may.
fn wake_guard(node: &Node, next: &AwaitResponse) -> Option<WakeGuard> {
    next.leads().map(|key| node.waiters.guard(key))
}

/// What a lookup found: what is stored, and what is on its way into the store.
#[derive(Default)]
struct Found {
    stored: Option<Arc<Entry>>,
    in_flight: Vec<Arc<SharedBody>>,
}

impl Found {
    fn with_heads<T>(&self, use_them: impl FnOnce(&[Arc<Stored>]) -> T) -> T {
        let stored = self.stored.as_ref().map_or(&[][..], |entry| entry.heads());
        if self.in_flight.is_empty() {
            return use_them(stored);
        }
        let in_flight = self.in_flight.iter().map(|shared| &shared.head);
        use_them(
            &stored
                .iter()
                .chain(in_flight)
                .map(Arc::clone)
                .collect::<Vec<_>>(),
        )
    }

    /// Returns pieces of the body of a response; all of it if there are none.
    fn body<B>(&self, head: &Arc<Stored>, pieces: Option<Vec<Piece>>) -> Body<B> {
        if let Some(body) = self.stored.as_ref().and_then(|entry| entry.body(head)) {
            return Body::full(
                pieces.map_or_else(|| body.clone(), |pieces| assemble(body, &pieces)),
            );
        }
        let shared = self
            .in_flight
            .iter()
            .find(|shared| Arc::ptr_eq(&shared.head, head));
        // A body that is not there must not look like an empty one.
        let shared = shared.map_or_else(|| SharedBody::lost(head), Arc::clone);
        Body::shared(match pieces {
            Some(pieces) => shared.read(pieces),
            None => shared.read_all(),
        })
    }
}

/// What carrying out a reply needs.
struct Finish<'a, U: Upstream> {
    node: &'a Arc<Node>,
    upstream: &'a U,
    found: Found,
    answer: Option<Watched<U::Body>>,
    wake: Option<WakeGuard>,
    /// How long the client's body has waited for its pace.
    paced: Option<Arc<Tally>>,
}

impl<U: Upstream> Finish<'_, U> {
    fn reply(mut self, mut reply: Reply) -> Response<Body<U::Body>> {
        self.node.apply_purges(&mut reply);
        let Reply {
            mut head,
            source,
            fill,
            invalidate,
            background,
            paces,
            hold,
            ..
        } = reply;
        if !paces.is_empty() {
            self.paced.get_or_insert_default();
        }
        if hold.report().kind == Kind::Warming {
            let warmed = Warmed::of(&head, hold.report());
            head.extensions.insert(warmed);
        }
        for key in &invalidate {
            self.node.store.remove(key);
        }
        let client_reads =
            hold.report().kind == Kind::Request && head.status != StatusCode::SWITCHING_PROTOCOLS;
        let origin = self.answer.as_mut().filter(|_| hold.awaits_origin());
        let watch = if let Some(origin) = origin {
            let recording = Recording::new(self.node, hold, self.paced.clone());
            origin.watch(Arc::clone(&recording));
            client_reads.then(|| ReplyWatch::shared(recording))
        } else if client_reads {
            Some(match self.paced.clone() {
                None => ReplyWatch::alone(hold, Arc::clone(self.node)),
                paced => ReplyWatch::shared(Recording::new(self.node, hold, paced)),
            })
        } else {
            self.node.end(hold.unseen());
            None
        };
        let mut body = match source {
            Source::Empty => Body::default(),
            Source::Bytes(bytes) => Body::full(bytes),
            Source::Stored(stored) => self.found.body(&stored, None),
            Source::Pieces(stored, pieces) => self.found.body(&stored, Some(pieces)),
            Source::Origin => self.answer.take().map_or_else(Body::default, Body::watched),
        };
        if let Some(fill) = fill {
            body = self.fill(fill, body);
        }
        if let Some(watch) = watch {
            body.watch(watch);
        }
        if let Some(tally) = self.paced.take().filter(|_| !paces.is_empty()) {
            body.pace(Pacer::new(self.node, paces, tally));
        }
        if let Some(background) = background {
            self.background(background);
        }
        Response::from_parts(head, body)
    }

    /// Stores: at once what is at hand, and the origin's body while it streams, to the client or,
    /// if the client gets another one, to nobody.
    fn fill(&mut self, fill: Fill, body: Body<U::Body>) -> Body<U::Body> {
        if let FillKind::Refresh(old) = &fill.kind {
            self.node
                .store
                .refresh(&fill.key, old, Arc::clone(&fill.head), self.node.now());
            return body;
        }
        let (fetched, other) = match body.into_origin() {
            Ok(fetched) => (Some(fetched), None),
            Err(other) => (self.answer.take(), Some(other)),
        };
        let Some(fetched) = fetched else {
            return other.unwrap_or_default();
        };
        let passed_on = match filling::begin(self.node, fill, self.wake.take(), fetched) {
            Ok(reader) => Body::shared(reader),
            Err(fetched) => Body::watched(fetched),
        };
        // What the client does not get is read to its end all the same.
        other.unwrap_or(passed_on)
    }

    /// Drives another exchange, for which nobody waits.
    fn background(&self, background: Background) {
        let (node, upstream) = (Arc::clone(self.node), self.upstream.for_nobody());
        let wake = node.waiters.guard(background.key());
        let drive = Box::new(Drive {
            step: background.begin(node.now()),
            charging: None,
            found: Found::default(),
            wake: Some(wake),
        });
        let work = Work::begin(&node);
        tokio::spawn(async move {
            let response = Box::pin(drive.run(work.node(), &upstream, RequestBody::Empty)).await;
            // A task of its own reads the body into the store.
            drop(response);
        });
    }
}

/// Puts pieces together. One piece, the usual case, is not copied.
fn assemble(body: &Bytes, pieces: &[Piece]) -> Bytes {
    let bytes = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Body(range) => store::slice(body, range),
    };
    match pieces {
        [only] => bytes(only),
        _ => pieces.iter().map(bytes).collect::<Vec<_>>().concat().into(),
    }
}

/// Carries out the reply to what was refused before an exchange began.
pub(crate) fn refused<B>(node: &Arc<Node>, reply: Reply) -> Response<Body<B>>
where
    Body<B>: HttpBody,
{
    let mut body = match reply.source {
        Source::Bytes(bytes) => Body::full(bytes),
        Source::Empty | Source::Stored(_) | Source::Pieces(..) | Source::Origin => Body::default(),
    };
    body.watch(ReplyWatch::alone(reply.hold, Arc::clone(node)));
    Response::from_parts(reply.head, body)
}

/// Goes on with an exchange that has just begun: answers at once if no origin is needed, and
/// otherwise returns what is left to do.
pub(crate) fn begin<U: Upstream>(
    node: &Arc<Node>,
    upstream: &U,
    step: Step,
    now: Timestamp,
) -> Result<Response<Body<U::Body>>, Box<Drive>> {
    let (mut found, mut charging) = (Found::default(), None);
    match advance(step, node, &mut found, &mut charging, now) {
        Step::Finish(reply) => Ok(Finish {
            node,
            upstream,
            found,
            answer: None,
            wake: None,
            paced: None,
        }
        .reply(*reply)),
        step @ (Step::Verify(_)
        | Step::Charge(_)
        | Step::Lookup(_)
        | Step::Fetch(..)
        | Step::Await(_)
        | Step::Wait(_)) => Err(Box::new(Drive {
            step,
            charging,
            found,
            wake: None,
        })),
    }
}
