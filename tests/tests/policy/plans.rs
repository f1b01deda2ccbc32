//! What authors of plans are told.

use tidegate_core::Policy;

const AROUND: &str = "[origins.a]\nurl = \"http://a.example\"\n[pools.main]\norigins = [\"a\"]\n[[routes]]\npool = \"main\"\nlimits = [\"l\"]\n";

/// A policy whose ninth line is the first of a limit's own.
fn policy(limit: &str) -> String {
    format!("{AROUND}[limits.l]\n{limit}\n")
}

fn said(limit: &str) -> Vec<String> {
    let parsed = Policy::parse("t", &policy(limit));
    let said = parsed.map_or_else(|error| error.to_string(), |_| String::new());
    said.lines().map(str::to_owned).collect()
}

const RATE: &str = "key = [\"ip\"]\nquota = \"100/min\"\n";
const BUDGET: &str = "key = [\"ip\"]\nkind = \"budget\"\nquota = \"100/hour\"\n";
const BY_HEADER: &str = "plan = \"header:x-plan\"\n";

#[test]
fn plans_may_be_said_in_full_or_in_short() {
    for limit in [
        format!("{RATE}{BY_HEADER}plans = {{ gold = \"1000/min\" }}"),
        format!(
            "{RATE}{BY_HEADER}[limits.l.plans]\ngold = \"1000/min\"\n\"a b\" = {{ quota = \"500/min\", burst = 500 }}"
        ),
        format!("{RATE}plan = \"country\"\nplans = {{ DE = \"1000/min\", T1 = \"10/min\" }}"),
        format!(
            "{RATE}{BY_HEADER}mode = \"leased\"\nplans = {{ gold = {{ quota = \"1000/min\", lease_max = 1000 }} }}"
        ),
        format!(
            "{BUDGET}window = \"sliding\"\n{BY_HEADER}plans = {{ gold = {{ quota = \"1000/hour\" }} }}"
        ),
        format!(
            "{BUDGET}window = \"calendar\"\nzone = \"Europe/Berlin\"\n{BY_HEADER}plans = {{ gold = \"1000/hour\" }}"
        ),
        format!(
            "key = []\nkind = \"concurrency\"\nquota = \"5\"\n{BY_HEADER}plans = {{ gold = \"50\" }}"
        ),
    ] {
        assert_eq!(said(&limit), [""; 0], "{limit}");
        assert_eq!(Policy::lint("t", &policy(&limit)), [], "{limit}");
        // How much a lease lets pass too much is said of every leased limit.
        let mut notes = Policy::notes("t", &policy(&limit));
        notes.retain(|note| !note.message.contains("more than the quota may pass"));
        assert_eq!(notes, [], "{limit}");
    }
}

