#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::sync::Arc;

use super::super::act::act;
use super::super::definition::Limit;
use super::super::key::CounterKey;
use super::super::quota::Quota;
use super::super::rule::{Budget, Rule, Windows};
use super::super::state::State;
use super::*;
use crate::hash;

const START: Timestamp = Timestamp::from_millis(1_700_000_040_000);

fn charge(rule: Rule, most: u64, cost: u64) -> Charge {
    let limit = Limit {
        mode: Mode::Leased { most },
        ..Limit::new("l", rule)
    };
    Charge {
        limit: Arc::new(limit),
        key: CounterKey::of(b"l"),
        home: 0,
        cost,
    }
}

fn rate(amount: u64, burst: u64) -> Rule {
    Rule::Rate(Quota {
        amount,
        period: 60_000,
        burst,
    })
}

/// A counter, and nodes that lease from it.
struct World {
    charge: Charge,
    counter: Option<State>,
    nodes: Vec<Lease>,
    /// How often the counter was asked.
    asked: u64,
}

impl World {
    fn new(charge: Charge, nodes: usize) -> Self {
        Self {
            charge,
            counter: None,
            nodes: vec![Lease::default(); nodes],
            asked: 0,
        }
    }

    fn counter(&mut self, what: Act, cost: u64, now: Timestamp) -> Answer {
        self.asked += 1;
        let terms = self.charge.limit.rule.terms(now);
        let (next, answer) = act(what, &terms, cost, self.counter, now);
        self.counter = next;
        answer
    }

    /// One request at a node; returns whether it passes.
    fn request(&mut self, node: usize, now: Timestamp) -> Answer {
        let charge = self.charge.clone();
        let asked = Act::Charge { owed: 0 };
        let answer = match self.nodes[node].act(asked, &charge, now) {
            Leased::Known(answer) => answer,
            Leased::Ask(more) => {
                let lease = Act::Lease { most: more.most };
                let given = self.counter(lease, charge.cost, now);
                self.nodes[node].answered(asked, &charge, more, &given, now)
            }
        };
        if let Some(more) = self.nodes[node].ask_ahead(&charge, now) {
            let lease = Act::Lease { most: more.most };
            let given = self.counter(lease, charge.cost, now);
            self.nodes[node].take_in(more, &given, now);
        }
        answer
    }

    fn sweep(&mut self, now: Timestamp, all: bool) {
        for node in 0..self.nodes.len() {
            if let Some(rest) = self.nodes[node].end(now, all) {
                self.counter(Act::Refund(rest.period_end), rest.amount, now);
            }
        }
    }
}

#[test]
fn a_busy_key_asks_seldom() {
    let mut world = World::new(charge(rate(120_000, 120_000), 6000, 1), 1);
    let mut passed = 0;
    for millis in 0..10_000 {
        let now = START.plus(millis);
        passed += u64::from(world.request(0, now).charged.allowed);
        if millis % 250 == 0 {
            world.sweep(now, false);
        }
    }
    assert_eq!(passed, 10_000);
    assert!(world.asked * 20 < passed, "{} questions", world.asked);
}

#[test]
fn a_key_over_its_limit_asks_seldom_too_and_waits_as_it_is_told() {
    let mut world = World::new(charge(rate(60, 10), 2, 1), 1);
    let mut refused = 0;
    for millis in 0..5000 {
        let answer = world.request(0, START.plus(millis));
        if !answer.charged.allowed {
            refused += 1;
            assert!((1..=1000).contains(&answer.charged.retry_after));
        }
    }
    assert!(refused > 4900, "{refused}");
    assert!(world.asked < 50, "{} questions", world.asked);
}

#[test]
fn nodes_ask_seldom_too_where_more_is_asked_for_than_there_is() {
    // A hundred a second, of which four nodes are asked for a thousand; and one in eight seconds.
    for (rule, most, earned) in [(rate(6000, 300), 50, 1300), (rate(60, 5), 2, 15)] {
        let mut world = World::new(charge(rule, most, 1), 4);
        let (mut passed, mut held) = (0, 0);
        for millis in 0..10_000 {
            let now = START.plus(millis);
            let node = usize::try_from(hash::draw(1, millis) % 4).unwrap();
            passed += u64::from(world.request(node, now).charged.allowed);
            if millis % 250 == 0 {
                world.sweep(now, false);
            }
        }
        for node in &world.nodes {
            held += node.left;
        }
        assert!(world.asked * 20 < 10_000, "{} questions", world.asked);
        // What was earned passes, but for what may have been earned since somebody has asked.
        assert!(passed + held >= earned - most, "{passed} of {earned}");
    }
}

