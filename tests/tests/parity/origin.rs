//! Scripted origins over real sockets.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tidegate::Clock;
use tidegate_tests::fixture::{Answer, Fails};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The answers still to come, in the order in which origins are asked.
type Script = Arc<Mutex<VecDeque<Answer>>>;

/// All origins of a fixture.
pub(crate) struct Origins {
    clock: Clock,
    script: Script,
    at: BTreeMap<String, (SocketAddr, Option<JoinHandle<()>>)>,
}

impl Origins {
    /// Listens for each name.
    pub(crate) async fn start(names: &[String], clock: &Clock) -> Self {
        let mut origins = Self {
            clock: clock.clone(),
            script: Script::default(),
            at: BTreeMap::new(),
        };
        for name in names {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            let task = tokio::spawn(accept(
                listener,
                name.clone(),
                Arc::clone(&origins.script),
                clock.clone(),
            ));
            origins.at.insert(name.clone(), (address, Some(task)));
        }
        origins
    }

    /// Where an origin listens.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.at.get(name).expect("an origin of the policy").0
    }

    /// Prepares the answers of one exchange. Origins that are to be unreachable close their port,
    /// all others listen.
    pub(crate) async fn prepare(&mut self, answers: &[Answer]) {
        let down = |name: &str| {
            answers
                .iter()
                .any(|a| a.name == name && a.fails == Some(Fails::Unreachable))
        };
        for (name, (address, task)) in &mut self.at {
            match task.take() {
                Some(running) if down(name) => {
                    running.abort();
                    let _ = running.await;
                }
                Some(running) => *task = Some(running),
                None if down(name) => {}
                None => {
                    let listener = TcpListener::bind(*address)
                        .await
                        .expect("the port is still free");
                    let (script, clock) = (Arc::clone(&self.script), self.clock.clone());
                    *task = Some(tokio::spawn(accept(listener, name.clone(), script, clock)));
                }
            }
        }
        let reachable = answers
            .iter()
            .filter(|a| a.fails != Some(Fails::Unreachable));
        *self.script.lock().expect("not poisoned") = reachable.cloned().collect();
    }

    /// Returns how many answers nobody asked for.
    pub(crate) fn left(&self) -> usize {
        self.script.lock().expect("not poisoned").len()
    }
}

impl Drop for Origins {
    fn drop(&mut self) {
        for (_, task) in self.at.values() {
            task.iter().for_each(JoinHandle::abort);
        }
    }
}

/// Connections are tasks of this one, so that they end with it.
async fn accept(listener: TcpListener, name: String, script: Script, clock: Clock) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let (name, script, clock) = (name.clone(), Arc::clone(&script), clock.clone());
        connections.spawn(async move { while serve(&mut stream, &name, &script, &clock).await {} });
    }
}

/// Serves one request. Returns whether the connection lives on.
async fn serve(stream: &mut TcpStream, name: &str, script: &Script, clock: &Clock) -> bool {
    let Some(method) = read_request(stream).await else {
        return false;
    };
    let answer = script.lock().expect("not poisoned").pop_front();
    let Some(answer) = answer.filter(|a| a.name == name) else {
        panic!("origin {name} was asked, but the script does not say so");
    };
    clock.advance_to(clock.now().plus(answer.after));
    match answer.fails {
        // A byte of an answer, for a connection that ends without one may have been closed before
        // the request came: it would be sent once more.
        Some(Fails::Closed) => {
            let _ = stream.write_all(b"H").await;
            false
        }
        Some(Fails::Unreachable) => false,
        Some(Fails::Timeout) => std::future::pending().await,
        None => stream
            .write_all(&response(&answer, &method, clock))
            .await
            .is_ok(),
    }
}

/// Reads a request to its end and returns its method.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(bytes.get(..head_end)?).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |l| l.trim().parse().expect("a length"));
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(head.split(' ').next()?.to_ascii_uppercase())
}

fn response(answer: &Answer, method: &str, clock: &Clock) -> Vec<u8> {
    let head = answer.head(clock.now());
    let mut text = format!("HTTP/1.1 {} Scripted\r\n", head.status.as_u16());
    for (name, value) in &head.headers {
        let _ = write!(
            text,
            "{name}: {}\r\n",
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    let bodiless = matches!(head.status.as_u16(), 204 | 304);
    if !bodiless && !head.headers.contains_key("content-length") {
        let _ = write!(text, "content-length: {}\r\n", answer.body.len());
    }
    text.push_str("\r\n");
    if !bodiless && method != "HEAD" {
        text.push_str(&answer.body);
    }
    text.into_bytes()
}
