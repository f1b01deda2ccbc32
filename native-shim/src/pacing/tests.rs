use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use tidegate_core::Policy;
use tidegate_core::limit::key::CounterKey;
use tidegate_core::limit::{Absent, Bandwidth, ByteRate, Direction};
use tokio::time::Instant;

use super::*;
use crate::body::Body;
use crate::clock::Clock;

const POLICY: &str = "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n\
                      [[routes]]\npool = \"main\"\n";

/// A node whose time is that of the runtime.
pub(crate) fn node() -> Arc<Node> {
    let policy = Policy::parse("policy", POLICY).expect("a policy");
    Arc::new(Node::with_clock(policy, 1, Clock::Paused(Instant::now())))
}

/// What a limit of so many bytes a second does to whoever has the key.
pub(crate) fn pace(bytes: u64, burst: u64, key: &str, entry: usize) -> Pace {
    let limit = Bandwidth {
        name: "one".into(),
        rate: ByteRate {
            bytes,
            period: 1000,
            burst,
        },
        direction: Direction::Response,
        key: vec![],
        absent: Absent::Share,
        methods: vec![],
    };
    Pace {
        limit: Arc::new(limit),
        key: CounterKey::of(key.as_bytes()),
        entry,
    }
}

/// Pieces of a body, and how often somebody asked for one.
struct Pieces {
    left: VecDeque<usize>,
    asked: Arc<AtomicUsize>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let piece = self.left.pop_front();
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(vec![b'x'; bytes].into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }
}

type Paced = Body<Pieces>;

fn body(node: &Arc<Node>, pieces: &[usize], paces: Vec<Pace>) -> (Paced, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut body = Body::origin(Pieces {
        left: pieces.iter().copied().collect(),
        asked: Arc::clone(&asked),
    });
    body.pace(Pacer::new(node, paces, Arc::default()));
    (body, asked)
}

/// Reads a whole body. Returns how many bytes it had, and how long that took.
async fn read(body: Paced) -> (usize, Duration) {
    let since = Instant::now();
    let whole = body.collect().await.expect("a whole body");
    (whole.to_bytes().len(), since.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_body_takes_its_time_whatever_its_pieces_are() {
    for pieces in [&[10_000][..], &[10; 1000], &[3000, 0, 7000], &[9999, 1]] {
        let node = node();
        let (body, _) = body(&node, pieces, vec![pace(1000, 2000, "a", 0)]);
        let (bytes, took) = read(body).await;
        assert_eq!(bytes, 10_000);
        // Timers end up to a millisecond late.
        let millis = took.as_millis();
        assert!((8000..=8002).contains(&millis), "{millis}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fast_body_is_not_slowed_by_late_timers() {
    let node = node();
    let (body, _) = body(&node, &[100 << 20], vec![pace(100 << 20, 1 << 20, "a", 0)]);
    let (_, took) = read(body).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn two_bodies_of_one_key_share_its_pace_and_others_have_their_own() {
    let node = node();
    let of = |key| body(&node, &[5000], vec![pace(1000, 1000, key, 0)]).0;
    let (one, two, other) = tokio::join!(read(of("a")), read(of("a")), read(of("b")));
    for (_, took) in [one, two] {
        // The first has had the burst for itself.
        let seconds = took.as_secs_f64();
        assert!((8.0..=9.01).contains(&seconds), "{seconds}");
    }
    assert!(other.1 <= Duration::from_millis(4002), "{:?}", other.1);
}

#[tokio::test(start_paused = true)]
async fn of_several_limits_the_slowest_counts() {
    let node = node();
    let tally = Arc::new(Tally::default());
    let paces = vec![
        pace(2000, 1, "fast", 0),
        pace(500, 1, "slow", 1),
        pace(9000, 1, "fastest", 2),
    ];
    let mut body = Body::<Pieces>::full(vec![b'x'; 5000].into());
    body.pace(Pacer::new(&node, paces, Arc::clone(&tally)));
    let (_, took) = read(body).await;
    assert!(took >= Duration::from_millis(9998), "{took:?}");
    assert!(took <= Duration::from_millis(10_020), "{took:?}");
    let waits: Vec<Wait> = tally.waits().iter().collect();
    assert_eq!(waits.len(), 1, "{waits:?}");
    assert_eq!(waits[0].entry, 1);
    assert!((9900..=10_000).contains(&waits[0].millis), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_for_more_while_a_piece_waits() {
    let node = node();
    let (mut body, asked) = body(&node, &[256; 4], vec![pace(256, 256, "a", 0)]);
    for piece in 1..=4 {
        let since = Instant::now();
        body.frame().await.expect("a frame").expect("a piece");
        assert_eq!(asked.load(Ordering::Relaxed), piece);
        let seconds = u64::from(piece > 1);
        assert_eq!(since.elapsed().as_secs(), seconds);
    }
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_a_piece_waits_holds_nobody_up() {
    let node = node();
    let of = || body(&node, &[256], vec![pace(1, 1, "a", 0)]).0;
    let mut waits = of();
    let patience = Duration::from_secs(1);
    assert!(tokio::time::timeout(patience, waits.frame()).await.is_err());
    let meanwhile = node.paces.take(&[pace(1, 1, "a", 0)], 1, node.now());
    assert_eq!(meanwhile.millis, 255_000, "behind what waits");
    drop(waits);
    let afterwards = node.paces.take(&[pace(1, 1, "a", 0)], 1, node.now());
    assert_eq!(afterwards.millis, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_paced_tells_its_length_and_its_end() {
    let node = node();
    let mut body = Body::<Pieces>::full(vec![b'x'; 600].into());
    body.pace(Pacer::new(
        &node,
        vec![pace(256, 256, "a", 0)],
        Arc::default(),
    ));
    assert!(!body.is_at_hand(), "the connection is busy with it");
    for left in [600, 344, 88] {
        assert_eq!(body.size_hint().exact(), Some(left));
        assert!(!body.is_end_stream());
        body.frame().await.expect("a frame").expect("a piece");
    }
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
}