#[test]
fn nodes_pass_no_more_than_the_quota_and_what_they_may_hold() {
    for seed in 0..60 {
        let draw = |n: u64| hash::draw(seed, n);
        let count = 1 + draw(0) % 4;
        let nodes = usize::try_from(count).unwrap();
        let (amount, burst) = (600 + draw(1) % 6000, 20 + draw(2) % 200);
        let cost = 1 + draw(3) % 3;
        let most = cost + draw(4) % 40;
        let mut world = World::new(charge(rate(amount, burst), most, cost), nodes);
        let mut passed: Vec<u64> = Vec::new();
        let mut millis = 0;
        for step in 0..4000 {
            millis += match draw(10 + step) % 50 {
                0 => 500 + draw(20_000 + step) % 2000,
                _ => draw(20_000 + step) % 8,
            };
            let now = START.plus(millis);
            let node = usize::try_from(draw(40_000 + step) % count).unwrap();
            if world.request(node, now).charged.allowed {
                passed.push(millis);
            }
            if draw(60_000 + step) % 100 == 0 {
                world.sweep(now, false);
            }
        }
        let held = most * count;
        for (first, begin) in passed.iter().enumerate().step_by(7) {
            for (last, end) in passed.iter().enumerate().skip(first).step_by(11) {
                let used = cost * u64::try_from(last - first + 1).unwrap();
                let earned = (end - begin) * amount / 60_000 + 1;
                assert!(used <= burst + earned + held, "seed {seed}: {used}");
            }
        }
    }
}

#[test]
fn what_is_not_used_within_a_second_is_given_back() {
    let budget = Rule::Budget(Budget {
        amount: 100,
        windows: Windows::Fixed(3_600_000),
    });
    let mut world = World::new(charge(budget, 50, 1), 2);
    for millis in 0..40 {
        assert!(world.request(0, START.plus(millis)).charged.allowed);
    }
    let held = world.nodes[0].left;
    assert!(held > 5, "{held}");
    world.sweep(START.plus(50), false);
    assert_eq!(world.nodes[0].left, held);
    world.sweep(START.plus(1100), false);
    assert_eq!(world.nodes[0].left, 0);
    let mut passed = 0;
    for millis in 2000..2200 {
        passed += u64::from(world.request(1, START.plus(millis)).charged.allowed);
    }
    assert_eq!(passed, 60);
}

#[test]
fn what_is_left_of_a_window_is_nothing_in_the_next_one() {
    let budget = Rule::Budget(Budget {
        amount: 100,
        windows: Windows::Fixed(1000),
    });
    let mut world = World::new(charge(budget, 50, 1), 1);
    for millis in 0..40 {
        world.request(0, START.plus(millis));
    }
    assert!(world.nodes[0].left > 0);
    let mut passed = 0;
    for millis in 1000..1400 {
        passed += u64::from(world.request(0, START.plus(millis)).charged.allowed);
    }
    assert_eq!(passed, 100);
}

#[test]
fn while_one_asks_for_more_others_ask_for_themselves() {
    let charge = charge(rate(600, 100), 50, 1);
    let mut lease = Lease::default();
    let act = Act::Charge { owed: 0 };
    let Leased::Ask(first) = lease.act(act, &charge, START) else {
        panic!("nothing is known");
    };
    let Leased::Ask(second) = lease.act(act, &charge, START) else {
        panic!("nothing is known");
    };
    assert_eq!((first.is_ahead, second.is_ahead), (true, false));
    lease.unanswered(first);
    let Leased::Ask(third) = lease.act(act, &charge, START) else {
        panic!("nothing is known");
    };
    assert!(third.is_ahead);
}

#[test]
fn a_refusal_does_not_carry_what_is_left_into_the_next_window() {
    let budget = Rule::Budget(Budget {
        amount: 10,
        windows: Windows::Fixed(60_000),
    });
    let charge = charge(budget, 10, 4);
    let mut world = World::new(charge.clone(), 1);
    let lease = &mut world.nodes[0];
    let asked = Act::Charge { owed: 0 };
    let Leased::Ask(more) = lease.act(asked, &charge, START) else {
        panic!("nothing is known");
    };
    let terms = charge.limit.rule.terms(START);
    // It is given five, and uses four.
    let (state, given) = act(Act::Lease { most: 5 }, &terms, 4, None, START);
    assert!(given.taken >= 4);
    lease.answered(asked, &charge, more, &given, START);
    lease.left = 1;
    // There is no more, and it is refused.
    let full = terms.owe(state, 10, START);
    let (_, refused) = act(Act::Lease { most: 4 }, &terms, 4, full, START);
    assert_eq!(refused.taken, 0);
    let Leased::Ask(more) = lease.act(asked, &charge, START) else {
        panic!("one is not enough");
    };
    lease.answered(asked, &charge, more, &refused, START);
    assert_eq!(lease.end(START.plus(60_000), true), None);
}
