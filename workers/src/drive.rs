//! The loop: what the core asks for is done, and the core is told.

use std::cell::OnceCell;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::join;
use tidegate_core::exchange::Event;
use tidegate_core::{
    Background, BodyEnd, BodySeen, Engine, FillKind, Hold, Reply, Report, Source, Step, Timestamp,
};
use worker::worker_sys::Context;
use worker::{Env, Result, web_sys};

use crate::convert::{self, Body};
use crate::origin::{self, Answer};
use crate::pacer::Tally;
use crate::store::{self, Found};
use crate::streams::{self, ClientBody, Ending};
use crate::{attempts, clock, keys, limits, pacing, purges};

/// One exchange's way to the platform.
pub(crate) struct Shell {
    pub(crate) env: Env,
    pub(crate) engine: Engine,
    /// What keeps work alive that outlasts the request. None for operations, which no token is shown
    /// to.
    pub(crate) ctx: Option<Context>,
    pub(crate) body: Option<ClientBody>,
    /// How long bodies have waited for their pace, if any is paced.
    pub(crate) paced: OnceCell<Rc<Tally>>,
}

/// How an exchange ended.
pub(crate) struct Ended {
    pub(crate) reply: Reply,
    /// What the last lookup found.
    pub(crate) found: Found,
    /// The last answer of an origin.
    pub(crate) answer: Option<Answer>,
    /// How long bodies have waited for their pace, if any is paced.
    pub(crate) paced: Option<Rc<Tally>>,
}

impl Shell {
    pub(crate) async fn drive(&self, mut step: Step) -> Ended {
        let (mut found, mut answer) = (Found::default(), None::<Answer>);
        loop {
            step = match step {
                Step::Verify(next) => {
                    keys::fetch(&self.engine, self.ctx.as_ref());
                    let is_right = keys::is_right(&next).await;
                    next.resume(is_right, clock::now())
                }
                Step::Charge(next) => {
                    let answers = limits::charge(&self.env, next.charges(), clock::now()).await;
                    next.resume(&answers, clock::now())
                }
                Step::Lookup(next) => {
                    // The log of purges is asked, if need be, while the store is.
                    let known = purges::known(&self.env, &self.engine);
                    let (is_known, looked_up) = join(known, lookup(&next)).await;
                    if is_known {
                        found = looked_up;
                        next.resume(&found.heads, clock::now())
                    } else {
                        next.forgo(clock::now())
                    }
                }
                Step::Fetch(mut attempt, next) if next.hedge_at().is_none() => {
                    origin::discard(answer.take());
                    let body = self.body.as_ref();
                    pacing::request(body, &mut attempt, &self.paced);
                    let fetched = origin::fetch(&attempt, body).await;
                    let told = origin::told(&fetched, body);
                    answer = fetched.ok();
                    next.resume(attempt.number, told, clock::now())
                }
                step @ (Step::Fetch(..) | Step::Await(_)) => {
                    origin::discard(answer.take());
                    // Boxed, since it would make the future of every other request larger.
                    let fetched = Box::pin(attempts::run(self.body.as_ref(), step));
                    let (step, fetched) = fetched.await;
                    answer = fetched;
                    step
                }
                Step::Wait(next) => {
                    if next.event() == Event::KeysCome {
                        keys::fetch(&self.engine, self.ctx.as_ref());
                    }
                    clock::wait(&next).await;
                    next.resume(clock::now())
                }
                Step::Finish(reply) => {
                    if let Some(head) = reply.source.stored() {
                        found.load(head).await;
                    }
                    return Ended {
                        reply: *reply,
                        found,
                        answer,
                        paced: self.paced.get().map(Rc::clone),
                    };
                }
            }
        }
    }

    /// Drives a revalidation to its end, the storing of its response included.
    pub(crate) async fn revalidate(&self, work: Background, log: bool) {
        let ended = self.drive(work.begin(clock::now())).await;
        fill_alone(&self.env, ended, log).await;
    }
}

/// Stores what an exchange ended with, for which no client waits. Returns whether the store has
/// taken all that it was given.
pub(crate) async fn fill_alone(env: &Env, ended: Ended, log: bool) -> bool {
    let Ended {
        reply,
        found,
        answer,
        // Nothing of a client's is in it.
        paced: _,
    } = ended;
    invalidate(&reply.invalidate).await;
    let fetched = Fetched::watch(answer.as_ref(), &reply.hold, log);
    let record = Record {
        hold: reply.hold,
        ending: fetched.ending,
        reply: ReplyBody::Unseen,
        paced: None,
        log,
    };
    let body = fetched.body;
    let fill = async {
        if let Some(fill) = reply.fill {
            Filling::new(fill, body, &found).store().await
        } else {
            body.iter().for_each(streams::discard);
            true
        }
    };
    let (taken, ()) = join(fill, record.written(env)).await;
    taken
}

