//! Limits by what tokens claim: real sockets, real keys, and an issuer that changes its keys, fails
//! and hangs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::Request;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use support::{Call, Origin, Proxy, parse, until};
use tidegate::{Clock, Node, RequestBody, TidegateLayer, TlsFiles};
use tidegate_core::Timestamp;
use tidegate_core::message::tls_subject::TlsSubject;
use tidegate_core::policy::ServerTls;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower::{Layer, ServiceExt};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn encode(bytes: impl AsRef<[u8]>) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.as_ref().chunks(3) {
        let mut bits = 0_u32;
        for position in 0..3 {
            bits = bits << 8 | u32::from(*three.get(position).unwrap_or(&0));
        }
        for position in 0..=three.len() {
            let letter = bits >> (18 - 6 * position) & 63;
            text.push(char::from(LETTERS[letter as usize]));
        }
    }
    text
}

/// A key of an issuer, made for one test.
struct Key {
    name: &'static str,
    pair: Ed25519KeyPair,
}

impl Key {
    fn new(name: &'static str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap();
        Self { name, pair }
    }

    fn public(&self) -> Value {
        let x = encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.name, "x": x })
    }

    fn token(&self, payload: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": self.name });
        let input = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(payload.to_string())
        );
        let signature = self.pair.sign(input.as_bytes());
        format!("{input}.{}", encode(signature))
    }

    /// Makes a token of somebody.
    fn of(&self, subject: &str) -> String {
        self.token(&json!({ "sub": subject }))
    }
}

fn set(keys: &[&Key]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
    json!({ "keys": keys }).to_string()
}

/// An issuer, and what it answers.
struct Issuer {
    origin: Origin,
    answer: Arc<Mutex<(&'static str, &'static str, String)>>,
}

impl Issuer {
    async fn start(body: String) -> Self {
        let answer = Arc::new(Mutex::new(("200 OK", "", body)));
        let said = Arc::clone(&answer);
        let script = move |head: String, call: Call| {
            assert!(head.starts_with("GET /jwks?v=1 HTTP/1.1\r\n"), "{head}");
            let (status, fields, body) = said.lock().unwrap().clone();
            async move {
                call.answer(status, fields, &body).await;
                false
            }
        };
        let origin = Origin::start(script).await;
        Self { origin, answer }
    }

    fn says(&self, status: &'static str, fields: &'static str, body: impl Into<String>) {
        *self.answer.lock().unwrap() = (status, fields, body.into());
    }

    fn source(&self) -> String {
        format!("jwks_url = \"http://{}/jwks?v=1\"", self.origin.address)
    }
}

async fn service() -> Origin {
    Origin::start(|_, call| async move { call.answer("200 OK", "", "ok").await }).await
}

/// A policy that allows two requests a minute for each subject.
fn policy(service: &Origin, source: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
admin = "off"
threads = 2
[client.token]
algorithms = ["EdDSA"]
{source}
[origins.a]
url = "http://{}"
[pools.main]
origins = ["a"]
[limits.each]
quota = "2/min"
key = ["claim:sub"]
absent = "skip"
[[routes]]
pool = "main"
limits = ["each"]
"#,
        service.address
    )
}

/// Asks with a token, and returns the status and what became of the token.
async fn ask(proxy: &Proxy, token: &str) -> (u16, String) {
    let mut client = proxy.client().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
        ))
        .await;
    let status = client.reply().await.status;
    let mut log = String::new();
    until("a record", || {
        log.push_str(&proxy.log());
        log.ends_with('\n')
    })
    .await;
    let report: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let outcome = report["token"]["outcome"].as_str().unwrap_or("none");
    (status, outcome.to_owned())
}

async fn outcome(proxy: &Proxy, token: &str) -> String {
    ask(proxy, token).await.1
}

