#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::key::CounterKey;
use super::super::lease::Leased;
use super::super::leases::Leases;
use super::super::{
    Act, Budget, Charge, Cost, Mode, Plan, Quota, Rule, Slots, State, Verdict, Windows, act,
    charge_all,
};
use super::*;
use crate::hash;
use crate::packed::{Packed, Unpacking};
use crate::time::{Millis, Timestamp};

const START: Timestamp = Timestamp::from_millis(1_700_000_040_000);

fn rate(amount: u64, period: Millis, burst: u64) -> Rule {
    Rule::Rate(Quota {
        amount,
        period,
        burst,
    })
}

fn plan(name: &str, rule: Rule, mode: Mode) -> Plan {
    Plan {
        name: name.into(),
        rule,
        cost: Cost::fixed(1),
        mode,
    }
}

/// A limit with two plans, which each have their own amount in advance.
fn limit() -> Limit {
    let leased = |most| Mode::Leased { most };
    let limit = Limit {
        mode: leased(1),
        ..Limit::new("l", rate(10, 60_000, 10))
    };
    let plans = vec![
        plan("silver", rate(100, 60_000, 100), leased(10)),
        plan("gold", rate(1000, 60_000, 1000), leased(100)),
    ];
    limit.with_plans(KeyPart::Country, plans)
}

fn charge(limit: &Arc<Limit>) -> Charge {
    Charge {
        limit: Arc::clone(limit),
        key: CounterKey::of(b"l"),
        home: 0,
        cost: 1,
    }
}

#[test]
fn what_was_packed_has_the_name_and_the_plans_that_it_had() {
    let limit = limit();
    let mut packed = Vec::new();
    limit.pack(&mut packed);
    let mut from = Unpacking::of(&packed);
    let read = Limit::unpack(&mut from);
    assert!(from.ended_well());
    assert_eq!(read, limit);
    let names: Vec<_> = read.limits_of_plans().iter().map(|l| &l.plan).collect();
    assert_eq!(names, [&Some("gold".into()), &Some("silver".into())]);
    for plan in read.limits_of_plans() {
        assert!(Arc::ptr_eq(&plan.name, &read.name), "one name");
        assert_eq!(plan.plans, None, "plans have no plans");
    }
}

#[test]
fn what_is_held_of_one_plan_in_advance_is_no_use_of_another() {
    let limit = Arc::new(limit());
    let [gold, silver] = limit.limits_of_plans() else {
        panic!("two plans")
    };
    let (gold, silver) = (charge(gold), charge(silver));
    let take = Act::Charge { owed: 0 };
    let mut leases = Leases::bounded(10);
    let Leased::Ask(more) = leases.act(take, &gold, START) else {
        panic!("nothing is held yet")
    };
    let lease = Act::Lease { most: 100 };
    let terms = gold.limit.rule.terms(START);
    let (_, given) = act(lease, &terms, 1, None, START);
    assert_eq!(given.taken, 100);
    leases.answered(take, &gold, more, &given, START);
    assert!(matches!(leases.act(take, &gold, START), Leased::Known(_)));
    assert!(matches!(leases.act(take, &silver, START), Leased::Ask(_)));
    // What is given back is given back as it was taken.
    let rests = leases.rests(START.plus(2000), true);
    let [(rest, _)] = &rests[..] else {
        panic!("{rests:?}")
    };
    assert_eq!((&rest.limit, rest.cost), (&gold.limit, 98));
}

/// Draws quotas that differ in everything.
fn any_quota(seed: u64, n: u64) -> Quota {
    let draw = |more| hash::draw(seed, n * 8 + more);
    let period = match draw(0) % 3 {
        0 => 1000,
        1 => 60_000,
        _ => 3_600_000,
    };
    Quota {
        amount: 1 + draw(1) % 1000,
        period,
        burst: 1 + draw(2) % 500,
    }
}

/// How long a quota takes to earn a burst, and to earn one of it, in nanoseconds.
fn times(quota: &Quota) -> (u64, u64) {
    let interval = quota.period * 1_000_000 / quota.amount;
    (interval * quota.burst, interval)
}

/// Charges a counter as shells do.
fn ask(rule: &Rule, state: &mut Option<State>, cost: u64, now: Timestamp) -> Verdict {
    let charge = Charge {
        cost,
        ..charge(&Arc::new(Limit::new("l", rule.clone())))
    };
    let mut states = [*state];
    let verdict = charge_all(&[charge], &mut states, now)
        .first()
        .copied()
        .unwrap();
    let [after] = states;
    *state = after;
    verdict
}

