//! One connection to an origin, driven by whoever uses it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tidegate_core::route::Timeouts;

use super::socket::{Signals, Socket};
use crate::deadline::Deadline;
use crate::random;
use crate::request_body::RequestBody;

type Body = RequestBody<Incoming>;
type Answer =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Body>>>> + Send>>;

/// One HTTP/1.1 connection.
pub(crate) struct Link {
    sender: SendRequest<Body>,
    /// The connection, until it has ended. A request that it has not taken comes back when it is
    /// dropped.
    connection: Option<Connection<TokioIo<Socket>, Body>>,
    pub(super) signals: Arc<Signals>,
    /// When the origin is given up.
    pub(super) deadline: Deadline,
    /// When it is too old to be used again.
    expires: Instant,
    /// How long the origin keeps it unused, as it has said last.
    kept_for: Option<Duration>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(super) async fn new(
        socket: Socket,
        timeouts: &Timeouts,
        header_count_max: usize,
    ) -> Result<Self, hyper::Error> {
        let signals = Arc::clone(&socket.signals);
        let (sender, connection) = Builder::new()
            .max_headers(header_count_max)
            .handshake(TokioIo::new(socket))
            .await?;
        // Connections that were made together must not all be made again together.
        let age = timeouts.age - timeouts.age / 4 * random::below(100) / 100;
        let mut link = Self {
            sender,
            connection: Some(connection),
            signals,
            deadline: Deadline::after(Duration::ZERO),
            expires: Instant::now() + Duration::from_millis(age),
            kept_for: None,
        };
        // The first look makes the connection ready for a request.
        link.drive(&mut Context::from_waker(Waker::noop()));
        Ok(link)
    }

    /// Moves bytes.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.connection = None;
        }
    }

    /// Looks whether the connection is open and nothing is under way on it. A task that has used up
    /// its turn sees of no connection that it has ended.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.is_over() && self.sender.is_ready()
    }

    /// Returns whether the connection can be kept for another request. Whether it is open still is
    /// looked at when it is taken again.
    pub(super) fn can_be_kept(&mut self) -> bool {
        (!self.is_over() && self.sender.is_ready()) || self.is_ready()
    }

    /// Queues a request. The answer comes while the connection is driven.
    pub(super) fn send(&mut self, request: Request<Body>) -> Answer {
        Box::pin(self.sender.try_send_request(request))
    }

    pub(super) fn is_over(&self) -> bool {
        self.connection.is_none()
    }

    /// Takes what an answer says about the connection's life.
    pub(super) fn heed(&mut self, headers: &HeaderMap) {
        let announced = headers.get(header::HeaderName::from_static("keep-alive"));
        if let Some(kept_for) = announced.and_then(|value| kept_for(value.to_str().ok()?)) {
            self.kept_for = Some(kept_for);
        }
    }

    /// Returns whether it may be used again after it has lain idle since then.
    pub(super) fn may_serve(&self, since: Instant, timeouts: &Timeouts) -> bool {
        let idle_max = Duration::from_millis(timeouts.idle);
        let idle_max = self
            .kept_for
            .map_or(idle_max, |kept_for| idle_max.min(kept_for));
        let now = Instant::now();
        now < self.expires && now.duration_since(since) < idle_max
    }
}

/// Reads `timeout=5` among the parameters of Keep-Alive, in seconds (RFC 2068, section 19.7.1.1).
/// The origin counts from another moment than this node, so something is taken off.
fn kept_for(text: &str) -> Option<Duration> {
    let mut parameters = text
        .split(',')
        .filter_map(|parameter| parameter.split_once('='));
    let (_, seconds) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    let whole = Duration::from_secs(seconds.trim().trim_matches('"').parse().ok()?);
    Some(whole.saturating_sub((whole / 2).min(Duration::from_secs(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_origin_says_of_its_patience_is_heeded() {
        let millis = |text: &str| kept_for(text).map(|time| time.as_millis());
        assert_eq!(millis("timeout=5"), Some(4000));
        assert_eq!(millis("max=100, Timeout = 5"), Some(4000));
        assert_eq!(millis("timeout=\"60\""), Some(59_000));
        assert_eq!(millis("timeout=1"), Some(500));
        assert_eq!(millis("timeout=0"), Some(0));
        assert_eq!(
            millis("timeout=18446744073709551615"),
            Some(u128::from(u64::MAX - 1) * 1000)
        );
        for nothing in [
            "",
            "max=5",
            "timeout",
            "timeout=soon",
            "timeout=-1",
            "timeouts=5",
        ] {
            assert_eq!(millis(nothing), None, "{nothing}");
        }
    }
}
