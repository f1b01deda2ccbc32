#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::sync::Arc;

use super::super::definition::OnStoreError;
use super::super::key::CounterKey;
use super::super::quota::Quota;
use super::super::rule::Rule;
use super::super::state::State;
use super::super::{act_all, charge_all};
use super::*;
use crate::hash;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LAYOUTS: [Layout; 3] = [Layout::Together, Layout::ByHome, Layout::Each];

fn limit(name: &str, burst: u64, on_store_error: OnStoreError) -> Limit {
    let rule = Rule::Rate(Quota {
        amount: burst,
        period: 60_000,
        burst,
    });
    Limit {
        on_store_error,
        ..Limit::new(name, rule)
    }
}

fn charge(limit: Limit, home: u16) -> Charge {
    Charge {
        key: CounterKey::of(limit.name.as_bytes()),
        limit: Arc::new(limit),
        home,
        cost: 1,
    }
}

/// Counters of this node and of others, by the positions of the charges.
struct Counters {
    here: Vec<Option<State>>,
    apart: Vec<Option<State>>,
    /// Which of the charges cannot be asked elsewhere.
    lost: Option<usize>,
    /// What this node has let pass before.
    owed: u64,
    /// How often others were asked, all of the questions at once.
    round_trips: u64,
}

impl Counters {
    fn new(count: usize) -> Self {
        Self {
            here: vec![None; count],
            apart: vec![None; count],
            lost: None,
            owed: 0,
            round_trips: 0,
        }
    }

    fn carry_out(&mut self, charges: &[Charge], layout: Layout, now: Timestamp) -> Vec<Charged> {
        let mut round = Round::new(charges, layout, &[self.owed]);
        loop {
            let asks = round.asks();
            if asks.is_empty() {
                return round.finish();
            }
            self.round_trips += u64::from(asks.iter().any(|ask| !ask.place.is_near()));
            for ask in asks {
                let answers = self.answer(charges, &round, ask, now);
                round.answer(ask, answers);
            }
        }
    }

    fn answer(
        &mut self,
        charges: &[Charge],
        round: &Round,
        ask: Ask,
        now: Timestamp,
    ) -> Result<Vec<Answer>, StoreFault> {
        let acts = round.acts(ask);
        let mut places = Vec::new();
        for (charge, _) in &acts {
            let at = charges.iter().position(|c| c.key == charge.key).unwrap();
            if self.lost == Some(at) && !ask.place.is_near() {
                return Err(StoreFault::Slow);
            }
            places.push(at);
        }
        let states = if ask.place.is_near() {
            &mut self.here
        } else {
            &mut self.apart
        };
        let mut asked: Vec<Option<State>> = places.iter().map(|at| states[*at]).collect();
        let answers = act_all(&acts, &mut asked, now);
        for (at, state) in places.into_iter().zip(asked) {
            states[at] = state;
        }
        Ok(answers)
    }
}

#[test]
fn a_round_says_and_does_what_charging_all_at_once_does() {
    for seed in 0..600 {
        let draw = |n: u64| hash::draw(seed, n);
        let layout = LAYOUTS[usize::try_from(seed % 3).unwrap()];
        let count = 1 + draw(0) % 4;
        let mut charges = Vec::new();
        for i in 0..count {
            let mut limit = limit(&i.to_string(), 1 + draw(20 + i) % 4, OnStoreError::Allow);
            limit.dry_run = draw(10 + i) % 4 == 0;
            if draw(40 + i) % 3 == 0 {
                limit.mode = Mode::Local;
            }
            charges.push(charge(limit, u16::try_from(draw(50 + i) % 2).unwrap()));
        }
        let mut counters = Counters::new(charges.len());
        let mut together = vec![None; charges.len()];
        for step in 0..12 {
            let now = NOW.plus(step * (draw(30) % 30_000));
            let expected = charge_all(&charges, &mut together, now);
            let told = counters.carry_out(&charges, layout, now);
            let is_refused = (charges.iter().zip(&expected))
                .any(|(charge, verdict)| charge.refuses(Charged::Verdict(*verdict)));
            let refuses = |(charge, told): (&Charge, &Charged)| charge.refuses(*told);
            assert_eq!(charges.iter().zip(&told).any(refuses), is_refused);
            for (told, expected) in told.into_iter().zip(expected) {
                // Whoever has refused a request stands for those that were not asked.
                if !(is_refused && told == Charged::Unasked) {
                    assert_eq!(told, Charged::Verdict(expected), "seed {seed}, step {step}");
                }
            }
            for (at, charge) in charges.iter().enumerate() {
                let states = match charge.limit.mode {
                    Mode::Local => &counters.here,
                    Mode::Exact | Mode::Leased { .. } => &counters.apart,
                };
                // A state that is spent says the same as none.
                let terms = charge.limit.rule.terms(now);
                let said = |state: Option<State>| terms.peek(state, 1, now);
                assert_eq!(
                    said(states[at]),
                    said(together[at]),
                    "seed {seed}, step {step}"
                );
            }
        }
    }
}

