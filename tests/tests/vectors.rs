//! One set of vectors for everything that counts: what counters are asked one after the other, and
//! what they answer. The core says it here; the script in Redis and the Durable Object are asked the
//! same in their own tests.
//!
//! `UPDATE_VECTORS=1 cargo test -p tidegate-tests --test vectors` writes what the core says now.

#![allow(clippy::expect_used, clippy::panic, reason = "tests may fail")]

use std::fmt::Write;
use std::path::PathBuf;

use tidegate_core::Timestamp;
use tidegate_core::hash::draw;
use tidegate_core::limit::wire::{self, Question};
use tidegate_core::limit::{Act, Quota, State, Terms, Window};

const START: u64 = 1_790_000_000_000;

/// Questions to one counter.
fn questions(seed: u64) -> Vec<Question> {
    let mut questions = Vec::new();
    let mut now = START + draw(seed, 0) % 100_000_000;
    let period =
        [1000, 60_000, 3_600_000, 86_400_000][usize::try_from(draw(seed, 1) % 4).expect("small")];
    for step in 0..24 {
        let n = 10 + step * 10;
        now += draw(seed, n) % (period / 3);
        // Clocks differ, and sometimes by more than they may.
        let behind = match draw(seed, n + 1) % 5 {
            0 => draw(seed, n + 2) % 9000,
            1 => draw(seed, n + 2) % 15_000,
            _ => 0,
        };
        let moment = now - behind;
        let amount = 5 + draw(seed, n + 3) % 4;
        let begin = moment / period * period;
        let window = Window {
            amount,
            begin,
            end: begin + period,
            next_end: begin + 2 * period,
            slides: seed % 4 == 2,
        };
        let terms = match seed % 4 {
            0 => Terms::Rate(Quota {
                amount,
                period,
                burst: amount + 2,
            }),
            1 | 2 => Terms::Window(window),
            _ => Terms::Slots(Window {
                slides: true,
                ..window
            }),
        };
        let act = match draw(seed, n + 4) % 8 {
            0 => Act::Peek,
            1 => Act::Refund(Timestamp::from_millis(window.end)),
            2 => Act::Lease {
                most: 1 + draw(seed, n + 5) % 6,
            },
            3 => Act::Charge {
                owed: draw(seed, n + 5) % 4,
            },
            _ => Act::Charge { owed: 0 },
        };
        questions.push(Question {
            act,
            terms,
            cost: 1 + draw(seed, n + 6) % 2,
            now: Timestamp::from_millis(moment),
        });
    }
    questions
}

fn vectors() -> String {
    let mut text = String::new();
    for seed in 0..24 {
        let _ = writeln!(text, "counter {seed}");
        let mut state: Option<State> = None;
        for question in questions(seed) {
            let asked = question.write();
            assert_eq!(
                Question::read(&asked).map(|read| read.write()),
                Some(asked.clone())
            );
            let (next, answer) = question.act(state);
            state = next;
            let _ = writeln!(text, "{asked} ->{}", wire::write_answer(&answer));
        }
    }
    text
}

#[test]
fn counters_answer_as_the_vectors_say() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/limits.txt");
    let text = vectors();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).expect("the vectors are written");
    }
    let known = std::fs::read_to_string(&path).expect("vectors");
    for (line, (said, expected)) in text.lines().zip(known.lines()).enumerate() {
        assert_eq!(said, expected, "line {}", line + 1);
    }
    assert_eq!(text.len(), known.len());
}
