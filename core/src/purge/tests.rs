//! What purges reach.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::label::{Kind, Resource, group, label, tag};
use super::table::Purges;
use super::*;
use crate::cache::Stored;

const THIS: Resource<'_> = Resource {
    scheme: "https",
    authority: "shop.example:8443",
    host: "shop.example",
    path: "/a/b",
    query: Some("c=1"),
};

fn exact(authority: &str, path: &str, query: Option<&str>) -> Target {
    let host = authority.split(':').next().unwrap_or_default().to_owned();
    let (path, query) = (path.to_owned(), query.map(str::to_owned));
    Target::Exact(Exact {
        scheme: "https",
        authority: authority.to_owned(),
        host,
        path,
        query,
    })
}

fn url(host: &str, path: &str, query: Option<&str>) -> Target {
    Target::Url {
        host: host.into(),
        path: path.into(),
        query: query.map(Into::into),
    }
}

fn hard(target: Target) -> Purge {
    Purge {
        target,
        soft: false,
    }
}

#[test]
fn a_purge_reaches_what_it_names_and_what_was_on_its_way() {
    let targets = [
        Target::All,
        url("Shop.example", "/%61/b", Some("c=1")),
        exact("shop.example:8443", "/a/b", Some("c=1")),
        Target::Host("SHOP.example".into()),
        Target::Prefix("Shop.example".into(), "/".into()),
        Target::Prefix("shop.example".into(), "/a/".into()),
        Target::Prefix("shop.example".into(), "/a/b".into()),
        Target::Tag("Product-7".into()),
        Target::Group("shop.example".into(), "g".into()),
    ];
    let labels = [tag("product-7"), group("shop.example", "g")];
    for target in targets {
        let purges = Purges::default();
        let begun = purges.last();
        let number = purges.make(&[hard(target.clone())]);
        assert_eq!(
            purges.verdict(THIS, &labels, begun),
            Verdict::Void,
            "{target:?}"
        );
        assert_eq!(
            purges.verdict(THIS, &labels, number),
            Verdict::Kept,
            "{target:?}"
        );
    }
}

#[test]
fn what_is_outside_ascii_is_reached_however_it_is_written() {
    let paths = ["/für/ä", "/f%C3%BCr/%C3%A4", "/für/%C3%A4"];
    let queries = ["ö=ü", "%C3%B6=%C3%BC", "%c3%b6=%c3%bc"];
    for (path, query) in paths
        .into_iter()
        .flat_map(|path| queries.map(|query| (path, query)))
    {
        let resource = Resource {
            path,
            query: Some(query),
            ..THIS
        };
        for (named, query) in paths.into_iter().zip(queries) {
            for target in [
                url("shop.example", named, Some(query)),
                exact("shop.example:8443", named, Some(query)),
                Target::Prefix("shop.example".into(), named.into()),
            ] {
                let purges = Purges::default();
                purges.make(&[hard(target.clone())]);
                assert_eq!(
                    purges.verdict(resource, &[], 0),
                    Verdict::Void,
                    "{target:?} {resource:?}"
                );
                assert_eq!(purges.verdict(THIS, &[], 0), Verdict::Kept, "{target:?}");
            }
        }
    }
}

#[test]
fn a_purge_reaches_nothing_else() {
    let purges = Purges::default();
    for target in [
        url("shop.example", "/a/b", None),
        url("other.example", "/a/b", Some("c=1")),
        exact("shop.example", "/a/b", Some("c=1")),
        url("shop.example", "/a", Some("b?c=1")),
        Target::Host("other.example".into()),
        Target::Prefix("shop.example".into(), "/a/b/c".into()),
        Target::Prefix("shop.example".into(), "/a/bb".into()),
        Target::Tag("product-77".into()),
        Target::Group("other.example".into(), "product-7".into()),
    ] {
        purges.make(&[hard(target)]);
    }
    assert_eq!(purges.verdict(THIS, &[tag("product-7")], 0), Verdict::Kept);
}

#[test]
fn a_soft_purge_makes_stale_and_a_hard_one_wins() {
    let purges = Purges::default();
    let soft = Purge {
        target: Target::Host("shop.example".into()),
        soft: true,
    };
    purges.make(std::slice::from_ref(&soft));
    assert_eq!(purges.verdict(THIS, &[], 0), Verdict::Stale);
    purges.make(&[hard(Target::All)]);
    purges.make(std::slice::from_ref(&soft));
    assert_eq!(purges.verdict(THIS, &[], 0), Verdict::Void);
    assert_eq!(purges.verdict(THIS, &[], 2), Verdict::Stale);
}

