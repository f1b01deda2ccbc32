//! What authors of limits of bandwidth are told.

use tidegate_core::Policy;

const AROUND: &str = "[origins.a]\nurl = \"http://a.example\"\n[pools.main]\norigins = [\"a\"]\n[[routes]]\npool = \"main\"\nlimits = [\"l\"]\n";

fn policy(limit: &str) -> String {
    format!("{AROUND}[limits.l]\nkey = [\"ip\"]\n{limit}\n")
}

fn said(limit: &str) -> Vec<String> {
    let parsed = Policy::parse("t", &policy(limit));
    let said = parsed.map_or_else(|error| error.to_string(), |_| String::new());
    said.lines().map(str::to_owned).collect()
}

#[test]
fn bandwidth_may_be_said_in_full_or_in_short() {
    for limit in [
        "kind = \"bandwidth\"\nquota = \"1MiB/sec\"",
        "kind = \"bandwidth\"\nquota = \"600 MB/min\"\nburst = \"4MiB\"\ndirection = \"request\"\nabsent = \"share\"\nmethods = [\"PUT\"]\ndry_run = false",
    ] {
        assert_eq!(said(limit), [""; 0], "{limit}");
        assert_eq!(Policy::lint("t", &policy(limit)), [], "{limit}");
    }
}

#[test]
fn what_makes_no_sense_with_bandwidth_is_told_with_line_and_fix() {
    let bandwidth = "kind = \"bandwidth\"\nquota = \"1MiB/sec\"\n";
    for (line, key, fix) in [
        (
            "window = \"fixed\"",
            "window",
            "only a budget has windows: write kind = \"budget\" too, or leave this out",
        ),
        (
            "zone = \"UTC\"",
            "zone",
            "only a budget has windows: write kind = \"budget\" too, or leave this out",
        ),
        (
            "held_max = \"5m\"",
            "held_max",
            "only concurrency is held: write kind = \"concurrency\" too, or leave this out",
        ),
        (
            "headers = \"ietf\"",
            "headers",
            "clients are told nothing of bandwidth; leave this out",
        ),
        (
            "cost = 1",
            "cost",
            "bandwidth counts bytes, and requests have no cost; leave this out",
        ),
        (
            "dry_run = true",
            "dry_run",
            "bandwidth refuses nobody, so there is nothing to try out; leave this out",
        ),
        (
            "on_store_error = \"allow\"",
            "on_store_error",
            "each pod and each isolate paces for itself, and asks no counter elsewhere; leave this out",
        ),
        (
            "absent = \"refuse\"",
            "absent",
            "bandwidth paces streams and refuses nobody; write \"address\", \"share\" or \"skip\"",
        ),
        (
            "burst = 300",
            "burst",
            "the burst of bandwidth is a size, such as \"4MiB\": a number alone has no unit",
        ),
        (
            "burst = \"0B\"",
            "burst",
            "burst goes from 1B to 256GiB, such as \"4MiB\"",
        ),
        (
            "burst = \"4\"",
            "burst",
            "`4` is not a size; write a whole number with a unit: 512B, 64KiB, 8MiB, 1GB",
        ),
        (
            "methods = []",
            "methods",
            "a limit of no methods counts nothing: name some, or leave this out",
        ),
    ] {
        let expected = format!("t:12:1: limits.l.{key}: {fix}");
        assert_eq!(said(&format!("{bandwidth}{line}")), [expected]);
    }
}

#[test]
fn a_quota_of_bandwidth_is_a_size_and_a_period() {
    let wrong = |quota: &str| said(&format!("kind = \"bandwidth\"\nquota = \"{quota}\""));
    for quota in ["1MiB", "1000/sec", "1MiB/hour", "fast"] {
        let expected = format!(
            "t:11:1: limits.l.quota: `{quota}` is not a bandwidth; write a size and sec or min: 64KiB/sec, 1MiB/sec, 600MB/min"
        );
        assert_eq!(wrong(quota), [expected]);
    }
    assert_eq!(
        wrong("0B/sec"),
        [
            "t:11:1: limits.l.quota: `0B/sec` lets nothing through, and bodies would never end; write at least 1KiB/sec"
        ]
    );
}

#[test]
fn what_belongs_to_bandwidth_is_refused_elsewhere() {
    assert_eq!(
        said("quota = \"5/sec\"\ndirection = \"response\""),
        [
            "t:11:1: limits.l.direction: only bandwidth has a direction: write kind = \"bandwidth\" too, or leave this out"
        ]
    );
    assert_eq!(
        said("quota = \"5/sec\"\nburst = \"4MiB\""),
        [
            "t:11:1: limits.l.burst: the burst of a rate is a number of requests, such as 300; only bandwidth has a size here"
        ]
    );
    let neither = said("quota = \"5/sec\"\nburst = true");
    assert!(
        neither[0].contains("a number such as 300, or of bytes a size such as \"4MiB\""),
        "{neither:?}"
    );
    assert_eq!(
        said("quota = \"5/sec\"\nburst = -1"),
        ["t:11:1: limits.l.burst: burst goes from 1 to 1000000000"]
    );
}

#[test]
fn a_pace_that_nobody_can_have_meant_is_a_lint() {
    let lints = |limit: &str| -> Vec<String> {
        let found = Policy::lint("t", &policy(limit));
        found.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        lints("kind = \"bandwidth\"\nquota = \"1000B/sec\""),
        [
            "t:11:1: limits.l.quota: slower than 1KiB/sec: a megabyte takes more than a quarter of an hour; write more, or a limit of another kind if clients are to be kept out"
        ]
    );
    assert_eq!(
        lints("kind = \"bandwidth\"\nquota = \"60KiB/min\"\nburst = \"9B\""),
        [
            "t:12:1: limits.l.burst: less than the quota earns in 10 ms: what is earned while a timer is late is lost, and bodies are slower than the quota; make it larger"
        ]
    );
}

#[test]
fn a_route_names_a_limit_of_bandwidth_once() {
    let twice =
        policy("kind = \"bandwidth\"\nquota = \"1MiB/sec\"").replace("[\"l\"]", "[\"l\", \"l\"]");
    let error =
        Policy::parse("t", &twice).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(error.contains("`l` is listed twice"), "{error}");
}
