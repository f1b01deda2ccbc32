//! Trailer fields of replies.

use bytes::Bytes;
use http_body::Frame;
use tidegate_core::message::framing;

/// Drops the trailer fields that would change what the head has said.
pub(super) fn without_forbidden(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            framing::strip_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(other) => other,
    }
}
