//! The tower layer around a service.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tidegate::TidegateLayer;
use tidegate_core::Policy;
use tower::ServiceExt;

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
        let host = request.headers().get("host").unwrap().to_str().unwrap().to_owned();
        async move { format!("{} on {host}", request.uri()) }
    };
    let router = Router::new()
        .route("/hello", get(hello))
        .route("/limited", get(|| async { "ok" }))
        .route("/echo", post(|body: String| async move { body }));
    (router.layer(TidegateLayer::new(Policy::parse("p", POLICY).unwrap())), calls)
}

async fn call(app: &Router, request: Request<Body>) -> (StatusCode, String) {
    let reply = app.clone().oneshot(request).await.unwrap();
    let status = reply.status();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn to(method: &str, path: &str, body: &'static str) -> Request<Body> {
    Request::builder().method(method).uri(path).header("host", "t.example").body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn a_service_is_cached_limited_and_sees_its_own_requests() {
    let (app, calls) = app();
    for _ in 0..3 {
        assert_eq!(call(&app, to("GET", "/hello", "")).await, (StatusCode::OK, "/hello on t.example".into()));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let statuses = [
        call(&app, to("GET", "/limited", "")).await.0,
        call(&app, to("GET", "/limited", "")).await.0,
        call(&app, to("GET", "/limited", "")).await.0,
    ];
    assert_eq!(statuses, [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS]);
    assert_eq!(call(&app, to("POST", "/echo", "body")).await, (StatusCode::OK, "body".into()));
}
