//! What authors of a policy are told.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod advice;
mod bandwidth;
mod counters;
mod token;

use http::Method;
use tidegate_core::Policy;

const VALID: &str = r#"
[origins.a]
url = "http://a.test"

[pools.main]
origins = ["a"]

[[routes]]
pool = "main"
"#;

/// Parses a policy made of the valid one with `from` replaced, and compares what is said about it.
#[track_caller]
fn check(from: &str, to: &str, expected: &[&str]) {
    assert!(VALID.contains(from));
    let text = VALID.replace(from, to);
    let said = Policy::parse("tidegate.toml", &text)
        .map_or_else(|error| error.to_string(), |_| String::new());
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_minimal_policy_is_valid_and_has_no_lints() {
    check("main", "main", &[]);
    assert_eq!(Policy::lint("tidegate.toml", VALID), []);
}

#[test]
fn errors_name_file_line_key_and_fix() {
    check(
        "origins = [\"a\"]",
        "origins = [\"a\", \"bb\"]",
        &[
            "tidegate.toml:6:17: pools.main.origins[1]: there is no origin named `bb`; defined are: a",
        ],
    );
    check(
        "pool = \"main\"",
        "pool = \"mian\"\nlimits = [\"x\"]",
        &[
            "tidegate.toml:9:1: routes[0].pool: there is no pool named `mian`; defined are: main",
            "tidegate.toml:10:11: routes[0].limits[0]: there is no limit named `x`; none is defined; write [limits.x] with quota = \"100/min\" and key = [\"ip\"], or leave this out",
        ],
    );
    check(
        "http://a.test",
        "http://a.test/path",
        &[
            "tidegate.toml:3:1: origins.a.url: `http://a.test/path` is not an origin url; write http:// or https://, a host and optionally a port, without path or user",
        ],
    );
    check(
        "[[routes]]",
        "[cache.c]\nmode = \"override\"\n[limits.l]\nquota = \"1000/min\"\nburst = 5\ncost = 6\nkey = [\"ip/200\"]\n[[routes]]",
        &[
            "tidegate.toml:8:8: cache.c: mode = \"override\" needs a ttl, such as ttl = \"60s\"",
            "tidegate.toml:13:1: limits.l.cost: cost goes from 1 to the burst (5): a request that costs more could never pass",
            "tidegate.toml:14:8: limits.l.key[0]: `ip/200` is not a key part; use ip, ip/PREFIX, header:NAME, cookie:NAME, query:NAME, path, route, country, asn, user, workspace, claim:NAME or tls_subject",
        ],
    );
    check(
        "[[routes]]",
        "[breakers.b]\nwindow = \"10 calls\"\nminimum_calls = 11\nopen = \"soon\"\n[[routes]]",
        &[
            "tidegate.toml:10:1: breakers.b.minimum_calls: 11 calls never fit into a window of 10: the circuit could never open",
            "tidegate.toml:11:1: breakers.b.open: `soon` is not a duration; write a whole number with a unit: 250ms, 30s, 5m, 2h, 7d, 1y",
        ],
    );
    check(
        "pool = \"main\"",
        "pool = \"main\"\npath = \"/a*\"\nmethod = \"get\"\nhost = \"a.example:80\"\nheader = { \"x y\" = \"1\" }",
        &[
            "tidegate.toml:10:1: routes[0].path: `/a*` has a star; patterns go to path_glob",
            "tidegate.toml:11:1: routes[0].method[0]: `get` is not a method; they are written in upper case: GET, POST",
            "tidegate.toml:12:1: routes[0].host: `a.example:80` is not a host; write shop.example or *.shop.example, without port",
            "tidegate.toml:13:12: routes[0].header.x y: `x y` is not a header field name; use letters, digits and hyphens",
        ],
    );
    check(
        "[[routes]]\npool = \"main\"",
        "",
        &[
            "tidegate.toml:1:1: routes: a policy needs at least one route: write [[routes]] with pool = \"main\"",
        ],
    );
}

/// Parses the valid policy with a profile, and returns what is wrong with it.
fn wrong_with(profile: &str) -> Vec<String> {
    let text = format!("{VALID}cache = \"c\"\n[cache.c]\n{profile}\n");
    let said = Policy::parse("t", &text).map_or_else(|error| error.to_string(), |_| String::new());
    said.lines().map(str::to_owned).collect()
}

#[test]
fn names_that_can_never_match_are_refused() {
    let lists = [
        (
            "bypass_cookies",
            &[
                "",
                "session=*",
                "session; path=/",
                "se*ion",
                "a b",
                "^auth",
                "a|b",
                "cart[1]",
                "s\u{e9}",
                "session,",
            ][..],
        ),
        ("key_cookies", &["", "theme=dark", "th*me"]),
        (
            "bypass_headers",
            &["", "x-*-preview", "x preview", "connection", "x:y"],
        ),
        ("key_headers", &["", "x-*", "x tenant", "te"]),
        (
            "query_allow",
            &["", "a=1", "a&b", "a;b", "a*b", "gr\u{f6}\u{df}e", "a b"],
        ),
        ("query_deny", &["", "utm_*=x", "#a", "*_id"]),
    ];
    for (list, names) in lists {
        for name in names {
            let said = wrong_with(&format!(
                "mode = \"respect\"\n{list} = [\"ok\", \"{name}\"]"
            ));
            assert!(
                said.len() == 1 && said[0].contains(&format!("cache.c.{list}[1]: ")),
                "{list} {name}: {said:?}"
            );
        }
    }
    let valid = "bypass_cookies = [\"next-auth.*\", \"*\", \"__Host-s\", \"AMCV_1%40Org\"]\nkey_cookies = [\"exp_*\"]\n\
                 bypass_headers = [\"X-Preview\", \"x-debug-*\"]\nquery_deny = [\"utm_*\", \"user.id\", \"id[]\", \"a%20b\"]";
    assert!(wrong_with(&format!("mode = \"respect\"\n{valid}")).is_empty());
}

#[test]
fn lifetimes_by_status_are_those_of_what_is_stored() {
    let overriding = "mode = \"override\"\nttl = \"1h\"";
    for status in [
        "2xx", "200", "401", "429", "500", "5xx", "304", "4XX", "404 ",
    ] {
        let said = wrong_with(&format!(
            "{overriding}\nttl_by_status = {{ \"{status}\" = \"1s\" }}"
        ));
        assert!(
            said.len() == 1 && said[0].contains("is not stored in override mode"),
            "{status}: {said:?}"
        );
    }
    assert!(
        wrong_with(&format!(
            "{overriding}\nttl_by_status = {{ 3xx = \"1m\", 4xx = \"0s\", 404 = \"1h\" }}"
        ))
        .is_empty()
    );
    assert_eq!(
        wrong_with("mode = \"respect\"\nttl_by_status = { 404 = \"1s\" }").len(),
        1
    );
    assert_eq!(
        wrong_with("mode = \"respect\"\nshare_authorized = true").len(),
        1
    );
}

#[test]
fn notes_say_what_origins_may_forbid() {
    let text = format!(
        "{VALID}cache = \"c\"\n[cache.c]\nmode = \"respect\"\ngrace = \"1m\"\nstale_if_error = \"1d\"\n"
    );
    let notes: Vec<String> = Policy::notes("t", &text)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        notes.len() == 2 && notes.iter().all(|note| note.contains("s-maxage")),
        "{notes:?}"
    );
    assert_eq!(Policy::lint("t", &text), []);
    assert_eq!(Policy::notes("t", VALID), []);
}

