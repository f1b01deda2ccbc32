//! Whole bodies and nothing else: twenty thousand exchanges over real sockets, with an origin that
//! breaks off, clients that go away, changes and purges.
//!
//! A body is made from its page and version. Whatever happens, a reply that is complete has the
//! body of the version that it names, and no reply has a version from before a change or purge that
//! had been answered when it was asked for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

mod client;
mod origin;
mod random;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use client::Client;
use support::{Proxy, policy, until};
use world::{PAGES, World};

const CLIENTS: usize = 32;

/// Some of them are purges.
const ACTS: u64 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_reply_has_the_right_body_whatever_fails() {
    // Another seed can be tried; the order of what happens at once is not in its hands.
    let seed = std::env::var("TIDEGATE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_260_101);
    println!("TIDEGATE_SEED={seed}");
    let world = Arc::new(World::new(seed));
    let origin = origin::start(Arc::clone(&world)).await;
    let policy = policy(&origin, "").replace("body_timeout = \"1s\"", "body_timeout = \"300ms\"");
    let proxy = Arc::new(Proxy::start(&policy));
    let next = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (world, proxy, next) = (Arc::clone(&world), Arc::clone(&proxy), Arc::clone(&next));
            tokio::spawn(async move {
                let mut client = Client::new(&world, &proxy);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= ACTS {
                        return;
                    }
                    client.act(number).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    // What clients have left is read to its end.
    until("nothing is fetched any more", || {
        proxy.node.engine().fetches_under_way(proxy.node.now()) == 0
    })
    .await;
    let mut client = Client::new(&world, &proxy);
    for page in 0..PAGES {
        client.look(page).await;
    }
    println!("{:?}", world.counts);
    world.counts.assert_plenty();
}
