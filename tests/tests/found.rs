//! What caches have got wrong, this one among them: each test is a short story of a site, told to a node with a store, and what must not happen.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request};
use tidegate_core::purge::Order;
use tidegate_core::{Attempt, Client, Policy, RequestBody, Scheme, Timestamp};
use tidegate_tests::fixture::START;
use tidegate_tests::simulator::{Answer, Origins, Outcome, Simulator};

/// What the origin answers next, and what it was asked.
#[derive(Default)]
struct Origin {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: String,
    /// Fields of the last request.
    asked: HeaderMap,
    count: usize,
}

impl Origins for Origin {
    fn answer(&mut self, attempt: &Attempt, _now: &mut Timestamp) -> Answer {
        self.asked = attempt.head.headers.clone();
        self.count += 1;
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = StatusCode::from_u16(self.status).expect("a status");
        for (name, value) in &self.fields {
            head.headers.append(HeaderName::from_static(name), HeaderValue::try_from(value).expect("a value"));
        }
        Ok((head, Bytes::from(self.body.clone())))
    }
}

struct Site {
    node: Simulator,
    origin: Origin,
    seconds: u64,
}

/// A site with one cache profile.
fn site(profile: &str) -> Site {
    with_routes(&format!("[cache.c]\n{profile}\n[[routes]]\npool = \"main\"\ncache = \"c\"\n"))
}

fn with_routes(routes: &str) -> Site {
    let text = format!("[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n{routes}");
    let policy = Policy::parse("policy", &text).unwrap_or_else(|error| panic!("{error}"));
    Site { node: Simulator::new(policy), origin: Origin::default(), seconds: 0 }
}

