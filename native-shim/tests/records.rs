//! What is recorded of a reply: how its body ended, and after how many bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use serde_json::{Value, json};
use support::{Origin, Proxy, policy, until};

const BROKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc";
const UPGRADED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

fn logging(origin: &Origin) -> String {
    policy(origin, "")
        .replace("access_log = \"off\"", "access_log = \"json\"")
        .replace("body_timeout = \"1s\"", "body_timeout = \"100ms\"")
}

/// Waits for so many records.
async fn records(proxy: &Proxy, count: usize) -> Vec<Value> {
    let mut log = String::new();
    until("all is recorded", || {
        log += &proxy.log();
        log.lines().count() >= count
    })
    .await;
    let records: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), count, "{log}");
    records
}

/// An origin whose answers depend on the last letters of the path.
async fn origin() -> Origin {
    Origin::start(|head, call| async move {
        let path = head.split(' ').nth(1).unwrap();
        if path.ends_with("breaks") {
            call.write(BROKEN).await;
            return false;
        }
        if path.ends_with("stalls") {
            call.write(BROKEN).await;
            call.read_some().await;
            return false;
        }
        if path.ends_with("chunks") {
            let framing = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunks = "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
            return call.write(format!("{framing}{chunks}")).await;
        }
        if path.ends_with("socket") {
            call.write(UPGRADED).await;
            return false;
        }
        if head.starts_with("HEAD") {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
            return call.write(head).await;
        }
        call.answer("200 OK", "", "hello").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reply_is_recorded_with_the_end_of_its_body() {
    let cases = [
        ("GET", "/a", "whole", 5),
        ("GET", "/chunks", "whole", 6),
        ("HEAD", "/a", "whole", 0),
        // Into the store, and out of it.
        ("GET", "/cached/a", "whole", 5),
        ("GET", "/cached/a", "whole", 5),
        ("HEAD", "/cached/a", "whole", 0),
        ("GET", "/cached/chunks", "whole", 6),
        ("GET", "/breaks", "broken", 3),
        ("GET", "/cached/breaks", "broken", 3),
        ("GET", "/stalls", "stalled", 3),
        // A reader of what is stored on its way does not see why it broke off.
        ("GET", "/cached/stalls", "broken", 3),
    ];
    let origin = origin().await;
    for (method, path, body, bytes) in cases {
        let proxy = Proxy::start(&logging(&origin));
        // What is asked twice is in the store the second time.
        for _ in 0..2 {
            let mut client = proxy.client().await;
            client
                .send(format!(
                    "{method} {path} HTTP/1.1\r\nhost: t.example\r\nconnection: close\r\n\r\n"
                ))
                .await;
            client.rest().await;
        }
        for record in records(&proxy, 2).await {
            let seen = (&record["body"], &record["body_bytes"]);
            assert_eq!(seen, (&json!(body), &json!(bytes)), "{method} {path}");
            let last = record["timeline"].as_array().unwrap().last().unwrap();
            assert_eq!(last["event"], "end", "{method} {path}");
            assert_eq!(last["at_ms"], record["duration_ms"], "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_recorded_with_its_document() {
    let origin = origin().await;
    let proxy = Proxy::start(&logging(&origin));
    let reply = proxy.get("http://[/").await;
    let [record] = &records(&proxy, 1).await[..] else {
        panic!("one record");
    };
    assert_eq!(record["status"], reply.status);
    assert_eq!(record["body"], "whole");
    assert_eq!(record["body_bytes"], reply.body.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_its_client_does_not_read_is_not_recorded_as_whole() {
    for (path, leads) in [("/a", false), ("/cached/a", true)] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
        let (origin, go_on) = Origin::gated(head, "3\r\ntwo\r\n0\r\n\r\n").await;
        let proxy = Proxy::start(&logging(&origin).replace("\"100ms\"", "\"9s\""));
        let mut client = proxy.client().await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nhost: t.example\r\n\r\n"))
            .await;
        assert_eq!(client.reply_head().await.status, 200);
        assert_eq!(client.chunk().await.unwrap(), b"one");
        client.reset();
        until("the client has gone", || {
            proxy.measures("tidegate_connections_open 0")
        })
        .await;
        if leads {
            // The origin's body is still to come, and belongs to the record.
            assert_eq!(proxy.log(), "");
            go_on.notify_one();
        }
        let records = records(&proxy, 1).await;
        assert_eq!(records[0]["body"], "unwanted", "{path}");
        assert_eq!(records[0]["body_bytes"], 3, "{path}");
        assert_eq!(records[0]["attempts"][0]["outcome"], "response", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reader_of_one_fetch_has_a_record_of_its_own() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none";
    let (origin, go_on) = Origin::gated(head, "two").await;
    let proxy = Proxy::start(&logging(&origin).replace("\"100ms\"", "\"9s\""));
    let request = "GET /cached/a HTTP/1.1\r\nhost: t.example\r\n\r\n";
    let (mut leaves, mut stays) = (proxy.client().await, proxy.client().await);
    leaves.send(request).await;
    assert_eq!(leaves.reply_head().await.status, 200);
    stays.send(request).await;
    assert_eq!(stays.reply_head().await.status, 200);
    leaves.reset();
    until("one has gone", || {
        proxy.measures("tidegate_connections_open 1")
    })
    .await;
    go_on.notify_one();
    let mut whole = [0; 6];
    tokio::io::AsyncReadExt::read_exact(&mut stays.stream, &mut whole)
        .await
        .unwrap();
    assert_eq!(&whole, b"onetwo");
    let records = records(&proxy, 2).await;
    let mut ends: Vec<&str> = records
        .iter()
        .map(|record| record["body"].as_str().unwrap())
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, ["unwanted", "whole"]);
    assert_eq!(origin.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_of_bytes_that_belong_to_another_protocol() {
    let origin = origin().await;
    let proxy = Proxy::start(&logging(&origin));
    let mut client = proxy.client().await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    client
        .send(format!(
            "GET /socket HTTP/1.1\r\nhost: t.example\r\n{upgrade}\r\n"
        ))
        .await;
    assert_eq!(client.reply_head().await.status, 101);
    let records = records(&proxy, 1).await;
    assert_eq!(records[0]["status"], 101);
    assert_eq!(records[0].get("body"), None);
}

/// An answer that would be tried again, and is passed on because nothing is left to try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_answer_is_watched_like_any_other() {
    let origin = Origin::start(|_, call| async move {
        let head = "HTTP/1.1 503 Busy\r\nretry-after: 3600\r\ncontent-length: 1000\r\n\r\n";
        call.write(format!("{head}abc")).await;
        false
    })
    .await;
    let retried = "name = \"rest\"\nretry = \"twice\"";
    let rule = "[retry.twice]\nattempts = 2\n";
    let policy = logging(&origin).replace("name = \"rest\"", retried) + rule;
    let proxy = Proxy::start(&policy);
    let mut client = proxy.client().await;
    let request = "GET /a HTTP/1.1\r\nhost: t.example\r\n\r\n";
    client.send(request).await;
    client.rest().await;
    let records = records(&proxy, 1).await;
    assert_eq!(origin.count(), 1);
    assert_eq!(records[0]["status"], 503);
    assert_eq!(records[0]["body"], "broken");
    assert_eq!(records[0]["attempts"][0]["outcome"], "body_broken");
}
