//! What operators do with the store: purges, figures, warming. For whoever has the token.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_core::purge::Order;
use tidegate_core::{Client, RequestBody as Announced, Scheme};
use tokio::task::JoinSet;

use crate::body::Body;
use crate::drive;
use crate::node::Node;
use crate::random;
use crate::request_body::RequestBody;
use crate::upstream::{Connections, OriginBody};

/// Where these operations are.
pub(super) const ROOT: &str = "/performance/cache/";

/// Most bytes of an order.
const ORDER_BYTES_MAX: usize = 256 << 10;

/// Most URLs that are warmed at one order, and at once.
const WARMED_MAX: usize = 100;
const WARMED_AT_ONCE: usize = 4;

/// What an operation is carried out with.
#[derive(Debug)]
pub(super) struct Operations {
    pub(super) node: Arc<Node>,
    pub(super) upstream: Connections,
    /// What an operator shows; without one nobody may do anything.
    pub(super) token: Option<String>,
}

type Answer = Response<Body<OriginBody>>;

impl Operations {
    /// Answers a request whose path begins with [`ROOT`].
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        if let Err(answer) = self.admit(request.headers()) {
            return *answer;
        }
        let (head, body) = request.into_parts();
        let operation = head.uri.path().strip_prefix(ROOT).unwrap_or_default();
        let outcome = match (&head.method, operation) {
            (&Method::POST, "invalidate") => match read(body).await {
                Ok(order) => Order::parse(&order).and_then(|order| self.purge(&order)),
                Err(why) => Err(why),
            },
            (&Method::DELETE, pattern) => {
                let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                Order::of_pattern(&format!("{pattern}{query}")).and_then(|order| self.purge(&order))
            }
            (&Method::GET, "stats") => Ok(self.figures()),
            (&Method::POST, "warm") => match read(body).await {
                Ok(order) => self.warm(&order).await,
                Err(why) => Err(why),
            },
            _ => {
                let detail = "POST invalidate, DELETE {pattern}, GET stats and POST warm are here";
                return problem(StatusCode::NOT_FOUND, "No such operation", detail);
            }
        };
        match outcome {
            Ok(value) => as_json(StatusCode::OK, "application/json", &value),
            Err(why) => problem(StatusCode::BAD_REQUEST, "Not understood", &why),
        }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Box<Answer>> {
        let Some(token) = &self.token else {
            let detail = "Set TIDEGATE_ADMIN_TOKEN where tidegate runs to allow operations.";
            return Err(Box::new(problem(StatusCode::FORBIDDEN, "Operations are off", detail)));
        };
        let shown = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let shown = shown.and_then(|value| value.strip_prefix(b"Bearer "));
        if shown.is_some_and(|shown| same(shown, token.as_bytes())) {
            return Ok(());
        }
        let mut answer = problem(StatusCode::UNAUTHORIZED, "Who are you?", "Send Authorization: Bearer TOKEN.");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Err(Box::new(answer))
    }

    fn purge(&self, order: &Order) -> Result<Value, String> {
        let purges = order.purges()?;
        let number = purges.iter().map(|purge| self.node.purge(purge)).max();
        Ok(json!({ "purges": purges.len(), "last_purge": number }))
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

    /// Fetches what is not stored yet, beside all limits.
    async fn warm(&self, order: &[u8]) -> Result<Value, String> {
        let Warm { urls } = serde_json::from_slice(order)
            .map_err(|error| format!("not an order to warm: {error}; write {{\"urls\": [\"https://HOST/PATH\"]}}"))?;
        if urls.is_empty() || urls.len() > WARMED_MAX {
            return Err(format!("{} urls; an order has 1 to {WARMED_MAX}", urls.len()));
        }
        let wanted: Result<Vec<Uri>, String> = urls.iter().enumerate().map(|(i, url)| absolute(i, url)).collect();
        let (mut waiting, mut under_way) = (wanted?.into_iter(), JoinSet::new());
        let mut warmed = Vec::with_capacity(urls.len());
        loop {
            while under_way.len() < WARMED_AT_ONCE
                && let Some(uri) = waiting.next()
            {
                under_way.spawn(fetch(Arc::clone(&self.node), self.upstream.clone(), uri));
            }
            match under_way.join_next().await {
                Some(Ok(outcome)) => warmed.push(outcome),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Ok(json!({ "warmed": warmed })),
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Warm {
    urls: Vec<String>,
}

fn absolute(position: usize, url: &str) -> Result<Uri, String> {
    let uri: Option<Uri> = url.parse().ok();
    let known = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    uri.filter(known).ok_or_else(|| format!("urls[{position}]: `{url}` is not a URL; write https://HOST/PATH"))
}

/// Drives the exchange of a client that reads all.
async fn fetch(node: Arc<Node>, upstream: Connections, uri: Uri) -> Value {
    let scheme = if uri.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
    let (mut head, ()) = Request::new(()).into_parts();
    head.uri = uri.clone();
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let client = Client { peer, geo: None, scheme, body: Announced::Empty, fresh_trace: random::fresh_trace() };
    let step = node.engine().warm(head, client, node.now());
    let response = match drive::begin(&node, &upstream, step) {
        Ok(response) => response,
        Err(drive) => drive.run(&node, &upstream, RequestBody::Empty).await,
    };
    let told = response.headers().get("cache-status").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    let whole = response.into_body().collect().await.is_ok();
    json!({ "url": uri.to_string(), "status": status, "cache_status": told, "complete": whole })
}

async fn read(body: Incoming) -> Result<Bytes, String> {
    let whole = Limited::new(body, ORDER_BYTES_MAX).collect().await;
    whole.map(http_body_util::Collected::to_bytes).map_err(|error| format!("the body cannot be read: {error}"))
}

/// Compares in a time that says nothing about where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn problem(status: StatusCode, title: &str, detail: &str) -> Answer {
    let value = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    as_json(status, "application/problem+json", &value)
}

fn as_json(status: StatusCode, kind: &'static str, value: &Value) -> Answer {
    let mut answer = Response::new(Body::full(Bytes::from(format!("{value}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