impl Site {
    /// Sets what the origin answers from now on: status, fields (`name: value`), body.
    fn says(&mut self, status: u16, fields: &[&'static str], body: &str) -> &mut Self {
        self.origin.status = status;
        let field = |line: &&'static str| line.split_once(": ").expect("name: value");
        self.origin.fields = fields.iter().map(field).map(|(name, value)| (name, value.to_owned())).collect();
        self.origin.body = body.into();
        self
    }

    fn ask(&mut self, method: &str, path: &str, fields: &[&str]) -> Outcome {
        let (mut head, ()): (request::Parts, ()) = http::Request::new(()).into_parts();
        head.method = Method::from_bytes(method.as_bytes()).expect("a method");
        head.uri = path.parse().expect("a path");
        head.headers.insert("host", HeaderValue::from_static("shop.example"));
        for (name, value) in fields.iter().filter_map(|line| line.split_once(": ")) {
            head.headers
                .append(HeaderName::try_from(name).expect("a name"), HeaderValue::try_from(value).expect("a value"));
        }
        let peer = [203, 0, 113, 9].into();
        let client = Client { peer, geo: None, scheme: Scheme::Http, body: RequestBody::Empty, fresh_trace: 1 };
        let now = Timestamp::from_millis(START).plus(1000 * self.seconds);
        self.node.exchange(head, client, now, &mut self.origin)
    }

    /// A GET; returns the body and what Cache-Status says.
    fn get(&mut self, path: &str) -> (String, String) {
        told(&self.ask("GET", path, &[]))
    }

    fn is_hit(&mut self, path: &str) -> bool {
        self.get(path).1.contains("; hit")
    }

    fn purge(&mut self, pattern: &str) {
        for purge in Order::of_pattern(pattern).and_then(|order| order.purges()).expect("a pattern") {
            self.node.engine().purge(&purge);
        }
    }

    fn purge_softly(&mut self) {
        let order = Order { everything: true, soft: true, ..Order::default() };
        for purge in order.purges().expect("an order") {
            self.node.engine().purge(&purge);
        }
    }

    fn later(&mut self, seconds: u64) -> &mut Self {
        self.seconds += seconds;
        self
    }
}

fn told(outcome: &Outcome) -> (String, String) {
    let status = outcome.head.headers.get("cache-status").map(|value| value.to_str().expect("text").to_owned());
    (String::from_utf8_lossy(&outcome.body).into_owned(), status.unwrap_or_default())
}

#[test]
fn a_purge_by_url_reaches_what_the_profile_makes_one() {
    for (query, stored, asked, purged) in [
        ("query = \"none\"", "/a", "/a?utm_source=x", "/a"),
        ("query = \"none\"", "/a?one", "/a?two", "/a?three"),
        ("query_deny = [\"utm_*\"]", "/a?x=1", "/a?utm_source=x&x=1", "/a?x=1&utm_b=1"),
        ("query_sort = true", "/a?x=1&y=2", "/a?y=2&x=1", "/a?y=2&x=1"),
        ("query_sort = true", "/a?y=2&x=1", "/a?y=2&x=1", "/a?x=1&y=2"),
    ] {
        let mut site = site(&format!("mode = \"override\"\nttl = \"60s\"\n{query}"));
        site.says(200, &[], "old").get(stored);
        assert!(site.is_hit(asked), "{query}");
        site.purge("shop.example/other");
        assert!(site.is_hit(asked), "{query}");
        site.purge(&format!("shop.example{purged}"));
        assert!(!site.is_hit(asked), "{query}: {purged} purged");
    }
}

#[test]
fn a_change_reaches_what_the_profile_makes_one() {
    let mut site = site("mode = \"override\"\nttl = \"60s\"\nquery_sort = true\nkey_headers = [\"x-a\"]");
    site.says(200, &[], "old");
    site.ask("GET", "/a?x=1&y=2", &["x-a: 1"]);
    assert!(told(&site.ask("GET", "/a?y=2&x=1", &["x-a: 1"])).1.contains("; hit"));
    site.ask("POST", "/a?y=2&x=1", &[]);
    assert!(!told(&site.ask("GET", "/a?x=1&y=2", &["x-a: 1"])).1.contains("; hit"));
}

#[test]
fn changes_where_nothing_is_stored_wear_nothing_out() {
    let mut site = with_routes(
        "[cache.c]\nmode = \"override\"\nttl = \"1d\"\n[[routes]]\npath_prefix = \"/orders/\"\npool = \"main\"\n\
         [[routes]]\npool = \"main\"\ncache = \"c\"\n",
    );
    site.says(200, &[], "page");
    site.get("/page");
    for order in 0..200 {
        site.ask("POST", &format!("/orders/{order}"), &[]);
    }
    assert_eq!(site.node.engine().last_purge(), 0);
    assert!(site.is_hit("/page"));
    let mut never = self::site("mode = \"never\"");
    never.says(200, &["cache-group-invalidation: \"a\""], "").ask("POST", "/a", &[]);
    assert_eq!(never.node.engine().last_purge(), 0);
}

#[test]
fn many_changes_reach_little_that_they_do_not_mean() {
    let mut site = site("mode = \"override\"\nttl = \"30d\"");
    site.says(200, &[], "page");
    for page in 0..50 {
        site.get(&format!("/{page}"));
    }
    for order in 0..5000 {
        site.origin.fields = vec![("cache-group-invalidation", format!("\"order-{order}\""))];
        site.ask("POST", &format!("/orders/{order}"), &[]);
    }
    let kept = (0..50).filter(|page| site.is_hit(&format!("/{page}"))).count();
    assert!(kept >= 48, "{kept} of 50");
}

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
    let mut site = self::site("mode = \"respect\"");
    site.says(200, &fields[1..], "page").get("/p?x=1");
    site.later(20).says(304, &fields, "").get("/p?x=1");
    site.says(200, &fields, "page").get("/p?x=1");
    assert!(site.is_hit("/p?x=2"));
}

#[test]
fn joined_parts_are_no_longer_than_a_response_may_be() {
    let mut site = site("mode = \"respect\"\nbody_bytes_max = \"6B\"");
    for (range, content) in
        [("bytes=0-3", "bytes 0-3/12"), ("bytes=4-7", "bytes 4-7/12"), ("bytes=8-11", "bytes 8-11/12")]
    {
        site.origin.fields = vec![
            ("etag", "\"a\"".into()),
            ("cache-control", "max-age=60".into()),
            ("content-range", content.to_owned()),
        ];
        (site.origin.status, site.origin.body) = (206, "1234".into());
        site.ask("GET", "/film", &[&format!("range: {range}")]);
        assert!(site.node.stored().all(|(_, body)| body.len() <= 6));
    }
}

#[test]
fn a_part_is_stored_again_after_a_purge() {
    let mut site = site("mode = \"respect\"");
    site.says(206, &["etag: \"a\"", "cache-control: max-age=60", "content-range: bytes 0-3/12"], "1234");
    let part = |site: &mut Site| told(&site.ask("GET", "/film", &["range: bytes=0-3"])).1;
    part(&mut site);
    assert!(part(&mut site).contains("; hit"));
    site.purge("*");
    assert!(part(&mut site).contains("fwd="));
    assert!(part(&mut site).contains("; hit"));
}

