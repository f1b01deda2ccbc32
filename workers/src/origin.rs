//! Requests to origins, and what their failures mean.

use http::{Method, StatusCode, header, response};
use tidegate_core::{Attempt, Failure, FailureKind};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{Result, js_sys, web_sys};

use crate::streams::{self, ClientBody};
use crate::{convert, tasks};

/// An origin's answer: its head for the core, and the runtime's object with its body.
pub(crate) struct Answer {
    pub(crate) head: response::Parts,
    pub(crate) response: web_sys::Response,
}

/// Ends a request whose answer nobody waits for any more.
struct Unanswered(Option<web_sys::AbortController>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(abort) = &self.0 {
            abort.abort();
        }
    }
}

/// Lets the body of an answer go that nobody reads.
pub(crate) fn discard(answer: Option<Answer>) {
    if let Some(body) = answer.and_then(|answer| answer.response.body()) {
        streams::discard(&body);
    }
}

/// Returns what the core is told of an answer.
pub(crate) fn told(
    fetched: &std::result::Result<Answer, Failure>,
    body: Option<&ClientBody>,
) -> std::result::Result<tidegate_core::Answer, Failure> {
    let answer = fetched.as_ref().map_err(|failure| *failure)?;
    Ok(tidegate_core::Answer {
        head: answer.head.clone(),
        body_intact: body.is_none_or(ClientBody::intact),
    })
}

/// Sends one request to one origin. Bodies stream both ways; pauses inside the response's body are
/// bounded by the platform alone.
pub(crate) async fn fetch(
    attempt: &Attempt,
    body: Option<&ClientBody>,
) -> std::result::Result<Answer, Failure> {
    let fail = |kind, sent| Failure {
        kind,
        sent,
        body_intact: body.is_none_or(ClientBody::intact),
    };
    let Ok(abort) = web_sys::AbortController::new() else {
        return Err(fail(FailureKind::Protocol, false));
    };
    let pending = match send(attempt, body, &abort) {
        Ok(pending) => pending,
        Err(error) => {
            worker::console_error!("request to {}: {error}", attempt.origin.name);
            return Err(fail(FailureKind::Protocol, false));
        }
    };
    let mut unanswered = Unanswered(Some(abort));
    let outcome = answer(attempt, &pending, body).await;
    if outcome.is_some() {
        unanswered.0 = None;
    }
    match outcome {
        Some(Ok(response)) => {
            let head = convert::response_head(&response)
                .ok_or_else(|| fail(FailureKind::Protocol, true))?;
            match said_by_the_platform(head.status) {
                Some((kind, sent)) => Err(fail(kind, sent)),
                None => Ok(Answer { head, response }),
            }
        }
        Some(Err(_)) => Err(fail(rejected(body), true)),
        None => {
            drop(unanswered);
            let client = body.is_some_and(ClientBody::waits);
            Err(fail(
                if client {
                    FailureKind::BodyTooSlow
                } else {
                    FailureKind::ResponseTimeout
                },
                true,
            ))
        }
    }
}

/// Waits for the head of the response. The time allowed counts from when the last part of the body
/// went out.
async fn answer(
    attempt: &Attempt,
    pending: &js_sys::Promise,
    body: Option<&ClientBody>,
) -> Option<std::result::Result<web_sys::Response, JsValue>> {
    loop {
        match tasks::within(attempt.origin.timeouts.response, pending).await {
            None if body.is_some_and(ClientBody::moved) => {}
            None => return None,
            Some(answer) => return Some(answer.map(JsCast::unchecked_into)),
        }
    }
}

fn send(
    attempt: &Attempt,
    body: Option<&ClientBody>,
    abort: &web_sys::AbortController,
) -> Result<js_sys::Promise> {
    let Attempt { head, upgrade, .. } = attempt;
    let mut fields = head.headers.clone();
    // The platform writes these itself: from the URL, from the body's stream.
    fields.remove(header::HOST);
    fields.remove(header::CONTENT_LENGTH);
    if *upgrade {
        fields.remove(header::CONNECTION);
    }
    // The runtime allows no body here; none is defined for these methods (RFC 9110, sections 9.3.1
    // and 9.3.2).
    let may_have_body = head.method != Method::GET && head.method != Method::HEAD;
    let body = match body.filter(|_| attempt.body && may_have_body) {
        Some(body) => body.open(abort)?.into(),
        None => JsValue::NULL,
    };
    convert::request(&attempt.url(), &head.method, &fields, &body, abort)
}

/// What failed, and whether the request may have reached the origin, where the status is one that
/// Cloudflare gives in place of an origin's.
///
/// No RFC knows these statuses, and only Cloudflare answers with them. Whether it was this hop or
/// another Cloudflare in front of the origin cannot be told, and makes no difference: the origin
/// itself did not answer. 530 is a name that does not resolve.
fn said_by_the_platform(status: StatusCode) -> Option<(FailureKind, bool)> {
    match status.as_u16() {
        520 => Some((FailureKind::Closed, true)),
        521 | 523 | 530 => Some((FailureKind::Unreachable, false)),
        522 => Some((FailureKind::ConnectTimeout, false)),
        524 => Some((FailureKind::ResponseTimeout, true)),
        525 | 526 => Some((FailureKind::Tls, false)),
        _ => None,
    }
}

/// What a rejected `fetch` means, if it was not the client's body that failed. The runtime says
/// "Network connection lost." whatever happened, even when the connection was refused, so the
/// request may have reached the origin.
fn rejected(body: Option<&ClientBody>) -> FailureKind {
    match body.map(ClientBody::failure).as_deref() {
        Some("too large") => FailureKind::BodyTooLarge,
        Some("aborted") => FailureKind::BodyAborted,
        Some(_) | None => FailureKind::Closed,
    }
}