#[test]
fn what_is_wrong_with_plans_is_told_with_line_and_fix() {
    let leased = format!("{RATE}mode = \"leased\"\n{BY_HEADER}");
    for (limit, expected) in [
        (
            format!("{RATE}plans = {{ gold = \"9/min\" }}"),
            "t:11:1: limits.l.plans: nothing says which plan a request is of: write plan = \"claim:plan\" too, or another part of a request, or leave this out",
        ),
        (
            format!("{RATE}{BY_HEADER}"),
            "t:11:1: limits.l.plan: there are no plans: write [limits.l.plans] with a quota for each of them, such as gold = \"10000/min\", or leave this out",
        ),
        (
            format!("{RATE}plan = \"plan\"\nplans = {{ gold = \"9/min\" }}"),
            "t:11:1: limits.l.plan: `plan` is not a key part; use ip, ip/PREFIX, header:NAME, cookie:NAME, query:NAME, path, route, country, asn, user, workspace, claim:NAME or tls_subject",
        ),
        (
            format!("{RATE}plan = \"claim:plan\"\nplans = {{ gold = \"9/min\" }}"),
            "t:11:1: limits.l.plan: a claim is used of a verified token only, and nothing says how to verify one; write [client.token] with algorithms = [\"RS256\"] and jwks_url = \"https://...\"",
        ),
        (
            format!("{RATE}plan = \"ip/24\"\nplans = {{ gold = \"9/min\" }}"),
            "t:11:1: limits.l.plan: addresses and paths name no plans; use header:NAME, cookie:NAME, query:NAME, route, country, asn, user, workspace, claim:NAME or tls_subject",
        ),
        (
            format!("{RATE}{BY_HEADER}plans = {{ gold = {{ burst = 7 }} }}"),
            "t:12:11: limits.l.plans.gold: a plan needs a quota: write quota = \"10000/min\" too",
        ),
        (
            format!("{RATE}{BY_HEADER}plans = {{ gold = 7 }}"),
            "t:12:18: limits.l.plans.gold: invalid type: integer `7`, expected a quota such as \"10000/min\", or a table such as { quota = \"10000/min\", burst = 500 }",
        ),
        (
            format!("{RATE}{BY_HEADER}plans = {{ gold = {{ quota = \"9/min\", brust = 7 }} }}"),
            "t:12:37: limits.l.plans.gold.brust: `brust` is not known here; did you mean `burst`? Known are: quota, burst, lease_max",
        ),
        (
            format!("{RATE}{BY_HEADER}[limits.l.plans]\ngold = \"9/min\"\ngold = \"8/min\""),
            "t:14:1: duplicate key",
        ),
        (
            format!("{RATE}{BY_HEADER}plans = {{ gold = \"many\" }}"),
            "t:12:11: limits.l.plans.gold: `many` is not a quota; write an amount and a period: 10/sec, 1000/min, 5000/hour, 100000/day, 500000/week, 2000000/month",
        ),
        (
            format!("{RATE}{BY_HEADER}[limits.l.plans]\ngold = {{ quota = \"9/month\" }}"),
            "t:13:10: limits.l.plans.gold.quota: months have no length in common: write kind = \"budget\" and window = \"calendar\" too, or an amount for each day or week",
        ),
        (
            format!("{RATE}{BY_HEADER}[limits.l.plans]\n\"\" = \"9/min\""),
            "t:13:1: limits.l.plans.: a plan is named as requests name it, without white space around it, and an empty value names none; write its name, or leave this out",
        ),
        (
            format!("{RATE}plan = \"country\"\n[limits.l.plans]\nde = \"9/min\""),
            "t:13:1: limits.l.plans.de: a country is two capital letters, such as DE",
        ),
        (
            format!("{RATE}plan = \"asn\"\n[limits.l.plans]\nAS5 = \"9/min\""),
            "t:13:1: limits.l.plans.AS5: a network is a number without AS before it, such as 64500",
        ),
        (
            format!(
                "{RATE}cost = 5\n{BY_HEADER}plans = {{ free = {{ quota = \"100/min\", burst = 4 }} }}"
            ),
            "t:13:20: limits.l.plans.free.quota: cost goes from 1 to the burst (4): a request that costs more could never pass",
        ),
        (
            format!("{RATE}{BY_HEADER}plans = {{ gold = {{ quota = \"9/min\", lease_max = 2 }} }}"),
            "t:12:37: limits.l.plans.gold.lease_max: only a leased limit is taken in advance: write mode = \"leased\" too, or leave this out",
        ),
        (
            format!("{leased}plans = {{ gold = {{ quota = \"9/min\", lease_max = 10 }} }}"),
            "t:13:37: limits.l.plans.gold.lease_max: lease_max goes from the cost of a request (1) to what may be used at once (9)",
        ),
        (
            format!("{BUDGET}{BY_HEADER}plans = {{ gold = \"9/min\" }}"),
            "t:13:11: limits.l.plans.gold: `9/min` has another period than the quota of the limit, and what was used in a window of one says nothing of the other; write the same period",
        ),
        (
            format!("{BUDGET}{BY_HEADER}plans = {{ gold = {{ quota = \"9/hour\", burst = 2 }} }}"),
            "t:13:38: limits.l.plans.gold.burst: all of it may be used at once: only rates have a burst; leave this out",
        ),
        (
            format!(
                "key = []\nkind = \"concurrency\"\nquota = \"5\"\n{BY_HEADER}plans = {{ gold = \"9/min\" }}"
            ),
            "t:13:11: limits.l.plans.gold: `9/min` is no number of requests that may be under way at once; write one from 1 to 1000000 alone, such as \"20\"",
        ),
        (
            format!("key = []\nkind = \"bandwidth\"\nquota = \"1MiB/sec\"\n{BY_HEADER}"),
            "t:12:1: limits.l.plan: bandwidth has one quota for all; leave plan and plans out",
        ),
    ] {
        assert_eq!(said(&limit), [expected], "{limit}");
    }
}

#[test]
fn bursts_that_come_back_after_different_times_are_noted() {
    let limit = format!(
        "{RATE}{BY_HEADER}[limits.l.plans]\ngold = {{ quota = \"1000/min\", burst = 50 }}\nsilver = \"200/min\""
    );
    let noted = Policy::notes("t", &policy(&limit));
    let noted: Vec<String> = noted.iter().map(ToString::to_string).collect();
    assert_eq!(
        noted,
        [
            "t:13:1: limits.l.plans.gold: this burst comes back in 3.000s, and the limit's own in 60.000s: whoever may change between the two at will gets up to the difference anew each time; let both take equally long, or see to it that nobody can name two plans at a time"
        ]
    );
    let nobody_says = format!("{RATE}plan = \"asn\"\n[limits.l.plans]\n5 = \"1000/min\"");
    let noted = Policy::notes("t", &policy(&nobody_says));
    assert!(
        noted
            .iter()
            .any(|note| note.key == "limits.l.plan" && note.line == 11),
        "{noted:?}"
    );
}
