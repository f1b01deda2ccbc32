//! The loop: what the core asks for is done, and the core is told.

use tidegate_core::{Background, Engine, FillKind, Reply, Source, Step};
use worker::{Env, Result, web_sys};

use crate::convert::{self, Body};
use crate::origin::{self, Answer};
use crate::store::{Found, Store};
use crate::streams::{self, ClientBody};
use crate::{clock, limits, purges};

/// One exchange's way to the platform.
pub(crate) struct Shell {
    pub(crate) env: Env,
    pub(crate) engine: Engine,
    pub(crate) body: Option<ClientBody>,
}

/// How an exchange ended.
pub(crate) struct Ended {
    pub(crate) reply: Reply,
    /// What the last lookup found.
    pub(crate) found: Found,
    /// The last answer of an origin.
    pub(crate) answer: Option<Answer>,
}

impl Shell {
    pub(crate) async fn drive(&self, mut step: Step) -> Ended {
        let (mut found, mut answer) = (Found::default(), None::<Answer>);
        loop {
            step = match step {
                Step::Charge(next) => {
                    let answers = limits::charge(&self.env, next.charges(), clock::now()).await;
                    next.resume(&answers, clock::now())
                }
                Step::Lookup(next) => {
                    if purges::known(&self.env, &self.engine).await {
                        found = lookup(&next).await;
                        next.resume(&found.heads, clock::now())
                    } else {
                        next.forgo(clock::now())
                    }
                }
                Step::Fetch(attempt, next) => {
                    abandon(answer.take());
                    let outcome = origin::fetch(&attempt, self.body.as_ref()).await;
                    let head = outcome.as_ref().map(|answer| answer.head.clone()).map_err(|failure| *failure);
                    answer = outcome.ok();
                    next.resume(head, clock::now())
                }
                Step::Wait(next) => {
                    clock::wait(&next).await;
                    next.resume(clock::now())
                }
                Step::Finish(reply) => {
                    if let Some(head) = reply.source.stored() {
                        found.load(head).await;
                    }
                    return Ended { reply: *reply, found, answer };
                }
            }
        }
    }

    /// Drives a revalidation to its end, the storing of its response included.
    pub(crate) async fn revalidate(&self, work: Background, log: bool) {
        let ended = self.drive(work.begin(clock::now())).await;
        if log {
            write_log(&ended.reply);
        }
        fill_alone(ended).await;
    }
}

/// Stores what an exchange ended with, for which no client waits.
pub(crate) async fn fill_alone(ended: Ended) {
    let Ended { reply, answer, .. } = ended;
    invalidate(&reply.invalidate).await;
    let Some(fill) = reply.fill else { return abandon(answer) };
    store(fill, answer.and_then(|answer| answer.response.body())).await;
}

/// Splits what an exchange ended with: the client's response, and what is left to do.
pub(crate) fn respond(ended: Ended) -> Result<(web_sys::Response, Rest)> {
    let Ended { reply, mut found, answer } = ended;
    let Reply { head, source, fill, background, .. } = reply;
    let switched = source == Source::Origin && head.status == http::StatusCode::SWITCHING_PROTOCOLS;
    if let Some(answer) = answer.as_ref().filter(|_| switched) {
        let response = convert::switched(&head, &answer.response)?;
        return Ok((response, Rest { fill: None, background }));
    }
    let fetched = answer.and_then(|answer| answer.response.body());
    // A copy that nobody reads would pile up.
    let copies = fill.as_ref().is_some_and(|fill| fill.kind == FillKind::Insert);
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
    Ok((convert::response(&head, body)?, Rest { fill: fill.map(|fill| (fill, copy)), background }))
}

/// What is done after the client has its answer.
pub(crate) struct Rest {
    pub(crate) fill: Option<(tidegate_core::Fill, Option<web_sys::ReadableStream>)>,
    pub(crate) background: Option<Background>,
}

impl Rest {
    pub(crate) fn is_some(&self) -> bool {
        self.fill.is_some() || self.background.is_some()
    }
}

/// Writes a report as one line.
pub(crate) fn write_log(reply: &Reply) {
    match serde_json::to_string(&reply.report) {
        Ok(line) => worker::console_log!("{line}"),
        Err(error) => worker::console_error!("a report cannot be written: {error}"),
    }
}

/// A store that fails has nothing stored.
async fn lookup(next: &tidegate_core::AwaitLookup) -> Found {
    let found = match Store::open().await {
        Ok(store) => store.lookup(next).await,
        Err(error) => Err(error),
    };
    found.unwrap_or_else(|error| {
        worker::console_error!("lookup: {error}");
        Found::default()
    })
}

/// Stores a response. What cannot be stored is fetched again by the next request.
pub(crate) async fn store(fill: tidegate_core::Fill, body: Option<web_sys::ReadableStream>) {
    let stored = match Store::open().await {
        Ok(store) => store.fill(fill, body).await,
        Err(error) => Err(error),
    };
    if let Err(error) = stored {
        worker::console_warn!("not stored: {error}");
    }
}

/// Drops what is stored under the keys.
pub(crate) async fn invalidate(keys: &[tidegate_core::cache::CacheKey]) {
    for key in keys {
        let dropped = match Store::open().await {
            Ok(store) => store.invalidate(key).await,
            Err(error) => Err(error),
        };
        if let Err(error) = dropped {
            worker::console_error!("not invalidated: {error}");
        }
    }
}

fn abandon(answer: Option<Answer>) {
    if let Some(body) = answer.and_then(|answer| answer.response.body()) {
        streams::discard(&body);
    }
}
