//! Memory of a store under callers with ever new keys.

use std::sync::Arc;

use futures_util::future::join_all;
use tidegate::{Charging, Clock, Counters, Credentials, Limits, SharedCounters, TlsFiles};
use tidegate_core::limit::key::CounterKey;
use tidegate_core::limit::{Charge, Charged, Limit, OnStoreError, Quota, Rule};

use crate::pods::one;
use crate::servers::{Server, can_run};
use crate::support::parse;

fn charge(limit: &Arc<Limit>, user: &str) -> Charge {
    Charge {
        limit: Arc::clone(limit),
        key: CounterKey::of(user.as_bytes()),
        home: 0,
        cost: 1,
    }
}

async fn is_allowed(counters: &SharedCounters, charge: Charge) -> bool {
    let now = Clock::System.now();
    let answers = match counters.charge(&[charge], now) {
        Charging::Now(answers) => answers,
        Charging::Later(later) => later.await,
    };
    match answers[..] {
        [Charged::Verdict(verdict)] => verdict.allowed,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_over_the_limit_is_not_forgotten_for_others() {
    if !can_run() {
        return;
    }
    let most: u64 = 4 << 20;
    let server = Server::start(&["--maxmemory-policy", "volatile-ttl"]);
    let memory_of = |server: &Server| {
        let memory = server.say("INFO memory");
        let line = memory
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let bound = memory_of(&server) + most;
    assert!(
        server
            .say(&format!("CONFIG SET maxmemory {bound}"))
            .contains("OK")
    );
    let policy = parse(&format!(
        "{}[origins.a]\nurl = \"http://a\"\n[pools.main]\norigins = [\"a\"]\n[[routes]]\npool = \"main\"\n",
        one(&server)
    ));
    let store = policy.counters.store.as_ref().unwrap();
    let counters = SharedCounters::new(
        store,
        &TlsFiles::new("."),
        Credentials::default(),
        Arc::new(Limits::default()),
        Clock::System,
    )
    .unwrap();
    let limit = Arc::new(Limit {
        on_store_error: OnStoreError::Deny,
        ..Limit::new(
            "l",
            Rule::Rate(Quota {
                amount: 10,
                period: 3_600_000,
                burst: 10,
            }),
        )
    });
    for _ in 0..10 {
        assert!(is_allowed(&counters, charge(&limit, "greedy")).await);
    }
    assert!(!is_allowed(&counters, charge(&limit, "greedy")).await);
    // As many more than there is room for.
    for batch in 0..300 {
        let others = (0..200).map(|number| {
            let user = format!("{batch}/{number}");
            is_allowed(&counters, charge(&limit, &user))
        });
        assert!(join_all(others).await.into_iter().all(|allowed| allowed));
    }
    let evicted = server.say("INFO stats");
    let evicted = evicted
        .lines()
        .find_map(|line| line.strip_prefix("evicted_keys:"));
    assert!(evicted.unwrap().trim().parse::<u64>().unwrap() > 1000);
    assert!(memory_of(&server) <= bound + (1 << 20));
    assert!(!is_allowed(&counters, charge(&limit, "greedy")).await);
}