/// The body of the last answer of an origin.
struct Fetched {
    body: Option<web_sys::ReadableStream>,
    /// None if there is no body, or nobody is to learn how it ends.
    ending: Option<Ending>,
}

impl Fetched {
    /// Takes the body, and watches it if the log, a circuit or a limit is told how it ends: that costs
    /// some 100 microseconds (`bench/README.md`).
    fn watch(answer: Option<&Answer>, hold: &Hold, log: bool) -> Self {
        let body = answer.and_then(|answer| answer.response.body());
        let is_told = hold.awaits_origin() && (log || hold.has_circuit() || hold.settles());
        let watched = body
            .as_ref()
            .filter(|_| is_told)
            .and_then(|body| streams::watched(body, hold.announced()).ok());
        match watched {
            Some((body, ending)) => Self {
                body: Some(body),
                ending: Some(ending),
            },
            None => Self { body, ending: None },
        }
    }
}

/// What this Worker sees of a reply's body.
enum ReplyBody {
    /// The runtime has it, whole: so many bytes, at this time.
    Given(u64, Timestamp),
    /// It ends as the origin's body does; so long if it ends well.
    Origin(Option<u64>),
    /// It is paced, and ends so.
    Paced(Ending),
    /// The runtime moves the bytes, and does not tell.
    Unseen,
}

/// What is recorded of an exchange when its bodies have ended.
pub(crate) struct Record {
    hold: Hold,
    /// None if there is no body of an origin.
    ending: Option<Ending>,
    reply: ReplyBody,
    paced: Option<Rc<Tally>>,
    log: bool,
}

impl Record {
    /// Waits for the end of the origin's body, and records.
    pub(crate) async fn written(self, env: &Env) {
        let Self {
            mut hold,
            ending,
            reply,
            paced,
            log,
        } = self;
        let end = match ending {
            Some(ending) => ending.reached().await,
            None => BodyEnd::Whole,
        };
        let now = clock::now();
        hold.origin_ended(BodySeen::only(end), now);
        let mut ended = match reply {
            ReplyBody::Given(bytes, at) => hold.end(BodyEnd::Whole, Some(bytes), at),
            ReplyBody::Origin(length) => {
                let bytes = length.filter(|_| end == BodyEnd::Whole);
                hold.end(end, bytes, now)
            }
            ReplyBody::Paced(ending) => {
                let end = ending.reached().await;
                let bytes = paced.as_ref().map(|tally| tally.replied());
                hold.end(end, bytes, clock::now())
            }
            ReplyBody::Unseen => hold.unseen(),
        };
        if let Some(tally) = paced {
            tally.note(&mut ended.report);
        }
        if log {
            write_log(&ended.report);
        }
        if !ended.settlements.is_empty() {
            limits::settle(env, &ended.settlements, clock::now()).await;
        }
    }

    /// Records at once, if nothing is to be waited for.
    pub(crate) fn or_at_once(self, env: &Env) -> Option<Self> {
        let is_paced = matches!(self.reply, ReplyBody::Paced(_));
        if self.ending.is_some() || self.hold.settles() || is_paced {
            return Some(self);
        }
        // Nothing in it waits.
        self.written(env).now_or_never();
        None
    }
}

