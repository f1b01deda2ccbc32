//! What the tests share: a scripted origin, a proxy in front of it, and a client that sees every
//! byte.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::missing_panics_doc,
    reason = "each test file uses a part of it"
)]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate::{Admin, Node, Phase, Server, TlsFiles};
use tidegate_core::Policy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What an origin does with one request; it says whether the connection stays open.
type Script = dyn Fn(String, Call) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// The origin's side of one request: its connection.
#[derive(Clone)]
pub struct Call {
    stream: Arc<tokio::sync::Mutex<TcpStream>>,
}

impl Call {
    pub async fn write(&self, text: impl AsRef<[u8]>) -> bool {
        self.stream
            .lock()
            .await
            .write_all(text.as_ref())
            .await
            .is_ok()
    }

    pub async fn read_some(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65536];
        let read = self
            .stream
            .lock()
            .await
            .read(&mut buffer)
            .await
            .unwrap_or(0);
        buffer.truncate(read);
        buffer
    }

    /// Makes the end of the connection a reset.
    pub async fn reset_at_end(&self) {
        let stream = self.stream.lock().await;
        socket2::SockRef::from(&*stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }

    /// Answers with a body, and fields that are whole lines.
    pub async fn answer(&self, status: &str, fields: &str, body: &str) -> bool {
        self.write(format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n{body}",
            body.len()
        ))
        .await
    }
}

/// An origin that follows a script.
pub struct Origin {
    pub address: SocketAddr,
    pub requests: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
    /// Connections closed again.
    pub closed: Arc<AtomicUsize>,
}

impl Origin {
    pub async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(String, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Script> = Arc::new(move |head, call| Box::pin(script(head, call)));
        let origin = Self {
            address,
            requests: Arc::default(),
            connections: Arc::default(),
            closed: Arc::default(),
        };
        let counts = (
            Arc::clone(&origin.requests),
            Arc::clone(&origin.connections),
            Arc::clone(&origin.closed),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.1.fetch_add(1, Ordering::SeqCst);
                let serving = serve(stream, Arc::clone(&script), Arc::clone(&counts.0));
                let closed = Arc::clone(&counts.2);
                tokio::spawn(async move {
                    serving.await;
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        origin
    }

    /// Writes the first part of its answer, and the second one when the gate is opened.
    pub async fn gated(first: &'static str, second: &'static str) -> (Self, Arc<Notify>) {
        let open = Arc::new(Notify::new());
        let gate = Arc::clone(&open);
        let origin = Self::start(move |_, call| {
            let gate = Arc::clone(&gate);
            async move {
                call.write(first).await;
                gate.notified().await;
                call.write(second).await
            }
        })
        .await;
        (origin, open)
    }

    pub fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, script: Arc<Script>, requests: Arc<AtomicUsize>) {
    let call = Call {
        stream: Arc::new(tokio::sync::Mutex::new(stream)),
    };
    loop {
        let Some(head) = read_head(&mut *call.stream.lock().await).await else {
            return;
        };
        requests.fetch_add(1, Ordering::SeqCst);
        if !script(head, call.clone()).await {
            return;
        }
    }
}

/// Reads up to the empty line.
pub async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    pub node: Arc<Node>,
    pub files: Arc<TlsFiles>,
    pub server: Option<Server>,
    pub address: SocketAddr,
}

impl Proxy {
    pub fn start(policy: &str) -> Self {
        Self::start_in(policy, ".")
    }

    pub fn start_in(policy: &str, folder: impl Into<std::path::PathBuf>) -> Self {
        Self::of(Node::new(parse(policy), 1), folder)
    }

    pub fn of(node: Node, folder: impl Into<std::path::PathBuf>) -> Self {
        let (node, files) = (Arc::new(node), Arc::new(TlsFiles::new(folder)));
        let server = Server::start(&node, &files).unwrap();
        let address = server.address();
        Self {
            node,
            files,
            server: Some(server),
            address,
        }
    }

    pub async fn client(&self) -> Client<TcpStream> {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.client().await.get(path).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.enter(Phase::Stopped);
        }
    }
}

impl Proxy {
    /// Returns whether the metrics have this line.
    pub fn measures(&self, line: &str) -> bool {
        tidegate::Metrics::page(&self.node)
            .lines()
            .any(|l| l == line)
    }

    /// Returns the number that a metric without labels shows.
    pub fn metric(&self, name: &str) -> u64 {
        let page = tidegate::Metrics::page(&self.node);
        page.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap()
    }

