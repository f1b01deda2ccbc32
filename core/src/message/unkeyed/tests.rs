#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn of(name: &str) -> Option<Kind> {
    kind(&HeaderName::from_bytes(name.as_bytes()).unwrap())
}

#[test]
fn the_quick_looks_pass_over_nothing_in_the_tables() {
    let extensions = BEGINNINGS_OF_EXTENSIONS
        .iter()
        .map(|(start, _)| format!("x-{start}q"));
    let others = BEGINNINGS.iter().map(|(start, _)| format!("{start}q"));
    let ends = ENDS.iter().map(|(end, _)| format!("q{end}"));
    for name in extensions
        .chain(others)
        .chain(ends)
        .chain(["q-override-q".to_owned()])
    {
        assert!(may_have_kind(&name), "{name}");
    }
    let of_strangers = ENDS
        .iter()
        .filter(|(_, kind)| matches!(kind, Kind::Address | Kind::Country));
    for name in of_strangers
        .map(|(end, _)| format!("q{end}"))
        .chain(["x-q", "cf-q", "remote-q"].map(String::from))
    {
        assert!(may_be_of_a_stranger(&name), "{name}");
    }
}

#[test]
fn the_tables_are_sorted_by_first_letters() {
    for table in [&BEGINNINGS_OF_EXTENSIONS[..], &BEGINNINGS] {
        assert!(table.is_sorted_by_key(|(start, _)| start.as_bytes().first()));
    }
}

#[test]
fn families_are_known_by_their_names() {
    let families = [
        (
            Kind::Target,
            "x-http-method x-http-method-override x-method-override x-original-url x-original-uri x-original-host x-rewrite-url
             x-forwarded-protocol x-forwarded-scheme x-forwarded-prefix x-forwarded-port x-forwarded-ssl x-url-scheme x-scheme
             x-envoy-original-path x-envoy-decorator-operation front-end-https x-host x-forwarded-server x-proxy-host method-override
             x-middleware-subrequest x-invoke-status x-sendfile-type x-accel-mapping surrogate-capability cf-visitor x-real-scheme
             x-forward-host forwarded-host forwarded-proto x-arr-ssl x-override-url cloudfront-forwarded-proto",
        ),
        (
            Kind::Address,
            "x-real-ip true-client-ip client-ip x-client-ip cf-connecting-ip cf-connecting-ipv6 x-cluster-client-ip x-remote-ip
             x-remote-addr x-originating-ip x-azure-clientip wl-proxy-client-ip x-forwarded-client-ip x-forward-for-ip",
        ),
        (Kind::Country, "cf-ipcountry x-country-code x-geo-country cloudfront-viewer-country x-client-country"),
        (Kind::Place, "cf-ipcity cf-ipcontinent cf-timezone cf-region x-geo-city cloudfront-is-mobile-viewer x-appengine-city"),
        (
            Kind::Identity,
            "x-forwarded-user x-forwarded-email x-forwarded-groups x-remote-user remote-user x-auth-request-email client-cert
             client-cert-chain x-ssl-client-s-dn x-ms-client-principal-name x-forwarded-tls-client-cert cf-access-authenticated-user-email",
        ),
    ];
    for (kind, names) in families {
        for name in names.split_whitespace() {
            assert_eq!(of(name), Some(kind), "{name}");
        }
    }
}

#[test]
fn ordinary_fields_are_in_no_family() {
    let ordinary = "accept accept-language accept-encoding authorization cookie user-agent referer origin host content-type content-length range
        if-none-match cache-control pragma dnt sec-fetch-mode sec-websocket-protocol upgrade-insecure-requests x-requested-with x-api-key
        x-csrf-token x-request-id x-correlation-id x-b3-traceid traceparent tracestate x-amzn-trace-id x-cloud-trace-context
        x-client-version x-client-data x-user-id x-workspace-id x-app-version x-device-id x-session-id access-control-request-method
        access-control-request-headers via cdn-loop cf-ray forwarded x-forwarded-for x-forwarded-host x-forwarded-proto save-data priority
        next-router-state-tree rsc hx-request hx-current-url x-tenant x-skip x-shipping x-description";
    for name in ordinary.split_whitespace() {
        assert_eq!(of(name), None, "{name}");
    }
}
