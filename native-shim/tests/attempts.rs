//! Attempts of one request that are made beside each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Origin, Proxy, good, two, until};

/// Two origins, of which the second is asked when the first is late.
fn hedged(one: &Origin, other: &Origin) -> String {
    two(one, other)
        .replace("attempts = 2", "attempts = 2\nhedge_after = \"20ms\"")
        .replace("access_log = \"off\"", "access_log = \"json\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_is_late_is_overtaken_and_let_go() {
    let is_let_go = Arc::new(AtomicBool::new(false));
    let slow = {
        let is_let_go = Arc::clone(&is_let_go);
        Origin::start(move |_, call| {
            let is_let_go = Arc::clone(&is_let_go);
            async move {
                assert!(call.read_some().await.is_empty(), "nothing more is sent");
                is_let_go.store(true, Ordering::Relaxed);
                false
            }
        })
        .await
    };
    let good = good().await;
    let proxy = Proxy::start(&hedged(&slow, &good));
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, reply.text()), (200, "two"));
    until("the slow origin is let go", || {
        is_let_go.load(Ordering::Relaxed)
    })
    .await;
    let log = proxy.log();
    assert!(log.contains("\"outcome\":\"outrun\""), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_origin_is_waited_for_when_the_other_fails() {
    let let_go = Arc::new(tokio::sync::Notify::new());
    let (tell, told) = (Arc::clone(&let_go), let_go);
    let slow = Origin::start(move |_, call| {
        let told = Arc::clone(&told);
        async move {
            told.notified().await;
            call.answer("200 OK", "", "one").await
        }
    })
    .await;
    let bad = Origin::start(move |_, call| {
        let tell = Arc::clone(&tell);
        async move {
            call.write("SMTP ready\r\n\r\n").await;
            // It ends when the proxy has seen that this is no HTTP.
            call.read_some().await;
            tell.notify_one();
            false
        }
    })
    .await;
    let proxy = Proxy::start(&hedged(&slow, &bad));
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, reply.text()), (200, "one"));
    assert_eq!((slow.count(), bad.count()), (1, 1));
    let log = proxy.log();
    assert!(log.contains("\"outcome\":\"protocol\""), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_both_attempts() {
    let silent = || {
        Origin::start(|_, call| async move {
            call.read_some().await;
            false
        })
    };
    let (one, other) = (silent().await, silent().await);
    let proxy = Proxy::start(&hedged(&one, &other).replace("\"1s\"", "\"1min\""));
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("both are asked", || one.count() == 1 && other.count() == 1).await;
    client.reset();
    let mut log = String::new();
    until("the exchange has ended", || {
        log.push_str(&proxy.log());
        !log.is_empty()
    })
    .await;
    assert_eq!(log.matches("\"outcome\":\"abandoned\"").count(), 2, "{log}");
}
