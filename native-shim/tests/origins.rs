//! Attempts at origins: kept connections, retries and failover, timeouts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Origin, Proxy, good, policy, two, until};

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
        call.answer("200 OK", "", std::str::from_utf8(&body).unwrap())
            .await
    })
    .await;
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = Proxy::start(&two(&gone, &next).replace(&address.to_string(), &free.to_string()));
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody")
        .await;
    assert_eq!(client.reply().await.text(), "body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_carried_out_is_not_sent_twice() {
    let bad = Origin::start(|_, _| async { false }).await;
    let next = good().await;
    let proxy = Proxy::start(&two(&bad, &next));
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody")
        .await;
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
        client
            .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert_eq!(client.reply().await.status, 200, "round {round}");
        // The close must have arrived for the proxy to be able to know of it.
        until("the connection is closed", || {
            origin.closed.load(Ordering::SeqCst) == round
        })
        .await;
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
            let status = if fails {
                "503 Service Unavailable"
            } else {
                "200 OK"
            };
            call.answer(status, "", &"x".repeat(1 << 20)).await
        }
    })
    .await;
    let next = good().await;
    let proxy = Proxy::start(&two(&bad, &next));
    assert_eq!(proxy.get("/").await.text(), "two");
    assert_eq!(proxy.get("/").await.body.len(), 1 << 20);
}

