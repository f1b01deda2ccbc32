//! What others may get of what one has asked for.

use super::{site, told, with_routes};

#[test]
fn what_a_post_leaves_was_asked_for_as_a_get_is() {
    let cart = ["content-location: /cart", "cache-control: max-age=60"];
    let leaves = |profile: &str, fields: &[&'static str], answer: &[&'static str]| {
        let mut site = site(profile);
        site.says(200, answer, "Ann's");
        site.ask("POST", "/cart", fields);
        site.says(200, &[], "anybody's").get("/cart").0 == "Ann's"
    };
    let respect =
        "mode = \"respect\"\nbypass_cookies = [\"session\"]\nbypass_headers = [\"x-user\"]";
    assert!(leaves(respect, &["cookie: other=1"], &cart));
    assert!(!leaves(respect, &["cookie: session=ann"], &cart));
    assert!(!leaves(respect, &["x-user: ann"], &cart));
    assert!(!leaves(respect, &["x-original-url: /admin"], &cart));
    assert!(
        !leaves(respect, &["x-real-ip: 10.0.0.1"], &cart)
            && leaves(respect, &["x-real-ip: 203.0.113.9"], &cart)
    );
    let trusted = "mode = \"respect\"\n[client]\ntrusted_proxies = [\"203.0.113.0/24\"]";
    assert!(leaves(
        trusted,
        &["x-forwarded-proto: http", "x-forwarded-for: 198.51.100.7"],
        &cart
    ));
    assert!(
        !leaves(trusted, &["x-forwarded-proto: gopher"], &cart)
            && !leaves(trusted, &["forwarded: host=evil"], &cart)
    );
    assert!(!leaves(
        trusted,
        &["x-forwarded-for: 127.0.0.1, 198.51.100.7"],
        &cart
    ));
    assert!(!leaves(
        "mode = \"override\"\nttl = \"60s\"",
        &[],
        &["content-location: /cart"]
    ));
    assert!(!leaves("mode = \"never\"", &[], &cart));
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
            site.says(200, &[], "")
                .ask("GET", path, &[&format!("x-forwarded-proto: {says}")]);
            assert_eq!(
                site.origin
                    .asked
                    .get("x-forwarded-proto")
                    .expect("it is written"),
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
    let forged = [
        "forwarded: host=evil.example",
        "x-forwarded-proto: gopher",
        "x-forwarded-for: 127.0.0.1, 198.51.100.7",
    ];
    site.ask("GET", "/p", &forged);
    let asked = |name: &str| {
        site.origin
            .asked
            .get(name)
            .map(|value| value.to_str().expect("text").to_owned())
    };
    assert_eq!(asked("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(
        asked("x-forwarded-for").as_deref(),
        Some("198.51.100.7, 203.0.113.9")
    );
    let forwarded = "for=198.51.100.7, for=203.0.113.9;host=\"shop.example\";proto=http";
    assert_eq!(asked("forwarded").as_deref(), Some(forwarded));
    // Each host that an origin may see has its own responses.
    site.ask(
        "GET",
        "/q",
        &[
            "x-forwarded-host: shop.example",
            "x-forwarded-host: evil.example",
        ],
    );
    assert!(
        !told(&site.ask("GET", "/q", &["x-forwarded-host: shop.example"]))
            .1
            .contains("; hit")
    );
}

#[test]
fn what_is_disguised_is_not_promised_to_last() {
    let mut site =
        site("mode = \"override\"\nttl = \"1y\"\ncache_control = \"public, max-age=31536000\"");
    site.says(200, &["content-type: text/html"], "<h1>Ann</h1>");
    let page = site.ask("GET", "/account/style.css", &[]);
    assert!(
        told(&page).1.contains("disguised") && !page.head.headers.contains_key("cache-control")
    );
}

#[test]
fn the_policys_promise_is_not_made_of_what_a_304_takes_back() {
    let profile = "mode = \"override\"\nttl = \"10s\"\ncache_control = \"public, max-age=31536000, immutable\"";
    let told_after = |answer: &[&'static str], fields: &[&'static str]| {
        let mut site = site(profile);
        site.says(200, &["etag: \"1\""], "page").get("/");
        site.seconds = 20;
        let outcome = site.says(304, answer, "").ask("GET", "/", fields);
        let field = outcome
            .head
            .headers
            .get("cache-control")
            .map(|value| value.to_str().expect("text").to_owned());
        field.is_some_and(|field| field.contains("31536000"))
    };
    assert!(told_after(&["etag: \"1\""], &[]));
    for answer in [
        &["etag: \"1\"", "cache-control: private"][..],
        &["etag: \"1\"", "cache-control: no-store"],
        &["etag: \"1\"", "set-cookie: sid=1"],
        &["etag: \"1\"", "vary: *"],
    ] {
        assert!(!told_after(answer, &[]), "{answer:?}");
    }
    assert!(!told_after(&["etag: \"1\""], &["authorization: Bearer x"]));
}

#[test]
fn what_an_origin_obeys_does_not_poison_what_is_shared() {
    let mut site = site("mode = \"override\"\nttl = \"60s\"");
    site.says(200, &[], "page");
    for (page, field) in [
        "x_forwarded_host: evil",
        "X-HTTP-Method: DELETE",
        "x-original-uri: /admin",
        "x-forwarded-protocol: ftp",
        "x-url-scheme: ftp",
        "x-envoy-original-path: /admin",
        "x-forwarded-user: root",
        "cf-ipcity: Berlin",
        "cf-ipcountry: DE",
        "x-cluster-client-ip: 10.0.0.1",
        "x-country-code: DE",
        "x-real-scheme: ftp",
    ]
    .into_iter()
    .enumerate()
    {
        site.ask("GET", &format!("/{page}"), &[field]);
        let (name, _) = field.split_once(": ").expect("name: value");
        assert!(!site.origin.asked.contains_key(name), "{field}");
    }
    let mut trusted = with_routes(
        "[client]\ntrusted_proxies = [\"203.0.113.0/24\"]\n[cache.c]\nmode = \"override\"\nttl = \"60s\"\n\
         [[routes]]\npool = \"main\"\ncache = \"c\"\n",
    );
    trusted.says(200, &[], "page");
    trusted.ask(
        "GET",
        "/",
        &[
            "cf-ipcountry: DE",
            "x-forwarded-user: ann",
            "x-original-url: /admin",
            "x_a: 1",
        ],
    );
    let asked = &trusted.origin.asked;
    assert!(asked.contains_key("cf-ipcountry") && asked.contains_key("x-forwarded-user"));
    assert!(!asked.contains_key("x-original-url") && !asked.contains_key("x_a"));
}
