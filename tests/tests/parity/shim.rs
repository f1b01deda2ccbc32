//! One fixture through a native server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tidegate::{Clock, Node, Phase, Server, TlsFiles};
use tidegate_core::{Policy, Timestamp};
use tidegate_tests::fixture::{Expected, Fixture, START, Scripted};
use tidegate_tests::text;
use tokio::net::TcpStream;
use toml::{Table, Value as Toml};

use crate::origin::Origins;

/// Where the test says what the platform says at the edge.
const ASN: &str = "x-test-asn";
const TLS_SUBJECT: &str = "x-test-tls-subject";

/// Runs a fixture and returns what a client and an operator see of each exchange.
pub(crate) async fn run(fixture: &Fixture) -> Vec<Expected> {
    let clock = Clock::manual(Timestamp::from_millis(START));
    let policy: Table = fixture.policy.parse().expect("a policy");
    let names: Vec<String> = policy
        .get("origins")
        .and_then(Toml::as_table)
        .expect("origins")
        .keys()
        .cloned()
        .collect();
    let believes = policy
        .get("client")
        .is_some_and(|client| client.get("trusted_proxies").is_some());
    let mut origins = Origins::start(&names, &clock).await;
    let policy = Policy::parse("policy", &over_http(policy, &origins))
        .unwrap_or_else(|error| panic!("{error}"));
    let node = Arc::new(Node::with_clock(policy, 7, clock.clone()));
    let server = Server::start(&node, &Arc::new(TlsFiles::new("."))).expect("a server");
    let mut all = Vec::new();
    for scripted in &fixture.exchange {
        clock.advance_to(scripted.begins());
        origins.prepare(&scripted.origin).await;
        let reply = send(server.address(), scripted, believes).await;
        let awaited = fixture
            .expected
            .get(all.len())
            .map_or(1, |e| 1 + usize::from(!e.background.is_empty()));
        let mut reports = reports(&node, awaited).await.into_iter();
        let mut next = || {
            reports
                .next()
                .as_ref()
                .map_or_else(String::new, Value::to_string)
        };
        let (report, background) = (next(), next());
        assert_eq!(
            origins.left(),
            0,
            "{}: {}: nobody asked for these answers",
            fixture.about,
            scripted.request
        );
        all.push(Expected {
            reply,
            origins: String::new(),
            report,
            background,
        });
    }
    server.enter(Phase::Stopped);
    all
}

/// Puts the scripted origins and this machine's addresses into a policy. The client of a fixture is
/// told by a trusted proxy, this test.
fn over_http(mut policy: Table, origins: &Origins) -> String {
    fn table<'a>(policy: &'a mut Table, key: &str) -> &'a mut Table {
        policy
            .entry(key)
            .or_insert_with(|| Toml::Table(Table::new()))
            .as_table_mut()
            .expect("a table")
    }
    for (name, origin) in table(&mut policy, "origins").iter_mut() {
        let url = format!("http://{}", origins.address(name));
        origin
            .as_table_mut()
            .expect("a table")
            .insert("url".into(), url.into());
    }
    let server = table(&mut policy, "server");
    for (key, value) in [
        ("listen", "127.0.0.1:0"),
        ("admin", "off"),
        ("access_log", "json"),
    ] {
        server.insert(key.into(), value.into());
    }
    server.insert("threads".into(), 1.into());
    for (key, field) in [("asn_header", ASN), ("tls_subject_header", TLS_SUBJECT)] {
        table(&mut policy, "client").insert(key.into(), field.into());
    }
    let trusted = table(&mut policy, "client")
        .entry("trusted_proxies")
        .or_insert_with(|| Toml::Array(vec![]));
    trusted
        .as_array_mut()
        .expect("a list")
        .push("127.0.0.0/8".into());
    policy.to_string()
}

/// Sends a request as a trusted proxy would. If the fixture's policy trusts no proxy, what its
/// client says of the protocol must not count.
async fn send(server: SocketAddr, scripted: &Scripted, believes: bool) -> String {
    let stream = TcpStream::connect(server)
        .await
        .expect("the server listens");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .expect("a connection");
    let carried = tokio::spawn(connection);
    let body = scripted.body.clone().unwrap_or_default();
    let mut request = Request::from_parts(scripted.head(), Full::new(Bytes::from(body)));
    if !believes {
        request.headers_mut().remove("x-forwarded-proto");
    }
    let client = scripted.client();
    let mut said = |name: &'static str, value: String| {
        request
            .headers_mut()
            .append(name, HeaderValue::try_from(value).expect("a field value"));
    };
    said("x-forwarded-for", client.peer.to_string());
    if let Some(geo) = &scripted.geo {
        geo.country
            .iter()
            .for_each(|c| said("cf-ipcountry", c.clone()));
        geo.continent
            .iter()
            .for_each(|c| said("cf-ipcontinent", c.clone()));
        geo.latitude
            .iter()
            .for_each(|d| said("cf-iplatitude", d.to_string()));
        geo.longitude
            .iter()
            .for_each(|d| said("cf-iplongitude", d.to_string()));
        geo.asn.iter().for_each(|asn| said(ASN, asn.to_string()));
    }
    if let Some(subject) = &scripted.tls_subject {
        said(TLS_SUBJECT, subject.clone());
    }
    let response = sender.send_request(request).await.expect("a response");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    carried.abort();
    text::reply(&head, &body)
}

/// Waits for the reports of an exchange, and until everything it stores is stored.
async fn reports(node: &Node, count: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    for _ in 0..5000 {
        node.access_log.flush(&mut lines);
        let whole = lines.split(|byte| *byte == b'\n').count() > count;
        if whole && node.engine().fetches_under_way(node.now()) == 0 {
            let parsed = lines
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            return parsed
                .map(|line| serde_json::from_slice(line).expect("JSON"))
                .collect();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{count} reports were awaited, {} came", lines.len());
}
