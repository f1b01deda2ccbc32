//! Fixtures run against the core: their origins say what the script says.

use std::collections::VecDeque;

use bytes::Bytes;
use tidegate_core::{Attempt, Failure, FailureKind, Policy, Timestamp};

use crate::fixture::{Answer, Expected, Fails, Fixture, Scripted};
use crate::simulator::{self, Origins, Simulator};
use crate::text;

/// Answers still to come, and requests already seen, in the exchange that runs.
struct Script {
    answers: VecDeque<Answer>,
    seen: Vec<String>,
}

/// Runs a fixture and returns what comes out of each exchange.
///
/// # Panics
/// When the policy is wrong, or an origin is asked that has no answer in the script.
pub fn run(fixture: &Fixture) -> Vec<Expected> {
    let policy = Policy::parse("policy", &fixture.policy).unwrap_or_else(|error| panic!("{error}"));
    // What the Worker decides by: it must be the same.
    let published = policy.publish(&fixture.policy).text;
    let read = Policy::read_published(&published).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read, policy);
    let mut simulator = Simulator::new(read);
    fixture
        .exchange
        .iter()
        .map(|scripted| exchange(&mut simulator, scripted))
        .collect()
}

fn exchange(simulator: &mut Simulator, scripted: &Scripted) -> Expected {
    let mut script = Script {
        answers: scripted.origin.iter().cloned().collect(),
        seen: Vec::new(),
    };
    simulator.forge(scripted.forged);
    let outcome = simulator.exchange(
        scripted.head(),
        scripted.client(),
        scripted.begins(),
        &mut script,
    );
    assert!(
        script.answers.is_empty(),
        "{}: nobody asked for these answers: {:?}",
        scripted.request,
        script.answers
    );
    Expected {
        reply: text::reply(&outcome.head, &outcome.body),
        origins: script.seen.join("\n"),
        report: text::json(&outcome.report),
        background: outcome
            .background
            .as_ref()
            .map_or_else(String::new, |report| text::json(report)),
    }
}

impl Origins for Script {
    fn answer(&mut self, attempt: &Attempt, now: &mut Timestamp) -> simulator::Answer {
        self.seen.push(text::request(attempt));
        let answer = self
            .answers
            .pop_front()
            .unwrap_or_else(|| panic!("no answer left for {}", attempt.origin.name));
        assert_eq!(
            answer.name, *attempt.origin.name,
            "another origin was asked than the script says"
        );
        *now = now.plus(answer.after);
        let failure = |kind, sent| Failure {
            kind,
            sent,
            body_intact: !(sent && attempt.body),
        };
        match answer.fails {
            Some(Fails::Unreachable) => Err(failure(FailureKind::Unreachable, false)),
            Some(Fails::Closed) => Err(failure(FailureKind::Closed, true)),
            Some(Fails::Timeout) => {
                *now = now.plus(attempt.origin.timeouts.response);
                Err(failure(FailureKind::ResponseTimeout, true))
            }
            None => {
                let empty = attempt.head.method == http::Method::HEAD || answer.status == Some(304);
                let body = if empty {
                    Bytes::new()
                } else {
                    Bytes::from(answer.body.clone())
                };
                Ok((answer.head(*now), body))
            }
        }
    }
}
