//! Health, metrics and operations, on an address of their own that is never public.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_core::operations;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::Phase;
use super::operations::Operations;
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
    /// Listens. Operations are for those who show the token; without one there are none.
    pub async fn bind(
        address: &str,
        node: Arc<Node>,
        files: &Arc<TlsFiles>,
        token: Option<String>,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let operations = Operations { node, upstream: Connections::new(Arc::clone(files)), token };
        Ok(Self { listener: TcpListener::bind(address).await?, operations, phase })
    }

    /// Returns where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let this = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // It is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = this.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let this = Arc::clone(&this);
            tokio::spawn(async move {
                let answer = service_fn(|request| async { Ok::<_, Infallible>(this.answer(request).await) });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
                // An error has ended the connection; there is nobody to tell.
                let _ = tokio::time::timeout(LIFE_MAX, builder.serve_connection(TokioIo::new(stream), answer)).await;
                drop(place);
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body<OriginBody>> {
        if request.uri().path().starts_with(operations::ROOT) {
            return self.operations.answer(request).await;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n".to_owned());
        }
        match request.uri().path() {
            "/healthz" if *self.phase.borrow() == Phase::Running => {
                text(StatusCode::OK, "text/plain", "ok\n".to_owned())
            }
            "/healthz" => text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n".to_owned()),
            "/metrics" => {
                text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Metrics::page(&self.operations.node))
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/healthz, /metrics and /performance/cache/ are here\n".to_owned(),
            ),
        }
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Body<OriginBody>> {
    let mut response = Response::new(Body::full(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