#[test]
fn a_purged_part_of_one_variant_keeps_no_other_one_from_growing() {
    let mut site = site("mode = \"respect\"");
    let fetch = |site: &mut Site, first: &'static str, range: &'static str, content: &'static str| {
        let fields = ["etag: \"a\"", "cache-control: max-age=60", "vary: x-a", content];
        site.says(206, &fields, "1234").ask("GET", "/film", &[first, range])
    };
    fetch(&mut site, "x-a: 1", "range: bytes=0-3", "content-range: bytes 0-3/8");
    site.purge("*");
    fetch(&mut site, "x-a: 2", "range: bytes=0-3", "content-range: bytes 0-3/8");
    fetch(&mut site, "x-a: 2", "range: bytes=4-7", "content-range: bytes 4-7/8");
    assert_eq!(told(&site.ask("GET", "/film", &["x-a: 2"])).0, "12341234");
}

#[test]
fn a_joined_part_has_the_lifetime_and_the_cookies_of_the_newer_one() {
    let mut site = site("mode = \"respect\"");
    site.says(
        206,
        &["etag: \"a\"", "cache-control: max-age=60", "content-range: bytes 0-3/8", "set-cookie: sid=ann"],
        "1234",
    );
    site.ask("GET", "/film", &["range: bytes=0-3"]);
    site.says(
        206,
        &["etag: \"a\"", "content-range: bytes 4-7/8", "last-modified: Thu, 01 Jan 2026 00:00:00 GMT"],
        "5678",
    );
    site.ask("GET", "/film", &["range: bytes=4-7"]);
    let whole = site.ask("GET", "/film", &[]);
    assert!(told(&whole).1.contains("; hit") && told(&whole).0 == "12345678");
    assert!(!whole.head.headers.contains_key("set-cookie") && !whole.head.headers.contains_key("cache-control"));
}

#[test]
fn what_a_post_leaves_was_asked_for_as_a_get_is() {
    let cart = ["content-location: /cart", "cache-control: max-age=60"];
    let leaves = |profile: &str, fields: &[&'static str], answer: &[&'static str]| {
        let mut site = site(profile);
        site.says(200, answer, "Ann's");
        site.ask("POST", "/cart", fields);
        site.says(200, &[], "anybody's").get("/cart").0 == "Ann's"
    };
    let respect = "mode = \"respect\"\nbypass_cookies = [\"session\"]\nbypass_headers = [\"x-user\"]";
    assert!(leaves(respect, &["cookie: other=1"], &cart));
    assert!(!leaves(respect, &["cookie: session=ann"], &cart));
    assert!(!leaves(respect, &["x-user: ann"], &cart));
    assert!(!leaves(respect, &["x-original-url: /admin"], &cart));
    assert!(!leaves(respect, &["x-real-ip: 10.0.0.1"], &cart) && leaves(respect, &["x-real-ip: 203.0.113.9"], &cart));
    let trusted = "mode = \"respect\"\n[client]\ntrusted_proxies = [\"203.0.113.0/24\"]";
    assert!(leaves(trusted, &["x-forwarded-proto: http", "x-forwarded-for: 198.51.100.7"], &cart));
    assert!(
        !leaves(trusted, &["x-forwarded-proto: gopher"], &cart) && !leaves(trusted, &["forwarded: host=evil"], &cart)
    );
    assert!(!leaves(trusted, &["x-forwarded-for: 127.0.0.1, 198.51.100.7"], &cart));
    assert!(!leaves("mode = \"override\"\nttl = \"60s\"", &[], &["content-location: /cart"]));
    assert!(!leaves("mode = \"never\"", &[], &cart));
}

#[test]
fn a_condition_on_a_range_is_kept_when_a_part_is_validated() {
    let mut site = site("mode = \"respect\"");
    site.says(206, &["etag: \"a\"", "cache-control: max-age=1", "content-range: bytes 0-3/8"], "aaaa");
    site.ask("GET", "/film", &["range: bytes=0-3"]);
    site.later(5).says(200, &["etag: \"b\"", "cache-control: max-age=1"], "bbbbbbbb");
    site.ask("GET", "/film", &["range: bytes=0-3", "if-range: \"a\""]);
    assert!(!site.origin.asked.contains_key("range"), "it would get a part of another version");
    assert!(site.origin.asked.contains_key("if-none-match"));
}

