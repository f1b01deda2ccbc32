//! Costs that are known when a reply has ended.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod support;

use support::{Origin, Proxy, until};

/// A proxy with a budget of a thousand that settles as `cost` says, and reserves a hundred.
fn proxy(origin: &Origin, cost: &str) -> Proxy {
    Proxy::start(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\nthreads = 1\naccess_log = \"off\"\n\
         [origins.a]\nurl = \"http://{}\"\n[pools.main]\norigins = [\"a\"]\n\
         [limits.cost]\nkind = \"budget\"\nquota = \"1000/week\"\nkey = []\ncost = {{ usual = 100, {cost} }}\n\
         [[routes]]\npool = \"main\"\nlimits = [\"cost\"]\n",
        origin.address
    ))
}

/// Returns how much of the budget is left, asking with what has been told after all.
async fn left(proxy: &Proxy) -> u64 {
    let reply = proxy.get("/look/").await;
    let told = reply.field("ratelimit").unwrap().to_owned();
    let left = told.split("r=").nth(1).unwrap().split(';').next().unwrap();
    left.parse::<u64>().unwrap()
}

/// An origin that answers each path as it says, and `/look/` with what costs nothing.
async fn origin() -> Origin {
    Origin::start(|head, call| async move {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        match path.as_str() {
            "/look/" => call.answer("200 OK", "x-used: 0\r\n", "").await,
            "/none" => call.answer("200 OK", "", "0123456789").await,
            "/used" => call.answer("200 OK", "x-used: 7\r\n", "0123456789").await,
            "/more" => call.answer("200 OK", "x-used: 250\r\n", "").await,
            "/twice" => {
                call.answer("200 OK", "x-used: 1\r\nx-used: 2\r\n", "")
                    .await
            }
            "/odd" => call.answer("200 OK", "x-used: -5\r\n", "").await,
            "/failed" => {
                call.answer("503 Service Unavailable", "x-used: 7\r\n", "")
                    .await
            }
            "/broken" => {
                call.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789")
                    .await;
                false
            }
            _ => false,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_answer_says_is_what_a_request_has_used() {
    let origin = origin().await;
    for (path, used) in [
        ("/none", 100),
        ("/used", 7),
        ("/more", 250),
        // What is no number says nothing.
        ("/twice", 100),
        ("/odd", 100),
        ("/failed", 0),
        ("/closed", 0),
    ] {
        let proxy = proxy(&origin, "settle_header = \"x-used\"");
        proxy.get(path).await;
        settled(&proxy, used, path).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_that_were_sent_are_what_a_request_has_used() {
    let origin = origin().await;
    for (path, used) in [("/none", 3), ("/used", 3), ("/look/", 0), ("/broken", 3)] {
        let proxy = proxy(&origin, "settle_body = \"4B\"");
        proxy.get(path).await;
        settled(&proxy, used, path).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_costs_what_was_reserved_if_the_policy_says_so() {
    let origin = origin().await;
    let proxy = proxy(&origin, "settle_body = \"4B\", refund_failures = false");
    proxy.get("/failed").await;
    settled(&proxy, 0, "/failed").await;
    proxy.get("/closed").await;
    // The problem document has a length of its own.
    let refusal = proxy.get("/closed").await;
    let units = u64::try_from(refusal.body.len()).unwrap().div_ceil(4);
    settled(&proxy, 2 * units, "/closed").await;
}

/// Waits until a budget has been settled: each look reserves a hundred and gives it back.
async fn settled(proxy: &Proxy, used: u64, path: &str) {
    for _ in 0..400 {
        if left(proxy).await == 900 - used {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    until(&format!("{path} uses {used}"), || false).await;
}