/// Asks until a token has this outcome.
async fn becomes(proxy: &Proxy, token: &str, wanted: &str) {
    for _ in 0..200 {
        if outcome(proxy, token).await == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a token never became {wanted}");
}

fn findings(proxy: &Proxy) -> Vec<String> {
    let findings = proxy.node.findings();
    findings
        .into_iter()
        .map(|finding| format!("{}: {}", finding.keys.join("."), finding.message))
        .collect()
}

#[tokio::test]
async fn each_subject_has_its_count_and_nobody_makes_one_up() {
    let (key, other) = (Key::new("1"), Key::new("1"));
    let issuer = Issuer::start(set(&[&key])).await;
    let proxy = Proxy::start(&policy(&service().await, &issuer.source()));
    for subject in ["joe", "ann", ""] {
        for expected in [200, 200, 429, 429] {
            let (status, outcome) = ask(&proxy, &key.of(subject)).await;
            assert_eq!((status, &*outcome), (expected, "verified"), "{subject}");
        }
    }
    assert_eq!(
        ask(&proxy, &other.of("joe")).await,
        (200, "bad_signature".to_owned())
    );
    let over = key.token(&json!({ "sub": "joe", "exp": 1_000_000_000 }));
    assert_eq!(ask(&proxy, &over).await, (200, "expired".to_owned()));
    assert_eq!(ask(&proxy, "made.up.").await, (200, "malformed".to_owned()));
    assert_eq!(issuer.origin.count(), 1);
    assert_eq!(findings(&proxy), [""; 0]);
}

#[tokio::test]
async fn what_has_been_verified_is_not_believed_after_its_time_or_without_its_key() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::start(set(&[&old])).await;
    issuer.says("200 OK", "cache-control: max-age=3600\r\n", set(&[&old]));
    let clock = Clock::manual(START);
    let node = Node::with_clock(
        parse(&policy(&service().await, &issuer.source())),
        7,
        clock.clone(),
    );
    let proxy = Proxy::of(node, ".");
    let exp = START.as_secs() + 20;
    let brief = old.token(&json!({ "sub": "a", "exp": exp }));
    becomes(&proxy, &old.of("joe"), "verified").await;
    assert_eq!(outcome(&proxy, &brief).await, "verified");
    assert_eq!(outcome(&proxy, &new.of("joe")).await, "unknown_key");
    assert_eq!(issuer.origin.count(), 1, "not again within half a minute");
    issuer.says("200 OK", "", set(&[&new]));
    clock.advance_to(START.plus(49_000));
    assert_eq!(
        outcome(&proxy, &brief).await,
        "verified",
        "the clocks may differ"
    );
    clock.advance_to(START.plus(50_000));
    assert_eq!(outcome(&proxy, &brief).await, "expired");
    assert_eq!(issuer.origin.count(), 1, "the set is still new");
    // A key that is not known is asked for, and waited for.
    assert_eq!(outcome(&proxy, &new.of("joe")).await, "verified");
    assert_eq!(issuer.origin.count(), 2);
    assert_eq!(outcome(&proxy, &old.of("joe")).await, "unknown_key");
    assert_eq!(issuer.origin.count(), 2);
    // Its time is over.
    issuer.says("200 OK", "", set(&[&old, &new]));
    clock.advance_to(START.plus(700_000));
    becomes(&proxy, &old.of("joe"), "verified").await;
    assert_eq!(issuer.origin.count(), 3);
}

#[tokio::test]
async fn an_issuer_that_fails_is_told_once_and_what_is_known_stays() {
    let key = Key::new("1");
    let issuer = Issuer::start(set(&[&key])).await;
    issuer.says("302 Found", "location: /elsewhere\r\n", set(&[&key]));
    let clock = Clock::manual(START);
    let node = Node::with_clock(
        parse(&policy(&service().await, &issuer.source())),
        7,
        clock.clone(),
    );
    let proxy = Proxy::of(node, ".");
    becomes(&proxy, &key.of("joe"), "keys_unavailable").await;
    let mut told = Vec::new();
    until("a finding", || {
        told.extend(findings(&proxy));
        !told.is_empty()
    })
    .await;
    assert!(
        told[0].starts_with("client.token.jwks_url: the keys at http://127.0.0.1:"),
        "{told:?}"
    );
    assert!(
        told[0].contains("status 302") && told[0].contains("no token is verified"),
        "{told:?}"
    );
    let failures = [
        ("200 OK", String::from("<html>")),
        (
            "200 OK",
            format!("{}{}", set(&[&key]), " ".repeat(256 << 10)),
        ),
        (
            "200 OK",
            json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] }).to_string(),
        ),
        ("503 Service Unavailable", set(&[&key])),
    ];
    let mut now = START;
    for (count, (status, body)) in failures.into_iter().enumerate() {
        issuer.says(status, "", body);
        now = now.plus(5000);
        clock.advance_to(now);
        until("a fetch", || issuer.origin.count() == count + 2).await;
        assert_eq!(outcome(&proxy, &key.of("joe")).await, "keys_unavailable");
    }
    assert_eq!(findings(&proxy), [""; 0], "it is told already");
    issuer.says("200 OK", "", set(&[&key]));
    now = now.plus(30_000);
    clock.advance_to(now);
    becomes(&proxy, &key.of("joe"), "verified").await;
    let [told] = &findings(&proxy)[..] else {
        panic!("it is told that it is over")
    };
    assert!(told.contains("known again"), "{told}");
    issuer.says("500 Internal Server Error", "", "");
    let before = issuer.origin.count();
    clock.advance_to(now.plus(600_000));
    until("a fetch", || issuer.origin.count() > before).await;
    assert_eq!(outcome(&proxy, &key.of("joe")).await, "verified");
    let mut told = Vec::new();
    until("a finding", || {
        told.extend(findings(&proxy));
        !told.is_empty()
    })
    .await;
    assert!(told[0].contains("are used meanwhile"), "{told:?}");
}

