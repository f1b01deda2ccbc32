//! Attempts at origins: kept connections, retries and failover, timeouts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Origin, Proxy, policy, until};

fn two(one: &Origin, two: &Origin) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
admin = "off"
access_log = "off"
threads = 1
[origins.one]
url = "http://{}"
response_timeout = "1s"
[origins.two]
url = "http://{}"
[pools.both]
origins = ["one", "two"]
[retry.twice]
attempts = 2
backoff = "1ms"
[[routes]]
pool = "both"
retry = "twice"
"#,
        one.address, two.address
    )
}

async fn good() -> Origin {
    Origin::start(|_, call| async move { call.answer("200 OK", "", "two").await }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_origin_is_followed_by_the_next() {
    for (script, seen) in [("503", 1), ("closes", 1), ("silent", 1), ("nonsense", 1)] {
        let bad = Origin::start(move |_, call| async move {
            match script {
                "503" => call.answer("503 Service Unavailable", "", "busy").await,
                "closes" => false,
                "nonsense" => call.write("SMTP ready\r\n\r\n").await,
                _ => {
                    call.read_some().await;
                    false
                }
            }
        })
        .await;
        let next = good().await;
        let proxy = Proxy::start(&two(&bad, &next));
        let reply = proxy.get("/").await;
        assert_eq!((reply.status, reply.text()), (200, "two"), "{script}");
        assert_eq!((bad.count(), next.count()), (seen, 1), "{script}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_origin_is_skipped_with_the_body_intact() {
    let gone = good().await;
    let address = gone.address;
    let next = Origin::start(|_, call| async move {
        let body = call.read_some().await;
        call.answer("200 OK", "", std::str::from_utf8(&body).unwrap()).await
    })
    .await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(&two(&gone, &next).replace(&address.to_string(), &free.to_string()));
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody").await;
    assert_eq!(client.reply().await.text(), "body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_carried_out_is_not_sent_twice() {
    let bad = Origin::start(|_, _| async { false }).await;
    let next = good().await;
    let proxy = Proxy::start(&two(&bad, &next));
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody").await;
    let reply = client.reply().await;
    assert!(reply.is_problem(502, "origin_failed"), "{reply:?}");
    assert_eq!(next.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_was_closed_is_replaced_in_silence() {
    let origin = Origin::start(|_, call| async move {
        call.answer("200 OK", "", "hello").await;
        // Closes without having said so.
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, "").replace("threads = 2", "threads = 1"));
    let mut client = proxy.client().await;
    for round in 1..=20 {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(client.reply().await.status, 200, "round {round}");
        // The close must have arrived for the proxy to be able to know of it.
        until("the connection is closed", || origin.closed.load(Ordering::SeqCst) == round).await;
    }
    assert_eq!(origin.count(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_read_to_its_end_costs_its_connection_only() {
    let failing = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&failing);
    let bad = Origin::start(move |_, call| {
        let fails = fails.swap(false, Ordering::SeqCst);
        async move {
            let status = if fails { "503 Service Unavailable" } else { "200 OK" };
            call.answer(status, "", &"x".repeat(1 << 20)).await
        }
    })
    .await;
    let next = good().await;
    let proxy = Proxy::start(&two(&bad, &next));
    assert_eq!(proxy.get("/").await.text(), "two");
    assert_eq!(proxy.get("/").await.body.len(), 1 << 20);
}
