//! HTTP/2 in the clear and over TLS, and TLS to origins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Origin, Proxy, policy, until};
use tidegate::Phase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{WantsServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Body = Empty<bytes::Bytes>;

fn request(path: &str) -> Request<Body> {
    Request::builder()
        .uri(format!("http://t.example{path}"))
        .body(Empty::new())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_in_the_clear_carries_many_requests_at_once() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let stream = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let all = (0..50).map(|i| {
        let mut sender = sender.clone();
        async move {
            let path = if i % 2 == 0 {
                "/cached/a".to_owned()
            } else {
                format!("/plain/{i}")
            };
            let reply = sender.send_request(request(&path)).await.unwrap();
            assert_eq!(
                (reply.status(), reply.version()),
                (StatusCode::OK, Version::HTTP_2)
            );
            assert_eq!(
                reply.into_body().collect().await.unwrap().to_bytes(),
                "hello"
            );
        }
    });
    let all: Vec<_> = all.map(tokio::spawn).collect();
    for one in all {
        one.await.unwrap();
    }
    let mut sender = sender;
    let reply = sender
        .send_request(request(&format!("/{}", "u".repeat(9000))))
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::URI_TOO_LONG);
}

/// Writes a certificate for a name, and its key, into a folder; the certificate is its own
/// authority.
fn certificate(folder: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

async fn connect(
    proxy: &Proxy,
    folder: &Path,
    alpn: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let name = ServerName::try_from("t.example").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_speaks_the_protocol_that_the_client_chooses() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "t.example");
    let origin =
        Origin::start(|head, call| async move { call.answer("200 OK", "", &head).await }).await;
    let tls = "tls = { certificate = \"cert.pem\", key = \"key.pem\" }\n";
    let proxy = Proxy::start_in(&policy(&origin, tls), folder.path());
    let stream = TokioIo::new(connect(&proxy, folder.path(), b"h2").await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let reply = sender.send_request(request("/")).await.unwrap();
    assert_eq!(reply.version(), Version::HTTP_2);
    let seen = reply.into_body().collect().await.unwrap().to_bytes();
    let seen = std::str::from_utf8(&seen).unwrap();
    assert!(seen.contains("x-forwarded-proto: https"), "{seen}");
    let stream = TokioIo::new(connect(&proxy, folder.path(), b"http/1.1").await);
    let (mut sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut plain = request("/");
    *plain.uri_mut() = "/".parse().unwrap();
    plain
        .headers_mut()
        .insert("host", "t.example".parse().unwrap());
    let reply = sender.send_request(plain).await.unwrap();
    assert_eq!(
        (reply.status(), reply.version()),
        (StatusCode::OK, Version::HTTP_11)
    );
}

fn acceptor(folder: &Path, config: ConfigBuilder<ServerConfig, WantsServerCert>) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()))
}