#[test]
fn the_old_name_of_stale_if_error_works_and_is_told() {
    let with = |lines: &str| {
        format!("{VALID}cache = \"c\"\n[cache.c]\nmode = \"override\"\nttl = \"1m\"\n{lines}\n")
    };
    let (old, new) = (with("keep = \"1d\""), with("stale_if_error = \"1d\""));
    let parsed = |text: &str| Policy::parse("t", text).expect("it is valid");
    assert_eq!(parsed(&old), parsed(&new));
    let notes: Vec<String> = Policy::notes("t", &old)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        matches!(&notes[..], [note] if note.contains("stale_if_error now")),
        "{notes:?}"
    );
    assert_eq!(Policy::notes("t", &new), []);
    let both = Policy::parse("t", &with("keep = \"1d\"\nstale_if_error = \"1d\"")).unwrap_err();
    assert!(both.to_string().contains("keep is the old name"), "{both}");
}

#[test]
fn what_is_not_toml_or_unknown_is_located_too() {
    check(
        "[pools.main]",
        "[pools.main",
        &["tidegate.toml:5:12: unclosed table, expected `]`"],
    );
    check(
        "pool = \"main\"",
        "pool = \"main\"\ncahce = \"x\"",
        &[
            "tidegate.toml:10:1: routes[0].cahce: `cahce` is not known here; did you mean `cache`? Known are: name, host, path, path_prefix, path_glob, method, header, pool, cache, limits, breaker, retry",
            "tidegate.toml:10:1: routes[0].cache: there is no cache profile named `x`; none is defined; write [cache.x] with mode = \"respect\", or leave this out",
        ],
    );
    check(
        "pool = \"main\"",
        "pool = 7",
        &["tidegate.toml:9:8: routes[0].pool: invalid type: integer `7`, expected a string"],
    );
    check(
        "[[routes]]",
        "[server]\nthreads = -1\n[[routes]]",
        &["tidegate.toml:9:11: server.threads: invalid value: integer `-1`, expected u16"],
    );
}

