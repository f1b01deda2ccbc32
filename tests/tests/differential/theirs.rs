//! What the other cache makes of an exchange.

use std::panic;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use tidegate_tests::fixture::START;

use crate::{Exchange, Fields, Verdict, header_map};

/// Returns its verdict; `None` if it panics.
pub(crate) fn verdict(exchange: &Exchange) -> Option<Verdict> {
    panic::catch_unwind(|| {
        let received = SystemTime::UNIX_EPOCH + Duration::from_millis(START);
        let mut response = Response::new(());
        *response.status_mut() = exchange.status.try_into().expect("a status");
        *response.headers_mut() = header_map(&exchange.response);
        let policy = CachePolicy::new_options(
            &request("GET", &exchange.first),
            &response,
            received,
            CacheOptions::default(),
        );
        if !policy.is_storable() {
            return Verdict::NotStored;
        }
        let now = received + Duration::from_secs(exchange.elapsed);
        match policy.before_request(&request(exchange.method, &exchange.second), now) {
            BeforeRequest::Fresh(_) => Verdict::Fresh,
            BeforeRequest::Stale { matches: false, .. } => Verdict::Other,
            BeforeRequest::Stale {
                request,
                matches: true,
            } => {
                let conditional = ["if-none-match", "if-modified-since"]
                    .iter()
                    .any(|name| request.headers.contains_key(*name));
                if conditional {
                    Verdict::Validated
                } else {
                    Verdict::Replaced
                }
            }
        }
    })
    .ok()
}

fn request(method: &str, fields: &Fields) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri("/a")
        .header("host", "a.example")
        .body(())
        .expect("valid");
    request.headers_mut().extend(header_map(fields));
    request
}
