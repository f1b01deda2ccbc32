//! Parts of responses.

use super::{Site, site, told};

#[test]
fn joined_parts_are_no_longer_than_a_response_may_be() {
    let mut site = site("mode = \"respect\"\nbody_bytes_max = \"6B\"");
    for (range, content) in [
        ("bytes=0-3", "bytes 0-3/12"),
        ("bytes=4-7", "bytes 4-7/12"),
        ("bytes=8-11", "bytes 8-11/12"),
    ] {
        site.origin.fields = vec![
            ("etag", "\"a\"".into()),
            ("cache-control", "max-age=60".into()),
            ("content-range", content.to_owned()),
        ];
        (site.origin.status, site.origin.body) = (206, "1234".into());
        site.ask("GET", "/film", &[&format!("range: {range}")]);
        assert!(
            site.node.stored().count() == 1 && site.node.stored().all(|(_, body)| body.len() <= 6)
        );
    }
}

#[test]
fn a_part_is_stored_again_after_a_purge() {
    let mut site = site("mode = \"respect\"");
    site.says(
        206,
        &[
            "etag: \"a\"",
            "cache-control: max-age=60",
            "content-range: bytes 0-3/12",
        ],
        "1234",
    );
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
    let fetch =
        |site: &mut Site, first: &'static str, range: &'static str, content: &'static str| {
            let fields = [
                "etag: \"a\"",
                "cache-control: max-age=60",
                "vary: x-a",
                content,
            ];
            site.says(206, &fields, "1234")
                .ask("GET", "/film", &[first, range])
        };
    fetch(
        &mut site,
        "x-a: 1",
        "range: bytes=0-3",
        "content-range: bytes 0-3/8",
    );
    site.purge("*");
    fetch(
        &mut site,
        "x-a: 2",
        "range: bytes=0-3",
        "content-range: bytes 0-3/8",
    );
    fetch(
        &mut site,
        "x-a: 2",
        "range: bytes=4-7",
        "content-range: bytes 4-7/8",
    );
    assert_eq!(told(&site.ask("GET", "/film", &["x-a: 2"])).0, "12341234");
}

#[test]
fn a_joined_part_has_the_lifetime_and_the_cookies_of_the_newer_one() {
    let mut site = site("mode = \"respect\"");
    site.says(
        206,
        &[
            "etag: \"a\"",
            "cache-control: max-age=60",
            "content-range: bytes 0-3/8",
            "set-cookie: sid=ann",
        ],
        "1234",
    );
    site.ask("GET", "/film", &["range: bytes=0-3"]);
    site.says(
        206,
        &[
            "etag: \"a\"",
            "content-range: bytes 4-7/8",
            "last-modified: Thu, 01 Jan 2026 00:00:00 GMT",
        ],
        "5678",
    );
    site.ask("GET", "/film", &["range: bytes=4-7"]);
    let whole = site.ask("GET", "/film", &[]);
    assert!(told(&whole).1.contains("; hit") && told(&whole).0 == "12345678");
    assert!(
        !whole.head.headers.contains_key("set-cookie")
            && !whole.head.headers.contains_key("cache-control")
    );
}

#[test]
fn a_condition_on_a_range_is_kept_when_a_part_is_validated() {
    let mut site = site("mode = \"respect\"");
    site.says(
        206,
        &[
            "etag: \"a\"",
            "cache-control: max-age=1",
            "content-range: bytes 0-3/8",
        ],
        "aaaa",
    );
    site.ask("GET", "/film", &["range: bytes=0-3"]);
    site.later(5).says(
        200,
        &["etag: \"b\"", "cache-control: max-age=1"],
        "bbbbbbbb",
    );
    site.ask("GET", "/film", &["range: bytes=0-3", "if-range: \"a\""]);
    assert!(
        !site.origin.asked.contains_key("range"),
        "it would get a part of another version"
    );
    assert!(site.origin.asked.contains_key("if-none-match"));
}
