//! The isolate's own state: the engine, and the policy that it runs.
//!
//! The policy is compiled in; the value of the key `policy` in the KV namespace `POLICY` replaces it. The first requests of an isolate wait for
//! that value, for a bounded time; later it is read again once a minute, and no request waits.

use std::cell::RefCell;

use tidegate_core::{Engine, Millis, Policy, PolicyError, Timestamp};
use worker::{Context, Env, Result};

use crate::clock;

const BUILT_IN: &str = include_str!("../../examples/edge.toml");

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
    match known {
        None => first(env, now).await,
        Some((engine, due)) => {
            if let Some(ctx) = ctx.filter(|_| due) {
                let env = env.clone();
                ctx.wait_until(async move {
                    if let Some(text) = read(&env).await {
                        replace(text);
                    }
                });
            }
            Ok(engine)
        }
    }
}

async fn first(env: &Env, now: Timestamp) -> Result<Engine> {
    let text = clock::within(PATIENCE, Box::pin(read(env))).await.flatten().flatten();
    let policy = parse("examples/edge.toml", BUILT_IN).map_err(|error| error.to_string())?;
    // Another request may have been faster.
    let engine = NODE.with_borrow_mut(|node| {
        let make = || Node { engine: Engine::new(policy, u64::from_le_bytes(clock::random())), text: None, asked: now };
        node.get_or_insert_with(make).engine.clone()
    });
    Ok(if text.is_some() { replace(text).unwrap_or(engine) } else { engine })
}

/// Reads the policy's text; `None` if KV cannot be read, `Some(None)` if it has none.
async fn read(env: &Env) -> Option<Option<String>> {
    let kv = env.kv("POLICY").ok()?;
    match kv.get("policy").cache_ttl(ASKED_EVERY / 1000).text().await {
        Ok(text) => Some(text),
        Err(error) => {
            worker::console_error!("the policy in KV cannot be read: {error}");
            None
        }
    }
}

/// Goes over to another policy, if it is one. History that still applies is kept. Exchanges under way keep the engine that began them.
fn replace(text: Option<String>) -> Option<Engine> {
    NODE.with_borrow_mut(|node| {
        let node = node.as_mut()?;
        if node.text == text {
            return Some(node.engine.clone());
        }
        let (file, source) = text.as_deref().map_or(("examples/edge.toml", BUILT_IN), |text| ("KV:policy", text));
        match parse(file, source) {
            Ok(policy) => node.engine = node.engine.with_policy(policy),
            Err(error) => worker::console_error!("the policy in KV is wrong, the current one stays:\n{error}"),
        }
        node.text = text;
        Some(node.engine.clone())
    })
}

fn parse(file: &str, text: &str) -> std::result::Result<Policy, PolicyError> {
    Policy::parse(file, text)
}