/// The next origin answers once the circuit of the one whose bodies break off, or stall, has
/// opened; log and metrics say what happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_whole_is_a_failure_of_its_origin() {
    for (ending, outcome) in [
        ("breaks", "body_broken"),
        ("stalls", "body_timeout"),
        ("chunk", "body_broken"),
    ] {
        for cached in [false, true] {
            let bad = Origin::start(move |_, call| async move {
                let framing = if ending == "chunk" {
                    "transfer-encoding: chunked"
                } else {
                    "content-length: 1000"
                };
                call.write(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n3\r\nabc\r\n"))
                    .await;
                if ending == "stalls" {
                    call.read_some().await;
                }
                false
            })
            .await;
            let next = good().await;
            let breaker =
                "breaker = \"b\"\n[breakers.b]\nwindow = \"10 calls\"\nminimum_calls = 4\n";
            let mut policy =
                two(&bad, &next).replace("access_log = \"off\"", "access_log = \"json\"") + breaker;
            policy = policy.replace("response_timeout = \"1s\"", "body_timeout = \"100ms\"");
            if cached {
                policy = policy.replace("retry = \"twice\"", "retry = \"twice\"\ncache = \"c\"");
                policy += "[cache.c]\nmode = \"override\"\nttl = \"1m\"\n";
            }
            let proxy = Proxy::start(&policy);
            for i in 0..4 {
                let mut client = proxy.client().await;
                client
                    .send(format!("GET /{i} HTTP/1.1\r\nhost: a\r\n\r\n"))
                    .await;
                client.rest().await;
            }
            let measured =
                format!("tidegate_origin_attempts_total{{origin=\"one\",outcome=\"{outcome}\"}} 4");
            until("all bodies have ended", || proxy.measures(&measured)).await;
            let log = proxy.log();
            assert_eq!(log.matches(outcome).count(), 4, "{log}");
            assert_eq!(log.matches("\"circuit\":\"open\"").count(), 1, "{log}");
            assert_eq!(
                proxy.get("/whole").await.text(),
                "two",
                "{ending}, cached: {cached}"
            );
            assert_eq!(bad.count(), 4);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_is_half_open_when_its_time_is_over_though_nobody_asks() {
    let bad = Origin::start(|_, call| async move { call.answer("500 No", "", "").await }).await;
    let next = good().await;
    let breaker = "breaker = \"b\"\n[breakers.b]\nwindow = \"10 calls\"\nminimum_calls = 2\n\
                   open = \"1s\"\n";
    let proxy = Proxy::start(&(two(&bad, &next) + breaker));
    let state = |state: &str| {
        format!("tidegate_circuit_state{{origin=\"one\",breaker=\"b\",state=\"{state}\"}} 1")
    };
    for _ in 0..2 {
        proxy.get("/").await;
    }
    assert!(proxy.measures(&state("open")));
    until("the circuit is half open", || {
        proxy.measures(&state("half_open"))
    })
    .await;
    assert_eq!(bad.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_says_nothing_about_the_origin_and_is_recorded() {
    let (origin, _gate) =
        Origin::gated("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc", "").await;
    let proxy =
        Proxy::start(&policy(&origin, "").replace("access_log = \"off\"", "access_log = \"json\""));
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.reply_head().await.status, 200);
    drop(client);
    let mut log = String::new();
    until("the exchange is recorded", || {
        log += &proxy.log();
        !log.is_empty()
    })
    .await;
    assert!(
        log.contains("\"outcome\":\"response\",\"status\":200"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_origin_says_about_its_end_reaches_clients_once_or_not_at_all() {
    let heads = [
        (
            "content-length: 500\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            200,
        ),
        ("content-length: 5, 5\r\n\r\nhello", 200),
        ("content-length: 5, 6\r\n\r\nhello", 502),
        (
            "transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            502,
        ),
        ("transfer-encoding: identity\r\n\r\nhello", 200),
        ("transfer-encoding: gzip\r\n\r\nhello", 502),
    ];
    for (rest, status) in heads {
        for version in ["1.1", "1.0"] {
            let origin = Origin::start(move |_, call| async move {
                call.write(format!("HTTP/{version} 200 OK\r\n{rest}")).await;
                false
            })
            .await;
            let proxy = Proxy::start(&policy(&origin, ""));
            for path in ["/", "/cached/a"] {
                let reply = proxy.get(path).await;
                let is_either =
                    version == "1.0" && rest.contains("transfer-encoding") && reply.status == 502;
                assert!(
                    reply.status == status || is_either,
                    "{version} {rest} {reply:?}"
                );
                if reply.status == 200 {
                    assert_eq!(
                        (reply.text(), reply.complete),
                        ("hello", true),
                        "{version} {rest}"
                    );
                    assert!(reply.head.starts_with("http/1.1 "), "{}", reply.head);
                    let both = reply.field("content-length").is_some()
                        && reply.field("transfer-encoding").is_some();
                    assert!(!both && !reply.head.contains(", 5"), "{}", reply.head);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_switches_no_protocol_that_nobody_asked_for() {
    let asks = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n";
    for (fields, protocol, status) in [
        ("", "websocket", 502),
        (asks, "h2c", 502),
        (asks, "websocket", 101),
    ] {
        let origin = Origin::start(move |_, call| async move {
            let head =
                format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
            call.write(head).await
        })
        .await;
        let proxy = Proxy::start(&policy(&origin, ""));
        let mut client = proxy.client().await;
        client
            .send(format!("GET / HTTP/1.1\r\nhost: t.example\r\n{fields}\r\n"))
            .await;
        assert_eq!(
            client.reply_head().await.status,
            status,
            "{fields} {protocol}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_counts_although_the_rest_of_the_upload_could_not_be_sent() {
    let origin = Origin::start(|_, call| async move {
        call.answer(
            "413 Content Too Large",
            "connection: close\r\n",
            "too large",
        )
        .await;
        false
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    for _ in 0..20 {
        let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        let (read, mut write) = stream.into_split();
        let upload = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let head = format!(
                "POST / HTTP/1.1\r\nhost: t.example\r\ncontent-length: {}\r\n\r\n",
                8 << 20
            );
            let _ = write.write_all(head.as_bytes()).await;
            let _ = write.write_all(&vec![b'x'; 8 << 20]).await;
            write
        });
        let mut client = support::Client {
            stream: tokio::io::join(read, tokio::io::sink()),
        };
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.text()), (413, "too large"));
        upload.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_responses_do_not_stop_the_clock() {
    let origin = Origin::start(|_, call| async move {
        let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2000);
        while call.write(&flood).await {}
        false
    })
    .await;
    let proxy = Proxy::start(
        &policy(&origin, "").replace("response_timeout = \"5s\"", "response_timeout = \"300ms\""),
    );
    let reply = tokio::time::timeout(std::time::Duration::from_secs(20), proxy.get("/"))
        .await
        .expect("it is given up");
    assert!(matches!(reply.status, 502 | 504), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_may_send_as_many_fields_as_clients() {
    for (fields, bound, status) in [
        (200, "", 200),
        (255, "", 200),
        (800, "", 502),
        (800, "header_count_max = 1000", 200),
    ] {
        let origin = Origin::start(move |_, call| async move {
            let many = (0..fields)
                .map(|n| format!("x-{n}: 1\r\n"))
                .collect::<Vec<_>>()
                .concat();
            call.answer("200 OK", &many, "hello").await
        })
        .await;
        let proxy = Proxy::start(&policy(&origin, bound));
        assert_eq!(proxy.get("/").await.status, status, "{fields} {bound}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_asks_for_time_is_not_asked_again_before() {
    let answers = Arc::new(AtomicBool::new(false));
    let recovers = Arc::clone(&answers);
    let origin = Origin::start(move |_, call| {
        let recovers = Arc::clone(&recovers);
        async move {
            if recovers.swap(true, Ordering::SeqCst) {
                call.answer("200 OK", "", "hello").await
            } else {
                call.answer("503 Service Unavailable", "retry-after: 100\r\n", "busy")
                    .await
            }
        }
    })
    .await;
    let one = two(&origin, &origin).replace("origins = [\"one\", \"two\"]", "origins = [\"one\"]");
    let proxy = Proxy::start(&one);
    let reply = proxy.get("/").await;
    assert_eq!(
        (reply.status, reply.text(), origin.count()),
        (503, "busy", 1),
        "it is passed on, with its Retry-After"
    );
    assert_eq!(reply.field("retry-after"), Some("100"));
}
