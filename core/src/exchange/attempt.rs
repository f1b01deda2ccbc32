//! One request to one origin, and what came of it.

use std::sync::Arc;

use http::{request, response};

use crate::limit::Pace;
use crate::route::Origin;

/// One request to send to one origin.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers one question of the shell"
)]
pub struct Attempt {
    /// Which one of the exchange it is; its answer is told with it.
    pub number: u8,
    /// Where to. Its timeouts bound the attempt.
    pub origin: Arc<Origin>,
    /// What to send; the URI has origin form.
    pub head: request::Parts,
    /// Whether the client's body follows.
    pub body: bool,
    /// Most bytes of that body; beyond it the attempt fails with [`FailureKind::BodyTooLarge`].
    pub body_bytes_max: u64,
    /// What paces that body.
    pub paces: Vec<Pace>,
    /// Whether the client asks for another protocol: a 101 hands both connections over.
    pub upgrade: bool,
    /// Whether the method is idempotent (RFC 9110, section 9.2.2): a shell may send the request
    /// once more, on a new connection, when a connection that was used before has ended without a
    /// byte of an answer.
    pub idempotent: bool,
    /// Whether the request may be sent again after it has reached an origin: by its method, or by
    /// the retry rule.
    pub repeatable: bool,
    /// Most header fields that the response may have.
    pub header_count_max: usize,
}

impl Attempt {
    /// Returns the absolute URL.
    pub fn url(&self) -> String {
        format!(
            "{}://{}{}",
            self.origin.scheme, self.origin.authority, self.head.uri
        )
    }
}

/// An origin's answer, as far as its head.
#[derive(Debug)]
pub struct Answer {
    /// Status and header fields.
    pub head: response::Parts,
    /// Whether the client's body can still be sent whole, to another origin.
    pub body_intact: bool,
}

/// Why an origin gave no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// Whether any byte of the request may have reached the origin.
    pub sent: bool,
    /// Whether the client's body can still be sent whole.
    pub body_intact: bool,
}

/// What happened instead of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The name could not be resolved or the connection was refused.
    Unreachable,
    /// Connecting took longer than allowed.
    ConnectTimeout,
    /// TLS failed.
    Tls,
    /// The response's header fields took longer than allowed.
    ResponseTimeout,
    /// The origin closed the connection.
    Closed,
    /// The origin sent something that is not HTTP.
    Protocol,
    /// The client went away before it had sent all of its body.
    BodyAborted,
    /// The client sent nothing of its body for too long.
    BodyTooSlow,
    /// The client's body is larger than allowed.
    BodyTooLarge,
}
