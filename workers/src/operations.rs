//! What operators do at the Worker's own address, if they show its token.

use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, StatusCode, Uri, request};
use serde_json::{Value, json};
use tidegate_core::operations::{self, Operation, Refused};
use tidegate_core::{Client, Engine, RequestBody, Scheme};
use worker::js_sys::futures::JsFuture;
use worker::{Env, Result, js_sys, web_sys};

use crate::convert::{self, Body};
use crate::drive::{self, Shell};
use crate::{clock, purges};

/// URLs that are warmed at once.
const WARMED_AT_ONCE: usize = 4;

/// Returns whether a request is for operators: it has their path, or shows their token, which no origin may see. Without a token there are no operations,
/// and the path is one like all others.
pub(crate) fn is_one(env: &Env, head: &request::Parts) -> bool {
    token(env)
        .is_some_and(|token| head.uri.path().starts_with(operations::ROOT) || operations::shows(&head.headers, &token))
}

/// Returns whether a request shows the operators' token.
pub(crate) fn shows_token(env: &Env, headers: &HeaderMap) -> bool {
    token(env).is_some_and(|token| operations::shows(headers, &token))
}

fn token(env: &Env) -> Option<String> {
    env.secret("TIDEGATE_ADMIN_TOKEN").ok().map(|token| token.to_string())
}

/// Carries out an operation and answers.
pub(crate) async fn answer(
    env: &Env,
    engine: &Engine,
    request: &web_sys::Request,
    head: &request::Parts,
) -> Result<web_sys::Response> {
    let done = if let Err(refused) = operations::admit(&head.headers, token(env).as_deref()) {
        Err(refused)
    } else {
        let body = js_sys::Uint8Array::new(&JsFuture::from(request.array_buffer()?).await?).to_vec();
        carry_out(env, engine, head, &body).await?
    };
    let (reply, text) = operations::reply(done.as_ref());
    convert::response(&reply, Body::Bytes(text.into()))
}

async fn carry_out(
    env: &Env,
    engine: &Engine,
    head: &request::Parts,
    body: &[u8],
) -> Result<std::result::Result<Value, Refused>> {
    if body.len() > operations::ORDER_BYTES_MAX {
        let detail = format!("an order has at most {} bytes", operations::ORDER_BYTES_MAX);
        return Ok(Err(Refused { status: StatusCode::BAD_REQUEST, title: "Not understood", detail }));
    }
    Ok(match operations::read(&head.method, &head.uri, body) {
        Err(refused) => Err(refused),
        Ok(Operation::Purge(asked)) => {
            if purges::make(env, engine, &asked).await? {
                Ok(json!({ "purges": asked.len(), "last_purge": engine.last_purge() }))
            } else {
                let detail = "Bind the Durable Object PurgeLog as PURGES in wrangler.toml.".to_owned();
                Err(Refused { status: StatusCode::SERVICE_UNAVAILABLE, title: "Nobody orders purges", detail })
            }
        }
        // The platform does not tell what it stores.
        Ok(Operation::Stats) => Ok(json!({ "last_purge": engine.last_purge() })),
        Ok(Operation::Warm(urls)) => {
            let mut warmed = Vec::with_capacity(urls.len());
            for some in urls.chunks(WARMED_AT_ONCE) {
                warmed.extend(join_all(some.iter().map(|url| warm(env, engine, url))).await);
            }
            Ok(json!({ "warmed": warmed }))
        }
    })
}

async fn warm(env: &Env, engine: &Engine, url: &Uri) -> Value {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.uri = url.clone();
    let client = Client {
        peer: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        geo: None,
        scheme: if url.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http },
        body: RequestBody::Empty,
        fresh_trace: u128::from_le_bytes(clock::random()),
    };
    let shell = Shell { env: env.clone(), engine: engine.clone(), body: None };
    let ended = shell.drive(engine.warm(head, client, clock::now())).await;
    let told = ended.reply.head.headers.get(HeaderName::from_static("cache-status"));
    let told = told.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = ended.reply.head.status.as_u16();
    drive::fill_alone(ended, false).await;
    json!({ "url": url.to_string(), "status": status, "cache_status": told })
}
