//! The client's conditions are applied to what it would get.

use http::{StatusCode, response};

use super::finish;
use super::reply::Source;
use super::state::Exchange;
use crate::cache::validation;
use crate::problem;
use crate::problem::Refusal;
use crate::time::Timestamp;

/// Applies the client's conditions to a response with this head [9111-4.3.2-1]. Returns the body if
/// it is not that of the response.
pub(super) fn answer(
    exchange: &mut Exchange,
    head: &mut response::Parts,
    now: Timestamp,
) -> Option<Source> {
    let request = &exchange.request.head;
    match validation::evaluate(
        &request.method,
        &request.headers,
        head.status,
        &head.headers,
        now,
    ) {
        validation::Condition::Holds => None,
        validation::Condition::NotModified => {
            head.status = StatusCode::NOT_MODIFIED;
            validation::strip_for_not_modified(&mut head.headers);
            Some(Source::Empty)
        }
        validation::Condition::Failed => {
            let (problem, body) = problem::reply(Refusal::PreconditionFailed, &[]);
            exchange.report.refusal = Some(Refusal::PreconditionFailed);
            let source = finish::body_for(&exchange.request.head.method, body);
            *head = problem;
            Some(source)
        }
    }
}
