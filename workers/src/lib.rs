//! The edge shell: a Cloudflare Worker that carries out what `tidegate-core` decides.
//!
//! `fetch` is the way of one request; `drive` is the loop over the core's steps. Everything else
//! performs one kind of step: `keys` has tokens verified, `limits` asks Durable Objects, `store` the
//! Cache API, `origin` the origins; `purges` keeps isolates in step. `node` holds the policy. No policy is decided here.
//!
//! `workers/js/entry.mjs` calls this module, and answers for it if it fails.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod attempts;
mod client;
mod clock;
mod convert;
mod drive;
mod isolate_counters;
mod keys;
mod limit_counter;
mod limits;
mod node;
mod objects;
mod operations;
mod origin;
mod pacer;
mod pacing;
mod purge_log;
mod purges;
mod store;
mod streams;
mod tasks;

use std::cell::OnceCell;

use futures_util::future::join;
use http::Method;
use tidegate_core::policy::AccessLog;
use tidegate_core::problem::Refusal;
use tidegate_core::{Client, RequestBody, Step, exchange};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::worker_sys::Context;
use worker::{Env, Result, web_sys};

use drive::{Rest, Shell};
use streams::ClientBody;

/// Answers one request: with a response, or with a promise of it. If that fails the caller answers
/// instead, as the policy says. (The attribute `event(fetch)` would turn every error into a bare
/// 500.)
///
/// # Errors
/// If the request cannot be answered.
#[wasm_bindgen(js_name = fetch)]
pub fn fetch(request: web_sys::Request, env: Env, ctx: Context) -> Result<JsValue, JsValue> {
    tasks::begin(async move { Ok(answer(request, env, ctx).await?.into()) })
}

/// Bodies stay JavaScript streams: no byte of them enters wasm memory.
async fn answer(request: web_sys::Request, env: Env, ctx: Context) -> Result<web_sys::Response> {
    let engine = node::engine(&env, Some(&ctx)).await?;
    let (head, client) = client::read(&request);
    if let Some(head) = head.as_ref().filter(|head| operations::is_one(&env, head)) {
        return operations::answer(&env, &engine, &request, head, client.peer).await;
    }
    let policy = engine.policy();
    let log = policy.server.access_log == AccessLog::Json;
    let body = client_body(&request, &client, policy.server.bounds.body_bytes_max)?;
    let mut shell = Shell {
        env,
        engine: engine.clone(),
        ctx: Some(ctx),
        body,
        paced: OnceCell::new(),
    };
    let step = match head {
        Some(head) => engine.begin(head, client, clock::now()),
        None => Step::Finish(Box::new(exchange::refuse_unread(
            Refusal::Malformed,
            &client,
            clock::now(),
        ))),
    };
    let mut ended = shell.drive(step).await;
    // Whoever reads after this answer must not get what the request has changed.
    purges::apply_purges(&shell.env, &engine, &mut ended.reply).await;
    drive::invalidate(&ended.reply.invalidate).await;
    let (response, rest) = drive::respond(&shell.env, ended, log)?;
    if let Some(ctx) = shell.ctx.take().filter(|_| rest.is_some()) {
        tasks::keep_alive(&ctx, finish(shell, rest, log))?;
    }
    Ok(response)
}

fn client_body(
    request: &web_sys::Request,
    client: &Client,
    max: u64,
) -> Result<Option<ClientBody>> {
    let length = match client.body {
        RequestBody::Empty => return Ok(None),
        #[expect(
            clippy::cast_precision_loss,
            reason = "the platform accepts no body of 2^53 bytes"
        )]
        RequestBody::Sized(bytes) => JsValue::from_f64(bytes as f64),
        RequestBody::Streamed => JsValue::UNDEFINED,
    };
    #[expect(clippy::cast_precision_loss, reason = "only a bound")]
    let max = max as f64;
    Ok(match request.body() {
        Some(stream) => Some(ClientBody::new(&stream, length, max)?),
        None => None,
    })
}

/// Does what is left after the client has its answer.
async fn finish(shell: Shell, rest: Rest, log: bool) {
    let Rest {
        fill,
        background,
        record,
    } = rest;
    let store = async {
        if let Some(filling) = fill {
            filling.store().await;
        }
    };
    let write = async {
        if let Some(record) = record {
            record.written(&shell.env).await;
        }
    };
    join(store, write).await;
    if let Some(work) = background {
        // The client's body belongs to the client's exchange.
        let shell = Shell {
            body: None,
            paced: OnceCell::new(),
            ..shell
        };
        shell.revalidate(work, log).await;
    }
}

/// Returns what the caller rejects when this instance has failed: a set of objects with a function
/// `reject`.
#[wasm_bindgen(js_name = inFlight)]
pub fn in_flight() -> JsValue {
    tasks::in_flight()
}

/// Returns the origin, or a promise of it, that gets a request unchecked when this Worker has
/// failed to answer it; undefined if the policy refuses it then, or if it is an operator's: its
/// token is not for origins.
///
/// Called on a fresh instance, after the one that failed.
///
/// # Errors
/// If there is no policy.
#[wasm_bindgen(js_name = failOpenOrigin)]
pub fn fail_open_origin(request: web_sys::Request, env: Env) -> Result<JsValue, JsValue> {
    tasks::begin(async move {
        if operations::shows_token(&env, &convert::header_map(&request.headers())) {
            return Ok(JsValue::UNDEFINED);
        }
        // A name that is no method is not sent again either.
        let method = request.method().parse().unwrap_or(Method::POST);
        let engine = node::engine(&env, None).await?;
        let url = engine.policy().fail_open_url(&method);
        Ok(url.map_or(JsValue::UNDEFINED, JsValue::from))
    })
}
