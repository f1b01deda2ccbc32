//! The isolate's own state: the engine, and the policy that it runs.
//!
//! The policy is compiled in; the value of the key `policy` in the KV namespace `POLICY` replaces
//! it. Either has been compiled before (`tidegate check --compile`): no policy is read here as it
//! is written. The first requests of an isolate wait for that value, for a bounded time; later it
//! is read again once a minute, and no request waits.
//!
//! A policy that proved to be valid is kept under another key. An isolate that begins while
//! `policy` holds an invalid one follows that; without it, or if KV cannot be read, requests are
//! refused: the policy that is compiled in was not meant then, and could lead anywhere.

use std::cell::RefCell;

use tidegate_core::{Engine, Millis, Policy, Timestamp};
use worker::wasm_bindgen::JsValue;
use worker::worker_sys::Context;
use worker::{Env, Result, js_sys};

use crate::{clock, keys, limits, operations, tasks};

/// The key of the policy, and that of the last valid one.
const KEY: &str = "policy";
const KEY_OF_LAST_GOOD: &str = "policy-last-good";

/// What `build.rs` has made of `examples/edge.toml`.
const BUILT_IN: &str = include_str!(concat!(env!("OUT_DIR"), "/policy"));

/// How often the KV namespace is asked. It keeps what it read for as long.
const ASKED_EVERY: Millis = 60_000;

/// Longest wait of an isolate's first requests for the KV namespace.
const PATIENCE: Millis = 1000;

thread_local! {
    static NODE: RefCell<Option<Node>> = const { RefCell::new(None) };
}

struct Node {
    engine: Engine,
    /// What KV held when it was last read, whether it was a valid policy or not.
    text: Option<String>,
    asked: Timestamp,
    /// A valid policy from KV that is still to be kept as the last good one.
    unkept: Option<String>,
}

/// Returns the engine that decides now.
pub(crate) async fn engine(env: &Env, ctx: Option<&Context>) -> Result<Engine> {
    let now = clock::now();
    let known = NODE.with_borrow_mut(|node| {
        let node = node.as_mut()?;
        let due = now.since(node.asked) >= ASKED_EVERY;
        if due {
            node.asked = now;
        }
        Some((node.engine.clone(), due))
    });
    let (engine, due) = match known {
        Some(known) => known,
        None => (first(env, now).await?, false),
    };
    if let Some(ctx) = ctx {
        look_after(env, ctx, due)?;
        give_back(env, ctx, now)?;
    }
    Ok(engine)
}

/// Gives back in the background what this isolate holds of limits in advance and does not use.
fn give_back(env: &Env, ctx: &Context, now: Timestamp) -> Result<()> {
    let rests = limits::rests(now);
    if rests.is_empty() {
        return Ok(());
    }
    let env = env.clone();
    tasks::keep_alive(
        ctx,
        async move { limits::give_back(&env, rests, now).await },
    )
}

/// Does in the background what has to be done: asks KV again, and keeps what is good.
fn look_after(env: &Env, ctx: &Context, due: bool) -> Result<()> {
    let unkept = NODE.with_borrow_mut(|node| node.as_mut()?.unkept.take());
    if !due && unkept.is_none() {
        return Ok(());
    }
    let env = env.clone();
    let work = async move {
        let mut good = unkept;
        if due && let Read::Value(text) = within_patience(&env, KEY).await {
            good = replace(text, &env).or(good);
        }
        if let Some(good) = good {
            keep(&env, good).await;
        }
    };
    tasks::keep_alive(ctx, work)
}

/// What reading a key brought.
enum Read {
    /// There is no namespace.
    Nowhere,
    /// Its value, if it has one.
    Value(Option<String>),
    /// KV cannot be read now.
    Failed,
}

/// What an isolate begins with.
struct Beginning {
    policy: Policy,
    /// What KV holds, valid or not.
    text: Option<String>,
    /// Whether that is what is followed.
    is_followed: bool,
}

