//! What operators do at the admin address, and what it means for clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use serde_json::Value;
use support::{Client, Operated, Origin, Proxy, Reply, policy, until};
use tokio::net::TcpStream;

/// A proxy whose store operators look after.
struct Cached(Operated);

impl Cached {
    async fn start(origin: &Origin, token: Option<&str>) -> Self {
        let proxy = Proxy::start(&policy(origin, ""));
        Self(Operated::of(proxy, token).await)
    }

    async fn operate(&self, method: &str, path: &str, body: &str) -> Reply {
        self.operate_as("secret", method, path, body).await
    }

    async fn operate_as(&self, token: &str, method: &str, path: &str, body: &str) -> Reply {
        let path = format!("cache/{path}");
        self.0.order(token, method, &path, body).await
    }

    async fn purge(&self, order: &str) {
        let reply = self.operate("POST", "invalidate", order).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Returns what the cache did with a request.
    async fn cache_status(&self, path: &str) -> String {
        self.0
            .proxy
            .get(path)
            .await
            .field("cache-status")
            .unwrap()
            .to_owned()
    }

    /// Returns once the response is stored.
    async fn fill(&self, path: &str) {
        self.0.proxy.get(path).await;
        let status = self.cache_status(path).await;
        assert!(status.contains("; hit"), "{path}: {status}");
    }
}

/// An origin whose responses are stored, tagged, and of two languages.
async fn origin() -> Origin {
    Origin::start(|head, call| async move {
        let fields = "cache-control: max-age=60\r\ncache-tag: Shop, home\r\netag: \"a\"\r\nvary: accept-language\r\n";
        if head.to_lowercase().contains("if-none-match: \"a\"") {
            return call.write(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")).await;
        }
        call.answer("200 OK", fields, "hello").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_reaches_what_it_names() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    let orders = [
        r#"{"urls": ["http://t.example/respect/a?b=1"]}"#,
        r#"{"prefixes": ["t.example/respect"]}"#,
        r#"{"hosts": ["T.example"]}"#,
        r#"{"tags": ["other", "SHOP"]}"#,
        r#"{"everything": true}"#,
    ];
    for order in orders {
        operated.fill("/respect/a?b=1").await;
        operated.purge(order).await;
        assert!(
            operated
                .cache_status("/respect/a?b=1")
                .await
                .contains("fwd=uri-miss"),
            "{order}"
        );
    }
    operated.fill("/respect/a?b=1").await;
    for order in [
        r#"{"urls": ["http://t.example/respect/a", "http://other.example/respect/a?b=1"]}"#,
        r#"{"prefixes": ["t.example/resp"], "hosts": ["example"], "tags": ["sho"]}"#,
    ] {
        operated.purge(order).await;
        assert!(
            operated
                .cache_status("/respect/a?b=1")
                .await
                .contains("; hit"),
            "{order}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_outside_ascii_is_the_same_to_operators_and_clients_however_it_is_written() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    for path in [
        "/respect/f%C3%BCr?q=%C3%A4",
        "/respect/für?q=ä",
        "/respect/f%c3%bcr?q=%c3%a4",
    ] {
        for order in [
            r#"{"urls": ["http://t.example/respect/für?q=ä"]}"#,
            r#"{"urls": ["http://t.example/respect/f\u00fcr?q=%C3%A4"]}"#,
            r#"{"prefixes": ["t.example/respect/f%C3%BCr"]}"#,
            r#"{"prefixes": ["t.example/respect/für"]}"#,
        ] {
            operated.fill(path).await;
            operated.purge(order).await;
            assert!(
                operated.cache_status(path).await.contains("fwd=uri-miss"),
                "{path} {order}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_outside_ascii_is_warmed_as_requests_name_it() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    let reply = operated
        .operate(
            "POST",
            "warm",
            r#"{"urls": ["http://t.example/respect/für?q=ä"]}"#,
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    until("it is stored", || operated.0.proxy.node.store.len() == 1).await;
    assert!(
        operated
            .cache_status("/respect/f%C3%BCr?q=%C3%A4")
            .await
            .contains("; hit")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_purge_too() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    for pattern in [
        "*",
        "t.example",
        "t.example/respect/*",
        "t.example/respect/a?b=1",
    ] {
        operated.fill("/respect/a?b=1").await;
        let reply = operated.operate("DELETE", pattern, "").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(
            operated
                .cache_status("/respect/a?b=1")
                .await
                .contains("fwd=uri-miss"),
            "{pattern}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_reaches_every_variant() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    let mut client = operated.0.proxy.client().await;
    let mut get = async |language: &str| {
        let fields = format!("host: t.example\r\naccept-language: {language}");
        client
            .send(format!("GET /respect/a HTTP/1.1\r\n{fields}\r\n\r\n"))
            .await;
        client
            .reply()
            .await
            .field("cache-status")
            .unwrap()
            .to_owned()
    };
    for language in ["de", "en", "de", "en"] {
        get(language).await;
    }
    assert!(get("de").await.contains("; hit") && get("en").await.contains("; hit"));
    operated.purge(r#"{"urls": ["t.example/respect/a"]}"#).await;
    assert!(get("de").await.contains("fwd=uri-miss"));
    assert!(!get("en").await.contains("; hit"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_purge_makes_stale() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    operated.fill("/respect/a").await;
    operated.purge(r#"{"tags": ["home"], "soft": true}"#).await;
    let status = operated.cache_status("/respect/a").await;
    assert!(
        status.contains("fwd=stale; fwd-status=304") && status.contains("stored"),
        "{status}"
    );
    assert!(operated.cache_status("/respect/a").await.contains("; hit"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_on_its_way_when_the_purge_comes_is_not_used_again() {
    let (origin, go_on) =
        Origin::gated("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nold", "old").await;
    let operated = Cached::start(&origin, Some("secret")).await;
    let mut client = operated.0.proxy.client().await;
    client
        .send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
        .await;
    assert_eq!(client.reply_head().await.status, 200);
    operated.purge(r#"{"everything": true}"#).await;
    go_on.notify_one();
    until("the response is stored", || {
        operated.0.proxy.node.store.len() == 1
    })
    .await;
    go_on.notify_one();
    let status = operated.cache_status("/cached/a").await;
    assert!(status.contains("fwd=uri-miss"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_for_those_with_the_token() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    for token in ["", "Secret", "secret2", "secre"] {
        let reply = operated
            .operate_as(token, "POST", "invalidate", r#"{"everything": true}"#)
            .await;
        assert_eq!(
            (reply.status, reply.field("www-authenticate")),
            (401, Some("bearer")),
            "{token}"
        );
    }
    assert_eq!(operated.0.proxy.node.engine().last_purge(), 0);
    let closed = Cached::start(&origin, None).await;
    let reply = closed.operate_as("", "GET", "stats", "").await;
    assert!(
        reply.status == 403 && reply.text().contains("TIDEGATE_ADMIN_TOKEN"),
        "{}",
        reply.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_address_answers_expected_hosts_only() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    let ask = async |path: &str, host: &str| {
        let mut client = Client {
            stream: TcpStream::connect(operated.0.admin).await.unwrap(),
        };
        client
            .send(format!(
                "GET {path} HTTP/1.1\r\n{host}authorization: Bearer secret\r\n\r\n"
            ))
            .await;
        client.reply().await
    };
    for path in ["/metrics", "/healthz", "/performance/cache/stats", "/other"] {
        for host in [
            "host: rebound.example\r\n",
            "host: 127.0.0.1.rebound.example:9900\r\n",
            "host: a, b\r\n",
        ] {
            let reply = ask(path, host).await;
            assert!(
                reply.status == 421 && reply.text().contains("[server] admin_hosts"),
                "{path} {host} {reply:?}"
            );
            assert_eq!(
                reply.field("content-type"),
                Some("application/problem+json")
            );
        }
        for host in [
            "host: 127.0.0.1:9900\r\n",
            "host: [::1]\r\n",
            "host: localhost\r\n",
            "host: 10.2.3.4:9900\r\n",
        ] {
            assert_ne!(ask(path, host).await.status, 421, "{path} {host}");
        }
    }
    let host = "host: tidegate.default.svc:9900\r\n";
    assert_eq!(ask("/metrics", host).await.status, 421);
    let named = format!(
        "admin_hosts = [\"Tidegate.Default.svc\"]\n{}",
        policy(&origin, "").replace("[server]\n", "")
    );
    operated
        .0
        .proxy
        .node
        .replace(support::parse(&format!("[server]\n{named}")));
    assert_eq!(ask("/metrics", host).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_and_slowed() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    for _ in 0..10 {
        assert_eq!(
            operated
                .operate_as("guess", "GET", "stats", "")
                .await
                .status,
            401
        );
    }
    // The right one too: otherwise guessing would be as fast as before.
    for token in ["guess", "secret"] {
        let reply = operated.operate_as(token, "GET", "stats", "").await;
        assert_eq!(
            (reply.status, reply.field("content-type")),
            (429, Some("application/problem+json"))
        );
        let wait: u64 = reply.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=6).contains(&wait), "{wait}");
    }
    let mut client = Client {
        stream: TcpStream::connect(operated.0.admin).await.unwrap(),
    };
    client
        .send("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    let page = client.reply().await;
    for wanted in [
        "tidegate_operations_refused_total{reason=\"token\"} 10",
        "{reason=\"slowed\"} 2",
    ] {
        assert!(page.text().contains(wanted), "{wanted}\n{}", page.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_reaches_no_origin_and_no_key() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    for fields in [
        "authorization: Bearer secret",
        "AUTHORIZATION: bEARER   secret ",
        "authorization: secret",
        "authorization: Bearer other\r\nauthorization: Bearer secret",
        "authorization: Basic OnNlY3JldA==",
        "x-forwarded-authorization: Bearer secret",
    ] {
        for target in [
            "/",
            "/respect/a",
            "/performance/cache/stats",
            "http://t.example/respect/a",
        ] {
            let mut client = operated.0.proxy.client().await;
            client
                .send(format!(
                    "GET {target} HTTP/1.1\r\nhost: t.example\r\n{fields}\r\n\r\n"
                ))
                .await;
            let reply = client.reply().await;
            assert!(
                reply.status == 421 && reply.text().contains("operators_token"),
                "{fields} {target} {reply:?}"
            );
        }
    }
    assert_eq!((origin.count(), operated.0.proxy.node.store.len()), (0, 0));
    // A new policy does not forget the token.
    operated
        .0
        .proxy
        .node
        .replace(support::parse(&policy(&origin, "")));
    let mut client = operated.0.proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: t.example\r\nauthorization: bearer secret\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status, 421);
    client
        .send("GET / HTTP/1.1\r\nhost: t.example\r\nauthorization: Bearer another\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_and_nothing_is_purged() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    for (method, path, body, status, part) in [
        ("POST", "invalidate", "{", 400, "not an order of purges"),
        (
            "POST",
            "invalidate",
            r#"{"tags": ["a"], "urls": ["::"]}"#,
            400,
            "urls[0]",
        ),
        ("DELETE", "", "", 400, "the pattern is empty"),
        ("POST", "warm", r#"{"urls": []}"#, 400, "1 to 100"),
        ("POST", "warm", r#"{"urls": ["/a"]}"#, 400, "urls[0]"),
        ("GET", "nothing", "", 404, "POST warm"),
    ] {
        let reply = operated.operate(method, path, body).await;
        assert!(
            reply.status == status && reply.text().contains(part),
            "{method} {path}: {reply:?}"
        );
        assert_eq!(
            reply.field("content-type"),
            Some("application/problem+json")
        );
    }
    assert_eq!(operated.0.proxy.node.engine().last_purge(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_warmed_and_its_figures_shown() {
    let origin = origin().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    let order = r#"{"urls": ["http://t.example/respect/a", "http://t.example/respect/b", "http://t.example/respect/a"]}"#;
    let reply = operated.operate("POST", "warm", order).await;
    let warmed: Value = serde_json::from_str(reply.text()).unwrap();
    assert_eq!(
        (&warmed["stored"], &warmed["not_stored"]),
        (&3.into(), &0.into())
    );
    let warmed = warmed["warmed"].as_array().unwrap();
    let outcomes = |outcome: &str| {
        warmed
            .iter()
            .filter(|one| one["outcome"] == outcome)
            .count()
    };
    assert!(warmed.iter().all(|one| one["status"] == 200), "{warmed:?}");
    assert_eq!(
        (outcomes("stored"), outcomes("stored before")),
        (2, 1),
        "{warmed:?}"
    );
    assert_eq!((operated.0.proxy.node.store.len(), origin.count()), (2, 2));
    assert!(operated.cache_status("/respect/b").await.contains("; hit"));
    operated.purge(r#"{"tags": ["home"]}"#).await;
    let figures: Value =
        serde_json::from_str(operated.operate("GET", "stats", "").await.text()).unwrap();
    assert_eq!(
        (
            &figures["entries"],
            &figures["last_purge"],
            &figures["outcomes"]["hit"]
        ),
        (&2.into(), &1.into(), &1.into())
    );
    assert!(figures["bytes"].as_u64().unwrap() > 10, "{figures}");
}

/// An origin of which not everything can be stored.
async fn difficult() -> Origin {
    Origin::start(|head, call| async move {
        let large = "x".repeat(100_000);
        let chunked = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n186a0\r\n{large}\r\n0\r\n\r\n"
        );
        match head.split(' ').nth(1).unwrap_or_default() {
            "/respect/private" => {
                call.answer("200 OK", "cache-control: private\r\n", "hello")
                    .await
            }
            "/respect/lost" => false,
            "/cached/announced" => call.answer("200 OK", "", &large).await,
            "/cached/large" => call.write(chunked).await,
            "/cached/broken" => {
                call.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
                    .await;
                false
            }
            _ => {
                call.answer("200 OK", "cache-status: inner; hit\r\n", "hello")
                    .await
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_warms_is_told_what_is_not_stored_and_why() {
    let origin = difficult().await;
    let operated = Cached::start(&origin, Some("secret")).await;
    let expected = [
        ("/cached/a", 200, "stored"),
        ("/cached/a", 200, "stored before"),
        ("/other", 200, "not stored: no_profile"),
        ("/respect/private", 200, "not stored: private"),
        ("/respect/lost", 502, "not stored: origin_failed"),
        ("/cached/announced", 200, "not stored: too_large"),
        ("/cached/large", 200, "not stored: body"),
        ("/cached/broken", 200, "not stored: body"),
    ];
    for (path, status, outcome) in expected {
        let url = format!("http://t.example{path}");
        let reply = operated
            .operate(
                "POST",
                "warm",
                &serde_json::json!({ "urls": [url] }).to_string(),
            )
            .await;
        let answer: Value = serde_json::from_str(reply.text()).unwrap();
        let one = &answer["warmed"][0];
        assert_eq!(
            (&one["url"], &one["status"], &one["outcome"]),
            (&url.into(), &status.into(), &outcome.into())
        );
        let stored = u8::from(!outcome.starts_with("not"));
        assert_eq!(
            (&answer["stored"], &answer["not_stored"]),
            (&stored.into(), &(1 - stored).into()),
            "{answer}"
        );
        let told = one["cache_status"].as_str().unwrap_or_default();
        assert!(told.starts_with("tidegate") || path == "/other", "{answer}");
    }
    assert_eq!(operated.0.proxy.node.store.len(), 1);
}
