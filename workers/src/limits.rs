//! Limits are charged: one Durable Object counts one key, with the core's own function.

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tidegate_core::limit::{Charge, Charged, Verdict};
use tidegate_core::{Millis, Timestamp};
use worker::{Env, Method, Request, RequestInit, Result};

use crate::clock;
use crate::limit_counter::{Act, Answer, Ask};
use crate::store::entry::hex;

/// Longest wait for a counter.
const PATIENCE: Millis = 1000;

/// Charges all limits or, if one refuses the request, none, as [`tidegate_core::limit::charge_all`] does.
///
/// All counters are charged at once, which is one round trip for nearly every request. Only when one refuses, the others are given back what they
/// took, and say what they had said before.
pub(crate) async fn charge(env: &Env, charges: &[Charge], now: Timestamp) -> Vec<Charged> {
    let answers = join_all(charges.iter().map(|charge| ask(env, charge, Act::Charge, now))).await;
    let said: Vec<Charged> = answers
        .iter()
        .map(|a| a.as_ref().map_or(Charged::Unavailable, |a| Charged::Verdict(a.charged.into())))
        .collect();
    if !charges.iter().zip(&said).any(|(charge, answer)| charge.refuses(*answer)) {
        return said;
    }
    let taken = charges.iter().zip(&said).filter(|(_, a)| matches!(a, Charged::Verdict(Verdict { allowed: true, .. })));
    join_all(taken.map(|(charge, _)| ask(env, charge, Act::Refund, now))).await;
    answers.iter().map(|a| a.as_ref().map_or(Charged::Unavailable, |a| Charged::Verdict(a.checked.into()))).collect()
}

/// Asks one counter; `None` if it does not answer in time.
async fn ask(env: &Env, charge: &Charge, act: Act, now: Timestamp) -> Option<Answer> {
    let asked = Box::pin(request(env, charge, act, now));
    match clock::within(PATIENCE, asked).await {
        Some(Ok(answer)) => Some(answer),
        Some(Err(error)) => {
            worker::console_error!("counter of {}: {error}", charge.limit.name);
            None
        }
        None => {
            worker::console_error!("counter of {}: no answer within {PATIENCE} ms", charge.limit.name);
            None
        }
    }
}

async fn request(env: &Env, charge: &Charge, act: Act, now: Timestamp) -> Result<Answer> {
    let counter = env.durable_object("LIMITS")?.get_by_name(&hex(&Sha256::digest(&charge.key)))?;
    let ask = serde_json::to_string(&Ask::new(act, charge, now))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(ask.into()));
    let mut response = counter.fetch_with_request(Request::new_with_init("https://limits/", &init)?).await?;
    Ok(serde_json::from_str(&response.text().await?)?)
}
