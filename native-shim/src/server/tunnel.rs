//! Connections that have switched to another protocol, such as WebSocket: bytes go both ways until both ends have closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// The open tunnels of a thread.
#[derive(Debug, Default)]
pub(super) struct Tunnels(Arc<AtomicUsize>);

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tunnels {
    pub(super) fn open(&self, client: OnUpgrade, origin: OnUpgrade) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.0));
        tokio::spawn(async move {
            let _open = open;
            let Ok((client, origin)) = tokio::try_join!(client, origin) else {
                return;
            };
            let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
            // An error of one end is the end of both.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut origin).await;
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}
