//! The access log: one JSON object a line for each exchange, written away from requests.
//!
//! A request appends its line to the buffer of its thread; [`AccessLog::flush`], called several
//! times a second by a thread of its own, writes all buffers out. When the reader of the log is
//! slower than the traffic, lines are dropped and counted, and requests never wait.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tidegate_core::Report;
use tidegate_core::policy;

use crate::stripes::{STRIPES, stripe};

/// Most bytes that wait in one buffer.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// The access log, for whoever flushes it: without [`AccessLog::flush`] its buffers only fill up.
#[derive(Debug)]
pub struct AccessLog {
    on: AtomicBool,
    /// Whether it stays off, because nobody flushes it.
    muted: AtomicBool,
    buffers: [Mutex<Vec<u8>>; STRIPES],
    dropped: AtomicU64,
}

impl AccessLog {
    /// Makes an empty log.
    pub fn new(kind: policy::AccessLog) -> Self {
        let log = Self {
            on: AtomicBool::new(false),
            muted: AtomicBool::new(false),
            buffers: std::array::from_fn(|_| Mutex::default()),
            dropped: AtomicU64::new(0),
        };
        log.set(kind);
        log
    }

    /// Turns the log on or off.
    pub fn set(&self, kind: policy::AccessLog) {
        let on = kind == policy::AccessLog::Json && !self.muted.load(Ordering::Relaxed);
        self.on.store(on, Ordering::Relaxed);
    }

    /// Turns the log off for good.
    pub(crate) fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
        self.on.store(false, Ordering::Relaxed);
    }

    /// Appends a report.
    pub(crate) fn write(&self, report: &Report) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let mut buffer = self.buffers[stripe()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = buffer.len();
        let fits = before < BUFFER_BYTES_MAX && serde_json::to_writer(&mut *buffer, report).is_ok();
        if fits {
            buffer.push(b'\n');
        } else {
            buffer.truncate(before);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes out what has gathered. Lines that cannot be written count as dropped.
    pub fn flush(&self, to: &mut impl Write) {
        for buffer in &self.buffers {
            let lines = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
            if !lines.is_empty() && to.write_all(&lines).and_then(|()| to.flush()).is_err() {
                let count = lines.split(|byte| *byte == b'\n').count() - 1;
                self.dropped.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
    }

    /// Returns how many lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
