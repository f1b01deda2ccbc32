//! Attempts at origins: where they go, and those of one exchange that are made beside each other,
//! when the core wants another one because the answer of the first is late.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::{Response, response};
use http_body::Body as HttpBody;
use scopeguard::{ScopeGuard, guard};
use tidegate_core::{Answer, Attempt, AwaitResponse, Failure, Step};

use crate::box_error::BoxError;
use crate::node::Node;
use crate::request_body::RequestBody;

/// Where attempts go: a pool of connections, or the service inside a tower layer.
pub trait Upstream: Clone + Send + Sync + 'static {
    /// The client's body.
    type ClientBody: Send + 'static;
    /// The origin's body.
    type Body: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Returns the same for work of which no client waits for anything.
    #[must_use]
    fn for_nobody(&self) -> Self {
        self.clone()
    }

    /// Sends one attempt to its origin.
    fn fetch(
        &self,
        attempt: Box<Attempt>,
        body: RequestBody<Self::ClientBody>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Failure>> + Send;
}

/// An attempt under way.
struct UnderWay<'a, B> {
    number: u8,
    response: Pin<Box<dyn Future<Output = Result<Response<B>, Failure>> + Send + 'a>>,
}

/// Takes the steps of an exchange as long as origins are asked or waited for. Returns the step that
/// comes then, with the body of the last answer. Attempts that are under way still end here.
pub(crate) async fn run<U: Upstream>(
    node: &Node,
    upstream: &U,
    body: &RequestBody<U::ClientBody>,
    mut step: Step,
) -> (Step, Option<U::Body>) {
    let mut under_way: Vec<UnderWay<'_, U::Body>> = Vec::with_capacity(2);
    let mut last = None;
    loop {
        let next = match step {
            Step::Fetch(attempt, next) => {
                under_way.push(UnderWay {
                    number: attempt.number,
                    response: Box::pin(upstream.fetch(attempt, body.clone())),
                });
                next
            }
            Step::Await(next) => next,
            step => return (step, last),
        };
        last = None;
        let next = guard(next, |next| node.end(next.abandon(node.now())));
        let Some((number, result)) = first(&mut under_way, &next, node).await else {
            step = ScopeGuard::into_inner(next).hedge(node.now());
            continue;
        };
        under_way.retain(|attempt| attempt.number != number);
        let answer = result.map(|response| {
            let (head, fetched) = response.into_parts();
            last = Some(fetched);
            to_answer(head, body)
        });
        step = ScopeGuard::into_inner(next).resume(number, answer, node.now());
    }
}

/// What the core is told of a response's head.
pub(crate) fn to_answer<B>(head: response::Parts, body: &RequestBody<B>) -> Answer {
    Answer {
        head,
        body_intact: body.is_intact(),
    }
}

type Answered<B> = (u8, Result<Response<B>, Failure>);

/// Waits for the first answer; `None` if it is time for another attempt before one has come.
async fn first<B>(
    under_way: &mut [UnderWay<'_, B>],
    next: &AwaitResponse,
    node: &Node,
) -> Option<Answered<B>> {
    let answer = poll_fn(|cx| {
        for attempt in &mut *under_way {
            if let Poll::Ready(result) = attempt.response.as_mut().poll(cx) {
                return Poll::Ready((attempt.number, result));
            }
        }
        Poll::Pending
    });
    let Some(hedge_at) = next.hedge_at() else {
        return Some(answer.await);
    };
    tokio::select! {
        biased;
        answered = answer => Some(answered),
        () = node.clock.sleep_until(hedge_at) => None,
    }
}