#[test]
fn counters_that_are_kept_together_cost_one_round_trip() {
    let mut charges = Vec::new();
    for (name, home, mode) in [
        ("a", 1, Mode::Exact),
        ("b", 1, Mode::Exact),
        ("c", 2, Mode::Local),
    ] {
        let mut limit = limit(name, 2, OnStoreError::Allow);
        limit.mode = mode;
        charges.push(charge(limit, home));
    }
    for (layout, round_trips) in [
        (Layout::Together, 1),
        (Layout::ByHome, 1),
        (Layout::Each, 2),
    ] {
        let mut counters = Counters::new(3);
        counters.carry_out(&charges, layout, NOW);
        assert_eq!(counters.round_trips, round_trips, "{layout:?}");
    }
}

#[test]
fn a_counter_that_cannot_be_reached_is_asked_once_and_counts_as_its_limit_says() {
    for layout in [Layout::ByHome, Layout::Each] {
        for (on_store_error, used) in [(OnStoreError::Allow, 1), (OnStoreError::Deny, 0)] {
            let charges = [
                charge(limit("reached", 4, OnStoreError::Allow), 1),
                charge(limit("lost", 4, on_store_error), 2),
            ];
            let mut counters = Counters::new(2);
            counters.lost = Some(1);
            let told = counters.carry_out(&charges, layout, NOW);
            assert_eq!(told[1], Charged::Unavailable(StoreFault::Slow));
            let terms = charges[0].limit.rule.terms(NOW);
            let left = terms.peek(counters.apart[0], 1, NOW).remaining;
            assert_eq!(left, 4 - used, "{on_store_error:?}");
        }
    }
}

#[test]
fn a_node_counts_its_share_while_the_counter_cannot_be_asked_and_tells_it_afterwards() {
    let charges = [charge(
        limit("shared", 8, OnStoreError::Local { share: 50 }),
        1,
    )];
    let mut counters = Counters::new(1);
    counters.lost = Some(0);
    let mut passed = 0;
    for _ in 0..10 {
        match counters.carry_out(&charges, Layout::Together, NOW)[0] {
            Charged::Local(verdict, StoreFault::Slow) => passed += u64::from(verdict.allowed),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(passed, 4, "half of the quota");
    let terms = charges[0].instead().unwrap().limit.rule.terms(NOW);
    counters.owed = terms.owed(counters.here[0].unwrap(), NOW);
    assert_eq!(counters.owed, 4);
    counters.lost = None;
    let told = counters.carry_out(&charges, Layout::Together, NOW);
    match told[0] {
        Charged::Verdict(verdict) => assert_eq!(verdict.remaining, 3),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_by_another_limit_gives_a_share_back() {
    let charges = [
        charge(limit("narrow", 1, OnStoreError::Allow), 1),
        charge(limit("shared", 8, OnStoreError::Local { share: 100 }), 2),
    ];
    let mut counters = Counters::new(2);
    counters.lost = Some(1);
    let told = counters.carry_out(&charges, Layout::Each, NOW);
    assert!(matches!(told[1], Charged::Local(verdict, _) if verdict.allowed));
    let told = counters.carry_out(&charges, Layout::Each, NOW);
    assert!(matches!(told[0], Charged::Verdict(verdict) if !verdict.allowed));
    let terms = charges[1].limit.rule.terms(NOW);
    assert_eq!(terms.owed(counters.here[1].unwrap(), NOW), 1);
}
