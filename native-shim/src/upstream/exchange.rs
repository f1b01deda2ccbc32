//! One attempt: a connection is taken or made, the request sent, the response's head awaited.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tidegate_core::route::{Origin, Timeouts};
use tidegate_core::{Attempt, Failure, FailureKind};

use super::body::OriginBody;
use super::connect;
use super::link::Link;
use super::pool::Pool;
use super::socket::Socket;
use crate::deadline::Deadline;
use crate::interim::Interim;
use crate::request_body::RequestBody;

type Body = RequestBody<Incoming>;

/// Why a link gave no response.
enum Broken {
    /// The connection was closed before it took the request, which comes back.
    Unused(Box<Request<Body>>),
    Failed(FailureKind),
}

pub(super) async fn fetch(
    pool: &Pool,
    attempt: Box<Attempt>,
    body: Body,
    interim: Option<&Arc<Interim>>,
) -> Result<Response<OriginBody>, Failure> {
    let Attempt {
        number: _,
        origin,
        mut head,
        body: has_body,
        body_bytes_max,
        // The body has them already.
        paces: _,
        upgrade,
        idempotent,
        repeatable,
        header_count_max,
    } = *attempt;
    head.version = Version::HTTP_11;
    let body = if has_body { body } else { RequestBody::Empty };
    body.limit(body_bytes_max);
    if !repeatable {
        body.is_sent_once();
    }
    if body.announced() == tidegate_core::RequestBody::Streamed {
        // The client's library would send no content at all with GET if nothing said how it ends.
        head.headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    let mut request = Request::from_parts(head, body.clone());
    let timeouts = origin.timeouts;
    if upgrade {
        // What is rare is boxed: it would make the future of every request larger.
        return Box::pin(switch(pool, &origin, request, &body)).await;
    }
    let idle = pool.of(&origin);
    loop {
        let (mut link, was_used) = match idle.take(&timeouts) {
            Some(link) => (link, true),
            None => (
                Box::pin(dial(pool, &origin, header_count_max))
                    .await
                    .map_err(|kind| unsent(kind, &body))?,
                false,
            ),
        };
        link.signals.begin(idempotent && was_used, interim);
        match ask(&mut link, request, &body, &timeouts).await {
            Ok(response) => {
                link.signals.is_answered();
                link.heed(response.headers());
                return Ok(
                    response.map(|incoming| OriginBody::new(incoming, link, idle, timeouts.body))
                );
            }
            // It was closed while it lay idle: another connection carries the same request. That is
            // transport, not a retry.
            Err(Broken::Unused(returned)) if was_used => request = *returned,
            Err(Broken::Unused(_)) => return Err(unsent(FailureKind::Closed, &body)),
            Err(Broken::Failed(kind)) => {
                if let Some(kind) = link.signals.not_dialled() {
                    return Err(unsent(kind, &body));
                }
                return Err(Failure {
                    kind,
                    sent: true,
                    body_intact: body.is_intact(),
                });
            }
        }
    }
}

fn unsent(kind: FailureKind, body: &Body) -> Failure {
    Failure {
        kind,
        sent: false,
        body_intact: body.is_intact(),
    }
}

async fn dial(
    pool: &Pool,
    origin: &Arc<Origin>,
    header_count_max: usize,
) -> Result<Box<Link>, FailureKind> {
    let socket = open(pool, origin).await?;
    Link::new(socket, &origin.timeouts, header_count_max)
        .await
        .map(Box::new)
        .map_err(|_| FailureKind::Closed)
}

async fn open(pool: &Pool, origin: &Arc<Origin>) -> Result<Socket, FailureKind> {
    let stream = connect::connect(origin, &pool.files).await?;
    Ok(Socket::new(
        stream,
        Arc::clone(origin),
        Arc::clone(&pool.files),
    ))
}

/// Sends the request and drives the connection until the response's head has come.
async fn ask(
    link: &mut Link,
    request: Request<Body>,
    body: &Body,
    timeouts: &Timeouts,
) -> Result<Response<Incoming>, Broken> {
    let response_timeout = Duration::from_millis(timeouts.response);
    link.deadline.set(response_timeout);
    let mut answer = link.send(request);
    let mut seen = 0;
    poll_fn(|cx| {
        link.drive(cx);
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|mut error| match error.take_message() {
                Some(request) => Broken::Unused(Box::new(request)),
                None => Broken::Failed(kind_of(error.error(), body)),
            }));
        }
        if link.signals.begins_again() {
            // All in all it takes no longer than over a connection that had to be made at once.
            link.deadline
                .extend(Duration::from_millis(timeouts.connect));
        }
        while link.deadline.poll(cx).is_ready() {
            if let Some(kind) = body.overdue(&mut seen) {
                return Poll::Ready(Err(Broken::Failed(kind)));
            }
            link.deadline.set(response_timeout);
        }
        Poll::Pending
    })
    .await
}

fn kind_of(error: &hyper::Error, body: &Body) -> FailureKind {
    match body.fault() {
        Some(kind) => kind,
        None if error.is_parse() => FailureKind::Protocol,
        None => FailureKind::Closed,
    }
}

/// Sends a request for another protocol over a connection of its own, which a task drives, because
/// it outlives the exchange.
async fn switch(
    pool: &Pool,
    origin: &Arc<Origin>,
    request: Request<Body>,
    body: &Body,
) -> Result<Response<OriginBody>, Failure> {
    let timeouts = origin.timeouts;
    let socket = open(pool, origin)
        .await
        .map_err(|kind| unsent(kind, body))?;
    let signals = Arc::clone(&socket.signals);
    let failed = |kind| Failure {
        kind,
        sent: true,
        body_intact: body.is_intact(),
    };
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
        deadline
            .poll(cx)
            .map(|()| Err(FailureKind::ResponseTimeout))
    });
    let response = response.await.map_err(failed)?;
    signals.is_answered();
    Ok(response.map(|incoming| OriginBody::detached(incoming, timeouts.body)))
}