/// Returns where something is wrong with a policy, and the first words of what it is.
fn told(text: &str) -> Vec<String> {
    let said = Policy::parse("t", text).map_or_else(|error| error.to_string(), |_| String::new());
    let beginning = |line: &str| line.split(';').next().unwrap_or_default().to_owned();
    said.lines().map(beginning).collect()
}

#[test]
fn misspelt_keys_are_told_together_with_what_else_is_wrong() {
    let text = "[orgins.a]\nulr = \"http://a.test\"\nweight = 1\n[pools.main]\norigins = [\"a\", \"b\"]\n\
                [[routes]]\npool = \"main\"\nheadre = { a = \"b\" }\nzzz = 1\n[server]\nthraeds = 0\n";
    let expected = [
        "t:1:2: orgins.a: `orgins` is not known here",
        "t:2:1: origins.a.ulr: `ulr` is not known here",
        "t:5:17: pools.main.origins[1]: there is no origin named `b`",
        "t:8:1: routes[0].headre: `headre` is not known here",
        "t:9:1: routes[0].zzz: `zzz` is not known here",
        "t:11:1: server.thraeds: `thraeds` is not known here",
        "t:11:1: server.threads: at least one thread is needed",
    ];
    assert_eq!(told(text), expected);
}

#[test]
fn a_misspelt_key_beside_the_right_one_is_left_out() {
    let text = VALID.replace("pool = ", "polo = \"other\"\npool = ");
    assert_eq!(
        told(&text),
        ["t:9:1: routes[0].polo: `polo` is not known here"]
    );
}

#[test]
fn many_misspelt_keys_are_told_in_part() {
    let keys: Vec<String> = (0..1000).map(|n| format!("unheard_of_{n} = 1\n")).collect();
    assert_eq!(told(&format!("{VALID}{}", keys.concat())).len(), 20);
}

#[test]
fn misspelt_values_are_told_with_what_was_meant() {
    let said = wrong_with("mode = \"overide\"");
    let expected = "cache.c.mode: `overide` is not known here; did you mean `override`? Known are: respect, override, never";
    assert!(said.len() == 1 && said[0].ends_with(expected), "{said:?}");
}

