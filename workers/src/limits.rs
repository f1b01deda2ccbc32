//! Limits are charged: one Durable Object counts one key, with the core's own function.

use futures_util::future::join_all;
use tidegate_core::exchange::Settlement;
use tidegate_core::limit::lease::Leased;
use tidegate_core::limit::owing::Owing;
use tidegate_core::limit::round::{Ask, Layout, Place, Round};
use tidegate_core::limit::wire::{self, Question};
use tidegate_core::limit::{Act, Answer, Charge, Charged, SettledBy, StoreFault};
use tidegate_core::{Millis, Timestamp};
use worker::Env;

use crate::isolate_counters::{self, with_leases};
use crate::store::entry::hex;
use crate::{clock, objects};

/// Longest wait for a counter.
const PATIENCE: Millis = 1000;

/// Charges all limits or, if one refuses the request, none, as [`Round`] says.
pub(crate) async fn charge(env: &Env, charges: &[Charge], now: Timestamp) -> Vec<Charged> {
    let mut owing = Owing::take(charges, isolate_counters::take);
    let owed = owing.amounts(charges, now);
    let mut round = Round::new(charges, Layout::Each, &owed);
    loop {
        let asks = round.asks();
        if asks.is_empty() {
            isolate_counters::put_back(&owing.untold(), now);
            return round.finish();
        }
        let asked = asks.iter().map(|ask| {
            let acts = round.acts(*ask);
            async move { (answer(env, *ask, &acts, now).await, acts) }
        });
        for (ask, (answers, acts)) in asks.iter().zip(join_all(asked).await) {
            let untold = owing.asked(*ask, &acts, answers.is_ok());
            isolate_counters::put_back(&untold, now);
            round.answer(*ask, answers);
        }
    }
}

/// Does what the counters of a group are asked. Those that are apart each live by themselves here.
async fn answer(
    env: &Env,
    ask: Ask,
    acts: &[(Charge, Act)],
    now: Timestamp,
) -> Result<Vec<Answer>, StoreFault> {
    if ask.place == Place::Here {
        return Ok(isolate_counters::act(acts, now));
    }
    let mut answers = Vec::with_capacity(acts.len());
    for (charge, act) in acts {
        answers.push(match ask.place {
            Place::Leased(_) => leased(env, *act, charge, now).await?,
            Place::Here | Place::Apart(_) => counter(env, *act, charge, now).await?,
        });
    }
    Ok(answers)
}

/// Does what a counter is asked of which this isolate holds something, or takes more of it.
async fn leased(
    env: &Env,
    act: Act,
    charge: &Charge,
    now: Timestamp,
) -> Result<Answer, StoreFault> {
    let known = with_leases(|leases| leases.act(act, charge, now));
    let more = match known {
        Leased::Known(answer) => return Ok(answer),
        Leased::Ask(more) => more,
    };
    let lease = Act::Lease { most: more.most };
    match counter(env, lease, charge, now).await {
        Ok(given) => {
            let now = clock::now();
            Ok(with_leases(|leases| {
                leases.answered(act, charge, more, &given, now)
            }))
        }
        Err(fault) => {
            with_leases(|leases| leases.unanswered(charge, more));
            Err(fault)
        }
    }
}

/// Asks one counter.
async fn counter(
    env: &Env,
    act: Act,
    charge: &Charge,
    now: Timestamp,
) -> Result<Answer, StoreFault> {
    request(env, charge, act, now).await.map_err(|error| {
        worker::console_error!("counter of {}: {error}", charge.limit.name);
        StoreFault::Unreachable
    })
}

/// Takes out what this isolate holds of counters in advance and has not used for a while.
pub(crate) fn rests(now: Timestamp) -> Vec<(Charge, Act)> {
    with_leases(|leases| leases.rests(now, false))
}

/// Gives back what was taken in advance. What cannot be given back stays used.
pub(crate) async fn give_back(env: &Env, rests: Vec<(Charge, Act)>, now: Timestamp) {
    let given_back = rests
        .iter()
        .map(|(charge, act)| counter(env, *act, charge, now));
    join_all(given_back).await;
}

/// Does what counters are asked when an exchange has ended. A slot that cannot be given back expires.
pub(crate) async fn settle(env: &Env, settlements: &[Settlement], now: Timestamp) {
    let settled = settlements.iter().map(|settlement| async move {
        let (charge, act) = settlement;
        match charge.settled_by(*act) {
            SettledBy::Here => {
                isolate_counters::act(std::slice::from_ref(settlement), now);
            }
            SettledBy::Lease => {
                with_leases(|leases| leases.act(*act, charge, now));
            }
            SettledBy::Counter => {
                // What went wrong is in the log.
                let _ = counter(env, *act, charge, now).await;
            }
        }
    });
    join_all(settled).await;
}

async fn request(env: &Env, charge: &Charge, act: Act, now: Timestamp) -> Result<Answer, String> {
    let name = hex(charge.key.as_bytes());
    let ask = Question::new(act, charge, now).write();
    let answer = objects::ask(env, "LIMITS", &name, &ask, PATIENCE).await?;
    wire::read_answer(&answer).ok_or_else(|| format!("not understood: {answer}"))
}
