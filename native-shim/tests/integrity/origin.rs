//! The origin, which fails in every way that a request's number decides.

use std::sync::Arc;
use std::time::Duration;

use crate::random::Random;
use crate::support::{Call, Origin};
use crate::world::{Counts, World, body, page};

/// How the origin answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it should.
    Whole,
    /// It closes the connection within the body.
    CutOff,
    /// It resets the connection within the body.
    Reset,
    /// It closes the connection instead of an answer.
    Silent,
    /// It pauses within the body.
    Pause,
    /// It pauses for longer than is allowed.
    Stall,
}

/// How it says where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
    Close,
}

pub(crate) async fn start(world: Arc<World>) -> Origin {
    Origin::start(move |head, call| {
        let world = Arc::clone(&world);
        async move { answer(&world, &head, &call).await }
    })
    .await
}

async fn answer(world: &World, head: &str, call: &Call) -> bool {
    let mut words = head.split(' ');
    let (method, page) = (words.next().unwrap(), page(words.next().unwrap()));
    let number: u64 = field(head, "x-number").unwrap().parse().unwrap();
    let mut random = Random::new(world.seed, number);
    if method == "POST" {
        let text = world.change(page).to_string();
        return call
            .answer("200 OK", &format!("x-version: {text}\r\n"), &text)
            .await;
    }
    let version = world.version(page);
    let control = if page.is_multiple_of(2) {
        "max-age=60"
    } else {
        "no-cache"
    };
    let fields = format!(
        "x-version: {version}\r\netag: \"{version}\"\r\ncache-control: {control}\r\ncache-tag: t{}\r\n",
        page % 4
    );
    let way = match random.below(100) {
        _ if number == u64::MAX => Way::Whole,
        0..12 => Way::CutOff,
        12..20 => Way::Reset,
        20..23 => Way::Silent,
        23..30 => Way::Pause,
        30 if random.below(5) == 0 => Way::Stall,
        _ => Way::Whole,
    };
    if way == Way::Silent {
        return false;
    }
    if field(head, "if-none-match")
        .is_some_and(|tags| tags.split(", ").any(|tag| tag == format!("\"{version}\"")))
    {
        return call
            .write(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"))
            .await;
    }
    let whole = body(page, version);
    let part = field(head, "range")
        .filter(|_| page.is_multiple_of(3))
        .and_then(|range| part(range, whole.len()));
    let (status, range, body) = match part {
        Some((first, last)) => {
            let range = format!("content-range: bytes {first}-{last}/{}\r\n", whole.len());
            ("206 Partial Content", range, &whole[first..=last])
        }
        None => ("200 OK", String::new(), &whole[..]),
    };
    let framing = [
        Framing::Length,
        Framing::Length,
        Framing::Chunks,
        Framing::Close,
    ][random.below(4)];
    let framed = match framing {
        Framing::Length => format!("content-length: {}\r\n", body.len()),
        Framing::Chunks => "transfer-encoding: chunked\r\n".to_owned(),
        Framing::Close => "connection: close\r\n".to_owned(),
    };
    let head = format!("HTTP/1.1 {status}\r\n{fields}{range}{framed}\r\n");
    if method == "HEAD" {
        return call.write(head).await && framing != Framing::Close;
    }
    send(world, call, head, body, way, framing, &mut random).await
}

async fn send(
    world: &World,
    call: &Call,
    head: String,
    body: &[u8],
    way: Way,
    framing: Framing,
    random: &mut Random,
) -> bool {
    let at = random.below(body.len() + 1);
    let (before, after) = body.split_at(at);
    let first = [head.into_bytes(), framed(before, framing)].concat();
    let end: &[u8] = if framing == Framing::Chunks {
        b"0\r\n\r\n"
    } else {
        b""
    };
    let rest = [framed(after, framing), end.to_vec()].concat();
    match way {
        Way::Whole => return call.write([first, rest].concat()).await && framing != Framing::Close,
        Way::Pause => {
            call.write(first).await;
            tokio::time::sleep(Duration::from_millis(1 + random.next() % 20)).await;
            return call.write(rest).await && framing != Framing::Close;
        }
        // A body that ends where the connection does cannot be seen to be cut off.
        Way::CutOff if framing == Framing::Close => {
            call.write([first, rest].concat()).await;
        }
        Way::CutOff => {
            // With all of a body of known length sent, nothing would be missing.
            let short = if framing == Framing::Length && after.is_empty() && !body.is_empty() {
                first.len() - 1
            } else {
                first.len()
            };
            Counts::add(&world.counts.cut_off);
            call.write(&first[..short]).await;
        }
        Way::Reset => {
            Counts::add(&world.counts.resets);
            call.write(first).await;
            // What has been read already is not taken back by the reset.
            tokio::time::sleep(Duration::from_millis(random.next() % 3)).await;
            call.reset_at_end().await;
        }
        Way::Stall => {
            call.write(first).await;
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        Way::Silent => {}
    }
    false
}

fn framed(piece: &[u8], framing: Framing) -> Vec<u8> {
    match framing {
        Framing::Chunks if piece.is_empty() => Vec::new(),
        Framing::Chunks => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
        Framing::Length | Framing::Close => piece.to_vec(),
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn part(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first < length).then(|| (first, last.min(length - 1)))
}
