//! Requests that are sent once more: on another connection, and to the next origin.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::{Origin, Proxy, good, policy, two, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_on_a_connection_that_the_origin_has_closed_is_sent_once_more() {
    // It closes after each answer, and does not say so.
    let origin = Origin::start(|_, call| async move {
        call.answer("200 OK", "", "hello").await;
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    for request in [
        "GET / HTTP/1.1\r\nhost: t.example\r\n\r\n",
        "DELETE / HTTP/1.1\r\nhost: t.example\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: t.example\r\ncontent-length: 3\r\n\r\nabc",
    ] {
        for _ in 0..50 {
            client.send(request).await;
            let reply = client.reply().await;
            assert_eq!((reply.status, reply.text()), (200, "hello"), "{request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_lost_while_its_body_comes_is_sent_again_as_a_whole() {
    // Of each three requests the first is answered, the second lost on the same connection once its
    // head is there, and the third answered.
    let turn = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |head, call| {
        let lost = turn.fetch_add(1, Ordering::SeqCst) % 3 == 1;
        async move {
            if lost {
                return false;
            }
            let body = read_body(&head, &call).await;
            call.answer(
                "200 OK",
                "",
                &format!(
                    "{} {}",
                    head.lines().next().unwrap(),
                    String::from_utf8_lossy(&body)
                ),
            )
            .await
        }
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    for pause in [false, true] {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/warm").await.status, 200);
        client
            .send("PUT /lost HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234")
            .await;
        if pause {
            // The rest of the body is sent only when the request is being sent once more.
            until("the request is sent once more", || origin.count() == 6).await;
        }
        client.send("56789").await;
        let reply = client.reply().await;
        assert_eq!(
            (reply.status, reply.text()),
            (200, "PUT /lost HTTP/1.1 0123456789")
        );
        assert_eq!(origin.count(), if pause { 6 } else { 3 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_dies_with_its_connections_is_followed_by_the_next() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // It answers once, takes the next request on the same connection, and is gone.
    let dying = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        support::read_head(&mut stream).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer)
            .await
            .unwrap();
        drop(listener);
        support::read_head(&mut stream).await.unwrap();
    });
    let next = good().await;
    let policy = two(&next, &next).replacen(&next.address.to_string(), &address.to_string(), 1);
    let proxy = Proxy::start(&policy.replace("retry = \"twice\"\n", ""));
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.text(), "first");
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(next.count(), 1);
    dying.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_kept_connections_have_ended_a_request_that_did_not_leave_is_not_lost() {
    const KEPT: usize = 200;
    let (stage, stages) = tokio::sync::watch::channel(0);
    let origin = Origin::start(move |_, call| {
        let mut stages = stages.clone();
        async move {
            let is_kept = *stages.wait_for(|stage| *stage >= 1).await.unwrap() == 1;
            call.answer("200 OK", "", "hello").await;
            stages.wait_for(|stage| *stage >= 2).await.unwrap();
            !is_kept
        }
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, "").replace("threads = 2", "threads = 1"));
    let mut clients = Vec::new();
    for _ in 0..KEPT {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
    }
    until("all are asked for", || origin.count() == KEPT).await;
    stage.send(1).unwrap();
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
    stage.send(2).unwrap();
    until("all are closed", || {
        origin.closed.load(Ordering::SeqCst) == KEPT
    })
    .await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
        .await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(origin.count(), KEPT + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_once_more_has_as_long_as_one_over_a_new_connection() {
    let thinks = Duration::from_millis(1200);
    let turn = Arc::new(AtomicUsize::new(0));
    // The second request is lost on the kept connection, late.
    let origin = Origin::start(move |_, call| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        async move {
            if turn > 0 {
                tokio::time::sleep(thinks).await;
            }
            turn != 1 && call.answer("200 OK", "", "hello").await
        }
    })
    .await;
    let proxy = Proxy::start(
        &policy(&origin, "").replace("response_timeout = \"5s\"", "response_timeout = \"2s\""),
    );
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(origin.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_sent_once_more_and_not_a_third_time() {
    let turn = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |_, call| {
        let first = turn.fetch_add(1, Ordering::SeqCst) == 0;
        async move { first && call.answer("200 OK", "", "hello").await }
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(origin.count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_body_goes_to_the_next_origin_too_and_a_large_one_does_not() {
    let busy = Origin::start(|head, call| async move {
        read_body(&head, &call).await;
        call.answer("503 Service Unavailable", "", "busy").await
    })
    .await;
    let next = Origin::start(|head, call| async move {
        let body = read_body(&head, &call).await;
        call.answer("200 OK", "", &format!("{} bytes", body.len()))
            .await
    })
    .await;
    let proxy = Proxy::start(&two(&busy, &next));
    for (method, length, status) in [
        ("PUT", 5, 200),
        ("DELETE", 5, 200),
        ("PUT", 64 << 10, 200),
        ("POST", 5, 503),
        ("PUT", (64 << 10) + 1, 503),
    ] {
        let mut client = proxy.client().await;
        let body = "x".repeat(length);
        client
            .send(format!(
                "{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
            .await;
        let reply = client.reply().await;
        assert_eq!(reply.status, status, "{method} {length}");
        if status == 200 {
            assert_eq!(reply.text(), format!("{length} bytes"));
        }
    }
}

async fn read_body(head: &str, call: &support::Call) -> Vec<u8> {
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = Vec::new();
    while body.len() < length.unwrap_or(0) {
        body.extend(call.read_some().await);
    }
    body
}