#[test]
fn lints_find_what_is_surely_not_meant() {
    let text = format!(
        "{VALID}\n[[routes]]\nname = \"api\"\npath_prefix = \"/api/\"\npool = \"main\"\nretry = \"r\"\n[retry.r]\n[cache.unused]\nmode = \"never\"\n"
    );
    let said: Vec<String> = Policy::lint("t", &text)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "t:11:1: routes[1]: no request reaches this route: `route-1` above matches them all; move this one up or remove it",
            "t:15:1: routes[1].retry: retries without a breaker multiply the load on a failing origin; name a breaker too, such as breaker = \"NAME\" with a table [breakers.NAME]",
            "t:17:8: cache.unused: nothing uses this; name it in a route or remove it",
        ]
    );
    let never = "routes[1].retry: every origin of this route is given up before the retry rule's hedge_after is over";
    // Two seconds to connect, and thirty to answer.
    for (after, is_never) in [("31s", false), ("32s", true)] {
        let rule = format!("breaker = \"b\"\n[retry.r]\nhedge_after = \"{after}\"");
        let late = format!("{text}[breakers.b]\n").replace("[retry.r]", &rule);
        let said = Policy::lint("t", &late);
        let found = said
            .iter()
            .any(|problem| problem.to_string().contains(never));
        assert_eq!(found, is_never, "{after}");
    }
    let only = VALID.replace("[[routes]]\n", "[[routes]]\npath_prefix = \"/api/\"\n");
    let said: Vec<String> = Policy::lint("t", &only)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        said.iter()
            .any(|problem| problem.contains("there is no default route")),
        "{said:?}"
    );
}

#[test]
fn the_examples_are_valid_and_have_no_lints() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    for entry in std::fs::read_dir(folder).expect("examples") {
        let file = entry.expect("readable").path();
        let text = std::fs::read_to_string(&file).expect("readable");
        let name = file.display().to_string();
        let policy = Policy::parse(&name, &text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Policy::lint(&name, &text), [], "{name}");
        let published = policy.publish(&text).text;
        assert_eq!(Policy::read_published(&published), Ok(policy), "{name}");
    }
}

#[test]
fn what_is_said_of_clients_and_counts_is_checked() {
    check(
        "[[routes]]",
        "[client]\nipv6_prefix = 200\nnat64_prefixes = [\"64:ff9b::/90\"]\ncountry_header = \"a b\"\n[[routes]]",
        &[
            "tidegate.toml:9:1: client.ipv6_prefix: from 1 to 128",
            "tidegate.toml:10:19: client.nat64_prefixes[0]: `64:ff9b::/90` is not a NAT64 network; write IPv6 with /32, /40, /48, /56, /64 or /96: 2001:db8:64::/96",
            "tidegate.toml:11:1: client.country_header: `a b` is not a header field name; use letters, digits and hyphens",
        ],
    );
}

/// An origin that may have seen a request already gets it again only if that cannot matter.
#[test]
fn only_what_is_safe_goes_past_a_worker_that_failed() {
    let open = Policy::parse("t", &format!("{VALID}\n[edge]\non_failure = \"open\"\n")).unwrap();
    let closed = Policy::parse("t", VALID).unwrap();
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let method: Method = method.parse().unwrap();
        let is_safe = method == Method::GET || method == Method::HEAD;
        assert_eq!(open.fail_open_url(&method).is_some(), is_safe, "{method}");
        assert_eq!(closed.fail_open_url(&method), None, "{method}");
    }
}

#[test]
fn every_limit_in_the_guide_is_valid() {
    let guide = include_str!("../../../docs/rate-limits.md");
    let mut names = Vec::new();
    let mut tables = String::new();
    for block in guide.split("```toml\n").skip(1) {
        let table = block.split("```").next().unwrap_or_default();
        let limits = table
            .lines()
            .filter_map(|line| line.strip_prefix("[limits."))
            // A table inside of a limit.
            .filter(|name| !name.contains('.'));
        names.extend(limits.map(|name| format!("\"{}\"", name.trim_end_matches(']'))));
        tables.push_str(table);
    }
    assert_eq!(names.len(), 24);
    let route = format!("limits = [{}]\n", names.join(", "));
    let text = format!("{VALID}{route}{tables}");
    if let Err(error) = Policy::parse("guide", &text) {
        panic!("{error}");
    }
}
