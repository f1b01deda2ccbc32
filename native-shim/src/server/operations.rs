//! What operators do with the store (purges, figures, warming) and with limits (overrides). For whoever
//! has the token.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tidegate_core::operations::{self, Guesses, Operation, Refused, Shown, Token, Warmed};
use tidegate_core::{Client, RequestBody as Announced, Scheme};
use tokio::task::JoinSet;

use crate::body::Body;
use crate::drive;
use crate::node::Node;
use crate::random;
use crate::request_body::RequestBody;
use crate::upstream::{Connections, OriginBody};

/// Most URLs that are warmed at once.
const WARMED_AT_ONCE: usize = 4;

/// What an operation is carried out with.
#[derive(Debug)]
pub(super) struct Operations {
    pub(super) node: Arc<Node>,
    pub(super) upstream: Connections,
    /// What an operator shows; without one nobody may do anything.
    pub(super) token: Option<Token>,
    /// Who has shown wrong tokens.
    pub(super) guesses: Mutex<Guesses>,
}

type Answer = Response<Body<OriginBody>>;

impl Operations {
    /// Answers a request whose path begins with [`operations::ROOT`] or [`operations::LIMITS_ROOT`].
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let done = self.carry_out(request, peer).await;
        answer(done)
    }

    async fn carry_out(&self, request: Request<Incoming>, peer: IpAddr) -> Result<String, Refused> {
        let (head, body) = request.into_parts();
        self.admit(&head.headers, peer)?;
        let body = Limited::new(body, operations::ORDER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| {
                let detail = format!("the body cannot be read: {error}");
                Refused::new(StatusCode::BAD_REQUEST, "Not understood", detail)
            })?;
        let body = body.to_bytes();
        if head.uri.path().starts_with(operations::LIMITS_ROOT) {
            let operation = operations::read_limits(&head.method, &head.uri, &body)?;
            return self.node.engine().operate_limits(operation);
        }
        match operations::read(&head.method, &head.uri, &body)? {
            Operation::Purge(purges) => {
                let number = purges.iter().map(|purge| self.node.purge(purge)).max();
                Ok(json!({ "purges": purges.len(), "last_purge": number }).to_string())
            }
            Operation::Stats => Ok(self.figures().to_string()),
            Operation::Warm(urls) => Ok(self.warm(urls).await),
        }
    }

    /// Lets those with the token pass. Wrong ones are counted, told and slowed.
    fn admit(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Refused> {
        let [wrong, slowed] = &self.node.metrics.guesses;
        let now = self.node.now();
        let shown = self
            .token
            .as_ref()
            .map_or(Shown::Nothing, |token| token.shown(headers));
        if shown != Shown::Nothing {
            self.guesses().admit(peer, now).inspect_err(|_| {
                slowed.fetch_add(1, Ordering::Relaxed);
            })?;
        }
        if shown == Shown::Wrong {
            self.guesses().count(peer, now);
            wrong.fetch_add(1, Ordering::Relaxed);
            eprintln!("tidegate: {peer} showed a wrong token at the admin address");
        }
        operations::admit(headers, self.token.as_ref())
    }

    fn guesses(&self) -> MutexGuard<'_, Guesses> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures(&self) -> Value {
        let (store, engine) = (&self.node.store, self.node.engine());
        let bounds = engine.policy().store;
        json!({
            "entries": store.len(),
            "entries_max": bounds.entries_max,
            "bytes": store.bytes(),
            "bytes_max": bounds.bytes_max,
            "last_purge": engine.last_purge(),
            "outcomes": self.node.metrics.cache_outcomes(),
        })
    }

    /// Fetches what is not stored yet, and says what is stored then.
    async fn warm(&self, urls: Vec<Uri>) -> String {
        let (mut waiting, mut under_way) = (urls.into_iter(), JoinSet::new());
        let mut warmed: Vec<(Uri, Warmed)> = Vec::new();
        loop {
            while under_way.len() < WARMED_AT_ONCE
                && let Some(uri) = waiting.next()
            {
                under_way.spawn(fetch(Arc::clone(&self.node), self.upstream.clone(), uri));
            }
            match under_way.join_next().await {
                Some(outcome) => warmed.extend(outcome.ok().flatten()),
                None => return Warmed::answer(&warmed),
            }
        }
    }
}

/// Writes the answer to an operator.
pub(super) fn answer(done: Result<String, Refused>) -> Answer {
    let (head, text) = operations::reply(done);
    Response::from_parts(head, Body::full(Bytes::from(text)))
}

/// Drives the exchange of a client that reads all.
async fn fetch(node: Arc<Node>, upstream: Connections, url: Uri) -> Option<(Uri, Warmed)> {
    let scheme = if url.scheme_str() == Some("https") {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let (mut head, ()) = Request::new(()).into_parts();
    head.uri = url.clone();
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let client = Client {
        peer,
        geo: None,
        tls_subject: None,
        scheme,
        body: Announced::Empty,
        fresh_trace: random::fresh_trace(),
    };
    let now = node.now();
    let step = node.engine().warm(head, client, now);
    let response = match drive::begin(&node, &upstream, step, now) {
        Ok(response) => response,
        Err(drive) => drive.run(&node, &upstream, RequestBody::Empty).await,
    };
    let (mut head, body) = response.into_parts();
    let mut warmed = head.extensions.remove::<Warmed>()?;
    if !read(body).await {
        warmed.lose_body();
    }
    Some((url, warmed))
}

/// Reads a body to its end and drops it, whatever its size; says whether the store has it.
async fn read(mut body: Body<OriginBody>) -> bool {
    loop {
        match body.frame().await {
            None => return body.is_stored().await,
            Some(Ok(_)) => {}
            Some(Err(_)) => return false,
        }
    }
}
