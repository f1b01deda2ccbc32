//! Limits on how many requests are under way at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::Arc;

use support::{Origin, Proxy};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

/// A proxy that lets one request at a time pass to an origin that sends the second half of its
/// answers as soon as it may.
struct Narrow {
    proxy: Proxy,
    origin: Origin,
    may_end: Arc<Semaphore>,
}

impl Narrow {
    async fn start() -> Self {
        let may_end = Arc::new(Semaphore::new(0));
        let ends = Arc::clone(&may_end);
        let origin = Origin::start(move |_, call| {
            let ends = Arc::clone(&ends);
            async move {
                call.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
                    .await;
                ends.acquire().await.unwrap().forget();
                call.write("half").await
            }
        })
        .await;
        let policy = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\nthreads = 1\naccess_log = \"off\"\n\
             [origins.a]\nurl = \"http://{}\"\n[pools.main]\norigins = [\"a\"]\n\
             [limits.one]\nkind = \"concurrency\"\nquota = \"1\"\nkey = [\"ip\"]\n\
             [[routes]]\npool = \"main\"\nlimits = [\"one\"]\n",
            origin.address
        );
        Self {
            proxy: Proxy::start(&policy),
            origin,
            may_end,
        }
    }

    /// Returns whether a request is refused, which no other one is under way to do.
    async fn refuses(&self) -> bool {
        self.proxy.get("/refused").await.status == 429
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_held_until_the_body_has_ended() {
    let narrow = Narrow::start().await;
    let mut client = narrow.proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.reply_head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.field("ratelimit"), Some("\"one\";r=0"));
    let policy = head.field("ratelimit-policy");
    assert_eq!(policy, Some("\"one\";q=1;qu=\"concurrent-requests\""));
    let reply = narrow.proxy.get("/").await;
    assert!(reply.is_problem(429, "limit_exceeded"), "{reply:?}");
    assert_eq!(reply.field("retry-after"), Some("1"));
    narrow.may_end.add_permits(2);
    client.stream.read_exact(&mut [0; 8]).await.unwrap();
    // The connection is kept open: the body's end alone has given the slot back.
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(narrow.origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_gives_its_slot_back() {
    let narrow = Narrow::start().await;
    let mut client = narrow.proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.reply_head().await.status, 200);
    assert!(narrow.refuses().await);
    client.reset();
    // The origin has not ended its answer, and may not.
    let mut answered = 429;
    for _ in 0..2000 {
        let mut next = narrow.proxy.client().await;
        next.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        answered = next.reply_head().await.status;
        if answered == 200 {
            break;
        }
    }
    assert_eq!(answered, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_requests_hold_nothing() {
    let narrow = Narrow::start().await;
    let mut client = narrow.proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.reply_head().await.status, 200);
    for _ in 0..20 {
        assert!(narrow.refuses().await);
    }
    narrow.may_end.add_permits(2);
    client.stream.read_exact(&mut [0; 8]).await.unwrap();
    assert_eq!(narrow.origin.count(), 1);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_reply_gives_its_slot_back() {
    let origin = Origin::start(|head, call| async move {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        match path.as_str() {
            "/closed" => false,
            "/empty" => call.write("HTTP/1.1 204 No Content\r\n\r\n").await,
            "/chunks" => {
                let chunks = "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
                call.write(format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
                ))
                .await
            }
            "/cut" => {
                call.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
                    .await;
                false
            }
            "/stored" => {
                let fields = "cache-control: max-age=60\r\netag: \"a\"\r\n";
                call.answer("200 OK", fields, "stored").await
            }
            _ if head.starts_with("HEAD ") => {
                call.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
                    .await
            }
            _ => call.answer("200 OK", "", "hello").await,
        }
    })
    .await;
    let policy = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\nthreads = 1\naccess_log = \"off\"\n\
         [origins.a]\nurl = \"http://{}\"\n[pools.main]\norigins = [\"a\"]\n\
         [limits.one]\nkind = \"concurrency\"\nquota = \"1\"\nkey = []\n[cache.all]\nmode = \"respect\"\n\
         [retry.r]\nbackoff = \"1ms\"\n\
         [[routes]]\npool = \"main\"\nlimits = [\"one\"]\ncache = \"all\"\nretry = \"r\"\n",
        origin.address
    );
    let proxy = Proxy::start(&policy);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n", "200"),
        ("HEAD / HTTP/1.1\r\n", "200"),
        ("GET /closed HTTP/1.1\r\n", "502"),
        ("GET /empty HTTP/1.1\r\n", "204"),
        ("GET /chunks HTTP/1.1\r\n", "200"),
        ("GET /cut HTTP/1.1\r\n", "200"),
        ("GET /stored HTTP/1.1\r\n", "200"),
        ("GET /stored HTTP/1.1\r\nif-none-match: \"a\"\r\n", "304"),
        ("GET /stored HTTP/1.1\r\nrange: bytes=0-1\r\n", "206"),
        ("GET /stored HTTP/1.1\r\nrange: bytes=90-\r\n", "416"),
        ("POST / HTTP/1.1\r\ncontent-length: 0\r\n", "200"),
        (
            "GET /missing HTTP/1.1\r\ncache-control: only-if-cached\r\n",
            "504",
        ),
    ] {
        for time in 0..4 {
            let mut client = proxy.client().await;
            client
                .send(format!("{request}host: a\r\nconnection: close\r\n\r\n"))
                .await;
            let reply = client.rest().await;
            let told = String::from_utf8_lossy(reply.get(9..12).unwrap_or_default());
            assert_eq!(told, status, "{request:?}, {time}");
        }
    }
}
