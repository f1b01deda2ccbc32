//! Interim responses (1xx) of an origin on their way to an HTTP/1.1 client, such as 103 Early
//! Hints.
//!
//! The library that serves clients sends none. So they are written as bytes between two of its
//! messages, and only there.

use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tidegate_core::message::framing;

/// Most bytes that wait to be written; what comes beyond is dropped, for nobody needs it.
const BYTES_MAX: usize = 16 << 10;

/// The interim responses that wait to be written to a connection.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    /// Whether a request waits for its answer: before and after that an interim response would
    /// belong to another one.
    open: AtomicBool,
    any: AtomicBool,
    waiting: Mutex<Vec<u8>>,
    /// Wakes the connection: another task may wait for the answer. A task keeps its waker for life.
    connection: OnceLock<Waker>,
}

impl Interim {
    /// Waits for the answer to a request whose client takes interim responses, which may be passed
    /// on until then.
    pub(crate) async fn until_answered<F: Future>(&self, mut answer: Pin<&mut F>) -> F::Output {
        self.open.store(true, Ordering::Release);
        let answered = poll_fn(|cx| {
            self.connection.get_or_init(|| cx.waker().clone());
            answer.as_mut().poll(cx)
        });
        let answered = answered.await;
        self.open.store(false, Ordering::Release);
        answered
    }

    /// Takes an origin's interim response, if it is one for the client.
    pub(crate) fn pass_on(&self, status: StatusCode, headers: &HeaderMap) {
        if !self.open.load(Ordering::Acquire) {
            return;
        }
        let Some(headers) = framing::interim_fields(status, headers) else {
            return;
        };
        let mut text = Vec::with_capacity(128);
        let reason = status.canonical_reason().unwrap_or("");
        let _ = write!(text, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
        for (name, value) in &headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        let mut waiting = self.waiting();
        if waiting.len() + text.len() > BYTES_MAX {
            return;
        }
        waiting.extend_from_slice(&text);
        self.any.store(true, Ordering::Release);
        if let Some(connection) = self.connection.get() {
            connection.wake_by_ref();
        }
    }

    /// Returns whether any wait to be written.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Takes what waits to be written.
    pub(crate) fn take(&self) -> Bytes {
        let mut waiting = self.waiting();
        self.any.store(false, Ordering::Release);
        std::mem::take(&mut *waiting).into()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn only_what_is_for_clients_is_passed_on_and_not_without_end() {
        let interim = Interim::default();
        interim.pass_on(StatusCode::PROCESSING, &HeaderMap::new());
        assert!(interim.take().is_empty(), "nobody waits for it");
        let mut fields = HeaderMap::new();
        fields.insert("link", "</a.css>; rel=preload".parse().unwrap());
        fields.insert("connection", "close".parse().unwrap());
        fields.insert("content-length", "5".parse().unwrap());
        let answer = async {
            interim.pass_on(StatusCode::CONTINUE, &fields);
            interim.pass_on(StatusCode::SWITCHING_PROTOCOLS, &fields);
            assert!(interim.take().is_empty());
            interim.pass_on(StatusCode::from_u16(103).unwrap(), &fields);
            assert_eq!(
                &interim.take()[..],
                b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
            );
            for _ in 0..10_000 {
                interim.pass_on(StatusCode::PROCESSING, &HeaderMap::new());
            }
            assert!(interim.take().len() <= BYTES_MAX);
            assert!(interim.take().is_empty());
        };
        interim.until_answered(pin!(answer)).await;
        interim.pass_on(StatusCode::PROCESSING, &HeaderMap::new());
        assert!(interim.take().is_empty());
    }
}
