//! What happens while the store is slow, full, away or another one, and afterwards.

use std::collections::BTreeMap;

use crate::pods::{ask, origin, pod, policy};
use crate::servers::{Cluster, Server, can_run, free_port};
use crate::support::Proxy;

/// A store at this port, for which requests wait as long as a policy says usually.
fn at(port: u16) -> String {
    format!(
        "[counters]\nstore = \"redis\"\naddresses = [\"127.0.0.1:{port}\"]\ntimeout = \"100ms\"\n"
    )
}

fn limit(quota: &str, on_store_error: &str) -> String {
    format!("[limits.l]\nquota = \"{quota}\"\nkey = []\n{on_store_error}")
}

/// Asks until a reply has this status, and returns the reports of all requests.
async fn until_status(pod: &Proxy, status: u16) -> String {
    let mut log = pod.log();
    let mut client = pod.client().await;
    for _ in 0..400 {
        let reply = client.get("/").await;
        log.push_str(&pod.log());
        if reply.status == status {
            return log;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("no reply with {status}:\n{log}");
}

/// Asks until the store is asked again and answers.
async fn until_back(pod: &Proxy) {
    let mut client = pod.client().await;
    for _ in 0..400 {
        client.get("/").await;
        if pod.metric("tidegate_counters_up ") == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the store is not asked again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_starts_without_its_store_and_does_as_the_limit_says() {
    if !can_run() {
        return;
    }
    let origin = origin().await;
    for (on_store_error, statuses, outcome) in [
        ("", BTreeMap::from([(200, 12)]), "unavailable_allowed"),
        (
            "on_store_error = \"deny\"",
            BTreeMap::from([(503, 12)]),
            "unavailable_denied",
        ),
        (
            "on_store_error = \"local\"\nlocal_share = 50",
            BTreeMap::from([(200, 4), (429, 8)]),
            "allowed",
        ),
    ] {
        let text = policy(&origin, &at(free_port()), &limit("8/day", on_store_error));
        let pod = pod(&text);
        assert_eq!(ask(std::slice::from_ref(&pod), 12).await, statuses);
        let log = pod.log();
        assert!(log.contains(&format!("\"outcome\":\"{outcome}\"")), "{log}");
        // After some failures nobody waits for it any more.
        assert!(log.contains("\"store_fault\":\"unreachable\""), "{log}");
        assert!(log.contains("\"store_fault\":\"resting\""), "{log}");
        assert_eq!(pod.metric("tidegate_counters_up "), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_pods_let_pass_by_themselves_counts_when_the_store_is_back() {
    if !can_run() {
        return;
    }
    let origin = origin().await;
    for kind in [
        "quota = \"20/day\"",
        "kind = \"budget\"\nquota = \"20/week\"",
    ] {
        let port = free_port();
        let limits =
            format!("[limits.l]\n{kind}\nkey = []\non_store_error = \"local\"\nlocal_share = 50\n");
        let text = policy(&origin, &at(port), &limits);
        let pods = [pod(&text), pod(&text)];
        // Each lets pass its half.
        assert_eq!(ask(&pods, 30).await, BTreeMap::from([(200, 20), (429, 10)]));
        let _server = Server::start_on(port, &[]);
        for pod in &pods {
            until_back(pod).await;
        }
        // Nothing is left of the quota, and nothing passes a second time.
        let statuses = ask(&pods, 30).await;
        assert_eq!(statuses, BTreeMap::from([(429, 30)]), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_is_missed_and_found_again() {
    if !can_run() {
        return;
    }
    let (origin, port) = (origin().await, free_port());
    let mut server = Server::start_on(port, &[]);
    let text = policy(
        &origin,
        &at(port),
        &limit("3/day", "on_store_error = \"deny\""),
    );
    let pod = pod(&text);
    assert_eq!(
        ask(std::slice::from_ref(&pod), 4).await,
        BTreeMap::from([(200, 3), (429, 1)])
    );
    server.kill();
    let log = until_status(&pod, 503).await;
    assert!(log.contains("\"store_fault\":\"unreachable\""), "{log}");
    // It comes back with nothing in it.
    let _server = Server::start_on(port, &[]);
    until_status(&pod, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stands_still_is_not_waited_for_by_everybody() {
    if !can_run() {
        return;
    }
    let (origin, server) = (origin().await, Server::start(&[]));
    let text = policy(&origin, &at(server.port), &limit("100/day", ""));
    let pod = pod(&text);
    assert_eq!(
        ask(std::slice::from_ref(&pod), 5).await,
        BTreeMap::from([(200, 5)])
    );
    pod.log();
    server.freeze(true);
    assert_eq!(
        ask(std::slice::from_ref(&pod), 40).await,
        BTreeMap::from([(200, 40)])
    );
    let log = pod.log();
    let slow = log.matches("\"store_fault\":\"slow\"").count();
    assert!((1..=20).contains(&slow), "{slow} of 40 have waited");
    assert!(log.contains("\"store_fault\":\"resting\""), "{log}");
    server.freeze(false);
    until_back(&pod).await;
    pod.log();
    ask(std::slice::from_ref(&pod), 5).await;
    assert!(!pod.log().contains("store_fault"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_is_told_from_one_that_is_away() {
    if !can_run() {
        return;
    }
    let (origin, server) = (origin().await, Server::start(&[]));
    let text = policy(
        &origin,
        &at(server.port),
        &limit("100/day", "on_store_error = \"deny\""),
    );
    let pod = pod(&text);
    until_status(&pod, 200).await;
    assert!(server.say("CONFIG SET maxmemory 1").contains("OK"));
    let log = until_status(&pod, 503).await;
    assert!(log.contains("\"store_fault\":\"full\""), "{log}");
    assert!(server.say("CONFIG SET maxmemory 0").contains("OK"));
    until_status(&pod, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_was_flushed_is_said_again() {
    if !can_run() {
        return;
    }
    let (origin, server) = (origin().await, Server::start(&[]));
    let text = policy(
        &origin,
        &crate::pods::one(&server),
        &limit("5/day", "on_store_error = \"deny\""),
    );
    let pod = pod(&text);
    let mut client = pod.client().await;
    for _ in 0..5 {
        assert!(server.say("SCRIPT FLUSH SYNC").contains("OK"));
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(client.get("/").await.status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_refuses_nobody_by_itself() {
    if !can_run() {
        return;
    }
    let (origin, server) = (origin().await, Server::start(&[]));
    let text = policy(&origin, &at(server.port), &limit("5/day", ""));
    let pod = pod(&text);
    until_status(&pod, 200).await;
    let keys = server.say("KEYS *");
    let key = keys
        .lines()
        .find(|line| line.starts_with("tidegate:"))
        .unwrap();
    // Somebody else uses the key for something else.
    server.say(&format!("DEL {key}"));
    server.say(&format!("RPUSH {key} 1"));
    pod.log();
    assert_eq!(pod.get("/").await.status, 200);
    let log = pod.log();
    assert!(log.contains("\"store_fault\":\"broken\""), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_name_another_master_when_theirs_has_gone() {
    if !can_run() {
        return;
    }
    let (origin, mut master) = (
        origin().await,
        Server::start(&["--repl-diskless-sync-delay", "0"]),
    );
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    replica.until_it_says("INFO replication", "master_link_status:up");
    let sentinels = [(); 3].map(|()| Server::sentinel(&master, 2));
    for sentinel in &sentinels {
        let seen = "SENTINEL MASTER mymaster";
        sentinel.until_it_says(seen, "num-slaves\r\n$1\r\n1");
        sentinel.until_it_says(seen, "num-other-sentinels\r\n$1\r\n2");
    }
    let addresses: Vec<String> = sentinels
        .iter()
        .map(|s| format!("\"{}\"", s.address()))
        .collect();
    let counters = format!(
        "[counters]\nstore = \"sentinel\"\nmaster = \"mymaster\"\naddresses = [{}]\ntimeout = \"1s\"\n",
        addresses.join(", ")
    );
    let text = policy(
        &origin,
        &counters,
        &limit("6/day", "on_store_error = \"deny\""),
    );
    let pod = pod(&text);
    assert_eq!(
        ask(std::slice::from_ref(&pod), 3).await,
        BTreeMap::from([(200, 3)])
    );
    master.kill();
    until_status(&pod, 200).await;
    // The replica has become the master, and knows what has been used.
    assert_eq!(
        ask(std::slice::from_ref(&pod), 4).await,
        BTreeMap::from([(200, 2), (429, 2)])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_when_a_master_has_gone_and_slots_have_moved() {
    if !can_run() {
        return;
    }
    let (origin, mut cluster) = (origin().await, Cluster::start());
    let counters = format!(
        "[counters]\nstore = \"cluster\"\naddresses = [{}]\ntimeout = \"1s\"\n",
        cluster.addresses()
    );
    let limits =
        "[limits.l]\nquota = \"4/day\"\nkey = [\"header:x-user-id\"]\non_store_error = \"deny\"";
    let pod = pod(&policy(&origin, &counters, limits));
    // Users everywhere, so that each master has some of them.
    let users: Vec<String> = (0..12).map(|n| format!("u{n}")).collect();
    for user in &users {
        assert_eq!(ask_as(&pod, user).await, 200);
    }
    let gone = cluster.masters()[0];
    cluster.servers[gone].kill();
    for user in &users {
        let mut statuses = Vec::new();
        while statuses.len() < 400 {
            let status = ask_as(&pod, user).await;
            statuses.push(status);
            if status == 429 {
                break;
            }
            if status == 503 {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        // What an unanswered question has used is not known: it may have been used all the same.
        let passed = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(statuses.last(), Some(&429), "{user}: {statuses:?}");
        assert!(passed <= 3, "{user}: {statuses:?}");
    }
}

async fn ask_as(pod: &Proxy, user: &str) -> u16 {
    let mut client = pod.client().await;
    let request = format!("GET / HTTP/1.1\r\nhost: t.example\r\nx-user-id: {user}\r\n\r\n");
    client.send(request).await;
    client.reply().await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_for_nobody_is_given_back() {
    if !can_run() {
        return;
    }
    let (origin, server) = (origin().await, Server::start(&[]));
    let limits = "[limits.slots]\nkind = \"concurrency\"\nquota = \"4\"\nkey = []\n\
                  [limits.leased]\nkind = \"budget\"\nquota = \"100/week\"\nkey = []\nmode = \"leased\"";
    let pod = pod(&policy(&origin, &at(server.port), limits));
    // The connection is there before the store stands still.
    assert_eq!(
        ask(std::slice::from_ref(&pod), 1).await,
        BTreeMap::from([(200, 1)])
    );
    until_used(&server, 1).await;
    server.freeze(true);
    // Nobody waits for what the store is asked now, and it does it later.
    let statuses = ask(std::slice::from_ref(&pod), 12).await;
    assert_eq!(statuses, BTreeMap::from([(200, 12)]));
    server.freeze(false);
    until_back(&pod).await;
    pod.node.counters().unwrap().end().await;
    // All slots are free again, and of the budget only what requests were told is used.
    let was_told = |log: &str| log.matches("\"name\":\"leased\"").count();
    assert!(was_told(&pod.log()) >= 13);
    until_slots_are_free(&server).await;
}

/// Waits until a budget in the store is used so far.
async fn until_used(server: &Server, used: u64) {
    let says = || {
        states(server)
            .iter()
            .any(|state| state.split(' ').nth(2) == Some(&used.to_string()))
    };
    crate::support::until("what was used is in the store", says).await;
}

async fn until_slots_are_free(server: &Server) {
    // A counter of slots that nobody holds is forgotten; the budget's stays.
    crate::support::until("all slots are free", || states(server).len() == 1).await;
}

/// Returns what the store holds.
fn states(server: &Server) -> Vec<String> {
    let keys = server.say("KEYS *");
    let keys = keys.lines().filter(|line| line.starts_with("tidegate:"));
    keys.map(|key| {
        let state = server.say(&format!("GET {key}"));
        state.lines().nth(1).unwrap_or_default().to_owned()
    })
    .collect()
}
