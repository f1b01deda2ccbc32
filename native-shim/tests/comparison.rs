//! Limits that are tried out beside others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use support::{Origin, Proxy, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_tried_out_is_compared_with_the_one_that_counts() {
    let origin = Origin::start(|_, call| async move { call.answer("200 OK", "", "a").await }).await;
    let proxy = Proxy::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\nthreads = 1\naccess_log = \"off\"\n\
         [origins.a]\nurl = \"http://{}\"\n[pools.main]\norigins = [\"a\"]\n\
         [limits.now]\nquota = \"4/day\"\nkey = []\n\
         [limits.narrow]\nquota = \"1/day\"\nkey = []\ndry_run = true\ncompare_with = \"now\"\n\
         [limits.wide]\nquota = \"9/day\"\nkey = []\ndry_run = true\ncompare_with = \"now\"\n\
         [[routes]]\npool = \"main\"\nlimits = [\"now\", \"narrow\", \"wide\"]\n",
        origin.address
    ));
    for status in [200, 200, 200, 200, 429, 429] {
        assert_eq!(proxy.get("/").await.status, status);
    }
    for (limit, answer, count) in [
        ("narrow", "stricter", 3),
        ("narrow", "looser", 0),
        ("wide", "stricter", 0),
        ("wide", "looser", 2),
    ] {
        let line = format!(
            "tidegate_limit_differences_total{{limit=\"{limit}\",answer=\"{answer}\"}} {count}"
        );
        until(&line, || proxy.measures(&line)).await;
    }
}
