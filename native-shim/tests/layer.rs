//! The tower layer around a service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use tidegate::{Node, TidegateLayer};
use tidegate_core::Policy;
use tokio::time::{Sleep, sleep};
use tower::{Layer, Service, ServiceExt};

const POLICY: &str = r#"
[origins.app]
url = "http://app.internal"
[pools.app]
origins = ["app"]
[cache.minute]
mode = "override"
ttl = "60s"
[limits.few]
quota = "2/min"
key = ["path"]
[[routes]]
path_prefix = "/limited"
pool = "app"
limits = ["few"]
[[routes]]
pool = "app"
cache = "minute"
"#;

fn app() -> (Router, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let hello = move |request: Request<Body>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let host = request
            .headers()
            .get("host")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        async move { format!("{} on {host}", request.uri()) }
    };
    let router = Router::new()
        .route("/hello", get(hello))
        .route("/limited", get(|| async { "ok" }))
        .route("/echo", post(|body: String| async move { body }));
    (
        router.layer(TidegateLayer::new(Policy::parse("p", POLICY).unwrap())),
        calls,
    )
}

async fn call(app: &Router, request: Request<Body>) -> (StatusCode, String) {
    let reply = app.clone().oneshot(request).await.unwrap();
    let status = reply.status();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn to(method: &str, path: &str, body: &'static str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "t.example")
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test]
async fn a_service_is_cached_limited_and_sees_its_own_requests() {
    let (app, calls) = app();
    for _ in 0..3 {
        assert_eq!(
            call(&app, to("GET", "/hello", "")).await,
            (StatusCode::OK, "/hello on t.example".into())
        );
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let statuses = [
        call(&app, to("GET", "/limited", "")).await.0,
        call(&app, to("GET", "/limited", "")).await.0,
        call(&app, to("GET", "/limited", "")).await.0,
    ];
    assert_eq!(
        statuses,
        [
            StatusCode::OK,
            StatusCode::OK,
            StatusCode::TOO_MANY_REQUESTS
        ]
    );
    assert_eq!(
        call(&app, to("POST", "/echo", "body")).await,
        (StatusCode::OK, "body".into())
    );
}

#[tokio::test]
async fn the_service_sees_what_others_left_with_the_request() {
    #[derive(Clone)]
    struct User(&'static str);
    let user = |request: Request<Body>| async move {
        request
            .extensions()
            .get::<User>()
            .map_or("nobody", |user| user.0)
    };
    let app = Router::new()
        .route("/user", get(user))
        .layer(TidegateLayer::new(Policy::parse("p", POLICY).unwrap()));
    let mut request = to("GET", "/user", "");
    request.extensions_mut().insert(User("ann"));
    assert_eq!(call(&app, request).await, (StatusCode::OK, "ann".into()));
}

/// A body of pieces, each after a pause.
struct Slow {
    pieces: u32,
    pause: Duration,
    next: Pin<Box<Sleep>>,
}

impl Slow {
    fn body(pieces: u32, pause: Duration) -> Body {
        Body::new(Self {
            pieces,
            pause,
            next: Box::pin(sleep(pause)),
        })
    }
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.pieces == 0 {
            return Poll::Ready(None);
        }
        ready!(self.next.as_mut().poll(cx));
        self.pieces -= 1;
        self.next = Box::pin(sleep(self.pause));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece ")))))
    }
}

#[tokio::test]
async fn more_than_a_service_announced_is_neither_stored_nor_served_as_whole() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let wrong = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let body = Slow::body(2, Duration::ZERO);
        async move { ([(http::header::CONTENT_LENGTH, "9")], body) }
    };
    let app = Router::new()
        .route("/wrong", get(wrong))
        .layer(TidegateLayer::new(Policy::parse("p", POLICY).unwrap()));
    for asked in 1..=2 {
        let reply = app.clone().oneshot(to("GET", "/wrong", "")).await.unwrap();
        reply.into_body().collect().await.unwrap_err();
        assert_eq!(calls.load(Ordering::SeqCst), asked);
    }
}

#[tokio::test]
async fn an_upload_may_take_long_as_long_as_it_moves() {
    let policy = POLICY.replace(
        "app.internal\"",
        "app.internal\"\nresponse_timeout = \"400ms\"",
    );
    let router = Router::new()
        .route("/echo", post(|body: String| async move { body }))
        .route(
            "/stuck",
            post(|| async { sleep(Duration::from_mins(1)).await }),
        );
    let app = router.layer(TidegateLayer::new(Policy::parse("p", &policy).unwrap()));
    let upload = |path, body| {
        Request::builder()
            .method("POST")
            .uri(path)
            .header("host", "t.example")
            .body(body)
            .unwrap()
    };
    let slow = Slow::body(5, Duration::from_millis(200));
    assert_eq!(
        call(&app, upload("/echo", slow)).await,
        (StatusCode::OK, "piece ".repeat(5))
    );
    let stalled = Slow::body(2, Duration::from_mins(1));
    assert_eq!(
        call(&app, upload("/echo", stalled)).await.0,
        StatusCode::REQUEST_TIMEOUT,
        "the client is at fault"
    );
    let unread = Slow::body(2, Duration::from_millis(1));
    assert_eq!(
        call(&app, upload("/stuck", unread)).await.0,
        StatusCode::GATEWAY_TIMEOUT,
        "the service is at fault"
    );
}

#[tokio::test]
async fn a_layer_of_its_own_gathers_no_access_log() {
    let policy = || Policy::parse("p", POLICY).unwrap();
    let layer = TidegateLayer::new(policy());
    let app = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .layer(layer.clone());
    layer.node().replace(policy());
    assert_eq!(call(&app, to("GET", "/hello", "")).await.0, StatusCode::OK);
    let mut lines = Vec::new();
    layer.node().access_log.flush(&mut lines);
    assert_eq!(lines, b"");
    let node = Arc::new(Node::with_random_seed(policy()));
    let app = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .layer(TidegateLayer::of(Arc::clone(&node)));
    assert_eq!(call(&app, to("GET", "/hello", "")).await.0, StatusCode::OK);
    node.access_log.flush(&mut lines);
    assert!(
        lines.ends_with(b"}\n"),
        "whoever makes the node flushes its log"
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_before_it_is_polled_holds_nothing_and_is_recorded() {
    let policy = "[origins.app]\nurl = \"http://app.internal\"\n[pools.app]\norigins = [\"app\"]\n\
                  [limits.one]\nkind = \"concurrency\"\nquota = \"1\"\nkey = []\n\
                  [server]\naccess_log = \"json\"\n\
                  [[routes]]\npool = \"app\"\nlimits = [\"one\"]\n";
    let node = Arc::new(Node::with_random_seed(Policy::parse("p", policy).unwrap()));
    let hello = tower::service_fn(|_| async {
        Ok::<_, Infallible>(http::Response::new(Body::from("hello")))
    });
    let mut service = TidegateLayer::of(Arc::clone(&node)).layer(hello);
    let request = || {
        let request = Request::get("/").header("host", "a.example");
        request.body(Body::empty()).unwrap()
    };
    drop(service.call(request()));
    let response = service.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    let mut log = Vec::new();
    node.access_log.flush(&mut log);
    let log = String::from_utf8(log).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
}