#[test]
fn what_a_change_leaves_is_younger_than_it_unless_another_came_between() {
    let purges = Purges::default();
    let own = [hard(exact("shop.example:8443", "/a/b", Some("c=1")))];
    let stored = Stored {
        labels: vec![tag("t")],
        ..crate::cache::tests_support::stored(&[])
    };
    purges.make(&[hard(url("shop.example", "/b", None))]);
    assert_eq!(purges.make_all(&own, Some(stored.marks())), Some(2));
    assert_eq!(
        purges.make_all(&own, Some(stored.marks())),
        None,
        "the first change came after it was asked for"
    );
    assert_eq!((purges.make_all(&own, None), purges.last()), (Some(4), 4));
    let targets = [
        Target::All,
        Target::Host("shop.example".into()),
        Target::Prefix("shop.example".into(), "/a/".into()),
        Target::Tag("t".into()),
    ];
    for (target, soft) in targets
        .into_iter()
        .flat_map(|target| [(target.clone(), false), (target, true)])
    {
        let purges = Purges::default();
        purges.make(&[Purge {
            target: target.clone(),
            soft,
        }]);
        assert_eq!(
            purges.make_all(&own, Some(stored.marks())),
            None,
            "{target:?} {soft}"
        );
    }
}

#[test]
fn what_others_purge_counts_by_their_numbers() {
    let purges = Purges::default();
    let made = |number, purge: &Purge| NumberedPurge {
        number,
        ..NumberedPurge::of(purge)
    };
    let (this, other) = (
        hard(exact("shop.example:8443", "/a/b", Some("c=1"))),
        hard(Target::Tag("x".into())),
    );
    purges.learn(&[made(7, &this), made(9, &other)]);
    assert_eq!(purges.last(), 9);
    assert_eq!(
        (purges.verdict(THIS, &[], 6), purges.verdict(THIS, &[], 7)),
        (Verdict::Void, Verdict::Kept)
    );
    purges.learn(&[made(3, &this)]);
    assert_eq!(
        purges.verdict(THIS, &[], 7),
        Verdict::Kept,
        "what is learned late takes nothing back"
    );
    let stored = Stored {
        epoch: 9,
        ..crate::cache::tests_support::stored(&[])
    };
    assert_eq!(
        purges.settle(
            &[made(10, &other)],
            &[made(11, &this)],
            std::slice::from_ref(&this),
            Some(stored.marks())
        ),
        Some(11)
    );
    assert_eq!(
        purges.settle(
            &[made(12, &this)],
            &[made(13, &this)],
            std::slice::from_ref(&this),
            Some(stored.marks())
        ),
        None
    );
    purges.make_provisionally(&hard(Target::Host("shop.example".into())));
    assert_eq!(
        (purges.verdict(THIS, &[], 13), purges.last()),
        (Verdict::Void, 13)
    );
    purges.learn(&[made(14, &other)]);
    assert_eq!(purges.verdict(THIS, &[], 14), Verdict::Kept);
}

#[test]
fn labels_of_different_kinds_differ() {
    let same = ["shop.example"];
    let all = [
        Kind::Url,
        Kind::Exact,
        Kind::Host,
        Kind::Prefix,
        Kind::Tag,
        Kind::Group,
    ]
    .map(|kind| label(kind, &same));
    assert!(
        all.iter()
            .enumerate()
            .all(|(i, one)| all.iter().skip(i + 1).all(|other| one != other))
    );
    assert_ne!(
        label(Kind::Url, &["a", "bc"]),
        label(Kind::Url, &["ab", "c"])
    );
}

#[test]
fn changes_at_one_host_leave_the_responses_of_others() {
    for seed in 0..3 {
        let purges = Purges::new(seed);
        for i in 0..120_000 {
            purges.make(&[hard(exact("attacker.example", &format!("/x{i}"), None))]);
        }
        let void = |host: &str| {
            let reached = |i: &usize| {
                let path = format!("/p{i}");
                let resource = Resource {
                    scheme: "https",
                    authority: host,
                    host,
                    path: &path,
                    query: None,
                };
                purges.verdict(resource, &[], 0) == Verdict::Void
            };
            (0..2000).filter(reached).count()
        };
        let hosts: Vec<String> = (0..20).map(|n| format!("victim-{n}.example")).collect();
        let untouched = hosts.iter().filter(|host| void(host) == 0).count();
        assert!(
            untouched >= 18,
            "{untouched} of 20 hosts keep all of their responses"
        );
        assert!(
            void("attacker.example") < 1000,
            "even the host itself keeps most"
        );
    }
}