/// What `docs/rate-limits.md` promises of rates that change, under "Changing a limit".
#[test]
fn a_rate_that_changes_keeps_what_was_used_within_its_bound() {
    for seed in 0..400 {
        let (mut state, mut now) = (None, START);
        let mut quota = any_quota(seed, 0);
        // In nanoseconds: what was used, what changes have forgiven, and what was earned.
        let (mut used, mut forgiven, mut earned) = (0, 0, 0);
        for step in 1..400 {
            let draw = |more| hash::draw(seed, step * 8 + more);
            if draw(3) % 4 == 0 {
                let next = any_quota(seed, step);
                forgiven += times(&quota).0.saturating_sub(times(&next).0);
                quota = next;
            }
            let passed = draw(4) % 200;
            now = now.plus(passed);
            earned += passed * 1_000_000;
            let cost = 1 + draw(5) % quota.burst.min(20);
            let (burst, interval) = times(&quota);
            let verdict = ask(&Rule::Rate(quota), &mut state, cost, now);
            if verdict.allowed {
                used += cost * interval;
                assert!(
                    used <= burst + earned + forgiven,
                    "seed {seed}, step {step}"
                );
            }
            let most = (cost * interval).div_ceil(1_000_000);
            assert!(verdict.retry_after <= most, "seed {seed}, step {step}");
            let whole = burst.div_ceil(1_000_000);
            assert!(verdict.reset <= whole, "seed {seed}, step {step}");
        }
    }
}

#[test]
fn bursts_that_come_back_equally_fast_give_nothing_to_whoever_changes_all_the_time() {
    let quotas = [
        rate(10, 60_000, 10),
        rate(600, 60_000, 600),
        rate(1, 1000, 60),
    ];
    for seed in 0..4 {
        let (mut state, mut passed) = (None, 0);
        for step in 0..30_000 {
            let draw = hash::draw(seed, step) % 3;
            let rule = quotas.get(usize::try_from(draw).unwrap()).unwrap();
            passed += u64::from(ask(rule, &mut state, 1, START.plus(step)).allowed);
        }
        // The best of the three: 600, and one each 100 ms.
        assert!(passed <= 600 + 300, "seed {seed}: {passed}");
    }
}

/// Why `tidegate check` notes plans whose bursts come back after different times.
#[test]
fn whoever_goes_to_and_fro_between_other_bursts_gets_what_the_shorter_one_forgives() {
    let (long, short) = (rate(10, 60_000, 10), rate(10_000, 60_000, 500));
    let (mut state, mut of_long) = (None, 0);
    for round in 0..100 {
        let now = START.plus(round * 6);
        ask(&short, &mut state, 1, now);
        while ask(&long, &mut state, 1, now).allowed {
            of_long += 1;
        }
    }
    assert_eq!(of_long, 9 * 100);
}

#[test]
fn budgets_and_slots_that_change_count_all_that_was_used() {
    let fixed = Windows::Fixed(60_000);
    let sliding = Windows::Sliding(60_000);
    for seed in 0..300 {
        for windows in [Some(&fixed), Some(&sliding), None] {
            let (mut state, mut now) = (None, START);
            let mut used: Vec<(Timestamp, u64)> = Vec::new();
            for step in 0..200_u64 {
                let draw = |more| hash::draw(seed, step * 8 + more);
                now = now.plus(draw(0) % 2000);
                let amount = 1 + draw(1) % 30;
                let cost = 1 + draw(2) % amount.min(5);
                let rule = match windows {
                    Some(windows) => Rule::Budget(Budget {
                        amount,
                        windows: windows.clone(),
                    }),
                    // Nobody gives slots back here: they count for a period more.
                    None => Rule::Slots(Slots {
                        amount,
                        held_max: 60_000,
                    }),
                };
                let begin = now.as_millis() / 60_000 * 60_000;
                let since = if windows.is_none() {
                    begin - 60_000
                } else {
                    begin
                };
                used.retain(|(at, _)| at.as_millis() >= since);
                let before: u64 = used.iter().map(|(_, cost)| cost).sum();
                let verdict = ask(&rule, &mut state, cost, now);
                let fits = before + cost <= amount;
                assert!(fits || !verdict.allowed, "seed {seed}, step {step}");
                // A window that slides counts a part of the one before, too.
                let counts_more = windows == Some(&sliding);
                assert!(
                    !fits || verdict.allowed || counts_more,
                    "seed {seed}, step {step}"
                );
                if verdict.allowed {
                    used.push((now, cost));
                }
            }
        }
    }
}