#[test]
fn a_soft_purge_has_an_end() {
    let mut site = site("mode = \"respect\"\ngrace = \"10s\"");
    site.says(200, &["cache-control: max-age=86400"], "product").get("/p");
    site.purge_softly();
    let (body, status) = site.says(404, &["cache-control: no-store"], "gone").get("/p");
    assert!(body == "product" && status.contains("ttl=0"), "{status}");
    assert_eq!(site.get("/p").0, "gone", "the origin has said so in the background");
}

#[test]
fn an_answer_about_one_request_ends_nothing() {
    let mut site = site("mode = \"respect\"\nkeep = \"1h\"");
    site.says(200, &["cache-control: max-age=1", "etag: \"a\""], "page").get("/p");
    for status in [401, 403, 429, 400] {
        site.later(5).says(status, &["cache-control: no-store"], "not you").get("/p");
    }
    assert_eq!(site.says(503, &[], "").get("/p").0, "page");
    site.later(5).says(302, &["cache-control: no-store", "location: /login"], "").get("/p");
    assert_eq!(site.says(503, &[], "").get("/p").0, "page");
    site.says(200, &["cache-control: no-store"], "private now").get("/p");
    assert_eq!(site.says(503, &[], "down").get("/p").0, "down");
}

#[test]
fn what_an_answer_has_outdated_is_written_once_and_still_validated() {
    let mut site = site("mode = \"respect\"\nkeep = \"1h\"");
    site.says(200, &["cache-control: max-age=7200", "etag: \"a\""], "page").get("/p");
    site.later(7300);
    for _ in 0..3 {
        site.says(200, &["cache-control: no-store"], "private now").get("/p");
        assert!(site.origin.asked.contains_key("if-none-match"));
    }
    assert_eq!(site.says(503, &[], "down").get("/p").0, "down");
}

#[test]
fn an_answer_that_is_not_stored_ends_no_other_variant() {
    let mut site = site("mode = \"respect\"");
    let fields = ["cache-control: max-age=600", "vary: accept-language"];
    site.says(200, &["cache-control: max-age=1", "vary: accept-language", "etag: \"f\""], "bonjour");
    site.ask("GET", "/", &["accept-language: fr"]);
    site.says(200, &fields, "hallo").ask("GET", "/", &["accept-language: de"]);
    site.later(5).says(200, &["cache-control: no-store"], "salut").ask("GET", "/", &["accept-language: fr"]);
    assert_eq!(told(&site.ask("GET", "/", &["accept-language: de"])).0, "hallo");
}

#[test]
fn a_head_that_answers_a_condition_renews_nothing_without_a_validator() {
    let mut site = site("mode = \"respect\"");
    site.says(200, &["cache-control: max-age=10", "etag: \"1\""], "v1").get("/p");
    site.later(20).says(200, &["cache-control: max-age=3600"], "");
    site.ask("HEAD", "/p", &[]);
    assert_eq!(site.says(200, &[], "v2").get("/p").0, "v2");
}

#[test]
fn tags_that_a_304_takes_away_are_gone() {
    let mut site = site("mode = \"respect\"");
    site.says(200, &["etag: \"a\"", "cache-control: max-age=10", "cache-tag: t0"], "page").get("/p");
    for _ in 0..5 {
        site.origin.fields.retain(|(name, _)| *name != "cache-tag");
        site.origin.fields.push(("cache-tag", format!("t{}", site.origin.count)));
        site.origin.status = 304;
        site.later(20).get("/p");
    }
    assert!(site.node.stored().all(|(head, _)| head.labels.len() == 1));
}

