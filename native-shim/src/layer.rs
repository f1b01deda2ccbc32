//! The exchange as a tower layer: around any service, which is then the origin.
//!
//! As everywhere in tower, whoever drops the future of a call ends the call, the inner service's
//! part included.
//!
//! Every origin of the policy's pools is the inner service; names, limits, caching, breakers and
//! retries work as in the proxy. The service sees the request's own target and Host, with the
//! forwarding fields, `traceparent` and conditions that an origin would see.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme as UriScheme;
use http::{Extensions, HeaderValue, Request, Response, Uri, header};
use http_body::Body as HttpBody;
use scopeguard::{ScopeGuard, guard};
use tidegate_core::message::tls_subject::TlsSubject;
use tidegate_core::{Attempt, Client, Failure, FailureKind, Policy, Scheme};
use tower_layer::Layer;
use tower_service::Service;

use crate::attempts::Upstream;
use crate::body::Body;
use crate::box_error::BoxError;
use crate::deadline::Deadline;
use crate::drive;
use crate::node::Node;
use crate::random;
use crate::request_body::RequestBody;

/// The client's address, as a request extension. Whoever accepts connections puts it there; without
/// it the client is taken to be 127.0.0.1, so that a service behind a local proxy finds its clients
/// by listing 127.0.0.0/8 in `trusted_proxies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// Puts the exchange around services. Whoever ends TLS and verifies certificates of clients may put
/// [`TlsSubject`] among the extensions of a request, as [`PeerAddress`] is. Clones share one [`Node`].
///
/// ```
/// use axum::Router;
/// use axum::body::Body;
/// use axum::routing::get;
/// use http::Request;
/// use tidegate::{Policy, TidegateLayer};
/// use tower::ServiceExt;
///
/// let policy = r#"
///     [origins.service]
///     url = "http://service"
///
///     [pools.main]
///     origins = ["service"]
///
///     [cache.short]
///     mode = "override"
///     ttl = "10s"
///
///     [[routes]]
///     pool = "main"
///     cache = "short"
/// "#;
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let app = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(TidegateLayer::new(Policy::parse("tidegate.toml", policy)?));
///
/// for expected in ["tidegate; fwd=uri-miss", "tidegate; hit"] {
///     let request = Request::get("/").header("host", "shop.example").body(Body::empty())?;
///     let response = app.clone().oneshot(request).await?;
///     assert!(response.headers()["cache-status"].to_str()?.starts_with(expected));
///     // A body that has been read is in the store.
///     axum::body::to_bytes(response.into_body(), 1000).await?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TidegateLayer {
    node: Arc<Node>,
}

impl TidegateLayer {
    /// Makes a layer for a policy. There is no access log, whatever the policy says: nobody would
    /// flush it. See [`TidegateLayer::of`].
    pub fn new(policy: Policy) -> Self {
        let node = Node::with_random_seed(policy);
        node.access_log.mute();
        Self::of(Arc::new(node))
    }

    /// Makes a layer for the policy in a file, without access log as in [`TidegateLayer::new`].
    pub fn from_file(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)?;
        Policy::parse(&path.display().to_string(), &text)
            .map(Self::new)
            .map_err(io::Error::other)
    }

    /// Makes a layer for a node that others use too. If its policy asks for an access log, whoever
    /// made the node has to [flush](crate::AccessLog::flush) it.
    pub fn of(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Returns the node, to replace its policy, read its metrics or sweep its store.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }
}

impl<S> Layer<S> for TidegateLayer {
    type Service = Tidegate<S>;

    fn layer(&self, inner: S) -> Tidegate<S> {
        Tidegate {
            node: Arc::clone(&self.node),
            inner,
        }
    }
}

/// A service within the exchange.
#[derive(Debug, Clone)]
pub struct Tidegate<S> {
    node: Arc<Node>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Tidegate<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body<R>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    /// Always ready: a stored response needs no inner service. Each fetch waits for its own clone.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let body = RequestBody::new(body);
        let peer = head
            .extensions
            .get::<PeerAddress>()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0.ip());
        // Whoever ends TLS may have left it there, as the address.
        let tls_subject = head.extensions.get::<TlsSubject>().cloned();
        let inner = Inner {
            service: self.inner.clone(),
            uri: head.uri.clone(),
            // The target's own authority makes Host void (RFC 9112, section 3.2.2).
            host: match head.uri.authority() {
                Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
                None => head.headers.get(header::HOST).cloned(),
            },
            extensions: std::mem::take(&mut head.extensions),
            _body: std::marker::PhantomData,
        };
        let scheme = if head.uri.scheme() == Some(&UriScheme::HTTPS) {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let client = Client {
            peer,
            geo: None,
            tls_subject,
            scheme,
            body: body.announced(),
            fresh_trace: random::fresh_trace(),
        };
        let now = self.node.now();
        let step = self.node.begin(head, client, now);
        match drive::begin(&self.node, &inner, step, now) {
            Ok(response) => Box::pin(std::future::ready(Ok(response))),
            Err(drive) => {
                let node = Arc::clone(&self.node);
                // A future may be dropped before it is polled for the first time.
                let begun = guard((drive, node), |(drive, node)| drive.abandon(&node));
                Box::pin(async move {
                    let (drive, node) = ScopeGuard::into_inner(begun);
                    Ok(drive.run(&node, &inner, body).await)
                })
            }
        }
    }
}

/// The inner service as the origin of one exchange.
struct Inner<S, B> {
    service: S,
    uri: Uri,
    host: Option<HeaderValue>,
    /// What others have left for the service, such as who the user is.
    extensions: Extensions,
    _body: std::marker::PhantomData<fn(B)>,
}

impl<S: Clone, B> Clone for Inner<S, B> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            uri: self.uri.clone(),
            host: self.host.clone(),
            extensions: self.extensions.clone(),
            _body: std::marker::PhantomData,
        }
    }
}

impl<S, B, R> Upstream for Inner<S, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type ClientBody = B;
    type Body = R;

    async fn fetch(
        &self,
        attempt: Box<Attempt>,
        body: RequestBody<B>,
    ) -> Result<Response<R>, Failure> {
        let Attempt {
            origin,
            mut head,
            body: has_body,
            body_bytes_max,
            repeatable,
            ..
        } = *attempt;
        head.uri = self.uri.clone();
        if let Some(host) = &self.host {
            head.headers.insert(header::HOST, host.clone());
        } else {
            head.headers.remove(header::HOST);
        }
        head.extensions = self.extensions.clone();
        let body = if has_body { body } else { RequestBody::Empty };
        body.limit(body_bytes_max);
        if !repeatable {
            body.is_sent_once();
        }
        let request = Request::from_parts(head, body.clone());
        let mut service = self.service.clone();
        let answer = async {
            std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        };
        let limit = Duration::from_millis(origin.timeouts.response);
        let mut answer = std::pin::pin!(answer);
        let (mut deadline, mut seen) = (Deadline::after(limit), 0);
        let answer = std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(
                    answer.map_err(|_: S::Error| body.fault().unwrap_or(FailureKind::Closed)),
                );
            }
            while deadline.poll(cx).is_ready() {
                if let Some(kind) = body.overdue(&mut seen) {
                    return Poll::Ready(Err(kind));
                }
                deadline.set(limit);
            }
            Poll::Pending
        });
        answer.await.map_err(|kind| Failure {
            kind,
            sent: true,
            body_intact: body.is_intact(),
        })
    }
}
