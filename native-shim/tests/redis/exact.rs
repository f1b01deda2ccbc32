//! Exact limits: pods that count in one store let pass what the quota says, all together.

use std::collections::BTreeMap;
use std::process::Command;

use rcgen::{CertificateParams, Issuer, KeyPair};
use tempfile::TempDir;

use crate::pods::{ask, ask_at_once, one, origin, pod, pod_in, policy};
use crate::servers::{Cluster, Server, can_run, free_port};
use crate::support::until;

/// One of each kind that does not come back while a test runs.
const KINDS: [&str; 4] = [
    "quota = \"7/day\"\nkey = []",
    "kind = \"budget\"\nquota = \"7/week\"\nkey = []",
    "kind = \"budget\"\nquota = \"7/week\"\nwindow = \"sliding\"\nkey = []",
    "kind = \"budget\"\nquota = \"7/month\"\nwindow = \"calendar\"\nzone = \"Asia/Tokyo\"\nkey = []",
];

fn passed(passed: usize, refused: usize) -> BTreeMap<u16, usize> {
    BTreeMap::from([(200, passed), (429, refused)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pods_let_pass_what_one_would() {
    if !can_run() {
        return;
    }
    let (server, origin) = (Server::start(&[]), origin().await);
    for (number, kind) in KINDS.iter().enumerate() {
        let policy = policy(
            &origin,
            &one(&server),
            &format!("[limits.l{number}]\n{kind}"),
        );
        let pods = [pod(&policy), pod(&policy)];
        assert_eq!(ask_at_once(&pods, 4, 5).await, passed(7, 33), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_held_in_the_store_and_come_back() {
    if !can_run() {
        return;
    }
    let server = Server::start(&[]);
    let (origin, open) =
        crate::support::Origin::gated("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na", "b").await;
    let limit = "[limits.slots]\nkind = \"concurrency\"\nquota = \"2\"\nkey = []";
    let policy = policy(&origin, &one(&server), limit);
    let pods = [pod(&policy), pod(&policy)];
    let mut held = Vec::new();
    for pod in &pods {
        let mut client = pod.client().await;
        client
            .send("GET / HTTP/1.1\r\nhost: t.example\r\n\r\n")
            .await;
        assert_eq!(client.reply_head().await.status, 200);
        held.push(client);
    }
    assert_eq!(pods[0].get("/").await.status, 429);
    assert_eq!(pods[1].get("/").await.status, 429);
    // One of them ends; its slot is free for the other pod.
    held.pop();
    let is_free = || server.say("DBSIZE").contains(":1") && used(&server) == 1;
    until("the slot is given back", is_free).await;
    let mut client = pods[0].client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: t.example\r\n\r\n")
        .await;
    assert_eq!(client.reply_head().await.status, 200);
    open.notify_waiters();
}

/// Returns how many slots the store says are taken.
fn used(server: &Server) -> u64 {
    let keys = server.say("KEYS *");
    let key = keys.lines().find(|line| line.starts_with("tidegate:"));
    let state = server.say(&format!("GET {}", key.unwrap_or_default()));
    let text = state.lines().nth(1).unwrap_or_default();
    let numbers: Vec<u64> = text.split(' ').filter_map(|n| n.parse().ok()).collect();
    numbers.get(2).copied().unwrap_or(0) + numbers.get(3).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_limits_of_a_route_cost_one_question_and_a_refused_request_uses_nothing() {
    if !can_run() {
        return;
    }
    let (server, origin) = (Server::start(&[]), origin().await);
    let limits = "[limits.wide]\nquota = \"5/day\"\nkey = []\n\
                  [limits.narrow]\nquota = \"2/day\"\nkey = [\"header:x-user-id\"]\nabsent = \"share\"\n\
                  [limits.own]\nquota = \"100/day\"\nkey = []\nmode = \"local\"";
    let pod = pod(&policy(&origin, &one(&server), limits));
    assert_eq!(ask(&[pod], 4).await, passed(2, 2));
    let calls = server.say("INFO commandstats");
    let evalsha = calls
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha:"));
    // The first is answered with NOSCRIPT and said again with the whole script.
    let evalsha = evalsha.unwrap();
    assert!(evalsha.contains("calls=4,"), "{evalsha}");
    let wide = server
        .say("KEYS *")
        .lines()
        .filter(|l| l.starts_with("tidegate:"))
        .count();
    assert_eq!(wide, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_counts_exactly_and_a_route_whose_keys_begin_alike_asks_once() {
    if !can_run() {
        return;
    }
    let (cluster, origin) = (Cluster::start(), origin().await);
    let counters = format!(
        "[counters]\nstore = \"cluster\"\naddresses = [{}]\ntimeout = \"1s\"\n",
        cluster.addresses()
    );
    // The first two have a home in common, the third has another one.
    let limits = "[limits.user]\nquota = \"7/day\"\nkey = [\"ip\"]\n\
                  [limits.page]\nquota = \"9/day\"\nkey = [\"ip\", \"path\"]\n\
                  [limits.all]\nquota = \"8/day\"\nkey = []";
    let policy = policy(&origin, &counters, limits);
    let pods = [pod(&policy), pod(&policy)];
    assert_eq!(ask_at_once(&pods, 3, 5).await, passed(7, 23));
    let mut keys: Vec<String> = Vec::new();
    for server in &cluster.servers {
        let listed = server.say("KEYS *");
        keys.extend(
            listed
                .lines()
                .filter(|l| l.starts_with("tidegate:"))
                .map(str::to_owned),
        );
    }
    keys.sort();
    keys.dedup();
    let home = |key: &String| key.split(':').nth(1).unwrap().to_owned();
    let mut homes: Vec<String> = keys.iter().map(home).collect();
    homes.dedup();
    assert_eq!((keys.len(), homes.len()), (3, 2), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_an_hour_wrong_gives_nothing_away() {
    if !can_run() {
        return;
    }
    let (server, origin) = (Server::start(&[]), origin().await);
    let policy = policy(
        &origin,
        &one(&server),
        "[limits.l]\nquota = \"7/hour\"\nkey = []",
    );
    let pod = pod(&policy);
    assert_eq!(ask(std::slice::from_ref(&pod), 9).await, passed(7, 2));
    // A node whose clock is wrong says so in its arguments, and is told the time.
    let hour = 3_600_000;
    let now = pod.node.now().as_millis();
    let sha = server.say(&format!("EVAL \"return redis.sha1hex(ARGV[1])\" 0 {}", "x"));
    assert!(sha.starts_with('$'), "{sha}");
    for wrong in [now - hour, now + hour] {
        let script = redis::Script::new(tidegate_core::limit::script::CHARGE);
        let client = redis::Client::open(format!("redis://{}/", server.address())).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut invocation = script.prepare_invoke();
        invocation.key("tidegate:{0}:x");
        for argument in [
            "charge",
            &wrong.to_string(),
            "5000",
            "10000",
            "10000",
            "rate",
            "1000",
            "0",
            "7",
            "0",
            "0",
            "1",
            "0",
            "0",
        ] {
            invocation.arg(argument);
        }
        let said: Vec<u64> = invocation.invoke(&mut connection).unwrap();
        assert_eq!(said.len(), 1, "only the time");
        assert!(said[0].abs_diff(now) < hour / 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_password_tls_and_client_certificates_counts() {
    if !can_run() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(vec![]).unwrap();
    // One with the name of its holder would be taken for one that has signed itself.
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    write("ca.pem", authority_certificate.pem());
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap();
        let certificate = certificate.signed_by(&key, &issuer).unwrap();
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}-key.pem"), key.serialize_pem());
    }
    let file = |name: &str| folder.path().join(name).display().to_string();
    let port = free_port();
    let server = Server::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server-key.pem"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
    ]);
    assert!(server.say("CONFIG SET requirepass secret").contains("OK"));
    let origin = origin().await;
    let counters = format!(
        "[counters]\nstore = \"redis\"\naddresses = [\"localhost:{port}\"]\ntimeout = \"1s\"\n\
         tls = {{ ca = \"ca.pem\", certificate = \"client.pem\", key = \"client-key.pem\" }}"
    );
    let limit = "[limits.l]\nquota = \"2/day\"\nkey = []\non_store_error = \"deny\"";
    let text = policy(&origin, &counters, limit);
    // Without the password nothing is counted. A process of its own has another environment.
    let without = pod_in(&text, folder.path());
    assert_eq!(ask(&[without], 1).await, BTreeMap::from([(503, 1)]));
    let path = folder.path().join("tidegate.toml");
    std::fs::write(&path, &text).unwrap();
    std::fs::write(folder.path().join("password"), "secret\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--policy"])
        .arg(&path)
        .env("TIDEGATE_REDIS_PASSWORD_FILE", file("password"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let address = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(address) = line.strip_prefix("tidegate: serving on ") {
            break address.to_owned();
        }
    };
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        statuses.push(crate::support::Client { stream }.get("/").await.status);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(statuses, [200, 200, 429]);
}
