//! Which URLs are one.

use super::{Site, site, told};

#[test]
fn only_a_response_that_says_so_answers_for_other_queries() {
    let mut site = site("mode = \"respect\"\nkeep = \"1h\"");
    let page = [
        "no-vary-search: params=(\"ref\")",
        "cache-control: max-age=10",
    ];
    site.says(200, &page, "page").get("/p");
    assert!(site.is_hit("/p?ref=1"));
    // An error for one query is not one for all.
    site.later(20)
        .says(404, &["cache-control: max-age=60"], "no such ref")
        .get("/p?ref=bad");
    assert_eq!(site.says(200, &page, "page").get("/p").0, "page");
    assert!(site.is_hit("/p"));
    // Nor does it end the use of the page.
    site.later(20)
        .says(404, &["cache-control: max-age=60"], "no such ref")
        .get("/p?ref=bad");
    assert_eq!(site.says(503, &[], "down").get("/p").0, "page");
    site.later(5)
        .says(404, &["cache-control: no-store"], "no such ref")
        .get("/p?ref=bad");
    assert_eq!(site.says(503, &[], "down").get("/p").0, "page");
    // Nor is a page that no longer says so.
    site.later(20)
        .says(200, &["cache-control: max-age=60"], "for two")
        .get("/p?ref=2");
    site.says(200, &page, "page").get("/p?ref=4");
    assert_eq!(site.get("/p?ref=3").0, "page");
}

#[test]
fn a_304_that_changes_what_matters_in_a_query_ends_the_use_of_the_response() {
    let mut site = site("mode = \"respect\"");
    let fields = [
        "no-vary-search: params",
        "cache-control: max-age=10",
        "etag: \"a\"",
    ];
    site.says(200, &fields, "page").get("/p?x=1");
    assert!(site.is_hit("/p?x=2"));
    site.later(20).says(
        304,
        &[
            "no-vary-search: params=(\"y\")",
            "etag: \"a\"",
            "cache-control: max-age=10",
        ],
        "",
    );
    assert_eq!(site.get("/p?x=1").0, "page");
    assert_eq!(site.says(200, &fields, "other").get("/p?x=2").0, "other");
    // Also if it is the first to say anything.
    let mut site = super::site("mode = \"respect\"");
    site.says(200, &fields[1..], "page").get("/p?x=1");
    site.later(20).says(304, &fields, "").get("/p?x=1");
    site.says(200, &fields, "page").get("/p?x=1");
    assert!(site.is_hit("/p?x=2"));
}

#[test]
fn a_port_that_the_scheme_has_anyway_and_a_last_dot_make_no_other_host() {
    let mut site = site("mode = \"override\"\nttl = \"60s\"");
    let at = |site: &mut Site, host: &str, method: &str| {
        told(&site.ask(method, "/", &[&format!("host: {host}")]))
            .1
            .contains("; hit")
    };
    site.says(200, &[], "page");
    at(&mut site, "shop.example:80", "GET");
    assert!(at(&mut site, "shop.example", "GET"));
    at(&mut site, "shop.example", "POST");
    assert!(!at(&mut site, "shop.example:80", "GET"));
    at(&mut site, "shop.example.", "GET");
    site.purge("shop.example");
    assert!(!at(&mut site, "shop.example.", "GET"));
}

/// The key of a request with this Cookie field, where the cookie `lang` is in the key.
fn key_with_cookies(line: &str) -> Vec<u8> {
    use tidegate_core::{Engine, Policy, Step};
    let text = "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n\
                [cache.c]\nmode = \"override\"\nttl = \"60s\"\nkey_cookies = [\"lang\"]\n[[routes]]\npool = \"main\"\ncache = \"c\"\n";
    let engine = Engine::new(
        Policy::parse("policy", text).unwrap_or_else(|error| panic!("{error}")),
        7,
    );
    let (mut head, ()): (http::request::Parts, ()) = http::Request::new(()).into_parts();
    head.headers
        .insert("host", http::HeaderValue::from_static("shop.example"));
    head.headers.insert(
        "cookie",
        http::HeaderValue::from_bytes(line.as_bytes()).expect("a value"),
    );
    let now = tidegate_core::Timestamp::from_millis(tidegate_tests::fixture::START);
    let Step::Lookup(lookup) = engine.begin(head, tidegate_tests::fixture::CLIENT, now) else {
        panic!("the store is asked")
    };
    lookup.key().as_bytes().to_vec()
}

#[test]
fn what_an_origin_may_not_take_for_a_cookie_has_no_key_of_one() {
    let plain = key_with_cookies("lang=de");
    assert_eq!(key_with_cookies("a=b; lang=de"), plain);
    for hidden in [
        "x=1 lang=de",
        "a=1,lang=de",
        "=lang=de",
        "x=1;\u{a0}lang=de",
        "x=\"; lang=de",
    ] {
        assert_ne!(key_with_cookies(hidden), plain, "{hidden}");
    }
}

#[test]
fn no_cookie_field_makes_a_key_much_longer_than_itself() {
    for unit in [
        "lang,",
        "lang=lang=",
        "lang= lang",
        "lang ",
        "lang\"",
        "\"lang",
        "lang=\",",
        "lang\";",
        "lang;",
        "a=\"lang,",
    ] {
        let line = unit.repeat(28_000 / unit.len());
        let length = key_with_cookies(&line).len();
        assert!(length <= 2 * line.len() + 200, "{unit}: {length}");
    }
}
