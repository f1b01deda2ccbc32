//! Which limits of bandwidth pace the bodies of an exchange. Nothing waits for them before its head.

use std::sync::Arc;

use super::state::Exchange;
use crate::limit::{Bandwidth, Direction, Pace, key};
use crate::message::request::RequestBody;
use crate::report::BandwidthReport;
use crate::route::Route;

/// Finds what paces the bodies of a request: by its route, and by the one that it takes when its
/// path is read otherwise. The report lists it from here on.
pub(super) fn begin(exchange: &mut Exchange) {
    let paces = |route: &Arc<Route>| !route.bandwidths.is_empty();
    if !paces(&exchange.route) && !exchange.read_as.as_ref().is_some_and(paces) {
        return;
    }
    let routes = [Some(Arc::clone(&exchange.route)), exchange.read_as.clone()];
    for route in routes.into_iter().flatten() {
        for limit in &route.bandwidths {
            let is_known = |pace: &Pace| Arc::ptr_eq(&pace.limit, limit);
            if !exchange.paces.iter().any(is_known) {
                add(exchange, limit, &route.name);
            }
        }
    }
}

fn add(exchange: &mut Exchange, limit: &Arc<Bandwidth>, route: &str) {
    let request = &exchange.request;
    let is_meant = limit.methods.is_empty() || limit.methods.contains(&request.head.method);
    let has_body = limit.direction == Direction::Response || request.body != RequestBody::Empty;
    if !is_meant || !has_body {
        return;
    }
    let keys = key::pace_keys(limit, request, route);
    if keys.is_empty() {
        return;
    }
    let entry = exchange.report.bandwidth.len();
    exchange.report.bandwidth.push(BandwidthReport {
        name: Arc::clone(&limit.name),
        direction: limit.direction,
        paced_ms: 0,
    });
    for key in keys {
        exchange.paces.push(Pace {
            limit: Arc::clone(limit),
            key,
            entry,
        });
    }
}

/// Returns what paces the client's body. Nothing is allocated if nothing does.
pub(super) fn of_request(exchange: &Exchange) -> Vec<Pace> {
    let paces = exchange.paces.iter();
    paces
        .filter(|pace| pace.limit.direction == Direction::Request)
        .cloned()
        .collect()
}

/// Keeps what paces the reply's body.
pub(super) fn of_reply(mut paces: Vec<Pace>) -> Vec<Pace> {
    paces.retain(|pace| pace.limit.direction == Direction::Response);
    paces
}