#[tokio::test]
async fn all_who_wait_for_keys_wait_for_one_fetch() {
    let key = Key::new("1");
    let (gate, count) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let body = set(&[&key]);
    let (opened, counted) = (Arc::clone(&gate), Arc::clone(&count));
    let issuer = Origin::start(move |_, call| {
        let (gate, body) = (Arc::clone(&opened), body.clone());
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            gate.notified().await;
            call.answer("200 OK", "", &body).await
        }
    })
    .await;
    let source = format!("jwks_url = \"http://{}/\"", issuer.address);
    let proxy = Proxy::start(&policy(&service().await, &source));
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = proxy.client().await;
        let token = key.of(&format!("user {number}"));
        client
            .send(format!(
                "GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
            ))
            .await;
        clients.push(client);
    }
    until("a fetch", || count.load(Ordering::SeqCst) == 1).await;
    gate.notify_one();
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
    let mut log = String::new();
    until("all records", || {
        log.push_str(&proxy.log());
        log.lines().count() == 20
    })
    .await;
    let verified = log.matches(r#""outcome":"verified""#).count();
    assert_eq!((verified, count.load(Ordering::SeqCst)), (20, 1), "{log}");
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_a_request_for_a_second_at_most() {
    let key = Key::new("1");
    let issuer = Origin::start(|_, _| std::future::pending()).await;
    let source = format!("jwks_url = \"http://{}/\"", issuer.address);
    let proxy = Proxy::start(&policy(&service().await, &source));
    let began = Instant::now();
    assert_eq!(
        ask(&proxy, &key.of("joe")).await,
        (200, "keys_unavailable".to_owned())
    );
    assert!(began.elapsed().as_secs() < 4, "{:?}", began.elapsed());
    assert_eq!(issuer.count(), 1);
}

#[tokio::test]
async fn keys_by_https_come_from_whom_a_public_authority_knows() {
    let folder = tempfile::TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("c.pem"), made.cert.pem()).unwrap();
    std::fs::write(
        folder.path().join("k.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    let identity = ServerTls {
        certificate: "c.pem".into(),
        key: "k.pem".into(),
    };
    let mut config = TlsFiles::new(folder.path()).server(&identity).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_ok()
    });
    let key = Key::new("1");
    let source = format!("jwks_url = \"https://localhost:{port}/jwks\"");
    let proxy = Proxy::start(&policy(&service().await, &source));
    let mut told = Vec::new();
    until("a finding", || {
        told.extend(findings(&proxy));
        !told.is_empty()
    })
    .await;
    assert!(told[0].contains("certificate"), "{told:?}");
    assert!(!accepted.await.unwrap(), "whoever asks does not go on");
    assert_eq!(outcome(&proxy, &key.of("joe")).await, "keys_unavailable");
}

#[tokio::test]
async fn another_policy_keeps_the_keys_of_the_same_issuer() {
    let key = Key::new("1");
    let issuer = Issuer::start(set(&[&key])).await;
    let service = service().await;
    let proxy = Proxy::start(&policy(&service, &issuer.source()));
    becomes(&proxy, &key.of("joe"), "verified").await;
    let same = policy(&service, &issuer.source()).replace("2/min", "9/min");
    proxy.node.replace(parse(&same));
    assert_eq!(outcome(&proxy, &key.of("joe")).await, "verified");
    assert_eq!(issuer.origin.count(), 1);
    let strict = format!("issuer = \"https://a\"\n{}", issuer.source());
    proxy.node.replace(parse(&policy(&service, &strict)));
    assert_eq!(
        outcome(&proxy, &key.of("joe")).await,
        "wrong_issuer",
        "what is known is no verdict"
    );
    let other = Key::new("1");
    let given = format!("keys = '{}'", set(&[&other]));
    proxy.node.replace(parse(&policy(&service, &given)));
    assert_eq!(outcome(&proxy, &key.of("joe")).await, "bad_signature");
    assert_eq!(outcome(&proxy, &other.of("joe")).await, "verified");
}

#[tokio::test]
async fn a_layer_is_told_whom_a_certificate_names_and_verifies_tokens() {
    let key = Key::new("1");
    let text = policy(&service().await, &format!("keys = '{}'", set(&[&key])))
        .replace("[\"claim:sub\"]", "[\"claim:sub\", \"tls_subject\"]")
        .replace("\"skip\"", "\"refuse\"");
    let inner = tower::service_fn(|_: Request<RequestBody<axum::body::Body>>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(axum::body::Body::empty()))
    });
    let app = TidegateLayer::new(parse(&text)).layer(inner);
    let status = async |subject: Option<&str>, token: &str| {
        let mut request = Request::get("/").header("host", "a");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        if let Some(subject) = subject {
            request.extensions_mut().insert(TlsSubject(subject.into()));
        }
        app.clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let token = key.of("joe");
    for (subject, token, expected) in [
        (None, &*token, 400),
        (Some("CN=joe"), "", 400),
        (Some("CN=joe"), &token, 200),
        (Some("CN=joe"), &token, 200),
        (Some("CN=joe"), &token, 429),
        (Some("CN=ann"), &token, 200),
        // A certificate that names nobody is one.
        (Some(""), &token, 200),
    ] {
        assert_eq!(status(subject, token).await, expected, "{subject:?}");
    }
}
