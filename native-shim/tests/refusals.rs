//! Bad input: each kind gets a problem document, and where HTTP allows it the connection's other
//! requests live on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Client, Origin, Proxy, policy, until};
use tokio::io::AsyncReadExt;

const BOUNDS: &str = r#"
header_count_max = 20
header_bytes_max = "1KiB"
uri_bytes_max = "200B"
body_bytes_max = "1KiB"
header_timeout = "1s"
idle_timeout = "3s"
"#;

async fn proxy() -> (Origin, Proxy) {
    let origin = Origin::start(|head, call| async move {
        if head.starts_with("POST") {
            call.read_some().await;
        }
        call.answer("200 OK", "", "hello").await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, BOUNDS));
    (origin, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_read_is_refused_and_the_connection_lives_on() {
    let (origin, proxy) = proxy().await;
    let mut client = proxy.client().await;
    let many = "x-more: 1\r\n".repeat(30);
    let cases = [
        (
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "u".repeat(300)),
            414,
            "uri_too_long",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
                "v".repeat(2000)
            ),
            431,
            "headers_too_large",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
            431,
            "headers_too_large",
        ),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400, "bad_host"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".into(),
            400,
            "bad_host",
        ),
        (
            "GET /a/../b HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            400,
            "ambiguous_path",
        ),
    ];
    for (request, status, reason) in cases {
        client.send(&request).await;
        let reply = client.reply().await;
        assert!(reply.is_problem(status, reason), "{request}: {reply:?}");
        assert_eq!(client.get("/").await.text(), "hello");
    }
    assert_eq!(origin.count(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_refused_too() {
    let (origin, proxy) = proxy().await;
    let many = "x-more: 1\r\n".repeat(150);
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), 400, "malformed"),
        (
            "GET / HTTP/1.1\r\nbad field: 1\r\n\r\n".into(),
            400,
            "malformed",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n".into(),
            400,
            "malformed",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
            431,
            "headers_too_large",
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "u".repeat(70_000)),
            414,
            "uri_too_long",
        ),
    ];
    for (request, status, reason) in cases {
        let mut client = proxy.client().await;
        client.send(&request).await;
        let reply = client.reply().await;
        assert!(reply.is_problem(status, reason), "{request}: {reply:?}");
        assert_eq!(client.rest().await, b"");
        // After a good request too.
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.text(), "hello");
        client.send(&request).await;
        assert!(client.reply().await.is_problem(status, reason), "{request}");
    }
    assert_eq!(origin.count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_in_the_access_log() {
    let (origin, _) = proxy().await;
    let proxy = Proxy::start(
        &policy(&origin, BOUNDS).replace("access_log = \"off\"", "access_log = \"json\""),
    );
    let mut client = proxy.client().await;
    client.send("nonsense\r\n\r\n").await;
    client.rest().await;
    let log = proxy.log();
    for part in [
        r#""method":"-""#,
        r#""path":"""#,
        r#""network":"127.0.0.0/24""#,
        r#""refusal":"malformed""#,
        r#""status":400"#,
    ] {
        assert!(log.contains(part), "{part} is missing in {log}");
    }
    assert!(proxy.measures(r#"tidegate_refusals_total{reason="malformed"} 1"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_that_stops_in_its_header_fields_is_sent_away() {
    let (_origin, proxy) = proxy().await;
    let mut client = proxy.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // SETTINGS, and HEADERS without END_HEADERS.
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    client.send([0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82]).await;
    let bytes = client.rest().await;
    let goaway = bytes.windows(9).any(|frame| frame[..5] == [0, 0, 8, 7, 0]);
    assert!(goaway, "{bytes:?}");
    assert!(proxy.measures(r#"tidegate_refusals_total{reason="headers_too_slow"} 1"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_however_it_is_sent() {
    let (origin, proxy) = proxy().await;
    let mut client = proxy.client().await;
    let body = "b".repeat(2000);
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000\r\n\r\n{body}"
        ))
        .await;
    assert!(client.reply().await.is_problem(413, "body_too_large"));
    assert_eq!(origin.count(), 0);
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    client.send(format!("7d0\r\n{body}\r\n0\r\n\r\n")).await;
    let reply = client.reply().await;
    assert!(reply.is_problem(413, "body_too_large"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_header_fields_get_a_timeout() {
    let (_origin, proxy) = proxy().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
    assert!(client.reply().await.is_problem(408, "headers_too_slow"));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed() {
    let (_origin, proxy) = proxy().await;
    let mut silent = proxy.client().await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.text(), "hello");
    assert_eq!(client.rest().await, b"");
    assert_eq!(silent.rest().await, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let proxy = Proxy::start(&policy(&origin, "connections_max = 2\n"));
    let (mut one, mut two, mut three) = (
        proxy.client().await,
        proxy.client().await,
        proxy.client().await,
    );
    // A connection is there for the client before the server has accepted it.
    let refused = || proxy.measures("tidegate_connections_refused_total 1");
    until("one is refused", refused).await;
    let mut open = 0;
    for client in [&mut one, &mut two, &mut three] {
        use tokio::io::AsyncWriteExt;
        let _ = client
            .stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await;
        open += usize::from(!client.rest().await.is_empty());
    }
    assert_eq!(open, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_has_switched_protocols_may_not_be_silent_for_ever() {
    let origin = Origin::start(|_, call| async move {
        call.write(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
        call.read_some().await;
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, "tunnel_idle_timeout = \"1s\"\n"));
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(client.reply_head().await.status, 101);
    assert_eq!(client.rest().await, b"");
    until("the origin's connection is closed too", || {
        origin.closed.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_have_switched_protocols_count_until_they_end() {
    let origin = Origin::start(|_, call| async move {
        call.write(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
        call.read_some().await;
        call.write("!").await;
        call.read_some().await;
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, "connections_max = 2\n"));
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let (mut one, mut two) = (proxy.client().await, proxy.client().await);
    for client in [&mut one, &mut two] {
        client.send(upgrade).await;
        assert_eq!(client.reply_head().await.status, 101);
        // What comes back through it shows that it has been handed over.
        client.send("ping").await;
        assert_eq!(client.stream.read_u8().await.unwrap(), b'!');
    }
    let mut third = proxy.client().await;
    until("a third is refused", || {
        proxy.measures("tidegate_connections_refused_total 1")
    })
    .await;
    assert_eq!(third.rest().await, b"");
    drop((one, two));
    until("the tunnels have ended", || {
        proxy.measures("tidegate_connections_open 0")
    })
    .await;
    let mut next = proxy.client().await;
    next.send(upgrade).await;
    assert_eq!(next.reply_head().await.status, 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_head_is_not_refused_in_the_middle_of_the_reply_before_it() {
    const LENGTH: usize = 16 << 20;
    let origin =
        Origin::start(
            |_, call| async move { call.answer("200 OK", "", &"x".repeat(LENGTH)).await },
        )
        .await;
    let bounds = "header_timeout = \"1s\"\nidle_timeout = \"30s\"\n";
    let proxy = Proxy::start(&policy(&origin, bounds).replace("\"64KiB\"", "\"32MiB\""));
    let mut first = proxy.client().await;
    first
        .send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\nconnection: close\r\n\r\n")
        .await;
    assert!(first.rest().await.len() > LENGTH);
    until("the response is stored", || proxy.node.store.len() == 1).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut client = Client {
        stream: socket.connect(proxy.address).await.unwrap(),
    };
    client
        .send("GET /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n")
        .await;
    let head = client.reply_head().await;
    assert!(head.head.contains("; hit"), "{}", head.head);
    client.send("GET /cached/a HTTP/1.1\r\nhost: ").await;
    // Nothing is read for longer than a head may take.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let mut body = vec![0; LENGTH];
    client.stream.read_exact(&mut body).await.unwrap();
    assert!(body.iter().all(|byte| *byte == b'x'));
    // From here the time for the head counts.
    assert!(client.reply().await.is_problem(408, "headers_too_slow"));
}
