//! Reloads and the end of a server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::Arc;

use support::{Origin, Proxy, parse, policy, until};
use tidegate::{Look, Node, Phase, PolicyFile, TlsFiles};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_policy_keeps_connections_and_what_is_stored() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let text = policy(&origin, "");
    let proxy = Proxy::start(&text);
    let mut client = proxy.client().await;
    client.get("/cached/a").await;
    assert_eq!(client.get("/old").await.status, 200);
    proxy.node.replace(parse(&text.replace(
        "name = \"rest\"",
        "name = \"rest\"\nhost = \"other.example\"",
    )));
    assert_eq!(client.get("/old").await.status, 404);
    assert!(client.get("/cached/a").await.head.contains("; hit"));
    assert_eq!(origin.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_taken_if_it_is_valid() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    let text = policy(&origin, "");
    std::fs::write(&path, &text).unwrap();
    let (mut file, first) = PolicyFile::open(&path).unwrap();
    let node = Arc::new(Node::new(first, 1));
    let files = TlsFiles::new(file.folder());
    assert_eq!(file.look(&node, &files), Look::Same);
    std::fs::write(&path, "[server]\nlisten = 5\n").unwrap();
    let Look::Refused(message) = file.look(&node, &files) else {
        panic!("an invalid policy is taken")
    };
    assert!(message.contains("tidegate.toml:2:"), "{message}");
    assert_eq!(file.look(&node, &files), Look::Same, "it is reported once");
    assert_eq!(node.engine().policy().routes.len(), 3);
    // As a ConfigMap changes: a link is swapped.
    let new = folder.path().join("..data");
    std::fs::write(
        &new,
        text.replace("threads = 2", "threads = 1")
            + "\n[[routes]]\nname = \"more\"\npool = \"main\"\n",
    )
    .unwrap();
    std::fs::rename(&new, &path).unwrap();
    let Look::Taken(warnings) = file.look(&node, &files) else {
        panic!("a valid policy is not taken")
    };
    assert_eq!(
        warnings,
        ["server.threads has changed; it takes effect after a restart"]
    );
    assert_eq!(node.engine().policy().routes.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_server_finishes_what_is_under_way() {
    let (origin, go_on) =
        Origin::gated("", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").await;
    let mut proxy = Proxy::start(&policy(&origin, ""));
    let mut idle = proxy.client().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the origin is asked", || origin.count() == 1).await;
    let server = proxy.server.take().unwrap();
    server.enter(Phase::Draining);
    assert_eq!(idle.rest().await, b"", "an idle connection is closed");
    assert!(!server.is_over());
    go_on.notify_one();
    let reply = client.reply().await;
    assert_eq!(
        (reply.text(), reply.field("connection")),
        ("late", Some("close"))
    );
    until("the server ends", || server.is_over()).await;
    assert!(
        tokio::net::TcpStream::connect(proxy.address).await.is_err(),
        "nothing new is accepted"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_waits_for_nobody() {
    let origin = Origin::start(|_, call| async move {
        call.read_some().await;
        false
    })
    .await;
    let mut proxy = Proxy::start(&policy(&origin, ""));
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the origin is asked", || origin.count() == 1).await;
    let server = proxy.server.take().unwrap();
    server.enter(Phase::Draining);
    server.enter(Phase::Stopped);
    until("the server ends", || server.is_over()).await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_whose_files_are_missing_is_tried_again() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    let text = policy(&origin, "");
    std::fs::write(&path, &text).unwrap();
    let (mut file, first) = PolicyFile::open(&path).unwrap();
    let node = Arc::new(Node::new(first, 1));
    let files = TlsFiles::new(file.folder());
    std::fs::write(
        &path,
        text.replace("http://", "https://")
            .replace("[pools.main]", "tls = { ca = \"ca.pem\" }\n[pools.main]"),
    )
    .unwrap();
    let Look::Refused(message) = file.look(&node, &files) else {
        panic!("a policy without its files is taken")
    };
    assert!(message.contains("ca.pem"), "{message}");
    assert_eq!(file.look(&node, &files), Look::Same, "it is reported once");
    assert!(
        matches!(file.reload(&node, &files), Look::Refused(_)),
        "whoever asks is told again"
    );
    let authority = rcgen::generate_simple_self_signed(["origin.example".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.cert.pem()).unwrap();
    assert_eq!(file.look(&node, &files), Look::Taken(Vec::new()));
    assert_eq!(file.look(&node, &files), Look::Same);
    assert_eq!(
        file.reload(&node, &files),
        Look::Taken(Vec::new()),
        "whoever asks has all files read again"
    );
}
