//! Leased limits: few questions, and no more too much than is said.

use std::collections::BTreeMap;

use crate::pods::{ask, ask_at_once, one, origin, pod, policy};
use crate::servers::{Server, can_run};
use crate::support::until;

/// How many questions the store has had.
fn questions(server: &Server) -> u64 {
    let stats = server.say("INFO commandstats");
    let calls = |line: &str| {
        let calls = line.split("calls=").nth(1)?.split(',').next()?;
        calls.parse::<u64>().ok()
    };
    stats
        .lines()
        .filter(|line| line.starts_with("cmdstat_evalsha:") || line.starts_with("cmdstat_eval:"))
        .filter_map(calls)
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_lease_ask_seldom_and_pass_the_quota() {
    if !can_run() {
        return;
    }
    let (server, origin) = (Server::start(&[]), origin().await);
    let limit = "[limits.l]\nquota = \"3000/day\"\nkey = []\nmode = \"leased\"\nlease_max = 200";
    let text = policy(&origin, &one(&server), limit);
    let pods = [pod(&text), pod(&text)];
    let statuses = ask_at_once(&pods, 2, 1000).await;
    // Nothing is earned in a day's first minute, so what they hold is all that may be missing.
    let passed = statuses[&200];
    assert!((2600..=3000).contains(&passed), "{statuses:?}");
    let asked = questions(&server);
    assert!(asked < 400, "{asked} questions for 4000 requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pod_does_not_use_is_given_back_by_itself_and_at_its_end() {
    if !can_run() {
        return;
    }
    let (server, origin) = (Server::start(&[]), origin().await);
    let limit = "[limits.l]\nkind = \"budget\"\nquota = \"100/week\"\nkey = []\nmode = \"leased\"\nlease_max = 60";
    let text = policy(&origin, &one(&server), limit);
    let pods = [pod(&text), pod(&text)];
    assert_eq!(
        ask(std::slice::from_ref(&pods[0]), 50).await,
        BTreeMap::from([(200, 50)])
    );
    until("what is left is given back", || used(&server) == 50).await;
    assert_eq!(
        ask(std::slice::from_ref(&pods[1]), 30).await,
        BTreeMap::from([(200, 30)])
    );
    pods[1].node.counters().unwrap().end().await;
    assert_eq!(used(&server), 80);
    let statuses = ask(&pods, 60).await;
    assert_eq!(statuses, BTreeMap::from([(200, 20), (429, 40)]));
}

/// Returns what the store says is used of the only budget.
fn used(server: &Server) -> u64 {
    let keys = server.say("KEYS *");
    let key = keys.lines().find(|line| line.starts_with("tidegate:"));
    let state = server.say(&format!("GET {}", key.unwrap_or_default()));
    let text = state.lines().nth(1).unwrap_or_default();
    text.split(' ')
        .nth(2)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leased_limit_beside_an_exact_one_uses_both_or_none() {
    if !can_run() {
        return;
    }
    let (server, origin) = (Server::start(&[]), origin().await);
    let limits = "[limits.exact]\nquota = \"5/day\"\nkey = []\n\
                  [limits.leased]\nkind = \"budget\"\nquota = \"100/week\"\nkey = []\nmode = \"leased\"";
    let pod = pod(&policy(&origin, &one(&server), limits));
    assert_eq!(
        ask(std::slice::from_ref(&pod), 20).await,
        BTreeMap::from([(200, 5), (429, 15)])
    );
    pod.node.counters().unwrap().end().await;
    let keys = server.say("KEYS *");
    let states: Vec<String> = keys
        .lines()
        .filter(|line| line.starts_with("tidegate:"))
        .map(|key| server.say(&format!("GET {key}")))
        .collect();
    let is_budget = |state: &&String| {
        state
            .lines()
            .nth(1)
            .is_some_and(|s| s.split(' ').nth(2) == Some("5"))
    };
    assert_eq!(states.iter().filter(is_budget).count(), 1, "{states:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_lasts_while_the_store_is_away() {
    if !can_run() {
        return;
    }
    let (mut server, origin) = (Server::start(&[]), origin().await);
    let limit = "[limits.l]\nquota = \"1000000/sec\"\nkey = []\nmode = \"leased\"\nlease_max = 1000\non_store_error = \"deny\"";
    let pod = pod(&policy(&origin, &one(&server), limit));
    let pods = std::slice::from_ref(&pod);
    assert_eq!(ask(pods, 200).await, BTreeMap::from([(200, 200)]));
    server.kill();
    let statuses = ask(pods, 100).await;
    assert!(statuses.contains_key(&200), "{statuses:?}");
}
