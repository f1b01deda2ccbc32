//! Toy origins: small services on loopback that can fail, dawdle, be killed and be started again.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// How a toy origin behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) name: &'static str,
    pub(super) city: &'static str,
    /// On loopback; the policy names it.
    pub(super) port: u16,
    /// How long each answer takes.
    pub(super) delay: Duration,
    /// Every so many requests one fails with 503; 0 is never.
    pub(super) fails_each: u64,
}

/// A toy origin.
#[derive(Debug)]
pub(super) struct Origin {
    manner: Manner,
    served: Arc<AtomicU64>,
    running: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts an origin.
    pub(super) async fn start(manner: Manner) -> std::io::Result<Self> {
        let mut origin = Self {
            manner,
            served: Arc::default(),
            running: None,
        };
        origin.revive().await?;
        Ok(origin)
    }

    /// Closes the port and every connection.
    pub(super) async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            // The port is free once the task has ended.
            let _ = running.await;
        }
    }

    /// Starts again.
    pub(super) async fn revive(&mut self) -> std::io::Result<()> {
        let listener =
            TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], self.manner.port))).await?;
        let (manner, served) = (self.manner, Arc::clone(&self.served));
        self.running = Some(tokio::spawn(accept(listener, manner, served)));
        Ok(())
    }
}

/// Connections are tasks of this one, so that they end with it.
async fn accept(listener: TcpListener, manner: Manner, served: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let served = Arc::clone(&served);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, manner, Arc::clone(&served)));
            // A connection that breaks is the other end's business.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    served: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let count = served.fetch_add(1, Ordering::Relaxed) + 1;
    tokio::time::sleep(manner.delay).await;
    let mut response = Response::new(Full::from(format!(
        "{{\"origin\":\"{}\",\"city\":\"{}\",\"path\":\"{}\",\"answer\":{count}}}\n",
        manner.name,
        manner.city,
        request.uri().path()
    )));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain"),
    );
    if manner.fails_each > 0 && count.is_multiple_of(manner.fails_each) {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}
