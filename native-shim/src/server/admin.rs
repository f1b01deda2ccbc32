//! Health, metrics and operations, on an address of their own that is never public.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_core::operations::{self, Guesses, Token};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::operations::{self as carried_out, Operations};
use super::phase::Phase;
use crate::body::Body;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::tls::TlsFiles;
use crate::upstream::{Connections, OriginBody};

/// Most connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection lives.
const LIFE_MAX: Duration = Duration::from_mins(15);

/// The admin listener.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    operations: Operations,
    phase: watch::Receiver<Phase>,
}

impl Admin {
    /// Listens. Operations are for those who show the token; without one there are none. From here
    /// on the node refuses requests that show it.
    pub async fn bind(
        address: &str,
        node: Arc<Node>,
        files: &Arc<TlsFiles>,
        token: Option<String>,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?.into_std()?;
        Self::on(listener, node, files, token, phase)
    }

    /// Does as [`Admin::bind`] where somebody listens already. To be called within a runtime.
    pub fn on(
        listener: StdListener,
        node: Arc<Node>,
        files: &Arc<TlsFiles>,
        token: Option<String>,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let token = token.and_then(|token| Token::new(&token));
        node.keep_secret(token.clone());
        let upstream = Connections::new(Arc::clone(files));
        let operations = Operations {
            node,
            upstream,
            token,
            guesses: Mutex::new(Guesses::new()),
        };
        Ok(Self {
            listener,
            operations,
            phase,
        })
    }

    /// Returns where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until it is dropped. A server that drains leaves the port to the next process;
    /// connections that are open then are still answered.
    pub async fn serve(self) {
        let Self {
            listener,
            operations,
            mut phase,
        } = self;
        let this = Arc::new(Answers {
            operations,
            phase: phase.clone(),
        });
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                // Without a sender there is nothing left to wait for.
                running = phase.wait_for(|phase| *phase != Phase::Running) => {
                    drop(running);
                    return;
                }
            };
            let Some((stream, peer, place)) = accepted else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let this = Arc::clone(&this);
            tokio::spawn(async move {
                let answer = service_fn(|request| async {
                    Ok::<_, Infallible>(this.answer(request, peer.ip()).await)
                });
                let mut builder = http1::Builder::new();
                builder
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(30));
                // An error has ended the connection; there is nobody to tell.
                let _ = tokio::time::timeout(
                    LIFE_MAX,
                    builder.serve_connection(TokioIo::new(stream), answer),
                )
                .await;
                drop(place);
            });
        }
    }
}

/// Accepts a connection when there is a place for it; `None` if that fails.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (stream, peer) = listener.accept().await.ok()?;
    Some((stream, peer, place))
}

/// What answers at the admin address.
struct Answers {
    operations: Operations,
    phase: watch::Receiver<Phase>,
}

impl Answers {
    async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Response<Body<OriginBody>> {
        let (head, body) = request.into_parts();
        let engine = self.operations.node.engine();
        if let Err(refused) = operations::admit_host(&head, &engine.policy().server.admin_hosts) {
            return carried_out::answer(Err(refused));
        }
        let request = Request::from_parts(head, body);
        let roots = [operations::ROOT, operations::LIMITS_ROOT];
        let path = request.uri().path();
        if roots.iter().any(|root| path.starts_with(root)) {
            return self.operations.answer(request, peer).await;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "GET only\n".to_owned(),
            );
        }
        match request.uri().path() {
            "/healthz" if *self.phase.borrow() == Phase::Running => {
                text(StatusCode::OK, "text/plain", "ok\n".to_owned())
            }
            "/healthz" => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "draining\n".to_owned(),
            ),
            "/metrics" => text(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                Metrics::page(&self.operations.node),
            ),
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/healthz, /metrics, /performance/cache/ and /performance/limits/ are here\n"
                    .to_owned(),
            ),
        }
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Body<OriginBody>> {
    let mut response = Response::new(Body::full(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
