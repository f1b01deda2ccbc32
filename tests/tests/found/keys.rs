//! Which URLs are one.

use super::{Site, site, told};

#[test]
fn only_a_response_that_says_so_answers_for_other_queries() {
    let mut site = site("mode = \"respect\"\nkeep = \"1h\"");
    let page = ["no-vary-search: params=(\"ref\")", "cache-control: max-age=10"];
    site.says(200, &page, "page").get("/p");
    assert!(site.is_hit("/p?ref=1"));
    // An error for one query is not one for all.
    site.later(20).says(404, &["cache-control: max-age=60"], "no such ref").get("/p?ref=bad");
    assert_eq!(site.says(200, &page, "page").get("/p").0, "page");
    assert!(site.is_hit("/p"));
    // Nor does it end the use of the page.
    site.later(20).says(404, &["cache-control: max-age=60"], "no such ref").get("/p?ref=bad");
    assert_eq!(site.says(503, &[], "down").get("/p").0, "page");
    site.later(5).says(404, &["cache-control: no-store"], "no such ref").get("/p?ref=bad");
    assert_eq!(site.says(503, &[], "down").get("/p").0, "page");
    // Nor is a page that no longer says so.
    site.later(20).says(200, &["cache-control: max-age=60"], "for two").get("/p?ref=2");
    site.says(200, &page, "page").get("/p?ref=4");
    assert_eq!(site.get("/p?ref=3").0, "page");
}

#[test]
fn a_304_that_changes_what_matters_in_a_query_ends_the_use_of_the_response() {
    let mut site = site("mode = \"respect\"");
    let fields = ["no-vary-search: params", "cache-control: max-age=10", "etag: \"a\""];
    site.says(200, &fields, "page").get("/p?x=1");
    assert!(site.is_hit("/p?x=2"));
    site.later(20).says(304, &["no-vary-search: params=(\"y\")", "etag: \"a\"", "cache-control: max-age=10"], "");
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
        told(&site.ask(method, "/", &[&format!("host: {host}")])).1.contains("; hit")
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

#[test]
fn no_cookie_field_makes_a_key_much_longer_than_itself() {
    use tidegate_core::{Engine, Policy, Step};
    let text = "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n\
                [cache.c]\nmode = \"override\"\nttl = \"60s\"\nkey_cookies = [\"lang\"]\n[[routes]]\npool = \"main\"\ncache = \"c\"\n";
    let engine = Engine::new(Policy::parse("policy", text).unwrap_or_else(|error| panic!("{error}")), 7);
    for unit in
        ["lang,", "lang=lang=", "lang= lang", "lang ", "lang\"", "\"lang", "lang=\",", "lang\";", "lang;", "a=\"lang,"]
    {
        let line = unit.repeat(28_000 / unit.len());
        let (mut head, ()): (http::request::Parts, ()) = http::Request::new(()).into_parts();
        head.headers.insert("host", http::HeaderValue::from_static("shop.example"));
        head.headers.insert("cookie", http::HeaderValue::try_from(&line).expect("a value"));
        let now = tidegate_core::Timestamp::from_millis(tidegate_tests::fixture::START);
        let Step::Lookup(lookup) = engine.begin(head, tidegate_tests::fixture::CLIENT, now) else {
            panic!("the store is asked")
        };
        assert!(lookup.key().as_bytes().len() <= 2 * line.len() + 200, "{unit}: {}", lookup.key().as_bytes().len());
    }
}
