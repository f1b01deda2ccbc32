//! One connection to an origin, driven by whoever uses it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::connect::Socket;
use crate::deadline::Deadline;
use crate::request_body::RequestBody;

type Body = RequestBody<Incoming>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>> + Send>>;

/// One HTTP/1.1 connection.
pub(crate) struct Link {
    sender: SendRequest<Body>,
    connection: Connection<TokioIo<Socket>, Body>,
    /// When the origin is given up.
    pub(super) deadline: Deadline,
    /// Whether the connection has ended; it must not be driven any more.
    over: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("over", &self.over).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) async fn new(socket: Socket) -> Result<Self, hyper::Error> {
        let (sender, connection) = Builder::new().handshake(TokioIo::new(socket)).await?;
        let mut link = Self { sender, connection, deadline: Deadline::after(Duration::ZERO), over: false };
        // The first look makes the connection ready for a request.
        link.drive(&mut Context::from_waker(Waker::noop()));
        Ok(link)
    }

    /// Moves bytes.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.over {
            self.over = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }

    /// Looks whether the connection is open and nothing is under way on it.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.over && self.sender.is_ready()
    }

    /// Queues a request. The answer comes while the connection is driven.
    pub(super) fn send(&mut self, request: Request<Body>) -> Answer {
        Box::pin(self.sender.try_send_request(request))
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}
