//! The Cache-Status field (RFC 9211), written from the report.

use http::HeaderValue;

use crate::cache::storable::NotStored;
use crate::message::syntax::push_decimal;
use crate::report::{Bypass, CacheOutcome, CacheReport};

/// Writes this cache's member. `shows_key` adds the fingerprint of the key.
pub fn field(report: &CacheReport, shows_key: bool) -> HeaderValue {
    let mut member = Vec::with_capacity(48);
    member.extend_from_slice(b"tidegate");
    match report.outcome {
        CacheOutcome::Hit | CacheOutcome::Stale => member.extend_from_slice(b"; hit"),
        CacheOutcome::Miss => member.extend_from_slice(b"; fwd=uri-miss"),
        CacheOutcome::VaryMiss => member.extend_from_slice(b"; fwd=vary-miss"),
        CacheOutcome::Expired | CacheOutcome::Revalidated | CacheOutcome::StaleIfError => {
            member.extend_from_slice(b"; fwd=stale");
        }
        CacheOutcome::Partial => member.extend_from_slice(b"; fwd=partial"),
        CacheOutcome::Request => member.extend_from_slice(b"; fwd=request"),
        CacheOutcome::Bypass if report.bypass == Some(Bypass::Method) => {
            member.extend_from_slice(b"; fwd=method");
        }
        CacheOutcome::Bypass => member.extend_from_slice(b"; fwd=bypass"),
        CacheOutcome::OnlyIfCached => member.extend_from_slice(b"; fwd=miss"),
    }
    let hit = matches!(report.outcome, CacheOutcome::Hit | CacheOutcome::Stale);
    let serves_stored = hit || report.outcome == CacheOutcome::StaleIfError;
    if let Some(status) = report.fetched_status.filter(|_| !hit) {
        member.extend_from_slice(b"; fwd-status=");
        push_decimal(&mut member, u64::from(status));
    }
    if let Some(ttl) = report.ttl_ms.filter(|_| serves_stored || report.stored) {
        member.extend_from_slice(b"; ttl=");
        let ttl = ttl.div_euclid(1000);
        if ttl < 0 {
            member.push(b'-');
        }
        push_decimal(&mut member, ttl.unsigned_abs());
    }
    if report.stored {
        member.extend_from_slice(b"; stored");
    }
    if report.collapsed {
        member.extend_from_slice(b"; collapsed");
    }
    if let Some(key) = report.key.filter(|_| shows_key) {
        member.extend_from_slice(format!("; key=\"{key:016x}\"").as_bytes());
    }
    let stands_in = (report.outcome == CacheOutcome::StaleIfError).then_some("stale_if_error");
    let bypass = report
        .bypass
        .filter(|why| *why != Bypass::Method)
        .map(Bypass::as_str);
    if let Some(detail) = bypass
        .or(stands_in)
        .or(report.not_stored.map(NotStored::as_str))
    {
        member.extend_from_slice(b"; detail=");
        member.extend_from_slice(detail.as_bytes());
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(member))
        .unwrap_or_else(|_| HeaderValue::from_static("tidegate"))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::push_decimal;

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 599, u64::MAX] {
            let mut text = Vec::new();
            push_decimal(&mut text, number);
            assert_eq!(text, number.to_string().into_bytes());
        }
    }
}