/// Answers over TLS, with the folder's certificate.
async fn secure_origin(
    folder: &Path,
    config: ConfigBuilder<ServerConfig, WantsServerCert>,
) -> SocketAddr {
    let acceptor = acceptor(folder, config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            if support::read_head(&mut stream).await.is_some() {
                let reply =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret";
                stream.write_all(reply).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    address
}

fn server_config() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
}

/// A policy for an origin over TLS.
async fn secure_policy(address: SocketAddr, tls: &str) -> String {
    let unused = Origin::start(|_, _| async { false }).await;
    policy(&unused, "")
        .replace(
            &format!("http://{}", unused.address),
            &format!("https://{address}"),
        )
        .replace(
            "response_timeout",
            &format!("tls = {{ {tls} }}\nresponse_timeout"),
        )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_is_verified_against_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "origin.example");
    let address = secure_origin(folder.path(), server_config().with_no_client_auth()).await;
    let cases = [
        ("ca = \"cert.pem\", server_name = \"origin.example\"", true),
        ("ca = \"cert.pem\", server_name = \"other.example\"", false),
        ("server_name = \"origin.example\"", false),
    ];
    for (tls, trusted) in cases {
        let reply = Proxy::start_in(&secure_policy(address, tls).await, folder.path())
            .get("/")
            .await;
        let expected = if trusted {
            reply.text() == "secret"
        } else {
            reply.is_problem(502, "origin_unreachable")
        };
        assert!(expected, "{tls}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_has_its_time_to_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "origin.example");
    let acceptor = acceptor(folder.path(), server_config().with_no_client_auth());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let origin = tokio::spawn(async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret";
        let mut stream = acceptor
            .accept(listener.accept().await.unwrap().0)
            .await
            .unwrap();
        support::read_head(&mut stream).await.unwrap();
        stream.write_all(answer).await.unwrap();
        // The next request is lost, and the origin is slow to take the new connection.
        support::read_head(&mut stream).await.unwrap();
        drop(stream);
        let (stream, _) = listener.accept().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mut stream = acceptor.accept(stream).await.unwrap();
        support::read_head(&mut stream).await.unwrap();
        stream.write_all(answer).await.unwrap();
        stream
    });
    let policy = secure_policy(
        address,
        "ca = \"cert.pem\", server_name = \"origin.example\"",
    )
    .await;
    let policy = policy.replace(
        "response_timeout = \"5s\"",
        "response_timeout = \"500ms\"\nconnect_timeout = \"10s\"",
    );
    let proxy = Proxy::start_in(&policy, folder.path());
    let mut client = proxy.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.text(), "secret");
    }
    origin.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_may_ask_who_its_client_is() {
    let (folder, client) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificate(folder.path(), "origin.example");
    certificate(client.path(), "client.example");
    for file in ["cert.pem", "key.pem"] {
        std::fs::copy(
            client.path().join(file),
            folder.path().join(format!("client-{file}")),
        )
        .unwrap();
    }
    let mut known = RootCertStore::empty();
    known
        .add(CertificateDer::from_pem_file(folder.path().join("client-cert.pem")).unwrap())
        .unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(known), provider())
        .build()
        .unwrap();
    let address = secure_origin(
        folder.path(),
        server_config().with_client_cert_verifier(verifier),
    )
    .await;
    let trusts = "ca = \"cert.pem\", server_name = \"origin.example\"";
    let tells = format!("{trusts}, certificate = \"client-cert.pem\", key = \"client-key.pem\"");
    let known = Proxy::start_in(&secure_policy(address, &tells).await, folder.path());
    assert_eq!(known.get("/").await.text(), "secret");
    let unknown = Proxy::start_in(&secure_policy(address, trusts).await, folder.path());
    assert_eq!(unknown.get("/").await.status, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_reach_an_http2_client() {
    let origin = Origin::start(|_, call| async move {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
        call.write(format!("{head}3\r\none\r\n0\r\nx-sum: 7\r\n\r\n"))
            .await
    })
    .await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let stream = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let body = sender
        .send_request(request("/"))
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(body.trailers().unwrap().get("x-sum").unwrap(), "7");
    assert_eq!(body.to_bytes(), "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_server_finishes_http2_requests() {
    let (origin, go_on) =
        Origin::gated("", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").await;
    let mut proxy = Proxy::start(&policy(&origin, ""));
    let stream = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let reply = tokio::spawn(sender.send_request(request("/")));
    until("the origin is asked", || origin.count() == 1).await;
    let server = proxy.server.take().unwrap();
    server.enter(Phase::Draining);
    go_on.notify_one();
    let reply = reply.await.unwrap().unwrap();
    assert_eq!(
        reply.into_body().collect().await.unwrap().to_bytes(),
        "late"
    );
    connection.await.unwrap().unwrap();
    until("the server ends", || server.is_over()).await;
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A request's only frame: its fields as literals that no table keeps.
fn headers(stream: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in fields.iter().map(|(name, value)| [*name, *value]) {
        block.push(0);
        for part in text {
            block.push(u8::try_from(part.len()).unwrap());
            block.extend_from_slice(part.as_bytes());
        }
    }
    frame(1, 5, stream, &block)
}

/// Reads frames until both streams have had one; returns the kind and payload of the first of each,
/// as far as the connection lasts.
async fn first_frames_of(streams: [u8; 2], wire: &mut TcpStream) -> [Option<(u8, Vec<u8>)>; 2] {
    let mut frames = [None, None];
    while frames.contains(&None) {
        let Ok((stream, kind, payload)) = read_frame(wire).await else {
            break;
        };
        if let Some(place) = streams.iter().position(|one| *one == stream) {
            frames[place].get_or_insert((kind, payload));
        }
    }
    frames
}

async fn read_frame(wire: &mut TcpStream) -> std::io::Result<(u8, u8, Vec<u8>)> {
    let mut start = [0; 9];
    wire.read_exact(&mut start).await?;
    let mut payload = vec![0; usize::from(start[1]) << 8 | usize::from(start[2])];
    wire.read_exact(&mut payload).await?;
    Ok((start[8], start[3], payload))
}

/// RFC 9113, section 8.1.1. What the HPACK decoder of the protocol's library refuses (an upper-case
/// name, a control character in a value) ends the connection instead, which section 5.4 allows; it
/// is not among these.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_http2_request_leaves_the_others_of_its_connection() {
    let origin =
        Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await;
    let proxy = Proxy::start(&policy(&origin, ""));
    let good = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", "/"),
    ];
    let mut cases: Vec<Vec<(&str, &str)>> = Vec::new();
    for field in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("content-length", "5"),
        (":path", "/again"),
        (":status", "200"),
    ] {
        cases.push([&good[..], &[field]].concat());
    }
    cases.push(vec![("accept", "a"), good[0], good[1], good[2], good[3]]);
    for missing in [0, 1, 3] {
        cases.push(
            good.iter()
                .enumerate()
                .filter(|(i, _)| *i != missing)
                .map(|(_, field)| *field)
                .collect(),
        );
    }
    for malformed in cases {
        let before = origin.count();
        let mut wire = TcpStream::connect(proxy.address).await.unwrap();
        let preface = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &frame(4, 0, 0, b"")[..],
        ]
        .concat();
        wire.write_all(&[preface, headers(1, &malformed), headers(3, &good)].concat())
            .await
            .unwrap();
        let [malformed_one, other] = first_frames_of([1, 3], &mut wire).await;
        let (kind, payload) = malformed_one.unwrap_or_else(|| panic!("{malformed:?}"));
        // A reset with PROTOCOL_ERROR, or a refusal.
        assert!(
            (kind == 3 && payload == [0, 0, 0, 1]) || kind == 1,
            "{malformed:?}: {kind} {payload:?}"
        );
        assert!(other.is_some_and(|(kind, _)| kind == 1), "{malformed:?}");
        assert_eq!(origin.count(), before + 1, "{malformed:?}");
    }
}
