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
