//! Clients: patient, slow, and gone.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_core::purge::{Purge, Target};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::random::Random;
use crate::support::Proxy;
use crate::world::{Counts, PAGES, World, body, path};

/// A client with a connection that it keeps as long as it can.
pub(crate) struct Client<'a> {
    pub(crate) world: &'a World,
    pub(crate) proxy: &'a Proxy,
    connection: Option<BufReader<TcpStream>>,
}

/// What came back.
struct Reply {
    status: u16,
    /// Lines, in lower case.
    head: Vec<String>,
    body: Vec<u8>,
    complete: bool,
}

/// How much patience a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Normal,
    Slow,
    /// It goes away within the reply.
    Gone,
}

/// What a client asks for.
#[derive(Debug)]
struct Request {
    method: &'static str,
    page: usize,
    number: u64,
    range: Option<(usize, usize)>,
    known: Option<u64>,
    patience: Patience,
}

impl<'a> Client<'a> {
    pub(crate) fn new(world: &'a World, proxy: &'a Proxy) -> Self {
        Self {
            world,
            proxy,
            connection: None,
        }
    }

    /// Does what the number decides.
    pub(crate) async fn act(&mut self, number: u64) {
        let mut random = Random::new(!self.world.seed, number);
        // Some pages are more popular.
        let page = random.below(PAGES).min(random.below(PAGES));
        let mut request = Request {
            method: "GET",
            page,
            number,
            range: None,
            known: None,
            patience: Patience::Normal,
        };
        match random.below(100) {
            0..3 => return self.purge(page, &mut random),
            3..6 => request.method = "POST",
            6..9 => request.method = "HEAD",
            9..13 => {
                request.known = Some(self.world.version(page).saturating_sub(random.next() % 2));
            }
            13..30 => {
                let first = random.below(2000);
                request.range = Some((first, first + random.below(4000)));
            }
            30..34 => request.patience = Patience::Slow,
            34..42 => request.patience = Patience::Gone,
            _ => {}
        }
        self.ask(&request).await;
    }

    /// Changes pages, then purges them: nobody may get what was there before.
    fn purge(&self, page: usize, random: &mut Random) {
        let host = || "t.example".to_owned();
        let soft = random.below(3) == 0;
        let (target, reached): (Target, Vec<usize>) = match random.below(8) {
            0 => (Target::All, (0..PAGES).collect()),
            1 => (
                Target::Prefix(host(), "/respect/".into()),
                (PAGES / 2..PAGES).collect(),
            ),
            2 => (
                Target::Tag(format!("T{}", page % 4)),
                (page % 4..PAGES).step_by(4).collect(),
            ),
            _ => (
                Target::Url {
                    host: host(),
                    path: path(page),
                    query: None,
                },
                vec![page],
            ),
        };
        let changed: Vec<(usize, u64)> = reached
            .into_iter()
            .map(|page| (page, self.world.change(page)))
            .collect();
        self.proxy.node.purge(&Purge { target, soft });
        for (page, version) in changed {
            self.world.raise_floor(page, version, soft);
        }
        Counts::add(&self.world.counts.purges);
    }

    /// Asks for what is stored only.
    pub(crate) async fn look(&mut self, page: usize) {
        let text = format!(
            "GET {} HTTP/1.1\r\nhost: t.example\r\ncache-control: only-if-cached\r\n\r\n",
            path(page)
        );
        let request = Request {
            method: "GET",
            page,
            number: u64::MAX,
            range: None,
            known: None,
            patience: Patience::Normal,
        };
        let floors = self.world.floors(page);
        let reply = self.exchange(&text, &request).await.expect("an answer");
        self.check(&request, &reply, floors);
        assert!(reply.complete, "what is stored is complete: {page}");
    }

