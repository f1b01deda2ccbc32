//! What is of no more use, and what stands in for errors.

use super::{site, told};

#[test]
fn an_answer_about_one_request_ends_nothing() {
    let mut site = site("mode = \"respect\"\nkeep = \"1h\"");
    site.says(200, &["cache-control: max-age=1", "etag: \"a\""], "page")
        .get("/p");
    for status in [401, 403, 429, 400] {
        site.later(5)
            .says(status, &["cache-control: no-store"], "not you")
            .get("/p");
    }
    assert_eq!(site.says(503, &[], "").get("/p").0, "page");
    site.later(5)
        .says(302, &["cache-control: no-store", "location: /login"], "")
        .get("/p");
    assert_eq!(site.says(503, &[], "").get("/p").0, "page");
    site.says(200, &["cache-control: no-store"], "private now")
        .get("/p");
    assert_eq!(site.says(503, &[], "down").get("/p").0, "down");
}

#[test]
fn what_an_answer_has_outdated_is_written_once_and_still_validated() {
    let mut site = site("mode = \"respect\"\nkeep = \"1h\"");
    site.says(200, &["cache-control: max-age=7200", "etag: \"a\""], "page")
        .get("/p");
    site.later(7300);
    for _ in 0..3 {
        site.says(200, &["cache-control: no-store"], "private now")
            .get("/p");
        assert!(site.origin.asked.contains_key("if-none-match"));
    }
    assert_eq!(site.says(503, &[], "down").get("/p").0, "down");
}

#[test]
fn an_answer_that_is_not_stored_ends_no_other_variant() {
    let mut site = site("mode = \"respect\"");
    let fields = ["cache-control: max-age=600", "vary: accept-language"];
    site.says(
        200,
        &[
            "cache-control: max-age=1",
            "vary: accept-language",
            "etag: \"f\"",
        ],
        "bonjour",
    );
    site.ask("GET", "/", &["accept-language: fr"]);
    site.says(200, &fields, "hallo")
        .ask("GET", "/", &["accept-language: de"]);
    site.later(5)
        .says(200, &["cache-control: no-store"], "salut")
        .ask("GET", "/", &["accept-language: fr"]);
    assert_eq!(
        told(&site.ask("GET", "/", &["accept-language: de"])).0,
        "hallo"
    );
}

#[test]
fn a_head_that_answers_a_condition_renews_nothing_without_a_validator() {
    let mut site = site("mode = \"respect\"");
    site.says(200, &["cache-control: max-age=10", "etag: \"1\""], "v1")
        .get("/p");
    site.later(20)
        .says(200, &["cache-control: max-age=3600"], "");
    site.ask("HEAD", "/p", &[]);
    assert_eq!(site.says(200, &[], "v2").get("/p").0, "v2");
}

#[test]
fn grace_is_for_what_was_fresh_for_others() {
    for fields in [
        &["etag: \"a\""][..],
        &["etag: \"a\"", "cache-control: max-age=0"],
    ] {
        let mut site = site("mode = \"respect\"\ngrace = \"60s\"\nkeep = \"1d\"");
        site.says(200, fields, "Ann's").get("/account");
        assert_eq!(site.says(200, fields, "Bob's").get("/account").0, "Bob's");
        assert_ne!(site.says(503, &[], "down").get("/account").0, "Bob's");
    }
    // And cookies are for its lifetime.
    let mut site = site("mode = \"respect\"\ngrace = \"60s\"\nkeep = \"1d\"");
    site.says(
        200,
        &["cache-control: max-age=1", "set-cookie: theme=dark"],
        "a",
    )
    .get("/p");
    assert!(site.is_hit("/p"));
    let answer = site.later(2).says(503, &[], "").ask("GET", "/p", &[]);
    assert_eq!(
        (
            answer.head.status.as_u16(),
            answer.head.headers.contains_key("set-cookie")
        ),
        (503, false)
    );
    // One that is not stored concerns nobody else.
    site.says(
        200,
        &[
            "cache-control: max-age=1, private=\"set-cookie\"",
            "set-cookie: theme=dark",
        ],
        "a",
    )
    .get("/q");
    assert_eq!(site.later(2).says(503, &[], "").get("/q").0, "a");
}
