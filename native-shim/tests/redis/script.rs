//! The script in Redis does what the core does: the same charges on both, and the states compared.

use redis::{Connection, Script};
use tidegate_core::hash::draw;
use tidegate_core::limit::calendar::{Calendar, Unit, Zone};
use tidegate_core::limit::key::CounterKey;
use tidegate_core::limit::script::Told;
use tidegate_core::limit::{
    Act, Budget, Charge, Limit, Quota, Rule, Slots, State, Windows, act_all, script,
};
use tidegate_core::{Millis, Timestamp};

use std::sync::Arc;

use crate::servers::{Server, can_run};

const START: u64 = 1_790_000_000_000;
const PERIODS: [Millis; 5] = [1000, 60_000, 3_600_000, 86_400_000, 604_800_000];
const UNITS: [Unit; 6] = [
    Unit::Second,
    Unit::Minute,
    Unit::Hour,
    Unit::Day,
    Unit::Week,
    Unit::Month,
];

/// How many charges are compared. The long form is run by setting another number.
fn charges() -> u64 {
    let said = std::env::var("TIDEGATE_CHARGES").ok();
    said.and_then(|count| count.parse().ok()).unwrap_or(20_000)
}

/// One counter, whose quota changes now and then.
struct Counter {
    kind: u64,
    period: Millis,
    unit: Unit,
    key: CounterKey,
    state: Option<State>,
    /// Ends of periods that charges were told.
    periods: Vec<Timestamp>,
}

impl Counter {
    fn new(seed: u64, number: u64) -> Self {
        let pick = |n: u64, count: usize| usize::try_from(draw(seed, n)).unwrap_or(0) % count;
        Self {
            kind: number % 5,
            period: PERIODS[pick(number * 10, PERIODS.len())],
            unit: UNITS[pick(number * 10 + 1, UNITS.len())],
            key: CounterKey::of(&[seed.to_le_bytes(), number.to_le_bytes()].concat()),
            state: None,
            periods: vec![Timestamp::default()],
        }
    }

    fn rule(&self, seed: u64, n: u64) -> Rule {
        // Small amounts most of the time, so that much is refused.
        let amount = match draw(seed, n) % 8 {
            0 => 1,
            1 => 1_000_000_000,
            2 => 1 + draw(seed, n + 1) % 1_000_000_000,
            _ => 1 + draw(seed, n + 1) % 40,
        };
        let period = self.period;
        match self.kind {
            0 => Rule::Rate(Quota {
                amount,
                period,
                burst: (1 + draw(seed, n + 2) % 60).min(amount.saturating_mul(1000)),
            }),
            1 => Rule::Budget(Budget {
                amount,
                windows: Windows::Fixed(period),
            }),
            2 => Rule::Budget(Budget {
                amount,
                windows: Windows::Sliding(period),
            }),
            3 => Rule::Budget(Budget {
                amount,
                windows: Windows::Calendar(Calendar {
                    unit: self.unit,
                    zone: Arc::new(Zone::utc()),
                }),
            }),
            _ => Rule::Slots(Slots {
                amount,
                held_max: period,
            }),
        }
    }
}

fn charge(rule: Rule, key: CounterKey, cost: u64, dry_run: bool) -> Charge {
    Charge {
        limit: Arc::new(Limit {
            dry_run,
            ..Limit::new("l", rule)
        }),
        key,
        home: 0,
        cost,
    }
}

/// A state that says nothing is none.
fn plain(state: Option<State>) -> Option<State> {
    state.filter(|state| state.until > 0)
}

fn run(
    connection: &mut Connection,
    script: &Script,
    acts: &[(Charge, Act)],
    now: Timestamp,
) -> Vec<Option<State>> {
    let told: Vec<Told> = acts
        .iter()
        .map(|(charge, act)| Told::of(charge, *act, now))
        .collect();
    let mut arguments = script::arguments(&told, now, None);
    // The times of this test are not those of the server, so nothing may expire.
    "100000000000000".clone_into(&mut arguments[3]);
    let mut invocation = script.prepare_invoke();
    for (charge, _) in acts {
        invocation.key(format!("{{}}{:?}", charge.key));
    }
    for argument in arguments {
        invocation.arg(argument);
    }
    let (_, found): (u64, Vec<String>) = {
        let said: Vec<redis::Value> = invocation.invoke(connection).unwrap();
        let (time, states) = said.split_first().unwrap();
        let states = states.iter().cloned();
        (
            redis::from_redis_value(time.clone()).unwrap(),
            states
                .map(|state| redis::from_redis_value(state).unwrap())
                .collect(),
        )
    };
    found.iter().map(|text| script::read_state(text)).collect()
}

