//! Connections that have switched to another protocol, such as WebSocket: bytes go both ways until
//! both ends have closed, or nothing has come for too long.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::registry::Registered;

/// Joins two connections as soon as both are handed over. The client's keeps its place: it counts
/// as open, and a draining server waits for it.
pub(super) fn open(client: OnUpgrade, origin: OnUpgrade, place: Arc<Registered>) {
    let busy = place.activity.busy();
    place.activity.becomes_tunnel();
    tokio::spawn(async move {
        // Both are held to the end.
        let (place, _busy) = (place, busy);
        let Ok((client, origin)) = tokio::try_join!(client, origin) else {
            return;
        };
        let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
        tokio::select! {
            // An error of one end is the end of both.
            _ = tokio::io::copy_bidirectional(&mut client, &mut origin) => {}
            () = place.activity.aborted() => {}
        }
    });
}