/// Splits what an exchange ended with: the client's response, and what is left to do.
pub(crate) fn respond(env: &Env, ended: Ended, log: bool) -> Result<(web_sys::Response, Rest)> {
    let Ended {
        reply,
        mut found,
        answer,
        mut paced,
    } = ended;
    let Reply {
        head,
        source,
        fill,
        background,
        paces,
        hold,
        ..
    } = reply;
    if !paces.is_empty() {
        paced.get_or_insert_default();
    }
    let tally = paced.clone();
    let length = hold.announced();
    // Whether anybody learns how a reply ends that is paced.
    let is_told = log || hold.settles();
    let Fetched {
        body: fetched,
        ending,
    } = Fetched::watch(answer.as_ref(), &hold, log);
    let is_watched = ending.is_some();
    let record = |reply| {
        Record {
            hold,
            ending,
            reply,
            paced,
            log,
        }
        .or_at_once(env)
    };
    let switched = source == Source::Origin && head.status == http::StatusCode::SWITCHING_PROTOCOLS;
    if let Some(answer) = answer.as_ref().filter(|_| switched) {
        let response = convert::switched(&head, &answer.response)?;
        return Ok((
            response,
            Rest {
                fill: None,
                background,
                record: record(ReplyBody::Unseen),
            },
        ));
    }
    // A copy that nobody reads would pile up.
    let copies = fill
        .as_ref()
        .is_some_and(|fill| fill.kind == FillKind::Insert);
    let streams_origin = source == Source::Origin && !copies && is_watched;
    let (body, copy) = match (source, copies, fetched) {
        (Source::Origin, true, Some(stream)) => {
            let (body, copy) = streams::tee(&stream)?;
            (Body::Stream(body), Some(copy))
        }
        (Source::Origin, _, fetched) => (fetched.into(), None),
        (source, filling, fetched) => {
            let unwanted = fetched.as_ref().filter(|_| !filling);
            unwanted.into_iter().for_each(streams::discard);
            let body = match source {
                Source::Stored(head) => found.take(&head)?,
                Source::Pieces(head, pieces) => match found.take(&head)? {
                    Body::Stream(stream) => Body::Stream(streams::pieces(&stream, &pieces)?),
                    body @ (Body::Empty | Body::Bytes(_) | Body::Buffer(_)) => body,
                },
                Source::Bytes(bytes) => Body::Bytes(bytes),
                Source::Empty | Source::Origin => Body::Empty,
            };
            (body, fetched.filter(|_| filling))
        }
    };
    let (body, paced_ending) = match tally.filter(|_| !paces.is_empty()) {
        Some(tally) => pacing::reply(body, &head.headers, paces, &tally)?,
        None => (body, None),
    };
    let seen = match (body.length(), paced_ending) {
        (Some(bytes), _) => ReplyBody::Given(bytes, clock::now()),
        (None, Some(ending)) if is_told => ReplyBody::Paced(ending),
        (None, None) if streams_origin => ReplyBody::Origin(length),
        (None, _) => ReplyBody::Unseen,
    };
    Ok((
        convert::response(&head, body)?,
        Rest {
            fill: fill.map(|fill| Filling::new(fill, copy, &found)),
            background,
            record: record(seen),
        },
    ))
}

/// What is done after the client has its answer.
pub(crate) struct Rest {
    pub(crate) fill: Option<Filling>,
    pub(crate) background: Option<Background>,
    pub(crate) record: Option<Record>,
}

impl Rest {
    pub(crate) fn is_some(&self) -> bool {
        self.fill.is_some() || self.background.is_some() || self.record.is_some()
    }
}

/// Writes a report as one line.
fn write_log(report: &Report) {
    match serde_json::to_string(report) {
        Ok(line) => worker::console_log!("{line}"),
        Err(error) => worker::console_error!("a report cannot be written: {error}"),
    }
}

/// A store that fails has nothing stored.
async fn lookup(next: &tidegate_core::AwaitLookup) -> Found {
    let found = store::lookup(next).await;
    found.unwrap_or_else(|error| {
        worker::console_error!("lookup: {error}");
        Found::default()
    })
}

/// What is to be stored.
pub(crate) struct Filling {
    fill: tidegate_core::Fill,
    body: Option<web_sys::ReadableStream>,
    /// Whether nothing was stored under the key when the exchange looked.
    is_first: bool,
}

impl Filling {
    fn new(
        fill: tidegate_core::Fill,
        body: Option<web_sys::ReadableStream>,
        found: &Found,
    ) -> Self {
        Self {
            is_first: found.is_nothing_under(&fill.key),
            fill,
            body,
        }
    }

    /// Stores it, and returns whether it is stored. What cannot be stored is fetched again by the
    /// next request.
    pub(crate) async fn store(self) -> bool {
        let stored = store::fill(self.fill, self.body, self.is_first).await;
        if let Err(error) = &stored {
            worker::console_warn!("not stored: {error}");
        }
        stored.is_ok()
    }
}

/// Drops what is stored under the keys.
pub(crate) async fn invalidate(keys: &[tidegate_core::cache::CacheKey]) {
    for key in keys {
        if let Err(error) = store::invalidate(key).await {
            worker::console_error!("not invalidated: {error}");
        }
    }
}
