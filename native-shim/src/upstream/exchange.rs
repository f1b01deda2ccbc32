//! One attempt: a connection is taken or made, the request sent, the response's head awaited.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tidegate_core::route::Origin;
use tidegate_core::{Attempt, Failure, FailureKind};

use super::body::OriginBody;
use super::connect;
use super::link::Link;
use super::pool::Pool;
use crate::deadline::Deadline;
use crate::interim::Interim;
use crate::request_body::RequestBody;

type Body = RequestBody<Incoming>;

/// Why a link gave no response.
enum Broken {
    /// The connection was closed before it took the request, which comes back.
    Unused(Box<Request<Body>>),
    /// The connection was closed before a byte of an answer came.
    Silent,
    Failed(FailureKind),
}

pub(super) async fn fetch(
    pool: &Pool,
    attempt: Box<Attempt>,
    body: Body,
    interim: Option<&Arc<Interim>>,
) -> Result<Response<OriginBody>, Failure> {
    let Attempt { origin, mut head, body: has_body, body_bytes_max, upgrade, idempotent, repeatable, header_count_max } =
        *attempt;
    head.version = Version::HTTP_11;
    let body = if has_body { body } else { RequestBody::Empty };
    body.limit(body_bytes_max);
    if !repeatable {
        body.is_sent_once();
    }
    if body.announced() == tidegate_core::RequestBody::Streamed {
        // The client's library would send no content at all with GET if nothing said how it ends.
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut request = Request::from_parts(head, body.clone());
    let mut repeated = false;
    let timeouts = origin.timeouts;
    if upgrade {
        // What is rare is boxed: it would make the future of every request larger.
        return Box::pin(switch(pool, &origin, request, &body)).await;
    }
    let idle = pool.of(&origin);
    loop {
        // What has been lost once on an idle connection is not given to another one.
        let taken = if repeated { None } else { idle.take(&timeouts) };
        let (mut link, fresh) = match taken {
            Some(link) => (link, false),
            None => (Box::pin(dial(pool, &origin, header_count_max)).await.map_err(|kind| unsent(kind, &body))?, true),
        };
        link.deadline.set(Duration::from_millis(timeouts.response));
        if let Some(interim) = interim {
            let interim = Arc::clone(interim);
            hyper::ext::on_informational(&mut request, move |response| {
                interim.pass_on(response.status(), response.headers());
            });
        }
        // A body is shared by its copies, so this one is as good as the request's own.
        let again = (idempotent && !fresh).then(|| copy(&request, &body));
        match ask(&mut link, request, &body, timeouts.response).await {
            Ok(response) => {
                link.heard.an_answer();
                link.heed(response.headers());
                let pause_max = Duration::from_millis(timeouts.body);
                return Ok(response.map(|incoming| OriginBody::new(incoming, link, idle, pause_max)));
            }
            // It was closed while it lay idle: another connection carries the same request. That is transport, not a retry.
            Err(Broken::Unused(returned)) if !fresh => request = *returned,
            Err(Broken::Unused(_)) => return Err(unsent(FailureKind::Closed, &body)),
            // The origin closed it just when it was used again. Nothing tells whether the request arrived, so only one that may arrive twice is repeated.
            Err(Broken::Silent) if again.is_some() && body.is_intact() => {
                repeated = true;
                request = again.unwrap_or_default();
            }
            Err(Broken::Silent) => {
                return Err(Failure { kind: FailureKind::Closed, sent: true, body_intact: body.is_intact() });
            }
            Err(Broken::Failed(kind)) => {
                return Err(Failure { kind, sent: true, body_intact: body.is_intact() });
            }
        }
    }
}

fn unsent(kind: FailureKind, body: &Body) -> Failure {
    Failure { kind, sent: false, body_intact: body.is_intact() }
}

async fn dial(pool: &Pool, origin: &Origin, header_count_max: usize) -> Result<Box<Link>, FailureKind> {
    let socket = connect::connect(origin, &pool.files).await?;
    Link::new(socket, &origin.timeouts, header_count_max).await.map(Box::new).map_err(|_| FailureKind::Closed)
}

/// Sends the request and drives the connection until the response's head has come.
async fn ask(
    link: &mut Link,
    request: Request<Body>,
    body: &Body,
    response_timeout: u64,
) -> Result<Response<Incoming>, Broken> {
    let mut answer = link.send(request);
    let mut seen = 0;
    poll_fn(|cx| {
        link.drive(cx);
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|mut error| match error.take_message() {
                Some(request) => Broken::Unused(Box::new(request)),
                None => broken(link, kind_of(error.error(), body)),
            }));
        }
        if link.is_over() {
            return Poll::Ready(Err(broken(link, FailureKind::Closed)));
        }
        while link.deadline.poll(cx).is_ready() {
            if let Some(kind) = body.overdue(&mut seen) {
                return Poll::Ready(Err(Broken::Failed(kind)));
            }
            link.deadline.set(Duration::from_millis(response_timeout));
        }
        Poll::Pending
    })
    .await
}

fn broken(link: &Link, kind: FailureKind) -> Broken {
    let silent = kind == FailureKind::Closed && !link.heard.anything();
    if silent { Broken::Silent } else { Broken::Failed(kind) }
}

fn copy(request: &Request<Body>, body: &Body) -> Request<Body> {
    let mut copy = Request::new(body.clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn kind_of(error: &hyper::Error, body: &Body) -> FailureKind {
    match body.fault() {
        Some(kind) => kind,
        None if error.is_parse() => FailureKind::Protocol,
        None => FailureKind::Closed,
    }
}

/// Sends a request for another protocol over a connection of its own, which a task drives, because it outlives the exchange.
async fn switch(
    pool: &Pool,
    origin: &Origin,
    request: Request<Body>,
    body: &Body,
) -> Result<Response<OriginBody>, Failure> {
    let timeouts = origin.timeouts;
    let socket = connect::connect(origin, &pool.files).await.map_err(|kind| unsent(kind, body))?;
    let failed = |kind| Failure { kind, sent: true, body_intact: body.is_intact() };
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await;
    let (mut sender, connection) = handshake.map_err(|_| unsent(FailureKind::Closed, body))?;
    tokio::spawn(connection.with_upgrades());
    let answer = sender.send_request(request);
    let mut answer = std::pin::pin!(answer);
    let mut deadline = Deadline::after(Duration::from_millis(timeouts.response));
    let response = poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|error| kind_of(&error, body)));
        }
        deadline.poll(cx).map(|()| Err(FailureKind::ResponseTimeout))
    });
    let response = response.await.map_err(failed)?;
    let pause_max = Duration::from_millis(timeouts.body);
    Ok(response.map(|incoming| OriginBody::detached(incoming, pause_max)))
}
