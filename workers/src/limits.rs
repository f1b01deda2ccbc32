//! Limits are charged: one Durable Object counts one key, with the core's own function.

use futures_util::future::join_all;
use tidegate_core::limit::{Charge, Charged, order_of_charging};
use tidegate_core::{Millis, Timestamp};
use worker::{Env, Method, Request, RequestInit, Result};

use crate::clock;
use crate::limit_counter::{Act, Answer, Ask};
use crate::store::entry::hex;

/// Longest wait for a counter.
const PATIENCE: Millis = 1000;

/// Charges all limits or, if one refuses the request, none, as [`tidegate_core::limit::charge_all`]
/// does.
///
/// The first counter is charged while the others are looked at; only when all of them allow the
/// request are those charged too, one after the other. So a request that is refused has used
/// nothing of a limit which it shares with others, and what it has used of its own is given back.
/// It costs one round trip for each limit.
pub(crate) async fn charge(env: &Env, charges: &[Charge], now: Timestamp) -> Vec<Charged> {
    let order = order_of_charging(charges);
    let first = order.first().copied();
    let act = |at: usize| {
        if first == Some(at) {
            Act::Charge
        } else {
            Act::Peek
        }
    };
    let mut answers = join_all(
        charges
            .iter()
            .enumerate()
            .map(|(at, charge)| ask(env, charge, act(at), now)),
    )
    .await;
    let mut taken: Vec<usize> = first.into_iter().collect();
    if !refused(charges, &answers) {
        for at in order.into_iter().skip(1) {
            let Some((charge, answer)) = charges.get(at).zip(answers.get_mut(at)) else {
                continue;
            };
            // Who has not answered once is not waited for again, and a dry run that refuses uses
            // nothing.
            if !answer.is_some_and(|answer| answer.allows()) {
                continue;
            }
            *answer = ask(env, charge, Act::Charge, now).await;
            taken.push(at);
            if charge.refuses(charged(answer.as_ref())) {
                break;
            }
        }
    }
    if !refused(charges, &answers) {
        return answers
            .iter()
            .map(|answer| charged(answer.as_ref()))
            .collect();
    }
    let used = |at: &usize| {
        answers
            .get(*at)
            .is_some_and(|answer| answer.is_some_and(|answer| answer.allows()))
    };
    let given_back = taken
        .iter()
        .filter(|at| used(at))
        .filter_map(|at| charges.get(*at));
    join_all(given_back.map(|charge| ask(env, charge, Act::Refund, now))).await;
    answers
        .iter()
        .map(|a| {
            a.as_ref()
                .map_or(Charged::Unavailable, |a| Charged::Verdict(a.checked.into()))
        })
        .collect()
}

fn charged(answer: Option<&Answer>) -> Charged {
    answer.map_or(Charged::Unavailable, |answer| {
        Charged::Verdict(answer.charged.into())
    })
}

fn refused(charges: &[Charge], answers: &[Option<Answer>]) -> bool {
    charges
        .iter()
        .zip(answers)
        .any(|(charge, answer)| charge.refuses(charged(answer.as_ref())))
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
            worker::console_error!(
                "counter of {}: no answer within {PATIENCE} ms",
                charge.limit.name
            );
            None
        }
    }
}

async fn request(env: &Env, charge: &Charge, act: Act, now: Timestamp) -> Result<Answer> {
    let counter = env
        .durable_object("LIMITS")?
        .get_by_name(&hex(charge.key.as_bytes()))?;
    let ask = serde_json::to_string(&Ask::new(act, charge, now))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(ask.into()));
    let mut response = counter
        .fetch_with_request(Request::new_with_init("https://limits/", &init)?)
        .await?;
    Ok(serde_json::from_str(&response.text().await?)?)
}
