//! Limits of bandwidth: bodies go at their pace, in both directions. Most of it in virtual time, which
//! each wait moves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::atomic::Ordering;

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Client, Origin, Proxy, parse, until};
use tidegate::{Clock, Node};
use tidegate_core::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const START: u64 = 1_800_000_000_000;

/// A policy that paces whatever goes in a direction; what is under `/cached/` is stored.
fn policy(origin: &Origin, quota: &str, direction: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
admin = "off"
access_log = "json"
threads = 1
[limits.all]
kind = "bandwidth"
quota = "{quota}"
direction = "{direction}"
key = []
[origins.a]
url = "http://{}"
response_timeout = "500ms"
body_timeout = "1s"
[pools.main]
origins = ["a"]
[cache.minute]
mode = "override"
ttl = "1d"
[[routes]]
path_prefix = "/cached/"
pool = "main"
cache = "minute"
limits = ["all"]
[[routes]]
pool = "main"
limits = ["all"]
"#,
        origin.address
    )
}

/// A proxy whose clock moves when a body waits.
struct Virtual {
    proxy: Proxy,
    clock: Clock,
    seen: u64,
}

impl Virtual {
    fn start(policy: &str) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(START));
        let node = Node::with_clock(parse(policy), 1, clock.clone());
        Self {
            proxy: Proxy::of(node, "."),
            clock,
            seen: START,
        }
    }

    /// Returns how much time has passed since the last look, in milliseconds.
    fn passed(&mut self) -> u64 {
        let now = self.clock.now().as_millis();
        now - std::mem::replace(&mut self.seen, now)
    }

    /// Returns what the log says of the only exchange since the last look.
    async fn logged(&self) -> serde_json::Value {
        let mut log = String::new();
        until("a line is logged", || {
            log.push_str(&self.proxy.log());
            log.ends_with('\n')
        })
        .await;
        serde_json::from_str(&log).unwrap()
    }
}