    async fn ask(&mut self, request: &Request) {
        let Request {
            method,
            page,
            number,
            ..
        } = request;
        let mut lines = vec![
            format!("{method} {} HTTP/1.1", path(*page)),
            "host: t.example".into(),
        ];
        lines.push(format!("x-number: {number}"));
        lines.extend(
            request
                .range
                .map(|(first, last)| format!("range: bytes={first}-{last}")),
        );
        lines.extend(
            request
                .known
                .map(|version| format!("if-none-match: \"{version}\"")),
        );
        lines.extend((*method == "POST").then(|| "content-length: 0".to_owned()));
        let floors = self.world.floors(*page);
        let reply = self
            .exchange(&(lines.join("\r\n") + "\r\n\r\n"), request)
            .await;
        Counts::add(&self.world.counts.exchanges);
        match reply {
            Some(reply) => self.check(request, &reply, floors),
            None => Counts::add(&self.world.counts.incomplete),
        }
    }

    async fn exchange(&mut self, text: &str, request: &Request) -> Option<Reply> {
        let waiting = self.exchange_on(text, request);
        let reply = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        let (reply, connection) = reply.unwrap_or_else(|_| panic!("no end of {request:?}"));
        self.connection = connection;
        reply
    }

    async fn exchange_on(
        &mut self,
        text: &str,
        request: &Request,
    ) -> (Option<Reply>, Option<BufReader<TcpStream>>) {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.proxy.address).await,
        };
        if connection
            .get_mut()
            .write_all(text.as_bytes())
            .await
            .is_err()
        {
            return (None, None);
        }
        if request.patience == Patience::Gone && request.number.is_multiple_of(2) {
            Counts::add(&self.world.counts.gone);
            return (None, None);
        }
        let Some(mut reply) = read_head(&mut connection).await else {
            return (None, None);
        };
        if request.patience == Patience::Gone {
            Counts::add(&self.world.counts.gone);
            return (None, None);
        }
        let slow = request.patience == Patience::Slow;
        reply.complete = read_body(&mut connection, &mut reply, request.method, slow)
            .await
            .is_ok();
        let stays = reply.complete && reply.field("connection") != Some("close");
        (Some(reply), Some(connection).filter(|_| stays))
    }

    /// A reply that is complete has the right body, and none has one that was to be gone.
    fn check(&self, request: &Request, reply: &Reply, floors: (u64, u64)) {
        let (world, seed, page) = (self.world, self.world.seed, request.page);
        let counts = &world.counts;
        Counts::add(if reply.complete {
            &counts.complete
        } else {
            &counts.incomplete
        });
        let status = reply.field("cache-status").unwrap_or_default();
        let Some(version) = reply
            .field("x-version")
            .and_then(|version| version.parse::<u64>().ok())
        else {
            Counts::add(&counts.refused);
            let known = matches!(reply.status, 416 | 502 | 504);
            assert!(
                known,
                "seed {seed}: {} to {request:?}: {:?}",
                reply.status, reply.head
            );
            return;
        };
        let floor = if status.contains("stale_if_error") {
            floors.0
        } else {
            floors.1
        };
        assert!(
            version >= floor,
            "seed {seed}: {request:?} got version {version}, but {floor} was there: {:?}",
            reply.head
        );
        if status.contains("; hit") {
            Counts::add(&counts.hits);
        }
        match (request.method, reply.status) {
            ("POST", 200) if reply.complete => {
                Counts::add(&counts.changes);
                assert_eq!(
                    reply.body,
                    version.to_string().into_bytes(),
                    "seed {seed}: {request:?}"
                );
                world.raise_floor(page, version, false);
            }
            (_, 304) => {
                Counts::add(&counts.not_modified);
                assert_eq!(
                    request.known,
                    Some(version),
                    "seed {seed}: {request:?} got 304: {:?}",
                    reply.head
                );
            }
            ("GET", 200 | 206) if reply.complete => self.check_body(request, reply, version),
            _ => {}
        }
    }

    fn check_body(&self, request: &Request, reply: &Reply, version: u64) {
        let seed = self.world.seed;
        let whole = body(request.page, version);
        let expected = if reply.status == 206 {
            Counts::add(&self.world.counts.parts);
            if reply
                .field("cache-status")
                .is_some_and(|status| status.contains("; hit"))
            {
                Counts::add(&self.world.counts.parts_from_the_store);
            }
            let range = reply
                .field("content-range")
                .and_then(|range| range.strip_prefix("bytes "));
            let (range, length) = range
                .and_then(|range| range.split_once('/'))
                .expect("one part");
            let (first, last) = range.split_once('-').expect("a range");
            assert_eq!(length, whole.len().to_string(), "seed {seed}: {request:?}");
            assert_eq!(
                first,
                request.range.expect("a range").0.to_string(),
                "seed {seed}: {request:?}"
            );
            &whole[first.parse().unwrap()..=last.parse::<usize>().unwrap()]
        } else {
            &whole[..]
        };
        let same = reply.body == expected;
        let lengths = (reply.body.len(), expected.len());
        assert!(
            same,
            "seed {seed}: {request:?} got another body, {lengths:?}, with {:?}",
            reply.head
        );
    }
}

