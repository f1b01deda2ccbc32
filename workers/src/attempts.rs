//! Attempts of one exchange that are made beside each other, when the core wants another one because
//! the answer of the first is late.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures_util::future::{Either, select};
use tidegate_core::{AwaitResponse, Failure, Step};

use crate::origin::{self, Answer};
use crate::streams::ClientBody;
use crate::{clock, tasks};

type Fetched = Result<Answer, Failure>;

/// An attempt under way.
struct UnderWay<'a> {
    number: u8,
    answer: Pin<Box<dyn Future<Output = Fetched> + 'a>>,
}

/// Takes the steps of an exchange as long as origins are asked or waited for. Returns the step that
/// comes then, with the last answer. Attempts that are under way still end here.
pub(crate) async fn run(body: Option<&ClientBody>, mut step: Step) -> (Step, Option<Answer>) {
    let mut under_way: Vec<UnderWay<'_>> = Vec::with_capacity(2);
    let mut last = None;
    loop {
        let next = match step {
            Step::Fetch(attempt, next) => {
                under_way.push(UnderWay {
                    number: attempt.number,
                    answer: Box::pin(async move { origin::fetch(&attempt, body).await }),
                });
                next
            }
            Step::Await(next) => next,
            step => return (step, last),
        };
        origin::discard(last.take());
        let Some((number, fetched)) = first(&mut under_way, &next).await else {
            step = next.hedge(clock::now());
            continue;
        };
        under_way.retain(|attempt| attempt.number != number);
        let told = origin::told(&fetched, body);
        last = fetched.ok();
        step = next.resume(number, told, clock::now());
    }
}

/// Waits for the first answer; `None` if it is time for another attempt before one has come.
async fn first(under_way: &mut [UnderWay<'_>], next: &AwaitResponse) -> Option<(u8, Fetched)> {
    let answer = poll_fn(|context| {
        for attempt in &mut *under_way {
            if let Poll::Ready(fetched) = attempt.answer.as_mut().poll(context) {
                return Poll::Ready((attempt.number, fetched));
            }
        }
        Poll::Pending
    });
    let Some(hedge_at) = next.hedge_at() else {
        return Some(answer.await);
    };
    let late = Box::pin(tasks::sleep(hedge_at.since(clock::now())));
    match select(answer, late).await {
        Either::Left((answered, _)) => Some(answered),
        Either::Right(((), _)) => None,
    }
}