#[test]
fn grace_is_for_what_was_fresh_for_others() {
    for fields in [&["etag: \"a\""][..], &["etag: \"a\"", "cache-control: max-age=0"]] {
        let mut site = site("mode = \"respect\"\ngrace = \"60s\"\nkeep = \"1d\"");
        site.says(200, fields, "Ann's").get("/account");
        assert_eq!(site.says(200, fields, "Bob's").get("/account").0, "Bob's");
        assert_ne!(site.says(503, &[], "down").get("/account").0, "Bob's");
    }
    // And cookies are for its lifetime.
    let mut site = site("mode = \"respect\"\ngrace = \"60s\"\nkeep = \"1d\"");
    site.says(200, &["cache-control: max-age=1", "set-cookie: theme=dark"], "a").get("/p");
    assert!(site.is_hit("/p"));
    let answer = site.later(2).says(503, &[], "").ask("GET", "/p", &[]);
    assert_eq!((answer.head.status.as_u16(), answer.head.headers.contains_key("set-cookie")), (503, false));
    // One that is not stored concerns nobody else.
    site.says(200, &["cache-control: max-age=1, private=\"set-cookie\"", "set-cookie: theme=dark"], "a").get("/q");
    assert_eq!(site.later(2).says(503, &[], "").get("/q").0, "a");
}

#[test]
fn what_a_trusted_proxy_says_of_the_scheme_is_understood() {
    for (says, shared, alone) in [
        ("https,http", "https", "https,http"),
        ("HTTPS", "https", "HTTPS"),
        ("wss", "https", "wss"),
        ("gopher", "http", "gopher"),
    ] {
        let mut site = with_routes(
            "[client]\ntrusted_proxies = [\"203.0.113.0/24\"]\n[cache.c]\nmode = \"override\"\nttl = \"60s\"\n\
             [[routes]]\npath_prefix = \"/cached\"\npool = \"main\"\ncache = \"c\"\n[[routes]]\npool = \"main\"\n",
        );
        for (path, expected) in [("/cached", shared), ("/", alone)] {
            site.says(200, &[], "").ask("GET", path, &[&format!("x-forwarded-proto: {says}")]);
            assert_eq!(
                site.origin.asked.get("x-forwarded-proto").expect("it is written"),
                expected,
                "{says} at {path}"
            );
        }
    }
}

#[test]
fn what_a_trusted_proxy_passes_on_does_not_make_a_shared_response_another_one() {
    let mut site = with_routes(
        "[client]\ntrusted_proxies = [\"203.0.113.0/24\"]\n[cache.c]\nmode = \"override\"\nttl = \"60s\"\n\
         [[routes]]\npool = \"main\"\ncache = \"c\"\n",
    );
    site.says(200, &[], "page");
    let forged =
        ["forwarded: host=evil.example", "x-forwarded-proto: gopher", "x-forwarded-for: 127.0.0.1, 198.51.100.7"];
    site.ask("GET", "/p", &forged);
    let asked = |name: &str| site.origin.asked.get(name).map(|value| value.to_str().expect("text").to_owned());
    assert_eq!(asked("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(asked("x-forwarded-for").as_deref(), Some("198.51.100.7, 203.0.113.9"));
    let forwarded = "for=198.51.100.7, for=203.0.113.9;host=\"shop.example\";proto=http";
    assert_eq!(asked("forwarded").as_deref(), Some(forwarded));
    // Each host that an origin may see has its own responses.
    site.ask("GET", "/q", &["x-forwarded-host: shop.example", "x-forwarded-host: evil.example"]);
    assert!(!told(&site.ask("GET", "/q", &["x-forwarded-host: shop.example"])).1.contains("; hit"));
}

#[test]
fn a_port_that_the_scheme_has_anyway_and_a_last_dot_make_no_other_host() {
    let mut site = site("mode = \"override\"\nttl = \"60s\"");
    let at = |site: &mut Site, host: &'static str, method: &str| {
        let (mut head, ()): (request::Parts, ()) = http::Request::new(()).into_parts();
        head.method = Method::from_bytes(method.as_bytes()).expect("a method");
        head.headers.insert("host", HeaderValue::from_static(host));
        let peer = [203, 0, 113, 9].into();
        let client = Client { peer, geo: None, scheme: Scheme::Http, body: RequestBody::Empty, fresh_trace: 1 };
        told(&site.node.exchange(head, client, Timestamp::from_millis(START), &mut site.origin)).1.contains("; hit")
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
fn what_is_disguised_is_not_promised_to_last() {
    let mut site = site("mode = \"override\"\nttl = \"1y\"\ncache_control = \"public, max-age=31536000\"");
    site.says(200, &["content-type: text/html"], "<h1>Ann</h1>");
    let page = site.ask("GET", "/account/style.css", &[]);
    assert!(told(&page).1.contains("disguised") && !page.head.headers.contains_key("cache-control"));
}
