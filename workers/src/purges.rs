//! What other isolates have purged, and what they are told of ours.
//!
//! The purges are numbered by one Durable Object. An isolate asks it again when what it knows is
//! older than [`KNOWN_FOR`], before it uses what it finds in the store; so a purge counts
//! everywhere within that time and the [`PATIENCE`] of the one who asks for all. Without the
//! binding `PURGES` nobody could order them: operators' purges are refused, and a change removes
//! only what a GET like it would get, from the cache of its data centre.

use std::cell::Cell;

use tidegate_core::purge::{NumberedPurge, Purge};
use tidegate_core::{Engine, Millis, Reply, Timestamp};
use worker::{Env, Result};

use crate::purge_log::{Ask, read_purges};
use crate::{clock, objects};

/// How long an isolate trusts what it knows.
const KNOWN_FOR: Millis = 2000;

/// Longest wait for the log.
const PATIENCE: Millis = 1000;

thread_local! {
    /// When the log was last asked.
    static ASKED: Cell<Option<Timestamp>> = const { Cell::new(None) };
}

/// Makes sure that the engine knows what has been purged; says whether it does. If not, nothing
/// stored may be used.
pub(crate) async fn known(env: &Env, engine: &Engine) -> bool {
    let now = clock::now();
    let before = ASKED.get();
    if before.is_some_and(|asked| now.since(asked) < KNOWN_FOR) {
        return true;
    }
    if !has_log(env) {
        return true;
    }
    if before.is_some() {
        // Others of this moment need not ask too.
        ASKED.set(Some(now));
    }
    match ask(env, engine, Vec::new()).await {
        Ok(made) => {
            engine.learn(&made);
            ASKED.set(Some(now));
            true
        }
        Err(error) => {
            worker::console_error!("the log of purges: {error}");
            ASKED.set(None);
            false
        }
    }
}

/// Makes the purges of a reply, everywhere.
pub(crate) async fn apply_purges(env: &Env, engine: &Engine, reply: &mut Reply) {
    if reply.purges.is_empty() {
        return;
    }
    if !has_log(env) {
        return reply.purges.clear();
    }
    match ask(
        env,
        engine,
        reply
            .purges
            .iter()
            .flat_map(|purge| engine.prepare(purge))
            .collect(),
    )
    .await
    {
        Ok(made) => engine.apply_numbered(reply, &made),
        Err(error) => {
            worker::console_error!(
                "the log of purges: {error}; only this isolate knows of a change"
            );
            engine.apply_provisionally(reply);
        }
    }
}

/// Makes an operator's purges, everywhere; says whether there is a log to tell.
pub(crate) async fn make(env: &Env, engine: &Engine, purges: &[Purge]) -> Result<bool> {
    if !has_log(env) {
        return Ok(false);
    }
    engine.learn(
        &ask(
            env,
            engine,
            purges
                .iter()
                .flat_map(|purge| engine.prepare(purge))
                .collect(),
        )
        .await?,
    );
    Ok(true)
}

fn has_log(env: &Env) -> bool {
    objects::is_bound(env, "PURGES")
}

async fn ask(env: &Env, engine: &Engine, make: Vec<NumberedPurge>) -> Result<Vec<NumberedPurge>> {
    let since = engine.last_purge();
    let ask = Ask { since, make }.write();
    let answer = objects::ask(env, "PURGES", "all", &ask, PATIENCE).await?;
    Ok(read_purges(&answer).ok_or("its answer is not understood")?)
}