fn act(errand: u64, counter: &Counter, cost: u64, seed: u64, n: u64) -> Act {
    match errand {
        0 => Act::Peek,
        1 => {
            let which = usize::try_from(draw(seed, n)).unwrap_or(0) % counter.periods.len();
            Act::Refund(counter.periods[which])
        }
        2 => Act::Lease {
            most: cost + draw(seed, n) % 50,
        },
        _ => Act::Charge {
            owed: (draw(seed, n) % 20).saturating_sub(15),
        },
    }
}

#[test]
fn the_script_does_what_the_core_does() {
    if !can_run() {
        return;
    }
    let server = Server::start(&[]);
    let client = redis::Client::open(format!("redis://{}/", server.address())).unwrap();
    let mut connection = client.get_connection().unwrap();
    let script = Script::new(script::CHARGE);
    let mut done = 0;
    let mut seed = 0;
    let (mut allowed, mut refused) = (0_u64, 0_u64);
    while done < charges() {
        seed += 1;
        let mut counters: Vec<Counter> = (0..5).map(|n| Counter::new(seed, n)).collect();
        let mut clock = START + draw(seed, 900) % 100_000_000_000;
        for step in 0..100_u64 {
            let n = 1000 + step * 50;
            clock += match draw(seed, n) % 6 {
                0 => draw(seed, n + 1) % 700_000_000,
                1 => draw(seed, n + 1) % 70_000,
                _ => draw(seed, n + 1) % 300,
            };
            // Clocks differ by a little, sometimes by more than they may, and once by an hour.
            let behind = match draw(seed, n + 2) % 8 {
                0 => draw(seed, n + 3) % 14_000,
                1 => draw(seed, n + 3) % 10_000,
                2 if step == 50 => 3_600_000,
                _ => 0,
            };
            let now = Timestamp::from_millis(clock - behind);
            let errand = draw(seed, n + 4) % 8;
            let first = usize::try_from(draw(seed, n + 5) % 5).unwrap();
            let count = if errand > 2 {
                1 + draw(seed, n + 6) % 3
            } else {
                1
            };
            let mut acts = Vec::new();
            let mut places = Vec::new();
            for i in 0..count {
                let place = (first + usize::try_from(i).unwrap()) % 5;
                let counter = &counters[place];
                let m = n + 10 + i * 8;
                let cost = 1 + draw(seed, m + 4) % 3;
                let act = act(errand, counter, cost, seed, m + 5);
                let dry_run = draw(seed, m + 6).is_multiple_of(4);
                let rule = counter.rule(seed, m);
                acts.push((charge(rule, counter.key, cost, dry_run), act));
                places.push(place);
            }
            let found = run(&mut connection, &script, &acts, now);
            let mut states: Vec<Option<State>> =
                places.iter().map(|place| counters[*place].state).collect();
            let expected: Vec<Option<State>> = states.iter().copied().map(plain).collect();
            assert_eq!(found, expected, "seed {seed}, step {step}");
            let answers = act_all(&acts, &mut states, now);
            for ((place, state), answer) in places.iter().zip(states).zip(answers) {
                counters[*place].state = plain(state);
                if answer.taken > 0 {
                    counters[*place].periods.push(answer.charged.period_end);
                    allowed += 1;
                } else {
                    refused += 1;
                }
            }
            done += 1;
        }
        // What the last charges have left.
        for counter in &counters {
            let rule = counter.rule(seed, 0);
            let peek = [(charge(rule, counter.key, 1, false), Act::Peek)];
            let now = Timestamp::from_millis(clock);
            let found = run(&mut connection, &script, &peek, now);
            assert_eq!(found, [plain(counter.state)], "seed {seed}, at the end");
        }
    }
    assert!(
        allowed * 10 > done && refused * 10 > done,
        "{allowed} {refused}"
    );
}
