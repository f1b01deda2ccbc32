//! Limits that are counted somewhere else than in the process, and answer later.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Origin, Proxy, parse, until};
use tidegate::{Charging, Counters, Limits, Node};
use tidegate_core::Timestamp;
use tidegate_core::exchange::Settlement;
use tidegate_core::limit::Charge;
use tokio::sync::Semaphore;

/// Counters that answer as soon as they may.
#[derive(Debug)]
struct Slow {
    limits: Arc<Limits>,
    may_answer: Arc<Semaphore>,
    asked: Arc<AtomicBool>,
}

impl Counters for Slow {
    fn settle(&self, settlements: &[Settlement], now: Timestamp) {
        self.limits.settle(settlements, now);
    }

    fn charge(&self, charges: &[Charge], now: Timestamp) -> Charging {
        let (limits, may_answer) = (Arc::clone(&self.limits), Arc::clone(&self.may_answer));
        let charges = charges.to_vec();
        self.asked.store(true, Ordering::Relaxed);
        Charging::Later(Box::pin(async move {
            may_answer.acquire().await.unwrap().forget();
            limits.charge(&charges, now)
        }))
    }
}

/// A proxy whose counters answer as soon as they may.
struct Counted {
    proxy: Proxy,
    limits: Arc<Limits>,
    may_answer: Arc<Semaphore>,
    asked: Arc<AtomicBool>,
}

impl Counted {
    fn start(origin: &Origin, limit: &str) -> Self {
        let policy = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\nthreads = 1\naccess_log = \"json\"\n\
             [origins.a]\nurl = \"http://{}\"\n[pools.main]\norigins = [\"a\"]\n\
             [limits.few]\nquota = \"2/min\"\nkey = [\"ip\"]\n{limit}\n[[routes]]\npool = \"main\"\nlimits = [\"few\"]\n",
            origin.address
        );
        let limits = Arc::new(Limits::default());
        let may_answer = Arc::new(Semaphore::new(0));
        let asked = Arc::new(AtomicBool::new(false));
        let counters = Slow {
            limits: Arc::clone(&limits),
            may_answer: Arc::clone(&may_answer),
            asked: Arc::clone(&asked),
        };
        let node = Node::new(parse(&policy), 1);
        node.count_in(Some(Arc::new(counters)));
        Self {
            proxy: Proxy::of(node, "."),
            limits,
            may_answer,
            asked,
        }
    }

    /// Waits until an exchange has been recorded, and returns the record.
    async fn record(&self) -> String {
        let mut log = String::new();
        until("the exchange is recorded", || {
            log.push_str(&self.proxy.log());
            !log.is_empty()
        })
        .await;
        log
    }
}

async fn hello() -> Origin {
    Origin::start(|_, call| async move { call.answer("200 OK", "", "hello").await }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_come_later_decide() {
    let origin = hello().await;
    let counted = Counted::start(&origin, "");
    counted.may_answer.add_permits(3);
    for status in [200, 200, 429] {
        assert_eq!(counted.proxy.get("/").await.status, status);
    }
    assert_eq!((origin.count(), counted.limits.len()), (2, 1));
    assert!(counted.proxy.node.limits.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_that_do_not_answer_are_unavailable() {
    let origin = hello().await;
    for (rule, status) in [("allow", 200), ("deny", 503)] {
        let counted = Counted::start(&origin, &format!("on_store_error = \"{rule}\""));
        assert_eq!(counted.proxy.get("/").await.status, status, "{rule}");
        let log = counted.record().await;
        assert!(log.contains("\"outcome\":\"unavailable_"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_it_is_charged_is_recorded() {
    let origin = hello().await;
    let counted = Counted::start(&origin, "");
    let mut client = counted.proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the counters are asked", || {
        counted.asked.load(Ordering::Relaxed)
    })
    .await;
    client.reset();
    let log = counted.record().await;
    assert!(log.contains("\"refusal\":\"abandoned\""), "{log}");
    assert_eq!(origin.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_change_something_outlives_its_client_after_a_charge_too() {
    let has_ended = Arc::new(AtomicBool::new(false));
    let gate = Arc::new(Semaphore::new(0));
    let (ends, opens) = (Arc::clone(&has_ended), Arc::clone(&gate));
    let origin = Origin::start(move |_, call| {
        let (ends, opens) = (Arc::clone(&ends), Arc::clone(&opens));
        async move {
            opens.acquire().await.unwrap().forget();
            let is_written = call.answer("200 OK", "", "changed").await;
            ends.store(is_written, Ordering::Relaxed);
            is_written
        }
    })
    .await;
    let counted = Counted::start(&origin, "");
    counted.may_answer.add_permits(1);
    let mut client = counted.proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        .await;
    until("the origin is asked", || origin.count() == 1).await;
    client.reset();
    gate.add_permits(1);
    let log = counted.record().await;
    assert!(log.contains("\"status\":200"), "{log}");
    assert!(has_ended.load(Ordering::Relaxed));
}
