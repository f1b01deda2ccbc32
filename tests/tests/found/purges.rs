//! What purges and changes reach.

use super::{site, told, with_routes};

#[test]
fn a_purge_by_url_reaches_what_the_profile_makes_one() {
    for (query, stored, asked, purged) in [
        ("query = \"none\"", "/a", "/a?utm_source=x", "/a"),
        ("query = \"none\"", "/a?one", "/a?two", "/a?three"),
        (
            "query_deny = [\"utm_*\"]",
            "/a?x=1",
            "/a?utm_source=x&x=1",
            "/a?x=1&utm_b=1",
        ),
        (
            "query_sort = true",
            "/a?x=1&y=2",
            "/a?y=2&x=1",
            "/a?y=2&x=1",
        ),
        (
            "query_sort = true",
            "/a?y=2&x=1",
            "/a?y=2&x=1",
            "/a?x=1&y=2",
        ),
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
    let mut site =
        site("mode = \"override\"\nttl = \"60s\"\nquery_sort = true\nkey_headers = [\"x-a\"]");
    site.says(200, &[], "old");
    site.ask("GET", "/a?x=1&y=2", &["x-a: 1"]);
    assert!(
        told(&site.ask("GET", "/a?y=2&x=1", &["x-a: 1"]))
            .1
            .contains("; hit")
    );
    site.ask("POST", "/a?y=2&x=1", &[]);
    assert!(
        !told(&site.ask("GET", "/a?x=1&y=2", &["x-a: 1"]))
            .1
            .contains("; hit")
    );
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
    let mut never = super::site("mode = \"never\"");
    never
        .says(200, &["cache-group-invalidation: \"a\""], "")
        .ask("POST", "/a", &[]);
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
    let kept = (0..50)
        .filter(|page| site.is_hit(&format!("/{page}")))
        .count();
    assert!(kept >= 48, "{kept} of 50");
}

#[test]
fn a_soft_purge_has_an_end() {
    let mut site = site("mode = \"respect\"\ngrace = \"10s\"");
    site.says(200, &["cache-control: max-age=86400"], "product")
        .get("/p");
    site.purge_softly();
    let (body, status) = site
        .says(404, &["cache-control: no-store"], "gone")
        .get("/p");
    assert!(body == "product" && status.contains("ttl=0"), "{status}");
    assert_eq!(
        site.get("/p").0,
        "gone",
        "the origin has said so in the background"
    );
}

#[test]
fn tags_that_a_304_takes_away_are_gone() {
    let mut site = site("mode = \"respect\"");
    site.says(
        200,
        &["etag: \"a\"", "cache-control: max-age=10", "cache-tag: t0"],
        "page",
    )
    .get("/p");
    for _ in 0..5 {
        site.origin.fields.retain(|(name, _)| *name != "cache-tag");
        site.origin
            .fields
            .push(("cache-tag", format!("t{}", site.origin.count)));
        site.origin.status = 304;
        site.later(20).get("/p");
    }
    assert_eq!(
        site.node
            .stored()
            .map(|(head, _)| head.labels.len())
            .collect::<Vec<_>>(),
        [1]
    );
}

#[test]
fn a_purge_of_any_tag_reaches_what_has_more_than_are_remembered() {
    let mut site = site("mode = \"override\"\nttl = \"60s\"");
    let tags = |count: usize| {
        (0..count)
            .map(|i| format!("tag-{i:04}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    site.says(200, &[], "page").origin.fields = vec![("surrogate-key", tags(900))];
    site.get("/some");
    site.origin.fields = vec![("surrogate-key", tags(3000))];
    site.get("/many");
    assert!(site.is_hit("/some") && site.is_hit("/many"));
    site.purge_tag("tag-2999");
    assert!(site.is_hit("/some") && !site.is_hit("/many"));
    site.get("/many");
    site.purge_tag("tag-0000");
    assert!(!site.is_hit("/some") && !site.is_hit("/many"));
}

/// Clients write what is outside ASCII as it is, or encode it with digits in either case; routes
/// and profiles see it as it was written.
#[test]
fn a_purge_reaches_what_profiles_make_of_a_url_outside_ascii() {
    let stored = [
        "/für/a?ö=1&b=ä",
        "/f%C3%BCr/a?%C3%B6=1&b=%C3%A4",
        "/f%c3%bcr/a?%c3%b6=1&b=%c3%a4",
    ];
    for query in [
        "query = \"all\"",
        "query = \"none\"",
        "query_allow = [\"b\"]",
        "query_deny = [\"b\"]",
        "query_sort = true",
    ] {
        for prefix in ["/für/", "/f%C3%BCr/"] {
            for path in stored {
                for purged in stored {
                    let mut site = with_routes(&format!(
                        "[cache.c]\nmode = \"override\"\nttl = \"1h\"\n{query}\n[[routes]]\npath_prefix = \"{prefix}\"\npool = \"main\"\n\
                         cache = \"c\"\n[[routes]]\npool = \"main\"\n"
                    ));
                    site.says(200, &[], "hello").get(path);
                    if !site.is_hit(path) {
                        // Another route, which stores nothing.
                        continue;
                    }
                    site.purge(&format!("shop.example{purged}"));
                    assert!(!site.is_hit(path), "{query} {prefix} {path} {purged}");
                }
            }
        }
    }
}
