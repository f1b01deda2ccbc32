//! Why a request is treated as it is: an exchange with assumed answers, whose report is the
//! explanation.

use http::request;

use crate::Engine;
use crate::exchange::{Answer, Step};
use crate::limit::{Charged, charge_all};
use crate::message::request::Client;
use crate::report::Report;
use crate::time::Timestamp;
use crate::token::Signed;

/// Explains a request to a node that has seen nothing yet: every counter is full, nothing is
/// stored, and the first origin answers 200 at once. `is_right` verifies the signature of a token,
/// or says what is assumed of it; keys that would have to be fetched are not known.
pub fn explain(
    engine: &Engine,
    head: request::Parts,
    client: Client,
    now: Timestamp,
    is_right: impl Fn(&Signed<'_>) -> bool,
) -> Box<Report> {
    let mut step = engine.begin(head, client, now);
    loop {
        step = match step {
            Step::Verify(next) => {
                let right = next.signed().is_some_and(|signed| is_right(&signed));
                next.resume(right, now)
            }
            Step::Charge(next) => {
                let mut states = vec![None; next.charges().len()];
                let answers: Vec<Charged> = charge_all(next.charges(), &mut states, now)
                    .into_iter()
                    .map(Charged::Verdict)
                    .collect();
                next.resume(&answers, now)
            }
            Step::Lookup(next) => next.resume(&[], now),
            Step::Fetch(attempt, next) => next.resume(attempt.number, Ok(ok()), now),
            // Nothing is under way after an answer that is usable.
            Step::Await(next) => return next.abandon(now).report,
            Step::Wait(next) => next.resume(now),
            Step::Finish(reply) => return reply.hold.unseen().report,
        };
    }
}

fn ok() -> Answer {
    let (head, ()) = http::Response::new(()).into_parts();
    Answer {
        head,
        body_intact: true,
    }
}
