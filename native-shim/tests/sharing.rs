//! Responses that many clients read while they are still on their way into the store.

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
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, Semaphore};

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
    assert_eq!(proxy.metric("tidegate_store_filling_bytes"), 10);
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
        proxy.metric("tidegate_store_filling_bytes") == 0
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
    let reserved = || proxy.metric("tidegate_store_filling_bytes");
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
        // The last chunk is an empty one.
        while let Some(chunk) = client.chunk().await.filter(|chunk| !chunk.is_empty()) {
            bytes += chunk.len();
        }
        bytes
    };
    let all = clients.into_iter().map(|client| tokio::spawn(read(client)));
    for client in all.collect::<Vec<_>>() {
        assert_eq!(client.await.unwrap(), (64 << 16) + 4);
    }
    until("nothing of it is kept", || {
        proxy.metric("tidegate_store_filling_bytes") == 0
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
        let held = proxy.metric("tidegate_store_held_bytes")
            + proxy.metric("tidegate_store_filling_bytes");
        assert!(
            held <= 20 << 20,
            "{held} bytes after {n} readers that read nothing"
        );
    }
    drop(readers);
    until("no more is held than is stored", || {
        proxy.metric("tidegate_store_held_bytes") <= 8 << 20
    })
    .await;
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
            proxy.metric("tidegate_connections_open") == 0
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