    /// Returns the lines written to the access log since the last look.
    pub fn log(&self) -> String {
        let mut lines = Vec::new();
        self.node.access_log.flush(&mut lines);
        String::from_utf8(lines).unwrap()
    }
}

pub fn parse(policy: &str) -> Policy {
    Policy::parse("test.toml", policy).unwrap_or_else(|error| panic!("{error}\n{policy}"))
}

/// A policy with two origins, of which the second is asked when the first fails.
pub fn two(one: &Origin, two: &Origin) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
admin = "off"
access_log = "off"
threads = 1
[origins.one]
url = "http://{}"
response_timeout = "1s"
[origins.two]
url = "http://{}"
[pools.both]
origins = ["one", "two"]
[retry.twice]
attempts = 2
backoff = "1ms"
[[routes]]
pool = "both"
retry = "twice"
"#,
        one.address, two.address
    )
}

/// An origin that says that it is the second.
pub async fn good() -> Origin {
    Origin::start(|_, call| async move { call.answer("200 OK", "", "two").await }).await
}

/// A policy with one origin: everything under `/cached/` is stored for a minute.
pub fn policy(origin: &Origin, server: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
admin = "off"
access_log = "off"
threads = 2
{server}
[origins.a]
url = "http://{}"
response_timeout = "5s"
body_timeout = "1s"
[pools.main]
origins = ["a"]
[cache.minute]
mode = "override"
ttl = "60s"
body_bytes_max = "64KiB"
[cache.respect]
mode = "respect"
[[routes]]
name = "cached"
path_prefix = "/cached/"
pool = "main"
cache = "minute"
[[routes]]
name = "respect"
path_prefix = "/respect/"
pool = "main"
cache = "respect"
[[routes]]
name = "rest"
pool = "main"
"#,
        origin.address
    )
}

/// A client's connection.
pub struct Client<S> {
    pub stream: S,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body ended as its head said.
    pub complete: bool,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn is_problem(&self, status: u16, reason: &str) -> bool {
        self.status == status
            && self.field("content-type") == Some("application/problem+json")
            && self.text().contains(&format!("\"reason\":\"{reason}\""))
    }
}

impl Client<TcpStream> {
    /// Goes away at once, so that the other end learns of it.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: t.example\r\n\r\n"))
            .await;
        self.reply().await
    }

    pub async fn reply(&mut self) -> Reply {
        let mut reply = self.reply_head().await;
        if reply.head.contains("transfer-encoding: chunked") {
            while let Some(chunk) = self.chunk().await {
                if chunk.is_empty() {
                    reply.complete = true;
                    break;
                }
                reply.body.extend(chunk);
            }
        } else if let Some(length) = reply.field("content-length").map(|l| l.parse().unwrap()) {
            let mut byte = [0];
            while reply.body.len() < length && self.stream.read(&mut byte).await.unwrap_or(0) == 1 {
                reply.body.push(byte[0]);
            }
            reply.complete = reply.body.len() == length;
        }
        reply
    }

    /// Reads the head of a reply, or of an answer without body.
    pub async fn reply_head(&mut self) -> Reply {
        let head = read_head(&mut self.stream)
            .await
            .expect("a reply")
            .to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply {
            status,
            head,
            body: Vec::new(),
            complete: false,
        }
    }

    /// Reads one chunk of a chunked body; `None` when the connection ends instead.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.stream.read_u8().await.ok()?);
        }
        let length = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).await.ok()?;
        chunk.truncate(length);
        Some(chunk)
    }

    /// Reads until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes).await;
        bytes
    }
}

/// Waits until a condition holds; the test fails if it does not within ten seconds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{what} never came true");
}

/// A proxy with its admin address.
pub struct Operated {
    pub proxy: Proxy,
    pub admin: SocketAddr,
}

impl Operated {
    pub async fn of(proxy: Proxy, token: Option<&str>) -> Self {
        let phase = proxy.server.as_ref().unwrap().phase();
        let (node, token) = (Arc::clone(&proxy.node), token.map(str::to_owned));
        let admin = Admin::bind("127.0.0.1:0", node, &proxy.files, token, phase)
            .await
            .unwrap();
        let address = admin.address().unwrap();
        tokio::spawn(admin.serve());
        Self {
            proxy,
            admin: address,
        }
    }

    /// Orders something below `/performance/`.
    pub async fn order(&self, token: &str, method: &str, path: &str, body: &str) -> Reply {
        let mut client = Client {
            stream: TcpStream::connect(self.admin).await.unwrap(),
        };
        let fields = format!(
            "host: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: {}",
            body.len()
        );
        client
            .send(format!(
                "{method} /performance/{path} HTTP/1.1\r\n{fields}\r\n\r\n{body}"
            ))
            .await;
        client.reply().await
    }
}
