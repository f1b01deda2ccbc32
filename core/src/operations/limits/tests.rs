#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn read(method: &Method, path: &str, body: &str) -> Result<LimitOperation, Refused> {
    let uri = format!("/performance/limits/{path}").parse().unwrap();
    read_limits(method, &uri, body.as_bytes())
}

fn key(parts: &[&str]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.as_bytes().to_vec()).collect()
}

#[test]
fn overrides_are_read() {
    let set = |parts: &[&str], burst| {
        Ok(LimitOperation::Set(Override {
            limit: "l".into(),
            key: key(parts),
            quota: "500/min".into(),
            burst,
        }))
    };
    let body = r#"{"quota": "500/min"}"#;
    assert_eq!(
        read(&Method::PUT, "l/overrides/joe", body),
        set(&["joe"], None)
    );
    assert_eq!(read(&Method::PUT, "l/overrides/", body), set(&[], None));
    let body = r#"{"quota": "500/min", "burst": 50}"#;
    assert_eq!(
        read(&Method::PUT, "l/overrides/a%2Fb/%C3%A4?", body)
            .unwrap_err()
            .detail,
        "a ? in a key is written %3F"
    );
    assert_eq!(
        read(&Method::PUT, "l/overrides/a%2Fb/%C3%A4", body),
        set(&["a/b", "ä"], Some(50))
    );
    assert_eq!(
        read(&Method::DELETE, "l/overrides/joe/", ""),
        Ok(LimitOperation::Remove {
            limit: "l".into(),
            key: key(&["joe", ""]),
        })
    );
    assert_eq!(
        read(&Method::GET, "l/overrides", ""),
        Ok(LimitOperation::List("l".into()))
    );
    for (method, path, body, status, part) in [
        (&Method::GET, "", "", 404, "there are GET {limit}/overrides"),
        (&Method::GET, "l", "", 404, "there are"),
        (&Method::GET, "/overrides", "", 404, "there are"),
        (&Method::GET, "l/overrides/joe", "", 404, "there are"),
        (&Method::PUT, "l/overrides", "{}", 404, "there are"),
        (&Method::PUT, "l/overrides/a", "{}", 400, "write {\"quota\""),
        (&Method::PUT, "l/overrides/a", "7", 400, "write {\"quota\""),
        (&Method::DELETE, "l/overrides/a", "{}", 400, "has no body"),
    ] {
        let refused = read(method, path, body).unwrap_err();
        assert!(
            refused.status == status && refused.detail.contains(part),
            "{path}: {refused:?}"
        );
    }
}

#[test]
fn keys_are_told_as_they_are_asked_for() {
    let listed = vec![(
        Override {
            limit: "l".into(),
            key: key(&["a/b", "ä?"]),
            quota: "5/min".into(),
            burst: Some(2),
        },
        false,
    )];
    assert_eq!(
        told(listed),
        r#"{"overrides":[{"key":"a%2Fb/%C3%A4%3F","quota":"5/min","burst":2,"in_force":false}]}"#
    );
}
