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
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Origin, Proxy, parse, policy, until};
use tidegate::{Clock, Node};
use tidegate_core::Timestamp;
use tidegate_core::purge::{Purge, Target};
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, Semaphore};

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
        metric(&proxy, "tidegate_connections_open") == 100
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
        metric(&proxy, "tidegate_connections_open") == 20
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
        metric(&proxy, "tidegate_connections_open") == 0
    })
    .await;
    go_on.notify_one();
    until("the rest is stored", || proxy.node.store.len() == 1).await;
    assert_eq!(proxy.get("/cached/a").await.text(), "helloworld");
    assert_eq!(origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_no_end_is_given_up_when_nobody_has_read_it_for_long() {
    // Nothing tells that it has no end, or the other one that it has.
    for framing in [
        "content-type: text/plain\r\ntransfer-encoding: chunked",
        "connection: close",
    ] {
        let origin = Origin::start(move |_, call| async move {
            call.write(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"))
                .await;
            while call.write("4\r\ntick\r\n").await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            false
        })
        .await;
        let start = Timestamp::from_millis(1_700_000_000_000);
        let clock = Clock::manual(start);
        let proxy = Proxy::of(
            Node::with_clock(parse(&policy(&origin, "")), 1, clock.clone()),
            ".",
        );
        let mut client = proxy.client().await;
        client
            .send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
            .await;
        client.reply_head().await;
        // However long it lasts, it goes on while it is read.
        clock.advance_to(start.plus(3_600_000));
        assert!(!bytes(&mut client, 100).await.is_empty());
        client.reset();
        until("the client is gone", || {
            metric(&proxy, "tidegate_connections_open") == 0
        })
        .await;
        let mut now = start.plus(3_600_000);
        until("the origin is left", || {
            now = now.plus(10_000);
            clock.advance_to(now);
            origin.closed.load(Ordering::SeqCst) == 1
        })
        .await;
        assert_eq!(proxy.node.store.len(), 0, "{framing}");
    }
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
    assert_eq!(metric(&proxy, "tidegate_store_bytes"), held.1);
    assert_eq!(
        metric(&proxy, "tidegate_store_overhead_bytes"),
        held.1 - 50 * 5
    );
}

fn metric(proxy: &Proxy, name: &str) -> u64 {
    let page = tidegate::Metrics::page(&proxy.node);
    page.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_a_body_that_proved_too_large_go_alone() {
    let gate = Arc::new(Semaphore::new(1));
    let permits = Arc::clone(&gate);
    let origin = Origin::start(move |_, call| {
        let permits = Arc::clone(&permits);
        async move {
            permits.acquire().await.unwrap().forget();
            let body = "x".repeat(100_000);
            call.write(format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n186a0\r\n{body}\r\n0\r\n\r\n"
            ))
            .await
        }
    })
    .await;
    let proxy = Arc::new(Proxy::start(&policy(&origin, "")));
    assert!(proxy.get("/cached/a").await.complete);
    let all: Vec<_> = (0..5)
        .map(|_| {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move { proxy.get("/cached/a").await })
        })
        .collect();
    until("all ask at once", || origin.count() == 6).await;
    gate.add_permits(5);
    for reply in all {
        assert_eq!(reply.await.unwrap().body.len(), 100_000);
    }
}

/// Asks and waits for the head; returns the client and the first half of the body.
async fn half(
    proxy: &Proxy,
    fields: &str,
) -> (support::Client<tokio::net::TcpStream>, support::Reply) {
    let mut client = proxy.client().await;
    client
        .send(format!(
            "GET /cached/a HTTP/1.1\r\nhost: t.example\r\n{fields}\r\n"
        ))
        .await;
    let head = client.reply_head().await;
    (client, head)
}

async fn bytes(client: &mut support::Client<tokio::net::TcpStream>, length: usize) -> String {
    let mut body = vec![0; length];
    client.stream.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_join_a_response_that_is_on_its_way() {
    let (origin, go_on) = Origin::gated(
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234",
        "56789",
    )
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let (mut first, _) = half(&proxy, "").await;
    assert_eq!(bytes(&mut first, 5).await, "01234");
    let (mut second, head) = half(&proxy, "").await;
    assert!(head.head.contains("; hit"), "{}", head.head);
    assert_eq!(bytes(&mut second, 5).await, "01234");
    let (mut part, head) = half(&proxy, "range: bytes=1-2, 4-6\r\n").await;
    assert_eq!(head.status, 206);
    assert_eq!(metric(&proxy, "tidegate_store_filling_bytes"), 10);
    // Who leads may go away.
    drop(first);
    go_on.notify_one();
    assert_eq!(bytes(&mut second, 5).await, "56789");
    let length = head.field("content-length").unwrap().parse().unwrap();
    let parts = bytes(&mut part, length).await;
    assert!(
        parts.contains("\r\n\r\n12\r\n") && parts.contains("\r\n\r\n456\r\n"),
        "{parts}"
    );
    until("it is stored", || proxy.node.store.len() == 1).await;
    assert_eq!(
        (proxy.get("/cached/a").await.text(), origin.count()),
        ("0123456789", 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_holds_up_nobody() {
    const LENGTH: usize = 8 << 20;
    let origin =
        Origin::start(
            |_, call| async move { call.answer("200 OK", "", &"x".repeat(LENGTH)).await },
        )
        .await;
    let proxy = Proxy::start(&policy(&origin, "").replace("\"64KiB\"", "\"32MiB\""));
    // It reads nothing of the body, which no socket's buffer holds.
    let (slow, _) = half(&proxy, "").await;
    until("it is stored", || proxy.node.store.len() == 1).await;
    let (mut quick, _) = half(&proxy, "").await;
    assert!(
        bytes(&mut quick, LENGTH)
            .await
            .bytes()
            .all(|byte| byte == b'x')
    );
    // It holds what the store holds and counts.
    until("nothing is on its way", || {
        metric(&proxy, "tidegate_store_filling_bytes") == 0
    })
    .await;
    drop(slow);
    assert_eq!(origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_slow_client_holds_of_a_broken_body_stays_counted() {
    const LENGTH: usize = 16 << 20;
    let go_on = Arc::new(Notify::new());
    let gate = Arc::clone(&go_on);
    let origin = Origin::start(move |_, call| {
        let gate = Arc::clone(&gate);
        async move {
            let half = "x".repeat(LENGTH / 2);
            call.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n{half}"
            ))
            .await;
            gate.notified().await;
            false
        }
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, "").replace("\"64KiB\"", "\"32MiB\""));
    let reserved = || metric(&proxy, "tidegate_store_filling_bytes");
    // It reads nothing of what comes before the end.
    let (slow, _) = half(&proxy, "").await;
    assert_eq!(reserved(), LENGTH as u64);
    go_on.notify_one();
    // Who comes is not given what broke off: the second request asks the origin.
    while half(&proxy, "").await.1.head.contains("; hit") {}
    assert_eq!((origin.count(), reserved()), (2, 2 * LENGTH as u64));
    drop(slow);
    until("its bytes are given back", || reserved() == LENGTH as u64).await;
    go_on.notify_one();
    until("all bytes are given back", || reserved() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_joined_a_body_that_breaks_off_sees_that() {
    let go_on = Arc::new(Notify::new());
    let gate = Arc::clone(&go_on);
    let origin = Origin::start(move |_, call| {
        let gate = Arc::clone(&gate);
        async move {
            call.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234")
                .await;
            gate.notified().await;
            false
        }
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let (mut first, _) = half(&proxy, "").await;
    let (mut second, head) = half(&proxy, "").await;
    assert!(head.head.contains("; hit"), "{}", head.head);
    for client in [&mut first, &mut second] {
        assert_eq!(bytes(client, 5).await, "01234");
    }
    go_on.notify_one();
    for client in [&mut first, &mut second] {
        assert_eq!(client.rest().await, b"");
    }
    assert!(proxy.node.store.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_without_a_length_is_read_at_its_origins_pace() {
    let origin = Origin::start(|_, call| async move {
        call.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        for _ in 0..64 {
            call.write(format!("10000\r\n{}\r\n", "y".repeat(0x10000)))
                .await;
        }
        call.write("0\r\n\r\n").await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, "").replace("\"64KiB\"", "\"8MiB\""));
    let mut slow = proxy.client().await;
    slow.send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
        .await;
    slow.reply_head().await;
    // It reads nothing more, and holds nobody up.
    let reply = proxy.get("/cached/a").await;
    assert_eq!(
        (reply.status, reply.body.len(), reply.complete),
        (200, 64 << 16, true)
    );
    until("it is stored", || proxy.node.store.len() == 1).await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_proves_too_large_reaches_all_who_have_joined_it_and_nobody_else() {
    let go_on = Arc::new(Notify::new());
    let gate = Arc::clone(&go_on);
    let origin = Origin::start(move |_, call| {
        let gate = Arc::clone(&gate);
        async move {
            call.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhead\r\n")
                .await;
            gate.notified().await;
            for _ in 0..64 {
                call.write(format!("10000\r\n{}\r\n", "y".repeat(0x10000)))
                    .await;
            }
            call.write("0\r\n\r\n").await
        }
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = proxy.client().await;
        client
            .send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
            .await;
        assert_eq!(client.reply_head().await.status, 200);
        clients.push(client);
    }
    assert_eq!(origin.count(), 1, "two have joined");
    go_on.notify_one();
    let read = |mut client: support::Client<tokio::net::TcpStream>| async move {
        let mut bytes = 0;
        while let Some(chunk) = client.chunk().await {
            bytes += chunk.len();
        }
        bytes
    };
    let all = clients.into_iter().map(|client| tokio::spawn(read(client)));
    for client in all.collect::<Vec<_>>() {
        assert_eq!(client.await.unwrap(), (64 << 16) + 4);
    }
    until("nothing of it is kept", || {
        metric(&proxy, "tidegate_store_filling_bytes") == 0
    })
    .await;
    assert!(proxy.node.store.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_one_clients_own_waits_for_nobody() {
    for field in ["authorization: Bearer a", "cache-control: no-store"] {
        let (origin, answer) =
            Origin::gated("", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        let proxy = Proxy::start(&policy(&origin, ""));
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = proxy.client().await;
            client
                .send(format!(
                    "GET /respect/a HTTP/1.1\r\nhost: t.example\r\n{field}\r\n\r\n"
                ))
                .await;
            clients.push(client);
        }
        until("all ask at once", || origin.count() == 5).await;
        for _ in 0..5 {
            answer.notify_one();
        }
        for mut client in clients {
            answer.notify_one();
            assert_eq!(client.reply().await.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_the_store_has_given_up_count_as_long_as_they_are_read() {
    const LENGTH: usize = 4 << 20;
    let origin =
        Origin::start(
            |_, call| async move { call.answer("200 OK", "", &"x".repeat(LENGTH)).await },
        )
        .await;
    let bounds = "[store]\nbytes_max = \"8MiB\"\n[origins.a]";
    let proxy = Proxy::start(
        &policy(&origin, "")
            .replace("[origins.a]", bounds)
            .replace("\"64KiB\"", "\"8MiB\""),
    );
    let mut readers = Vec::new();
    for n in 0..12 {
        let mut reader = proxy.client().await;
        reader
            .send(format!(
                "GET /cached/{n} HTTP/1.1\r\nhost: t.example\r\n\r\n"
            ))
            .await;
        assert_eq!(reader.reply_head().await.status, 200);
        readers.push(reader);
        let held = metric(&proxy, "tidegate_store_held_bytes")
            + metric(&proxy, "tidegate_store_filling_bytes");
        assert!(
            held <= 20 << 20,
            "{held} bytes after {n} readers that read nothing"
        );
    }
    drop(readers);
    until("no more is held than is stored", || {
        metric(&proxy, "tidegate_store_held_bytes") <= 8 << 20
    })
    .await;
}
