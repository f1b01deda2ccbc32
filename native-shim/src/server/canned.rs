//! Replies to what never becomes a request: written as bytes, in place of hyper's bare ones.

use std::fmt::Write;

use bytes::Bytes;
use http::response;
use tidegate_core::problem::Refusal;
use tidegate_core::{BodyEnd, Client, RequestBody, Source, exchange};

use super::activity::Activity;
use crate::random;

/// Records the refusal and returns the whole reply, which closes the connection.
pub(super) fn refuse(activity: &Activity, refusal: Refusal) -> Bytes {
    let node = &activity.node;
    let client = Client {
        peer: activity.peer,
        geo: None,
        tls_subject: None,
        scheme: activity.scheme,
        body: RequestBody::Empty,
        fresh_trace: random::fresh_trace(),
    };
    let reply = exchange::refuse_unread(refusal, &client, node.now());
    let body = match &reply.source {
        Source::Bytes(bytes) => bytes.clone(),
        Source::Empty | Source::Stored(_) | Source::Pieces(..) | Source::Origin => Bytes::new(),
    };
    let length = Some(body.len() as u64);
    let ended = reply.hold.end(BodyEnd::Whole, length, node.now());
    node.end(ended);
    write(&reply.head, &body)
}

fn write(head: &response::Parts, body: &[u8]) -> Bytes {
    let mut text = String::with_capacity(512);
    let reason = head.status.canonical_reason().unwrap_or("");
    let _ = write!(text, "HTTP/1.1 {} {reason}\r\n", head.status.as_u16());
    for (name, value) in &head.headers {
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or(""));
    }
    text.push_str("connection: close\r\n\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes.into()
}

/// Recognises the reply that hyper writes by itself when it cannot read a head. No reply of ours
/// begins like it: ours never have `connection` first.
pub(super) fn recognise(written: &[u8]) -> Option<Refusal> {
    const BARE: &[u8] = b"connection: close\r\ncontent-length: 0\r\n";
    let status = written.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let refusal = match status {
        b"400" => Refusal::Malformed,
        b"414" => Refusal::UriTooLong,
        b"431" => Refusal::HeadersTooLarge,
        _ => return None,
    };
    let line = written.iter().position(|byte| *byte == b'\n')?;
    written
        .get(line + 1..)?
        .starts_with(BARE)
        .then_some(refusal)
}

#[cfg(test)]
mod tests {
    use tidegate_core::problem;

    use super::*;

    #[test]
    fn only_bare_replies_are_recognised() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(recognise(bare), Some(Refusal::HeadersTooLarge));
        for ours in [
            Refusal::Malformed,
            Refusal::HeadersTooLarge,
            Refusal::UriTooLong,
        ] {
            let (head, body) = problem::reply(ours, &[]);
            assert_eq!(recognise(&write(&head, &body)), None);
        }
        assert_eq!(
            recognise(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n"),
            None
        );
        assert_eq!(recognise(b"HTTP/1."), None);
    }
}
