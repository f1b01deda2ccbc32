//! Pods that count together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidegate::{Counters, Node, SharedCounters, TlsFiles};

use crate::servers::Server;
use crate::support::{Origin, Proxy, parse};

/// What `[counters]` says of one server. Nobody waits for a slow machine's sake less than this.
pub(crate) fn one(server: &Server) -> String {
    format!(
        "[counters]\nstore = \"redis\"\naddresses = [\"{}\"]\ntimeout = \"1s\"\n",
        server.address()
    )
}

/// A policy with one route and these limits, which it names.
pub(crate) fn policy(origin: &Origin, counters: &str, limits: &str) -> String {
    let names = limits.lines().filter_map(|line| {
        let name = line.strip_prefix("[limits.")?.strip_suffix(']')?;
        Some(format!("\"{name}\""))
    });
    let names: Vec<String> = names.collect();
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\nthreads = 2\naccess_log = \"json\"\n\
         {counters}\n[origins.a]\nurl = \"http://{}\"\n[pools.main]\norigins = [\"a\"]\n\
         {limits}\n[[routes]]\npool = \"main\"\nlimits = [{}]\n",
        origin.address,
        names.join(", ")
    )
}

/// Starts a pod that follows a policy.
pub(crate) fn pod(policy: &str) -> Proxy {
    pod_in(policy, Path::new("."))
}

pub(crate) fn pod_in(policy: &str, folder: &Path) -> Proxy {
    let policy = parse(policy);
    let node = Node::new(policy.clone(), 1);
    let files = TlsFiles::new(folder);
    let counters = SharedCounters::of_policy(&policy, &files, &node).unwrap();
    node.count_in(counters.map(|counters| counters as Arc<dyn Counters>));
    Proxy::of(node, folder)
}

pub(crate) async fn origin() -> Origin {
    Origin::start(|_, call| async move { call.answer("200 OK", "", "one").await }).await
}

/// Asks pods in turn, and counts the statuses of the replies.
pub(crate) async fn ask(pods: &[Proxy], times: usize) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    let mut clients = Vec::new();
    for pod in pods {
        clients.push(pod.client().await);
    }
    for number in 0..times {
        let at = number % clients.len();
        let reply = clients[at].get("/").await;
        *statuses.entry(reply.status).or_default() += 1;
    }
    statuses
}

/// Asks pods at once, each so often over connections of its own, and counts the statuses.
pub(crate) async fn ask_at_once(
    pods: &[Proxy],
    connections: usize,
    times: usize,
) -> BTreeMap<u16, usize> {
    let mut asking = Vec::new();
    for pod in pods {
        for _ in 0..connections {
            let mut client = pod.client().await;
            asking.push(tokio::spawn(async move {
                let mut statuses = Vec::new();
                for _ in 0..times {
                    statuses.push(client.get("/").await.status);
                }
                statuses
            }));
        }
    }
    let mut statuses = BTreeMap::new();
    for asked in asking {
        for status in asked.await.unwrap() {
            *statuses.entry(status).or_default() += 1;
        }
    }
    statuses
}
