//! Requests to origins, and what their failures mean.

use http::{Method, StatusCode, header, response};
use tidegate_core::{Attempt, Failure, FailureKind};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{Result, js_sys, web_sys};

use crate::streams::ClientBody;
use crate::{convert, tasks};

/// An origin's answer: its head for the core, and the runtime's object with its body.
pub(crate) struct Answer {
    pub(crate) head: response::Parts,
    pub(crate) response: web_sys::Response,
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
    let init = match outbound(attempt, body, &abort) {
        Ok(init) => init,
        Err(error) => {
            worker::console_error!("request to {}: {error}", attempt.origin.name);
            return Err(fail(FailureKind::Protocol, false));
        }
    };
    match answer(attempt, &init, body).await {
        Some(Ok(response)) => {
            let head = head(&response).ok_or_else(|| fail(FailureKind::Protocol, true))?;
            match said_by_the_platform(head.status) {
                Some((kind, sent)) => Err(fail(kind, sent)),
                None => Ok(Answer { head, response }),
            }
        }
        Some(Err(_)) => Err(fail(rejected(body), true)),
        None => {
            abort.abort();
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
    init: &web_sys::RequestInit,
    body: Option<&ClientBody>,
) -> Option<std::result::Result<web_sys::Response, JsValue>> {
    let scope: web_sys::WorkerGlobalScope = js_sys::global().unchecked_into();
    let pending = scope.fetch_with_str_and_init(&attempt.url(), init);
    loop {
        match tasks::within(attempt.origin.timeouts.response, &pending).await {
            None if body.is_some_and(ClientBody::moved) => {}
            None => return None,
            Some(answer) => return Some(answer.map(JsCast::unchecked_into)),
        }
    }
}

fn outbound(
    attempt: &Attempt,
    body: Option<&ClientBody>,
    abort: &web_sys::AbortController,
) -> Result<web_sys::RequestInit> {
    let Attempt { head, upgrade, .. } = attempt;
    let mut fields = head.headers.clone();
    // The platform writes these itself: from the URL, from the body's stream.
    fields.remove(header::HOST);
    fields.remove(header::CONTENT_LENGTH);
    if *upgrade {
        fields.remove(header::CONNECTION);
    }
    let init = web_sys::RequestInit::new();
    init.set_method(head.method.as_str());
    init.set_headers(convert::headers(&fields)?.as_ref());
    init.set_redirect(web_sys::RequestRedirect::Manual);
    init.set_signal(Some(&abort.signal()));
    // The runtime allows no body here; none is defined for these methods (RFC 9110, sections 9.3.1
    // and 9.3.2).
    let may_have_body = head.method != Method::GET && head.method != Method::HEAD;
    if let Some(body) = body.filter(|_| attempt.body && may_have_body) {
        init.set_body(body.open(abort)?.as_ref());
    }
    // Encoded bodies stay encoded, byte for byte.
    convert::set(&init, "encodeResponseBody", &"manual".into())?;
    convert::set(&init, "cf", &uncached()?)?;
    Ok(init)
}

/// Tells the platform's own cache to keep out: the core decides what is stored.
fn uncached() -> Result<JsValue> {
    let by_status = js_sys::Object::new();
    convert::set(&by_status, "100-599", &(-1).into())?;
    let cf = js_sys::Object::new();
    convert::set(&cf, "cacheTtlByStatus", &by_status)?;
    Ok(cf.into())
}

fn head(response: &web_sys::Response) -> Option<response::Parts> {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::from_u16(response.status()).ok()?;
    head.headers = convert::header_map(&response.headers());
    Some(head)
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
