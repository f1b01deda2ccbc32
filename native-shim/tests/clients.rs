//! What clients do to the server: they leave, they are slow, they want everything.

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

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Origin, Proxy, policy, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// A policy that writes a log.
fn logging(origin: &Origin, server: &str) -> String {
    policy(origin, server).replace("access_log = \"off\"", "access_log = \"json\"")
}

/// An origin that answers when it is told to.
async fn waiting() -> (Origin, Arc<Notify>) {
    Origin::gated("", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_sent_all_and_closes_its_half_gets_its_reply() {
    for request in [
        "GET / HTTP/1.1\r\nhost: t.example\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: t.example\r\ncontent-length: 3\r\n\r\nabc",
        "PUT / HTTP/1.1\r\nhost: t.example\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let (origin, answer) = waiting().await;
        let proxy = Proxy::start(&policy(&origin, ""));
        let mut client = proxy.client().await;
        client.send(request).await;
        client.stream.shutdown().await.unwrap();
        until("the origin is asked", || origin.count() == 1).await;
        answer.notify_one();
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "hello"), "{request}");
        assert!(
            client.rest().await.is_empty(),
            "the connection ends after it"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closes_in_the_middle_of_its_request_is_not_waited_for() {
    let (origin, _answer) = waiting().await;
    let proxy = Proxy::start(&logging(&origin, ""));
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: t.example\r\ncontent-length: 10\r\n\r\nabc")
        .await;
    until("the origin is asked", || origin.count() == 1).await;
    client.stream.shutdown().await.unwrap();
    until("it is given up", || {
        proxy.measures(r#"tidegate_refusals_total{reason="abandoned"} 1"#)
    })
    .await;
    let log = proxy.log();
    assert!(
        log.contains(r#""status":499"#) && log.contains(r#""refusal":"abandoned""#),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sees_the_head_of_a_reply_that_breaks_at_once() {
    for fields in ["transfer-encoding: chunked", "content-length: 5"] {
        let origin = Origin::start(move |_, call| async move {
            call.write(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"))
                .await;
            false
        })
        .await;
        let proxy = Proxy::start(&policy(&origin, ""));
        for path in ["/", "/cached/a", "/respect/a"] {
            for _ in 0..10 {
                let reply = proxy.get(path).await;
                assert!(
                    reply.status == 502 || (reply.status == 200 && !reply.complete),
                    "{path} {fields} {reply:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_takes_no_more_than_its_share_of_the_seats() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let bound = "connections_per_address_max = 2";
    let proxy = Proxy::start(&policy(&origin, bound));
    let mut first = proxy.client().await;
    let mut second = proxy.client().await;
    assert_eq!(
        (first.get("/").await.status, second.get("/").await.status),
        (200, 200)
    );
    let mut third = proxy.client().await;
    assert!(third.rest().await.is_empty(), "it is closed");
    assert!(proxy.measures("tidegate_connections_refused_total 1"));
    drop(first);
    until("its seat is free", || {
        proxy.measures("tidegate_connections_open 1")
    })
    .await;
    assert_eq!(proxy.get("/").await.status, 200);
    // Behind a trusted proxy there is everybody.
    let trusting = policy(&origin, bound).replace(
        "[origins.a]",
        "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n[origins.a]",
    );
    let proxy = Proxy::start(&trusting);
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.status, 200);
        clients.push(client);
    }
}

async fn http2(proxy: &Proxy, window: u32) -> http2::SendRequest<Empty<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, path: &str) -> http::Request<Empty<Bytes>> {
    let uri = format!("http://t.example{path}");
    http::Request::builder()
        .method(method)
        .uri(uri)
        .body(Empty::new())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_reads_loses_its_reply_and_the_connection_lives_on() {
    let origin = Origin::start(|head, call| async move {
        let bytes = if head.contains("/large") { 1 << 20 } else { 5 };
        call.answer("200 OK", "", &"x".repeat(bytes)).await
    })
    .await;
    for path in ["/large", "/cached/large", "/respect/large"] {
        let proxy =
            Proxy::start(&policy(&origin, "idle_timeout = \"1s\"").replace("64KiB", "4MiB"));
        let mut sender = http2(&proxy, 1024).await;
        let unread = sender.send_request(request("GET", path)).await.unwrap();
        assert_eq!(unread.status(), 200);
        let mut cut = false;
        for _ in 0..200 {
            // The connection is in use all the time.
            let reply = sender.send_request(request("GET", "/small")).await.unwrap();
            assert_eq!(
                reply.into_body().collect().await.unwrap().to_bytes().len(),
                5
            );
            cut = proxy.measures("tidegate_replies_cut_total 1");
            if cut {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(cut, "{path}: the reply is given up");
        assert!(
            unread.into_body().collect().await.is_err(),
            "{path}: it was not whole"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_part_of_no_request_keep_no_connection_open() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frames: [&[u8]; 4] = [
        b"\0\0\x08\x06\0\0\0\0\0tidegate",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",
        b"\0\0\0\x63\0\0\0\0\0",
    ];
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    for frame in frames {
        let proxy = Proxy::start(&policy(&origin, "idle_timeout = \"500ms\""));
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream
            .write_all(&[PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat())
            .await
            .unwrap();
        let (mut read, mut write) = stream.into_split();
        let pinging = tokio::spawn(async move {
            while write.write_all(frame).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut all = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), read.read_to_end(&mut all))
            .await
            .expect("it is closed");
        until("it is gone", || {
            proxy.measures("tidegate_connections_open 0")
        })
        .await;
        pinging.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_left_behind_count_as_their_connections_own() {
    let origin = Origin::start(|_, call| async move {
        call.read_some().await;
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let mut sender = http2(&proxy, 65_535).await;
    for _ in 0..400 {
        let sent = sender.send_request(request("POST", "/"));
        // Long enough for the request to go out, and then it is reset.
        let _ = tokio::time::timeout(Duration::from_millis(2), sent).await;
        sender.ready().await.unwrap();
    }
    let refused = || {
        let page = tidegate::Metrics::page(&proxy.node);
        page.lines()
            .any(|line| line.starts_with("tidegate_refusals_total{reason=\"too_many_under_way\"}"))
    };
    until("no more are taken", refused).await;
    assert!(
        origin.connections.load(Ordering::SeqCst) <= 260,
        "{}",
        origin.connections.load(Ordering::SeqCst)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_of_any_method_reaches_the_origin_however_its_length_is_told() {
    let origin = Origin::start(|head, call| async move {
        let mut body = call.read_some().await;
        while head.contains("chunked") && !body.ends_with(b"0\r\n\r\n") {
            body.extend(call.read_some().await);
        }
        let body = String::from_utf8(body).unwrap();
        call.answer(
            "200 OK",
            "",
            &format!("{} {body}", head.to_ascii_lowercase()),
        )
        .await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        let stream = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        let body = Full::new(Bytes::from_static(b"query"))
            .map_err(|never| match never {})
            .boxed();
        let body = http_body_util::combinators::BoxBody::new(Unannounced(body));
        let request = http::Request::builder()
            .method(method)
            .uri("http://t.example/")
            .body(body)
            .unwrap();
        let reply = sender
            .send_request(request)
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        let seen = std::str::from_utf8(&reply).unwrap();
        assert!(
            seen.contains("transfer-encoding: chunked") && seen.contains("5\r\nquery\r\n"),
            "{method}: {seen}"
        );
    }
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: t.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nquery\r\n0\r\n\r\n").await;
    let reply = client.reply().await;
    assert!(reply.text().contains("5\r\nquery\r\n"), "{}", reply.text());
}

/// A body that does not tell its length.
struct Unannounced(http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>);

impl http_body::Body for Unannounced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_be_read_in_two_ways_is_refused() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let cases = [
        ("GET / HTTP/1.1\r\nhost: t.example:\r\n", 200),
        ("GET / HTTP/1.1\r\nhost: t.example.\r\n", 200),
        ("GET / HTTP/1.1\r\nhost: t.example:x\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: t.example:65536\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: t.example]\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: [::1\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: ::1\r\n", 400),
        ("GET http://t.example/ HTTP/1.1\r\nhost: other\r\n", 200),
        (
            "GET https://t.example/ HTTP/1.1\r\nhost: t.example\r\n",
            421,
        ),
        ("GET ftp://t.example/ HTTP/1.1\r\nhost: t.example\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: t.example\r\ncontent-length: 0, 0\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: t.example\r\ntransfer-encoding: gzip, chunked\r\n",
            501,
        ),
        (
            "POST / HTTP/1.1\r\nhost: t.example\r\ntransfer-encoding: gzip\r\n",
            400,
        ),
        ("GET /a#b HTTP/1.1\r\nhost: t.example\r\n", 400),
        ("GET /a?b#c HTTP/1.1\r\nhost: t.example\r\n", 400),
        (
            "OPTIONS / HTTP/1.1\r\nhost: t.example\r\nmax-forwards: 0\r\n",
            204,
        ),
        (
            "TRACE / HTTP/1.1\r\nhost: t.example\r\nmax-forwards: 0\r\n",
            501,
        ),
        (
            "GET / HTTP/1.1\r\nhost: t.example\r\nmax-forwards: 0\r\n",
            200,
        ),
    ];
    for (head, status) in cases {
        let mut client = proxy.client().await;
        client.send(format!("{head}\r\n")).await;
        assert_eq!(client.reply().await.status, status, "{head}");
    }
    let passes = "tidegate, ".repeat(8);
    let mut client = proxy.client().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nhost: t.example\r\ncdn-loop: {passes}x\r\n\r\n"
        ))
        .await;
    assert!(client.reply().await.is_problem(508, "loop_detected"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_vanishes_in_the_trailer_fields_of_another_one() {
    let origin = Origin::start(|head, call| async move {
        while !call.read_some().await.is_empty() {}
        call.answer("200 OK", "", &head).await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let second = "GET /second HTTP/1.1\r\nhost: t.example\r\n\r\n";
    for end in ["0\r\nx: y\n\n", "0\r\n\n", "3\r\nabc\r\n0\r\nx: y\r\n\n"] {
        let mut client = proxy.client().await;
        let first = "POST /first HTTP/1.1\r\nhost: t.example\r\ntransfer-encoding: chunked\r\n\r\n";
        client.send(format!("{first}{end}{second}")).await;
        let rest = String::from_utf8(client.rest().await).unwrap();
        assert!(!rest.contains("200 OK"), "{end:?}: {rest}");
    }
}
