//! Limits are charged: one Durable Object counts one key, with the core's own function.

use futures_util::future::join_all;
use tidegate_core::limit::round::{Layout, Round};
use tidegate_core::limit::{Act, Answer, Charge, Charged, Slot, StoreFault};
use tidegate_core::{Millis, Timestamp};
use worker::Env;

use crate::limit_counter::{self, Ask};
use crate::objects;
use crate::store::entry::hex;

/// Longest wait for a counter.
const PATIENCE: Millis = 1000;

/// Charges all limits or, if one refuses the request, none, as [`Round`] says.
pub(crate) async fn charge(env: &Env, charges: &[Charge], now: Timestamp) -> Vec<Charged> {
    let mut round = Round::new(charges, Layout::Each, &[]);
    loop {
        let asks = round.asks();
        if asks.is_empty() {
            return round.finish();
        }
        let asked = asks.iter().map(|ask| answer(env, round.acts(*ask), now));
        for (ask, answers) in asks.iter().zip(join_all(asked).await) {
            round.answer(*ask, answers);
        }
    }
}

/// Does what the counters of a group are asked. Each of them lives by itself here.
async fn answer(
    env: &Env,
    acts: Vec<(Charge, Act)>,
    now: Timestamp,
) -> Result<Vec<Answer>, StoreFault> {
    let mut answers = Vec::with_capacity(acts.len());
    for (charge, act) in acts {
        match request(env, &charge, act, now).await {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                worker::console_error!("counter of {}: {error}", charge.limit.name);
                return Err(StoreFault::Unreachable);
            }
        }
    }
    Ok(answers)
}

/// Gives back slots. One that cannot be given back expires.
pub(crate) async fn release(env: &Env, slots: &[Slot], now: Timestamp) {
    let released = slots.iter().map(|slot| async move {
        let act = Act::Refund(slot.period_end);
        if let Err(error) = request(env, &slot.charge, act, now).await {
            let name = &slot.charge.limit.name;
            worker::console_error!("a slot of {name} is not given back: {error}");
        }
    });
    join_all(released).await;
}

async fn request(env: &Env, charge: &Charge, act: Act, now: Timestamp) -> Result<Answer, String> {
    let name = hex(charge.key.as_bytes());
    let ask = Ask::new(act, charge, now).write();
    let answer = objects::ask(env, "LIMITS", &name, &ask, PATIENCE).await?;
    limit_counter::read_answer(&answer).ok_or_else(|| format!("not understood: {answer}"))
}
