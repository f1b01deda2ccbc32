//! Stored responses over real sockets: hits, conditions, coalescing, and bodies that must not be
//! stored.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::Arc;

use support::{Origin, Proxy, parse, policy, until};
use tidegate::{Clock, Node};
use tidegate_core::Timestamp;
use tidegate_core::purge::{Purge, Target};
use tokio::sync::Semaphore;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_is_a_hit_and_conditions_and_head_work() {
    let origin =
        Origin::start(
            |_, call| async move { call.answer("200 OK", "etag: \"v1\"\r\n", "hello").await },
        )
        .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    let miss = client.get("/cached/a").await;
    assert_eq!((miss.status, miss.text()), (200, "hello"));
    assert!(
        miss.field("cache-status").unwrap().contains("fwd=uri-miss"),
        "{}",
        miss.head
    );
    let hit = client.get("/cached/a").await;
    assert_eq!((hit.status, hit.text()), (200, "hello"));
    assert!(
        hit.field("cache-status").unwrap().contains("; hit"),
        "{}",
        hit.head
    );
    client
        .send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\nif-none-match: \"v1\"\r\n\r\n")
        .await;
    let unchanged = client.reply_head().await;
    assert_eq!(unchanged.status, 304);
    client
        .send("HEAD /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
        .await;
    let head = client.reply_head().await;
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("5"))
    );
    assert_eq!(client.get("/cached/a").await.text(), "hello");
    assert_eq!(origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_response_is_revalidated_with_its_validator() {
    let origin = Origin::start(|head, call| async move {
        if head.contains("if-none-match: \"v1\"") {
            return call.write("HTTP/1.1 304 Not Modified\r\netag: \"v1\"\r\ncache-control: max-age=60\r\n\r\n").await;
        }
        call.answer("200 OK", "etag: \"v1\"\r\ncache-control: no-cache\r\n", "hello").await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    assert_eq!(proxy.get("/respect/a").await.text(), "hello");
    until("the response is stored", || proxy.node.store.len() == 1).await;
    let confirmed = proxy.get("/respect/a").await;
    assert_eq!((confirmed.status, confirmed.text()), (200, "hello"));
    assert_eq!(origin.count(), 2);
    let hit = proxy.get("/respect/a").await;
    assert_eq!(hit.text(), "hello");
    assert_eq!(origin.count(), 2, "the 304 made it fresh");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_misses_are_one_request() {
    let (origin, open) =
        Origin::gated("", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nshared").await;
    let proxy = Arc::new(Proxy::start(&policy(&origin, "")));
    let all: Vec<_> = (0..100)
        .map(|_| {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move { proxy.get("/cached/a").await })
        })
        .collect();
    until("the origin is asked", || origin.count() == 1).await;
    until("all clients are connected", || {
        proxy.metric("tidegate_connections_open") == 100
    })
    .await;
    open.notify_one();
    let mut collapsed = 0;
    for reply in all {
        let reply = reply.await.unwrap();
        assert_eq!((reply.status, reply.text()), (200, "shared"));
        collapsed += usize::from(reply.head.contains("; hit"));
    }
    assert_eq!((origin.count(), collapsed), (1, 99));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unstorable_response_releases_all_who_waited_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&gate);
    let origin = Origin::start(move |_, call| {
        let permits = Arc::clone(&permits);
        async move {
            permits.acquire().await.unwrap().forget();
            call.answer("200 OK", "cache-control: no-store\r\n", "alone")
                .await
        }
    })
    .await;
    let proxy = Arc::new(Proxy::start(&policy(&origin, "")));
    let all: Vec<_> = (0..20)
        .map(|_| {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move { proxy.get("/cached/a").await })
        })
        .collect();
    until("the origin is asked", || origin.count() == 1).await;
    until("all clients are connected", || {
        proxy.metric("tidegate_connections_open") == 20
    })
    .await;
    gate.add_permits(1);
    // No further answer is given before all have asked: they do not queue up behind each other.
    until("all others ask at once", || origin.count() == 20).await;
    gate.add_permits(19);
    for reply in all {
        assert_eq!(reply.await.unwrap().text(), "alone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_body_is_neither_stored_nor_ended_cleanly() {
    let origin = Origin::start(|head, call| async move {
        if head.contains("/cached/length") {
            call.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
                .await;
        } else {
            call.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
                .await;
        }
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    for path in ["/cached/length", "/cached/chunked"] {
        for _ in 0..2 {
            let mut client = proxy.client().await;
            client
                .send(format!("GET {path} HTTP/1.1\r\nhost: t.example\r\n\r\n"))
                .await;
            // What has come before the end may be lost; that it is not the whole must show.
            let seen = String::from_utf8(client.rest().await).unwrap();
            let body = seen.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            assert!(
                ["", "hello", "5\r\nhello\r\n"].contains(&body),
                "{path}: {seen}"
            );
        }
    }
    assert_eq!(origin.count(), 4);
    assert!(proxy.node.store.is_empty());
}

/// [9111-3.1-3]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trailer_is_not_stored() {
    let origin = Origin::start(|_, call| async move {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
        call.write(format!("{head}3\r\none\r\n0\r\nx-sum: 7\r\n\r\n"))
            .await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    assert_eq!(proxy.get("/cached/a").await.text(), "one");
    until("the response is stored", || proxy.node.store.len() == 1).await;
    let hit = proxy.get("/cached/a").await;
    assert_eq!((hit.text(), hit.field("x-sum")), ("one", None));
    assert!(
        hit.field("cache-status").unwrap().contains("; hit"),
        "{}",
        hit.head
    );
    assert_eq!(origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_longer_than_allowed_aborts_the_reply() {
    let origin = Origin::start(|_, call| async move {
        call.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
            .await;
        call.read_some().await;
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let reply = proxy.get("/cached/a").await;
    assert_eq!((reply.text(), reply.complete), ("hello", false));
    assert!(proxy.node.store.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_larger_than_what_is_stored_is_streamed_only() {
    let origin = Origin::start(|head, call| async move {
        let body = "x".repeat(100_000);
        if head.contains("/cached/chunked") {
            let text = format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n186a0\r\n{body}\r\n0\r\n\r\n"
            );
            return call.write(text).await;
        }
        call.answer("200 OK", "", &body).await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    for path in ["/cached/length", "/cached/chunked"] {
        let reply = proxy.get(path).await;
        assert_eq!((reply.body.len(), reply.complete), (100_000, true));
    }
    assert!(proxy.node.store.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_does_not_stop_the_fill() {
    let (origin, go_on) = Origin::gated(
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "world",
    )
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    client
        .send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
        .await;
    client.reply_head().await;
    client.reset();
    until("the client is gone", || {
        proxy.metric("tidegate_connections_open") == 0
    })
    .await;
    go_on.notify_one();
    until("the rest is stored", || proxy.node.store.len() == 1).await;
    assert_eq!(proxy.get("/cached/a").await.text(), "helloworld");
    assert_eq!(origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsafe_request_ends_the_use_of_what_is_stored() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    client.get("/cached/a").await;
    client.get("/cached/a").await;
    assert_eq!(origin.count(), 1);
    client
        .send("DELETE /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status, 200);
    client.get("/cached/a").await;
    assert_eq!(origin.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_leaves_by_itself() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let start = Timestamp::from_millis(1_700_000_000_000);
    let clock = Clock::manual(start);
    let proxy = Proxy::of(
        Node::with_clock(parse(&policy(&origin, "")), 1, clock.clone()),
        ".",
    );
    for path in ["/cached/a", "/cached/b"] {
        proxy.get(path).await;
    }
    clock.advance_to(start.plus(3_659_999));
    proxy.node.sweep();
    assert_eq!(proxy.node.store.len(), 2);
    clock.advance_to(start.plus(3_660_000));
    assert!(proxy.get("/cached/a").await.head.contains("fwd=uri-miss"));
    proxy.node.sweep();
    assert_eq!((proxy.node.store.len(), origin.count()), (1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_bounded_by_bytes_and_by_entries() {
    let origin = Origin::start(|head, call| async move {
        let length = if head.contains("/cached/large") {
            50_000
        } else {
            1
        };
        call.answer("200 OK", "", &"x".repeat(length)).await
    })
    .await;
    let store = "[store]\nbytes_max = \"1MiB\"\nentries_max = 100\n";
    let proxy =
        Proxy::start(&policy(&origin, "").replace("[origins.a]", &format!("{store}[origins.a]")));
    let mut client = proxy.client().await;
    for i in 0..300 {
        client.get(&format!("/cached/small/{i}")).await;
    }
    assert_eq!(proxy.node.store.len(), 100);
    for i in 0..50 {
        client.get(&format!("/cached/large/{i}")).await;
    }
    assert!(
        proxy.node.store.bytes() <= 1 << 20,
        "{}",
        proxy.node.store.bytes()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_and_a_purge_of_something_else_lose_nothing() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    for i in 0..50 {
        client.get(&format!("/cached/{i}")).await;
    }
    let held = (proxy.node.store.len(), proxy.node.store.bytes());
    let store = "[store]\nbytes_max = \"8MiB\"\nentries_max = 60\n";
    proxy.node.replace(parse(
        &policy(&origin, "").replace("[origins.a]", &format!("{store}[origins.a]")),
    ));
    let target = Target::Url {
        host: "t.example".into(),
        path: "/cached/none".into(),
        query: None,
    };
    proxy.node.purge(&Purge {
        target,
        soft: false,
    });
    assert_eq!((proxy.node.store.len(), proxy.node.store.bytes()), held);
    for i in 0..50 {
        assert!(
            client
                .get(&format!("/cached/{i}"))
                .await
                .head
                .contains("; hit")
        );
    }
    assert_eq!(origin.count(), 50);
    assert_eq!(proxy.metric("tidegate_store_bytes"), held.1);
    assert_eq!(
        proxy.metric("tidegate_store_overhead_bytes"),
        held.1 - 50 * 5
    );
}
