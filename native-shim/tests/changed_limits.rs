//! Limits that are changed by a policy which replaces another one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tidegate::{Clock, Node, TidegateLayer};
use tidegate_core::{Policy, Timestamp};
use tower::{Layer, ServiceExt, service_fn};

/// 2027-01-15T08:00:00Z.
const START: u64 = 1_800_000_000_000;

fn policy(limit: &str) -> Policy {
    let text = format!(
        "[origins.a]\nurl = \"http://a\"\n[pools.main]\norigins = [\"a\"]\n\
         [limits.l]\nkey = [\"ip\"]\n{limit}\n[[routes]]\npool = \"main\"\nlimits = [\"l\"]\n"
    );
    Policy::parse("p", &text).unwrap_or_else(|error| panic!("{error}"))
}

/// A node whose limit is changed.
struct Changing {
    node: Arc<Node>,
    clock: Clock,
}

impl Changing {
    fn start(limit: &str) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(START));
        let node = Node::with_clock(policy(limit), 1, clock.clone());
        Self {
            node: Arc::new(node),
            clock,
        }
    }

    fn change(&self, limit: &str) {
        self.node.replace(policy(limit));
    }

    /// Asks, and returns for how many seconds it is refused.
    async fn ask(&self) -> Option<u64> {
        let hello = service_fn(|_| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
        });
        let service = TidegateLayer::of(Arc::clone(&self.node)).layer(hello);
        let request = Request::get("/").header("host", "a.example");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        let wait = response.headers().get("retry-after")?;
        wait.to_str().unwrap().parse().ok()
    }

    async fn use_up(&self, count: u64) {
        for _ in 0..count {
            assert_eq!(self.ask().await, None);
        }
    }
}

#[tokio::test]
async fn what_was_used_of_a_budget_counts_under_another_amount() {
    let of = |amount: u64| format!("kind = \"budget\"\nquota = \"{amount}/hour\"");
    let changing = Changing::start(&of(5));
    changing.use_up(5).await;
    changing.change(&of(3));
    assert!(changing.ask().await.is_some());
    changing.change(&of(7));
    changing.use_up(2).await;
    assert!(changing.ask().await.is_some());
}

#[tokio::test]
async fn a_rate_that_was_used_up_is_so_at_another_pace() {
    let changing = Changing::start("quota = \"5/min\"");
    changing.use_up(5).await;
    for (limit, wait) in [
        ("quota = \"3/min\"", 20),
        ("quota = \"60/min\"", 1),
        ("quota = \"60/min\"\nburst = 1", 1),
    ] {
        changing.change(limit);
        let told = changing.ask().await.expect("used up");
        assert!(
            (wait..=with_jitter(wait)).contains(&told),
            "{limit}: {told}"
        );
    }
}

/// Returns the longest wait that is told for one of so many seconds.
fn with_jitter(wait: u64) -> u64 {
    wait + (wait / 8).min(60) + 1
}

#[tokio::test]
async fn nobody_waits_longer_than_the_new_limit_says() {
    let limits = [
        ("quota = \"1/day\"", 86_400),
        ("quota = \"1/sec\"", 1),
        ("kind = \"budget\"\nquota = \"1/min\"", 60),
        ("kind = \"budget\"\nquota = \"1/hour\"", 3600),
        ("kind = \"budget\"\nquota = \"1/day\"", 86_400),
        (
            "kind = \"budget\"\nwindow = \"sliding\"\nquota = \"1/hour\"",
            2 * 3600,
        ),
        (
            "kind = \"budget\"\nwindow = \"calendar\"\nzone = \"Asia/Tokyo\"\nquota = \"1/month\"",
            31 * 86_400,
        ),
    ];
    for (before, _) in limits {
        for (after, longest) in limits {
            let changing = Changing::start(before);
            changing.use_up(1).await;
            changing.change(after);
            // It is used up now, by this request if not by the one before.
            let _first = changing.ask().await;
            let wait = changing.ask().await.expect("used up");
            assert!(wait <= with_jitter(longest), "{before} to {after}: {wait}");
            changing
                .clock
                .advance_to(Timestamp::from_millis(START + wait * 1000));
            assert_eq!(changing.ask().await, None, "{before} to {after}");
        }
    }
}

/// Nodes may follow both of two policies for a while, and share a counter: neither may take the
/// other's windows for its own.
#[tokio::test]
async fn other_windows_count_for_themselves_also_in_turn() {
    let budget = "kind = \"budget\"\nquota = ";
    let limits = [
        "quota = \"3/day\"".to_owned(),
        format!("{budget}\"3/day\""),
        format!("{budget}\"3/hour\""),
        format!("{budget}\"3/day\"\nwindow = \"sliding\""),
        format!("{budget}\"3/day\"\nwindow = \"calendar\""),
        format!("{budget}\"3/day\"\nwindow = \"calendar\"\nzone = \"Asia/Tokyo\""),
    ];
    for (number, one) in limits.iter().enumerate() {
        for other in limits.iter().skip(number + 1) {
            let changing = Changing::start(one);
            for turn in 0..5 {
                for limit in [one, other] {
                    changing.change(limit);
                    let is_refused = changing.ask().await.is_some();
                    assert_eq!(is_refused, turn >= 3, "{one} and {other}, {turn}");
                }
            }
        }
    }
}
