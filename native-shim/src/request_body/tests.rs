use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};

use super::*;

/// A client that sends one byte in each interval.
struct Dripping {
    left: u32,
    interval: Duration,
    next: Pin<Box<tokio::time::Sleep>>,
}

impl Dripping {
    fn body(bytes: u32, interval: Duration) -> RequestBody<Self> {
        RequestBody::new(Self {
            left: bytes,
            interval,
            next: Box::pin(sleep(interval)),
        })
    }
}

impl Body for Dripping {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(self.next.as_mut().poll(cx));
        self.left -= 1;
        self.next = Box::pin(sleep(self.interval));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

async fn read(body: &RequestBody<Dripping>) -> Result<usize, FailureKind> {
    body.clone()
        .collect()
        .await
        .map(|whole| whole.to_bytes().len())
        .map_err(|fault| fault.0)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_drips_is_given_up_and_one_that_is_slow_enough_is_not() {
    let second = Duration::from_secs(1);
    for (bytes, interval, least, expected) in [
        (100, second, 2, Err(FailureKind::BodyTooSlow)),
        (100, second, 1, Ok(100)),
        (100, second, 0, Ok(100)),
        (5, second, 240, Ok(5)),
        (2, Duration::from_mins(10), 1, Err(FailureKind::BodyTooSlow)),
    ] {
        let body = Dripping::body(bytes, interval);
        body.hold_to(least);
        assert_eq!(read(&body).await, expected, "{bytes} {interval:?} {least}");
        assert_eq!(body.fault(), expected.err());
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_an_origin_takes_is_not_the_clients() {
    let body = Dripping::body(100, Duration::from_millis(1));
    body.hold_to(240);
    let mut handle = body.clone();
    for _ in 0..100 {
        sleep(Duration::from_mins(1)).await;
        handle.frame().await.unwrap().unwrap();
    }
    assert!(handle.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_small_body_can_be_sent_again_from_wherever_it_stopped() {
    let body = Dripping::body(5, Duration::ZERO);
    let mut first = body.clone();
    first.frame().await.unwrap().unwrap();
    drop(first);
    assert!(body.is_intact());
    assert_eq!((read(&body).await, read(&body).await), (Ok(5), Ok(5)));
    assert!(body.is_intact() && body.is_spent());
    let large = RequestBody::new(http_body_util::Full::new(Bytes::from(vec![
        0;
        KEPT_MAX + 1
    ])));
    assert!(large.is_intact(), "nothing of it is gone yet");
    large.clone().collect().await.unwrap();
    assert!(!large.is_intact());
}

/// A body of so many bytes at hand, whose pace is 256 bytes a second.
fn paced(bytes: usize) -> RequestBody<http_body_util::Full<Bytes>> {
    let body = RequestBody::new(http_body_util::Full::new(vec![b'x'; bytes].into()));
    let pace = crate::pacing::tests::pace(256, 1, "a", 0);
    body.pace(&crate::pacing::tests::node(), vec![pace]);
    body
}

#[tokio::test(start_paused = true)]
async fn a_body_that_waits_for_its_pace_is_nobodys_fault() {
    let body = paced(256 * 30);
    body.hold_to(1 << 20);
    let mut handle = body.clone();
    let (since, mut seen) = (Instant::now(), 0);
    let mut bytes = 0;
    while let Some(frame) = {
        let frame = handle.frame();
        let mut frame = std::pin::pin!(frame);
        loop {
            match tokio::time::timeout(Duration::from_millis(100), frame.as_mut()).await {
                Ok(frame) => break frame,
                Err(_) => assert_eq!(body.overdue(&mut seen), None),
            }
        }
    } {
        bytes += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(bytes, 256 * 30);
    // Less the burst of one byte.
    assert_eq!(since.elapsed().as_millis(), 29_997);
    assert_eq!(body.fault(), None);
    assert!(body.is_spent());
}

#[tokio::test(start_paused = true)]
async fn a_paced_body_can_be_sent_again_and_what_has_gone_goes_at_once() {
    let body = paced(1024);
    let mut first = body.clone();
    first.frame().await.unwrap().unwrap();
    first.frame().await.unwrap().unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(500), first.frame());
    assert!(waits.await.is_err());
    drop(first);
    assert!(body.is_intact());
    let since = Instant::now();
    let whole = body.clone().collect().await.unwrap().to_bytes();
    assert_eq!((whole.len(), since.elapsed().as_millis()), (1024, 1500));
    let since = Instant::now();
    assert_eq!(body.clone().collect().await.unwrap().to_bytes().len(), 1024);
    assert_eq!(since.elapsed(), Duration::ZERO);
}