/// An origin that answers with five thousand bytes, in chunks if the path says so.
async fn five_thousand() -> Origin {
    Origin::start(|head, call| async move {
        let body = "x".repeat(5000);
        if head.contains(" /chunks ") {
            let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            return call.write(format!("{head}{chunk}")).await;
        }
        call.answer("200 OK", "", &body).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_of_every_kind_go_at_their_pace() {
    let origin = five_thousand().await;
    let mut world = Virtual::start(&policy(&origin, "1000B/sec", "response"));
    let get = |path: &str, field: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n{field}\r\n");
    for (what, request, bytes, expected) in [
        ("the burst has gone", get("/cached/a", ""), 5000, 4000),
        ("from the store", get("/cached/a", ""), 5000, 5000),
        (
            "a range",
            get("/cached/a", "range: bytes=100-2099\r\n"),
            2000,
            2000,
        ),
        ("not stored", get("/b", ""), 5000, 5000),
        ("in chunks", get("/chunks", ""), 5000, 5000),
        (
            "nothing to send",
            get("/cached/a", "range: bytes=9999-\r\n"),
            0,
            0,
        ),
    ] {
        let mut client = world.proxy.client().await;
        client.send(request).await;
        let reply = client.reply().await;
        let problem = reply.status == 416;
        let length = reply.body.len();
        assert!(
            reply.complete && (problem || length == bytes),
            "{what}: {reply:?}"
        );
        let logged = world.logged().await;
        // A page of the node's own is paced as others are.
        let expected = if problem { length as u64 } else { expected };
        assert_eq!(world.passed(), expected, "{what}");
        assert_eq!(logged["bandwidth"][0]["paced_ms"], expected, "{what}");
        assert_eq!(logged["duration_ms"], expected, "{what}");
        assert_eq!(logged["body_bytes"], length as u64, "{what}");
    }
    assert_eq!(origin.count(), 3);
    let seconds = world.clock.now().as_millis() - START;
    let line = format!(
        "tidegate_paced_seconds_total{{limit=\"all\"}} {}.{:03}",
        seconds / 1000,
        seconds % 1000
    );
    assert!(world.proxy.measures(&line), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_http2_go_at_their_pace() {
    let origin = five_thousand().await;
    let mut world = Virtual::start(&policy(&origin, "1000B/sec", "response"));
    let stream = TokioIo::new(TcpStream::connect(world.proxy.address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    for expected in [4000, 5000] {
        let request = Request::get("http://a/cached/a").body(Empty::<bytes::Bytes>::new());
        let reply = sender.send_request(request.unwrap()).await.unwrap();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), 5000);
        assert_eq!(world.passed(), expected);
    }
    let mut lines = String::new();
    until("both are logged", || {
        lines.push_str(&world.proxy.log());
        lines.matches("\"paced_ms\":").count() == 2
    })
    .await;
    assert!(lines.contains("\"paced_ms\":4000") && lines.contains("\"paced_ms\":5000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_send_goes_on_at_its_pace() {
    let origin = Origin::start(|head, call| async move {
        let mut body = 0;
        while body < 5000 {
            body += call.read_some().await.len();
        }
        assert!(head.starts_with("POST "), "{head}");
        call.answer("200 OK", "", "taken").await
    })
    .await;
    let mut world = Virtual::start(&policy(&origin, "1000B/sec", "request"));
    let mut client = world.proxy.client().await;
    let body = "x".repeat(5000);
    for expected in [4000, 5000] {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n";
        client.send(format!("{head}{body}")).await;
        assert_eq!(client.reply().await.text(), "taken");
        assert_eq!(world.passed(), expected);
        let logged = world.logged().await;
        let said = serde_json::json!([
            { "name": "all", "direction": "request", "paced_ms": expected }
        ]);
        assert_eq!(logged["bandwidth"], said);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_whose_rate_changes_begins_anew_and_others_go_on() {
    let origin = five_thousand().await;
    let policy = policy(&origin, "1000B/sec", "response");
    let mut world = Virtual::start(&policy);
    for (quota, expected) in [
        ("1000B/sec", 4000),
        ("1000B/sec", 5000),
        // The burst is there again.
        ("2000B/sec", 1500),
        ("2000B/sec", 2500),
    ] {
        let changed = policy.replace("1000B/sec", quota);
        world.proxy.node.replace(parse(&changed));
        assert_eq!(world.proxy.get("/").await.body.len(), 5000);
        assert_eq!(world.passed(), expected, "{quota}");
    }
}

/// Sends a request, and reads so many bytes of the body.
async fn begin(proxy: &Proxy, path: &str, bytes: usize) -> Client<TcpStream> {
    let mut client = proxy.client().await;
    client
        .send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
        .await;
    assert_eq!(client.reply_head().await.status, 200);
    client.stream.read_exact(&mut vec![0; bytes]).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_waits_for_no_clients_pace() {
    let origin = five_thousand().await;
    let policy = policy(&origin, "300B/min", "response");
    let proxy = Proxy::start(&policy.replace("direction =", "burst = \"300B\"\ndirection ="));
    // A second piece would come after a minute.
    let _reads = begin(&proxy, "/cached/a", 256).await;
    until("the response is stored", || proxy.node.store.len() == 1).await;
    assert_eq!(proxy.log(), "", "the client has not got it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_while_a_piece_waits_frees_everything() {
    let origin = Origin::start(|_, call| async move {
        call.write("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n")
            .await;
        // Until nobody takes it any more.
        while call.write("x".repeat(1000)).await {}
        false
    })
    .await;
    let policy = policy(&origin, "300B/min", "response");
    let proxy = Proxy::start(&policy.replace("direction =", "burst = \"300B\"\ndirection ="));
    let reads = begin(&proxy, "/", 256).await;
    assert_eq!(origin.closed.load(Ordering::SeqCst), 0);
    reads.reset();
    until("the origin's connection is closed", || {
        origin.closed.load(Ordering::SeqCst) == 1
    })
    .await;
    let mut log = String::new();
    until("the exchange has ended", || {
        log.push_str(&proxy.log());
        log.contains("\"body\":\"unwanted\"")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_one_key_share_its_pace() {
    let origin = Origin::start(|_, call| async move {
        let body = "x".repeat(200_000);
        call.answer("200 OK", "", &body).await
    })
    .await;
    let policy = policy(&origin, "200KB/sec", "response");
    let proxy = Proxy::start(&policy.replace("direction =", "burst = \"20KB\"\ndirection ="));
    let (mut one, mut two) = (begin(&proxy, "/", 1).await, begin(&proxy, "/", 1).await);
    let (mut of_one, mut of_two) = (1, 1);
    let (mut first, mut second) = (vec![0; 4096], vec![0; 4096]);
    while of_one < 200_000 && of_two < 200_000 {
        tokio::select! {
            read = one.stream.read(&mut first) => of_one += read.unwrap(),
            read = two.stream.read(&mut second) => of_two += read.unwrap(),
        }
    }
    // Whoever had the burst is ahead by as much, and by one piece.
    assert!(of_one.min(of_two) >= 100_000, "{of_one} {of_two}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_is_not_late_because_its_body_waits_for_its_pace() {
    let (origin, go_on) = Origin::gated(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\none.\r\n4\r\ntwo.\r\n",
        "6\r\nthree.\r\n0\r\n\r\n",
    )
    .await;
    // The second piece waits for longer than the origin may pause.
    let policy = policy(&origin, "160B/min", "response");
    let proxy = Proxy::start(&policy.replace("direction =", "burst = \"4B\"\ndirection ="));
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.reply_head().await.status, 200);
    assert_eq!(client.chunk().await.unwrap(), b"one.");
    assert_eq!(client.chunk().await.unwrap(), b"two.");
    // Only now the origin is waited for, and it is in time.
    go_on.notify_one();
    assert_eq!(client.chunk().await.unwrap(), b"three.");
    assert_eq!(client.chunk().await.unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_is_not_late_because_it_gets_its_request_at_a_pace() {
    let origin = Origin::start(|_, call| async move {
        let mut body = 0;
        while body < 768 {
            body += call.read_some().await.len();
        }
        call.answer("200 OK", "", "taken").await
    })
    .await;
    // Each piece waits for longer than the origin's answer may take.
    let proxy = Proxy::start(&policy(&origin, "256B/sec", "request"));
    let mut client = proxy.client().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 768\r\n\r\n";
    client.send(format!("{head}{}", "x".repeat(768))).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (200, "taken"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn explain_names_what_paces_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    std::fs::write(
        &path,
        "[limits.downloads]\nkind = \"bandwidth\"\nquota = \"1MiB/sec\"\nkey = [\"ip\"]\n\
         [origins.a]\nurl = \"http://a.example\"\n[pools.main]\norigins = [\"a\"]\n\
         [[routes]]\npool = \"main\"\nlimits = [\"downloads\"]\n",
    )
    .unwrap();
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["explain", "GET", "http://shop.example/", "--policy"])
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    let line = "bandwidth  downloads: the response is paced";
    assert!(text.lines().any(|said| said == line), "{text}");
}