async fn first(env: &Env, now: Timestamp) -> Result<Engine> {
    let Beginning {
        policy,
        text,
        is_followed,
    } = begin(env).await?;
    let unkept = text.clone().filter(|_| is_followed);
    // Another request may have been faster.
    Ok(NODE.with_borrow_mut(|node| {
        let make = || {
            let engine = Engine::new(policy, u64::from_le_bytes(clock::random()));
            let engine = engine.keeping(operations::token(env));
            keys::know_secret(&engine, env);
            Node {
                engine,
                text,
                asked: now,
                unkept,
            }
        };
        node.get_or_insert_with(make).engine.clone()
    }))
}

async fn begin(env: &Env) -> Result<Beginning> {
    let text = match within_patience(env, KEY).await {
        Read::Failed => return Err("there is no policy: KV cannot be read".into()),
        Read::Nowhere | Read::Value(None) => {
            let policy = Policy::read_published(BUILT_IN).map_err(|error| error.to_string())?;
            return Ok(Beginning {
                policy,
                text: None,
                is_followed: true,
            });
        }
        Read::Value(Some(text)) => text,
    };
    let error = match Policy::read_published(&text) {
        Ok(policy) => {
            return Ok(Beginning {
                policy,
                text: Some(text),
                is_followed: true,
            });
        }
        Err(error) => error,
    };
    worker::console_error!("the policy in KV is wrong, the last good one is looked for:\n{error}");
    let good = match within_patience(env, KEY_OF_LAST_GOOD).await {
        Read::Value(Some(good)) => Policy::read_published(&good).ok(),
        Read::Nowhere | Read::Value(None) | Read::Failed => None,
    };
    let policy =
        good.ok_or("there is no policy: the one in KV is wrong, and no good one is known")?;
    Ok(Beginning {
        policy,
        text: Some(text),
        is_followed: false,
    })
}

async fn within_patience(env: &Env, key: &str) -> Read {
    let Ok(kv) = env.kv("POLICY") else {
        return Read::Nowhere;
    };
    let asked = kv.get(key).cache_ttl(ASKED_EVERY / 1000);
    let value = tasks::begin(async move {
        // Undefined is for what is not there in time.
        let text = asked.text().await?;
        Ok(text.map_or(JsValue::NULL, JsValue::from))
    });
    let read = match value {
        Ok(value) => tasks::within(PATIENCE, &js_sys::Promise::resolve(&value)).await,
        Err(error) => Some(Err(error)),
    };
    match read {
        Some(Ok(text)) => Read::Value(text.as_string()),
        Some(Err(error)) => {
            let error = worker::Error::from(error);
            worker::console_error!("{key} in KV cannot be read: {error}");
            Read::Failed
        }
        None => {
            worker::console_error!("KV did not answer within {PATIENCE} ms");
            Read::Failed
        }
    }
}

/// Keeps a policy that proved to be valid, if it is not the one kept. Isolates do so seldom: when
/// they begin, and when the policy changes.
async fn keep(env: &Env, good: String) {
    let Read::Value(kept) = within_patience(env, KEY_OF_LAST_GOOD).await else {
        return;
    };
    if kept.as_ref() == Some(&good) {
        return;
    }
    let Ok(kv) = env.kv("POLICY") else { return };
    // As bytes: `put` would take a number too, and bring what formats one with a point.
    let put = match kv.put_bytes(KEY_OF_LAST_GOOD, good.as_bytes()) {
        Ok(put) => put.execute().await,
        Err(error) => Err(error),
    };
    if let Err(error) = put {
        worker::console_error!("the policy is not kept as the last good one: {error}");
    }
}

/// Goes over to another policy, if it is one. History that still applies is kept. Exchanges under
/// way keep the engine that began them. Returns the text of a policy from KV that is new and valid.
fn replace(text: Option<String>, env: &Env) -> Option<String> {
    NODE.with_borrow_mut(|node| {
        let node = node.as_mut()?;
        if node.text == text {
            return None;
        }
        let good = match Policy::read_published(text.as_deref().unwrap_or(BUILT_IN)) {
            Ok(policy) => {
                node.engine = node.engine.with_policy(policy);
                keys::know_secret(&node.engine, env);
                text.clone()
            }
            Err(error) => {
                worker::console_error!(
                    "the policy in KV is wrong, the current one stays:\n{error}"
                );
                None
            }
        };
        node.text = text;
        good
    })
}
