//! Bodies in both directions, pipelining, trailers, and other protocols.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::Arc;

use support::{Origin, Proxy, policy, until};
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_reaches_the_client_piece_by_piece() {
    let (origin, go_on) = Origin::gated(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
        "3\r\ntwo\r\n0\r\n\r\n",
    )
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    for path in ["/plain", "/cached/a"] {
        let mut client = proxy.client().await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nhost: t.example\r\n\r\n"))
            .await;
        assert_eq!(client.reply_head().await.status, 200);
        assert_eq!(client.chunk().await.unwrap(), b"one");
        go_on.notify_one();
        assert_eq!(client.chunk().await.unwrap(), b"two");
        assert_eq!(client.chunk().await.unwrap(), b"");
    }
    until("the response is stored", || proxy.node.store.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_body_reaches_the_origin_piece_by_piece() {
    let seen = Arc::new(Notify::new());
    let first = Arc::clone(&seen);
    let origin = Origin::start(move |head, call| {
        let first = Arc::clone(&first);
        async move {
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            let mut body = call.read_some().await;
            first.notify_one();
            while !body.ends_with(b"0\r\n\r\n") {
                body.extend(call.read_some().await);
            }
            call.answer("200 OK", "", std::str::from_utf8(&body).unwrap())
                .await
        }
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    client.send("POST /up HTTP/1.1\r\nhost: t.example\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
    seen.notified().await;
    client.send("3\r\ntwo\r\n0\r\n\r\n").await;
    let reply = client.reply().await;
    assert!(
        reply.text().contains("one") && reply.text().contains("two"),
        "{}",
        reply.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|head, call| async move {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        call.answer("200 OK", "", &path).await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    let all: Vec<String> = (0..20)
        .map(|i| format!("/{}{i}", if i % 2 == 0 { "" } else { "cached/" }))
        .collect();
    let requests: Vec<_> = all
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nhost: t.example\r\n\r\n"))
        .collect();
    client.send(requests.concat()).await;
    for path in all {
        assert_eq!(client.reply().await.text(), path);
    }
    assert_eq!(
        origin.connections.load(std::sync::atomic::Ordering::SeqCst),
        1,
        "the origin's connection is kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_are_passed_on() {
    let origin = Origin::start(|_, call| async move {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n";
        call.write(format!("{head}3\r\none\r\n0\r\ngrpc-status: 0\r\n\r\n"))
            .await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    client.send("GET /grpc HTTP/1.1\r\nhost: t.example\r\nte: trailers\r\nconnection: te, close\r\n\r\n").await;
    let bytes = client.rest().await;
    assert!(
        String::from_utf8_lossy(&bytes).contains("0\r\ngrpc-status: 0\r\n\r\n"),
        "{bytes:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_goes_both_ways_until_both_ends_close() {
    let origin = Origin::start(|head, call| async move {
        assert!(head.contains("upgrade: websocket"), "{head}");
        call.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nwelcome ")
            .await;
        loop {
            let heard = call.read_some().await;
            if heard.is_empty() {
                return false;
            }
            call.write([b"<", heard.as_slice(), b">"].concat()).await;
        }
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    client.send("GET /chat HTTP/1.1\r\nhost: t.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let reply = client.reply_head().await;
    assert_eq!(
        (reply.status, reply.field("upgrade")),
        (101, Some("websocket")),
        "{}",
        reply.head
    );
    for text in ["welcome ", "<one>", "<two>"] {
        let mut heard = vec![0; text.len()];
        if let Some(said) = text.strip_prefix('<') {
            client.send(said.trim_end_matches('>')).await;
        }
        tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut heard)
            .await
            .unwrap();
        assert_eq!(heard, text.as_bytes());
    }
}

/// More than an origin may send before its answer.
const MUCH: usize = 3 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_an_answer_to_an_upgrade_may_be_of_any_length() {
    let origin = Origin::start(|head, call| async move {
        if head.starts_with("GET /refused") {
            return call.answer("403 Forbidden", "", &"x".repeat(MUCH)).await;
        }
        call.write(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
        call.write(vec![b'x'; MUCH]).await;
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let upgrade =
        "HTTP/1.1\r\nhost: t.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut client = proxy.client().await;
    client.send(format!("GET /chat {upgrade}")).await;
    assert_eq!(client.reply_head().await.status, 101);
    assert_eq!(client.rest().await.len(), MUCH);
    let mut client = proxy.client().await;
    client.send(format!("GET /refused {upgrade}")).await;
    assert_eq!(client.reply().await.body.len(), MUCH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upgrade_is_an_ordinary_response() {
    let origin =
        Origin::start(|_, call| async move { call.answer("403 Forbidden", "", "no").await }).await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    client.send("GET /chat HTTP/1.1\r\nhost: t.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (403, "no"));
    assert_eq!(
        client.get("/again").await.status,
        403,
        "the client's connection lives on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upgrade_may_not_pause_for_ever() {
    let origin = Origin::start(|_, call| async move {
        call.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 10\r\n\r\nhello")
            .await;
        call.read_some().await;
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    client.send("GET /chat HTTP/1.1\r\nhost: t.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.text(), reply.complete), ("hello", false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_looks_like_an_error_of_the_server_is_passed_on() {
    const LOOKS: &str =
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let origin = Origin::start(|head, call| async move {
        if head.contains("upgrade: websocket") {
            call.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
        } else {
            call.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", LOOKS.len() + 5)).await;
        }
        // Each of these is a write of its own to the client.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if !head.contains("/last") {
            call.write(LOOKS).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            return call.write("hello").await;
        }
        call.write("hello").await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        call.write(LOOKS).await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    assert_eq!(proxy.get("/first").await.text(), format!("{LOOKS}hello"));
    assert_eq!(proxy.get("/last").await.text(), format!("hello{LOOKS}"));
    let mut client = proxy.client().await;
    client.send("GET /chat HTTP/1.1\r\nhost: t.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n").await;
    assert_eq!(client.reply_head().await.status, 101);
    let mut heard = vec![0; LOOKS.len() + 5];
    tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut heard)
        .await
        .unwrap();
    assert_eq!(heard, format!("{LOOKS}hello").as_bytes());
}

fn logging(origin: &Origin) -> String {
    policy(origin, "").replace("access_log = \"off\"", "access_log = \"json\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_leaves_its_report() {
    let origin = Origin::start(|_, call| async move {
        call.read_some().await;
        false
    })
    .await;
    let proxy = Proxy::start(&logging(&origin));
    let mut client = proxy.client().await;
    client
        .send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
        .await;
    until("the origin is asked", || origin.count() == 1).await;
    // Another one waits for the same response, and takes over.
    let mut follower = proxy.client().await;
    follower
        .send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
        .await;
    until("both are open", || {
        proxy.measures("tidegate_connections_open 2")
    })
    .await;
    client.reset();
    until("it is counted", || {
        proxy.measures(r#"tidegate_refusals_total{reason="abandoned"} 1"#)
    })
    .await;
    assert!(proxy.measures(r#"tidegate_origin_attempts_total{origin="a",outcome="abandoned"} 1"#));
    let log = proxy.log();
    assert!(
        log.contains(r#""outcome":"abandoned""#) && log.contains(r#""status":499"#),
        "{log}"
    );
    until("the follower asks the origin", || origin.count() == 2).await;
    follower.reset();
    until("it is counted too", || {
        proxy.measures(r#"tidegate_refusals_total{reason="abandoned"} 2"#)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_changed_counts_although_it_has_gone() {
    let go_on = Arc::new(Notify::new());
    let gate = Arc::clone(&go_on);
    let origin = Origin::start(move |head, call| {
        let gate = Arc::clone(&gate);
        async move {
            if head.starts_with("POST") {
                gate.notified().await;
            }
            call.answer("200 OK", "", "hello").await
        }
    })
    .await;
    let proxy = Proxy::start(&logging(&origin));
    proxy.get("/cached/a").await;
    until("the response is stored", || proxy.node.store.len() == 1).await;
    let mut client = proxy.client().await;
    client
        .send("POST /cached/a HTTP/1.1\r\nhost: t.example\r\ncontent-length: 0\r\n\r\n")
        .await;
    until("the origin is asked", || origin.count() == 2).await;
    client.reset();
    until("the client has gone", || {
        proxy.measures("tidegate_connections_open 0")
    })
    .await;
    assert_eq!(proxy.node.store.len(), 1);
    go_on.notify_one();
    until("the stored response is dropped", || {
        proxy.node.store.is_empty()
    })
    .await;
    let mut log = String::new();
    until("it is logged", || {
        log.push_str(&proxy.log());
        log.contains(r#""method":"POST","scheme":"http","host":"t.example","path":"/cached/a""#)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_responses_reach_clients_that_know_them_before_the_answer() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    let (origin, go_on) =
        Origin::gated(early, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let proxy = Proxy::start(&policy(&origin, ""));
    // Exchanges that go on without their client are driven by another task.
    let requests = [
        "GET /cached/a",
        "GET /a",
        "DELETE /a",
        "POST /a",
        "PUT /a",
        "PATCH /a",
        "OPTIONS /a",
    ];
    for request in requests {
        let mut client = proxy.client().await;
        let body = if request.starts_with('P') {
            "content-length: 2\r\n\r\nab"
        } else {
            "\r\n"
        };
        client
            .send(format!("{request} HTTP/1.1\r\nhost: t.example\r\n{body}"))
            .await;
        let hints = client.reply_head().await;
        assert_eq!(
            (hints.status, hints.field("link")),
            (103, Some("</a.css>; rel=preload")),
            "{request}"
        );
        go_on.notify_one();
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "hello"), "{request}");
    }
    // What is stored comes without.
    assert_eq!(proxy.get("/cached/a").await.status, 200);
    let mut old = proxy.client().await;
    old.send("GET /b HTTP/1.0\r\nhost: t.example\r\n\r\n").await;
    until("the origin is asked", || {
        origin.count() == requests.len() + 1
    })
    .await;
    go_on.notify_one();
    assert_eq!(old.reply().await.status, 200);
}
