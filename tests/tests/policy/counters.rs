//! What is wrong with where limits are counted, and with what they count.

use tidegate_core::Policy;

use super::{VALID, check};

#[test]
fn a_store_of_counters_says_where_it_is() {
    check(
        "[[routes]]",
        "[counters]\nstore = \"redis\"\n[[routes]]",
        &[
            "tidegate.toml:9:1: counters.store: say where it is: addresses = [\"redis.internal:6379\"]",
        ],
    );
    for (address, is_valid) in [
        ("redis:6379", true),
        ("10.0.0.1:6379", true),
        ("[::1]:6379", true),
        ("redis", false),
        ("redis:0", false),
        ("redis:65536", false),
        ("::1:6379", false),
        ("redis://redis:6379", false),
        ("user:secret@redis:6379", false),
        (":6379", false),
    ] {
        let text = format!("[counters]\nstore = \"redis\"\naddresses = [\"{address}\"]\n{VALID}");
        assert_eq!(Policy::parse("t", &text).is_ok(), is_valid, "{address}");
    }
}

#[test]
fn what_does_not_fit_a_store_is_told() {
    for (section, told) in [
        (
            "prefix = \"a\"",
            "counters.prefix: limits are counted in memory: write store = \"redis\" too, or leave this out",
        ),
        (
            "store = \"redis\"\naddresses = [\"a:1\", \"b:1\"]",
            "counters.addresses: one server has one address; write store = \"sentinel\" or \"cluster\" for several",
        ),
        (
            "store = \"sentinel\"\naddresses = [\"a:1\"]",
            "counters.store: say which master the Sentinels are asked for: master = \"mymaster\"",
        ),
        (
            "store = \"redis\"\nmaster = \"m\"\naddresses = [\"a:1\"]",
            "counters.master: only Sentinels name a master: write store = \"sentinel\" too, or leave this out",
        ),
        (
            "store = \"cluster\"\ndatabase = 1\naddresses = [\"a:1\"]",
            "counters.database: a cluster has database 0 only; leave this out",
        ),
        (
            "store = \"redis\"\ntimeout = \"0ms\"\naddresses = [\"a:1\"]",
            "counters.timeout: from 1ms to 1s, such as 20ms",
        ),
        (
            "store = \"redis\"\nprefix = \"a b\"\naddresses = [\"a:1\"]",
            "counters.prefix: letters, digits, and any of - _ . : /",
        ),
        (
            "store = \"redis\"\naddresses = [\"a:1\"]\ntls = { key = \"k\" }",
            "counters.tls: a client certificate needs both certificate and key",
        ),
        ("nodes = 0", "counters.nodes: at least 1"),
    ] {
        let text = format!("[counters]\n{section}\n{VALID}");
        let error = Policy::parse("t", &text).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn modes_costs_and_exceptions_that_make_no_sense_are_told() {
    for (limit, told) in [
        (
            "lease_max = 5",
            "limits.l.lease_max: only a leased limit is taken in advance",
        ),
        (
            "mode = \"leased\"\nlease_max = 101",
            "limits.l.lease_max: lease_max goes from the cost of a request (1) to what may be used at once (100)",
        ),
        (
            "local_share = 50",
            "limits.l.local_share: a node has a share only where it counts for itself",
        ),
        (
            "on_store_error = \"local\"\nlocal_share = 0",
            "limits.l.local_share: a share is a percentage from 1 to 100",
        ),
        (
            "except = [{}]",
            "limits.l.except[0]: without conditions this is every request",
        ),
        (
            "except = [{ path = \"health\" }]",
            "limits.l.except[0].path: `health` is not a path",
        ),
        (
            "cost = { by_method = { post = 2 } }",
            "limits.l.cost.by_method[0]: `post` is not a method",
        ),
        (
            "cost = { by_method = { POST = 101 } }",
            "limits.l.cost: cost goes from 1 to the burst (100)",
        ),
        (
            "cost = { most = 0 }",
            "limits.l.cost: cost goes from 1 to the burst (100)",
        ),
        (
            "cost = { header = \"a\", body = \"1B\" }",
            "limits.l.cost.body: write header or body, not both",
        ),
        (
            "cost = { settle_body = \"0B\" }",
            "limits.l.cost.settle_body: at least 1B",
        ),
        (
            "burst = 1000000000\nquota = \"1/week\"",
            "limits.l.burst: a burst like this would take more than a hundred years",
        ),
    ] {
        let quota = if limit.contains("quota") {
            ""
        } else {
            "quota = \"100/min\"\n"
        };
        let text = format!("[limits.l]\n{quota}key = []\n{limit}\n{VALID}");
        let error = Policy::parse("t", &text).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    let slots = "kind = \"concurrency\"\nquota = \"2\"\nkey = []\n";
    for (limit, told) in [
        (
            "mode = \"leased\"",
            "limits.l.mode: slots are given back one by one",
        ),
        (
            "cost = { settle_header = \"a\" }",
            "limits.l.cost: a slot comes back when the request has ended",
        ),
    ] {
        let text = format!("[limits.l]\n{slots}{limit}\n{VALID}");
        let error = Policy::parse("t", &text).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn how_much_may_pass_too_much_of_a_leased_limit_is_said() {
    let text = format!(
        "[counters]\nnodes = 4\n[limits.l]\nquota = \"1000/min\"\nkey = []\nmode = \"leased\"\n{VALID}limits = [\"l\"]\n"
    );
    let notes: Vec<String> = Policy::notes("t", &text)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        matches!(&notes[..], [note] if note.contains("as much as 200 more than the quota may pass: 50 for each node")),
        "{notes:?}"
    );
}
