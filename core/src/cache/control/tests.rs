#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::cache::tests_support::headers;
use http::{HeaderValue, header};

fn read(lines: &[&str]) -> Control {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header::CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
    }
    Control::read(&headers, header::CACHE_CONTROL)
}

#[test]
fn names_have_no_case_and_values_may_be_quoted() {
    let control = read(&["No-Store , MAX-AGE=\"60\"", "s-maxage=5"]);
    assert!(control.no_store);
    assert_eq!((control.max_age, control.s_maxage), (Some(60), Some(5)));
}

/// [9111-5.2.3-1]
#[test]
fn commas_in_quotes_do_not_separate() {
    let control = read(&["private=\"a, no-store\", ext=\"\\\", public\", max-age=1"]);
    assert!(!control.private && !control.no_store && !control.public);
    assert_eq!(control.max_age, Some(1));
    assert_eq!(control.withheld, ["a", "no-store"]);
}

#[test]
fn named_fields_are_withheld_and_a_wrong_list_withholds_all() {
    let control = read(&["no-cache=\"Set-Cookie\", private=x-user"]);
    assert!(!control.no_cache && !control.private);
    assert_eq!(control.withheld, ["set-cookie", "x-user"]);
    for wrong in [
        "private=\"\"",
        "private=\"a b\"",
        "private=",
        "private=\"a, , \u{e9}\"",
    ] {
        assert!(read(&[wrong]).private, "{wrong}");
    }
    assert!(read(&["private=\"a\", private"]).private);
}

#[test]
fn what_is_nearly_right_forbids_and_allows_nothing() {
    for closed in [
        "private; max-age=60",
        "private;max-age=60",
        "max-age=60; private",
        "max-age=60 private",
        "public, max-age=60;private",
        "private max-age=60",
        "x=\"a, private, max-age=60",
        "max-age=\"60, private",
        "private=\"a, max-age=60",
        "no-cache=\"set-cookie, private",
        "\"private\", max-age=60",
        "private=1, max-age=60",
        "private=true",
        "private='x-a'",
        "private:, max-age=60",
        "Private.",
        "private,max-age=60;x",
        "\u{a0}private",
        "public;x=\"y\";PRIVATE",
    ] {
        assert!(read(&[closed]).private, "{closed}");
        let other = closed.to_lowercase().replace("private", "no-store");
        assert!(read(&[&other]).no_store, "{other}");
    }
    for spelling in [
        "no_store",
        "nostore",
        "NoStore",
        "no store",
        "no-store=1",
        "no-store=\"x\"",
        "no--store",
    ] {
        assert!(read(&[spelling]).no_store, "{spelling}");
    }
    let odd = read(&["public; max-age=60"]);
    assert!(!odd.public && odd.malformed && odd.max_age == Some(0));
    assert!(!read(&["public=\"a"]).public);
    let plain = read(&[
        "x=\"private\", y=no-store, z=\"a; no-store\", no-transform, community=\"private\"",
    ]);
    assert_eq!(plain, Control::default());
    let split = read(&["x=\"a", "no-store, b\""]);
    assert!(split.no_store, "each line is read alone");
}

#[test]
fn windows_may_have_no_length() {
    let control = read(&["stale-while-revalidate, stale-if-error=3"]);
    assert_eq!(control.stale_while_revalidate, Some(Window::Unsaid));
    assert_eq!(control.stale_if_error, Some(Window::Seconds(3)));
    assert_eq!(
        read(&["stale-while-revalidate="]).stale_while_revalidate,
        Some(Window::Seconds(0))
    );
    let targeted = Control::of_response(&headers(&[(
        "cdn-cache-control",
        "s-maxage=1, stale-while-revalidate",
    )]));
    assert_eq!(targeted.stale_while_revalidate, Some(Window::Unsaid));
}

#[test]
fn what_forbids_in_a_targeted_field_does_so_with_any_value() {
    let plain = ("cache-control", "public, max-age=1");
    for closed in [
        "private; max-age=0",
        "max-age=60;private",
        "private=1",
        "private=(a b)",
        "private=\"\"",
        "private=a",
    ] {
        assert!(
            Control::of_response(&headers(&[plain, ("cdn-cache-control", closed)])).private,
            "{closed}"
        );
    }
    assert!(!Control::of_response(&headers(&[plain, ("cdn-cache-control", "private=?0")])).private);
}

#[test]
fn the_most_specific_valid_target_counts() {
    let of = |lines: &[(&str, &str)]| Control::of_response(&headers(lines));
    let plain = ("cache-control", "max-age=1");
    assert_eq!(
        of(&[plain, ("cdn-cache-control", "max-age=2")]).max_age,
        Some(2)
    );
    let both = [
        plain,
        ("cdn-cache-control", "max-age=2"),
        ("tidegate-cdn-cache-control", "max-age=3, no-cache"),
    ];
    let control = of(&both);
    assert!(control.no_cache && control.targeted);
    assert_eq!(control.max_age, Some(3));
    assert_eq!(
        of(&[plain, ("cdn-cache-control", "no-cache=\"a\"")]).withheld,
        ["a"]
    );
    assert_eq!(
        of(&[
            plain,
            ("cdn-cache-control", "max-age=7"),
            ("cdn-cache-control", "no-store")
        ])
        .max_age,
        Some(7)
    );
    for void in ["max-age=2, &", "max-age =2", "MAX-AGE=2", ""] {
        let control = of(&[plain, ("cdn-cache-control", void)]);
        assert_eq!(
            (control.max_age, control.targeted),
            (Some(1), false),
            "{void}"
        );
    }
    for typed in [
        "max-age=\"2\"",
        "max-age=2.0",
        "max-age",
        "max-age=-2",
        "max-age=(2)",
    ] {
        let control = of(&[plain, ("cdn-cache-control", typed)]);
        assert_eq!((control.max_age, control.targeted), (None, true), "{typed}");
    }
}

/// [9111-1.2.2-1]
#[test]
fn invalid_values_make_stale_and_large_ones_saturate() {
    for (value, expected) in [
        ("-1", 0),
        ("1.5", 0),
        ("", 0),
        ("a", 0),
        ("99999999999999999999999", u64::MAX),
        (" 7", 7),
    ] {
        assert_eq!(
            read(&[&format!("max-age={value}")]).max_age,
            Some(expected),
            "{value}"
        );
    }
    assert_eq!(read(&["max-age"]).max_age, Some(0));
    assert_eq!(read(&["max-age=1, max-age=2"]).max_age, Some(1));
}
