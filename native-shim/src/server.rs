//! The listener: a thread for each core, each with its own runtime, its own socket on the shared
//! port, and its own connections to origins.

mod activity;
mod admin;
mod canned;
mod connection;
mod files;
mod header_blocks;
mod held;
mod messages;
mod operations;
mod phase;
mod registry;
mod service;
mod streams;
mod ticks;
mod trailers;
mod tunnel;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tidegate_core::{Policy, Scheme};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::activity::{LOOK_TICKS, Signal};
use self::registry::Registry;
use self::service::Shared;
use self::ticks::TICK;
use crate::node::Node;
use crate::tls::TlsFiles;
use crate::upstream::Connections;

pub use admin::Admin;
pub use phase::Phase;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<()>>,
    /// Files that connections may use.
    files: u64,
}

impl Server {
    /// Listens and serves, as the node's policy says.
    ///
    /// # Errors
    /// When the address cannot be listened on, or a file for TLS cannot be used.
    pub fn start(node: &Arc<Node>, files: &Arc<TlsFiles>) -> io::Result<Self> {
        let engine = node.engine();
        let server = &engine.policy().server;
        files.load(engine.policy()).map_err(io::Error::other)?;
        let tls = server
            .tls
            .as_ref()
            .map(|tls| files.server(tls))
            .transpose()
            .map_err(io::Error::other)?;
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let asked: SocketAddr = server.listen.parse().map_err(io::Error::other)?;
        let first = listen_first(asked)?;
        let address = first.local_addr()?;
        let mut listeners = vec![first];
        for _ in 1..threads(server.threads) {
            listeners.push(listen_beside(address)?);
        }
        let files_for_connections = files::for_connections();
        let (phase, watched) = watch::channel(Phase::Running);
        let mut running = Vec::with_capacity(listeners.len());
        for (number, listener) in listeners.into_iter().enumerate() {
            let thread = Thread {
                shared: Arc::new(Shared {
                    node: Arc::clone(node),
                    upstream: Connections::new(Arc::clone(files)),
                }),
                registry: Arc::new(Registry::new(Arc::clone(node))),
                tls: tls.clone(),
                phase: watched.clone(),
                files: files_for_connections,
            };
            let named = std::thread::Builder::new().name(format!("tidegate-{number}"));
            running.push(named.spawn(move || thread.run(listener))?);
        }
        Ok(Self {
            address,
            phase,
            threads: running,
            files: files_for_connections,
        })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many clients may be connected under this policy for all that the process may open
    /// files.
    pub fn connections_max(&self, policy: &Policy) -> usize {
        files::connections_max(self.files, policy)
    }

    /// Returns how many files the process must be allowed to open to hold so many connections.
    pub fn files_for(connections: usize, policy: &Policy) -> u64 {
        files::needed(connections, policy)
    }

    /// Moves the server on in its life; it never goes back.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// Returns where the server is in its life, and how to wait for the next change.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Returns whether all threads have ended.
    pub fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits until all threads have ended.
    pub fn join(self) {
        for thread in self.threads {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

fn threads(asked: Option<u16>) -> usize {
    asked.map_or_else(
        || std::thread::available_parallelism().map_or(1, NonZero::get),
        usize::from,
    )
}

/// Listens where nobody else does: the port is shared only when it is this process's own, so a
/// second process is told that it is in use. Connections of an earlier process that are still open
/// or wind down do not matter.
fn listen_first(address: SocketAddr) -> io::Result<StdListener> {
    let socket = socket(address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// Listens beside the first socket. Each thread has a socket of its own on this port; the kernel
/// spreads connections.
fn listen_beside(address: SocketAddr) -> io::Result<StdListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// One serving thread.
struct Thread {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    tls: Option<TlsAcceptor>,
    phase: watch::Receiver<Phase>,
    /// Most connections for which the process may open files.
    /// Files that connections may use.
    files: u64,
}

impl Thread {
    fn run(self, listener: StdListener) {
        match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime.block_on(self.serve(listener)),
            Err(error) => eprintln!("tidegate: a thread cannot start: {error}"),
        }
    }

    async fn serve(mut self, listener: StdListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return eprintln!("tidegate: a thread cannot listen: {error}"),
        };
        tokio::spawn(keep_time(
            Arc::clone(&self.shared),
            Arc::clone(&self.registry),
        ));
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.accept(stream, peer),
                    // Out of file descriptors, most likely; others will be closed soon.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                },
                _ = self.phase.changed() => break,
            }
        }
        drop(listener);
        self.drain().await;
    }

    fn accept(&self, stream: TcpStream, peer: SocketAddr) {
        let node = &self.shared.node;
        let scheme = if self.tls.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let Some(place) = self.registry.enter(peer.ip(), scheme, self.files) else {
            node.metrics
                .connections_refused
                .fetch_add(1, Ordering::Relaxed);
            return;
        };
        tokio::spawn(connection::serve(
            stream,
            Arc::clone(&self.shared),
            place,
            self.tls.clone(),
        ));
    }

    /// Waits for what is under way, as long as the policy allows.
    async fn drain(&mut self) {
        if *self.phase.borrow_and_update() == Phase::Stopped {
            return;
        }
        self.registry.tell_all(Signal::Finish);
        let limit = Duration::from_millis(self.shared.node.engine().policy().server.drain);
        let finished = async {
            while !self.registry.is_empty() || self.shared.node.works() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = finished => {}
            () = tokio::time::sleep(limit) => {}
            _ = self.phase.changed() => {}
        }
    }
}

/// Moves the coarse clock, and looks over connections now and then.
async fn keep_time(shared: Arc<Shared>, registry: Arc<Registry>) {
    let mut interval = tokio::time::interval(Duration::from_millis(TICK));
    loop {
        interval.tick().await;
        let tick = registry.tick();
        shared.node.handle_timeout();
        shared.node.fetch_keys();
        if tick.is_multiple_of(LOOK_TICKS) {
            registry.look_over(&shared.node.engine().policy().server.bounds);
        }
        if tick.is_multiple_of(20) {
            shared.upstream.sweep();
        }
    }
}