impl Reply {
    fn field(&self, name: &str) -> Option<&str> {
        self.head
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    BufReader::with_capacity(
        16_384,
        TcpStream::connect(address)
            .await
            .expect("the proxy listens"),
    )
}

async fn read_head(connection: &mut BufReader<TcpStream>) -> Option<Reply> {
    let mut head = Vec::new();
    loop {
        let line = read_line(connection).await.ok()?;
        if line.is_empty() {
            let status = head
                .first()
                .and_then(|line: &String| line.split(' ').nth(1)?.parse().ok())?;
            return Some(Reply {
                status,
                head,
                body: Vec::new(),
                complete: false,
            });
        }
        head.push(line);
    }
}

/// Reads a line; one without end is an error.
async fn read_line(connection: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    connection.read_line(&mut line).await?;
    let line = line
        .strip_suffix("\r\n")
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok(line.to_ascii_lowercase())
}

/// Reads a body to the end that its head announces.
async fn read_body(
    connection: &mut BufReader<TcpStream>,
    reply: &mut Reply,
    method: &str,
    slow: bool,
) -> std::io::Result<()> {
    if method == "HEAD" || reply.status == 304 {
        return Ok(());
    }
    if reply.field("transfer-encoding") == Some("chunked") {
        loop {
            let line = read_line(connection).await?;
            let length =
                usize::from_str_radix(&line, 16).map_err(|_| std::io::ErrorKind::InvalidData)?;
            read_exactly(connection, &mut reply.body, length, slow).await?;
            if !read_line(connection).await?.is_empty() {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            if length == 0 {
                return Ok(());
            }
        }
    }
    let length = reply
        .field("content-length")
        .and_then(|length| length.parse().ok())
        .expect("a body's length");
    read_exactly(connection, &mut reply.body, length, slow).await
}

async fn read_exactly(
    connection: &mut BufReader<TcpStream>,
    body: &mut Vec<u8>,
    length: usize,
    slow: bool,
) -> std::io::Result<()> {
    let end = body.len() + length;
    while body.len() < end {
        let mut piece = vec![0; (end - body.len()).min(if slow { 2048 } else { 16_384 })];
        connection.read_exact(&mut piece).await?;
        body.extend(piece);
        if slow {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}

impl Counts {
    /// What never happens proves nothing.
    pub(crate) fn assert_plenty(&self) {
        let least = [
            (&self.exchanges, 10_000),
            (&self.complete, 7000),
            (&self.incomplete, 500),
            (&self.hits, 2000),
            (&self.parts, 300),
            (&self.parts_from_the_store, 100),
            (&self.not_modified, 50),
            (&self.gone, 300),
            (&self.changes, 100),
            (&self.purges, 100),
            (&self.cut_off, 200),
            (&self.resets, 100),
        ];
        assert!(
            least
                .iter()
                .all(|(counter, least)| counter.load(Ordering::Relaxed) >= *least),
            "{self:?}"
        );
    }
}
