//! Real servers of Redis for tests: one, a cluster, or one that Sentinels look after.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to be ready, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_mins(1);

/// Says whether these tests can run; `cargo xtask test` says it where they cannot.
pub(crate) fn can_run() -> bool {
    std::env::var_os("TIDEGATE_WITHOUT_REDIS").is_none()
}

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) port: u16,
    process: Child,
    /// What it writes goes with it.
    _folder: TempDir,
}

impl Server {
    /// Starts a server with further arguments, and waits until it answers.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments)
    }

    pub(crate) fn start_on(port: u16, arguments: &[&str]) -> Self {
        let server = Self::begin(port, arguments);
        server.until_it_says("PING", "+PONG");
        server
    }

    /// Starts a server without waiting for it.
    fn begin(port: u16, arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder for a server");
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed; `cargo xtask test` installs it");
        Self {
            port,
            process,
            _folder: folder,
        }
    }

    /// Starts Sentinels' own kind of server, which looks after another one.
    pub(crate) fn sentinel(master: &Self, quorum: usize) -> Self {
        let (port, folder) = (
            free_port(),
            TempDir::new().expect("a folder for a sentinel"),
        );
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n",
            master.port
        );
        std::fs::write(&file, text).expect("a sentinel's file");
        let process = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed; `cargo xtask test` installs it");
        let server = Self {
            port,
            process,
            _folder: folder,
        };
        server.until_it_says("PING", "+PONG");
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Says a command in one line, and returns what is answered in one read.
    pub(crate) fn say(&self, command: &str) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(format!("{command}\r\n").as_bytes())?;
            let mut buffer = vec![0; 65536];
            let read = stream.read(&mut buffer)?;
            buffer.truncate(read);
            Ok(String::from_utf8_lossy(&buffer).into_owned())
        };
        ask().unwrap_or_default()
    }

    /// Waits until a command is answered with something.
    pub(crate) fn until_it_says(&self, command: &str, answer: &str) {
        let began = Instant::now();
        while !self.say(command).contains(answer) {
            assert!(
                began.elapsed() < PATIENCE,
                "{command} is not answered with {answer}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Stops the process without ending it, or has it go on.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen { "-STOP" } else { "-CONT" };
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that stands still does not end until it goes on.
        if matches!(self.process.try_wait(), Ok(None)) {
            self.freeze(false);
        }
        self.kill();
    }
}

/// Returns a port that nobody has at the moment, with room for a cluster's second one.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        if port < 55_000 {
            return port;
        }
    }
}

/// Three masters, each with a replica.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let mut servers = Vec::new();
        for _ in 0..6 {
            servers.push(Server::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "2000",
                "--cluster-replica-validity-factor",
                "0",
                "--repl-diskless-sync-delay",
                "0",
            ]));
        }
        let addresses: Vec<String> = servers.iter().map(Server::address).collect();
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdout(Stdio::null())
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "a cluster is made"
        );
        let cluster = Self { servers };
        for server in &cluster.servers {
            server.until_it_says("CLUSTER INFO", "cluster_state:ok");
        }
        for server in &cluster.servers {
            if !server.say("INFO replication").contains("role:master") {
                server.until_it_says("INFO replication", "master_link_status:up");
            }
        }
        cluster
    }

    /// Returns the addresses as a policy writes them.
    pub(crate) fn addresses(&self) -> String {
        let quoted = |server: &Server| format!("\"{}\"", server.address());
        let all: Vec<String> = self.servers.iter().map(quoted).collect();
        all.join(", ")
    }

    /// Returns the positions of the masters.
    pub(crate) fn masters(&self) -> Vec<usize> {
        let is_master = |server: &Server| server.say("INFO replication").contains("role:master");
        (0..self.servers.len())
            .filter(|at| is_master(&self.servers[*at]))
            .collect()
    }
}
