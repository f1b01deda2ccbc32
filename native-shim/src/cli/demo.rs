//! `tidegate demo`: the main job on an embedded policy, told in a terminal.
//!
//! Two toy origins in two regions and the proxy in front of them, all on loopback; a scripted visit; then everything keeps serving.

mod origin;
mod visit;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use origin::{Manner, Origin};
use serde_json::Value;
use visit::{ANN, BOB, Stage};

/// The policy of the demo; also a complete example.
pub(super) const POLICY: &str = include_str!("../../../examples/demo.toml");

const EU: Manner = Manner { name: "eu", city: "Frankfurt", delay: Duration::from_millis(5), fails_each: 4 };
const US: Manner = Manner { name: "us", city: "Ashburn", delay: Duration::from_millis(120), fails_each: 0 };

/// The toy origins of the demo's policy.
pub(super) struct Origins {
    eu: Origin,
    us: Origin,
}

impl Origins {
    /// Starts both at the addresses that the policy names.
    pub(super) async fn start() -> Result<Self, Box<dyn Error>> {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let busy = |e: std::io::Error| format!("the demo needs the ports 8080, 9001, 9002 and 9900 of this machine: {e}");
        let eu = Origin::start(EU, address(9001)).await.map_err(busy)?;
        let us = Origin::start(US, address(9002)).await.map_err(busy)?;
        Ok(Self { eu, us })
    }
}

/// Plays the scripted visit.
pub(super) async fn play(stage: &Stage, origins: &mut Origins) -> Result<(), Box<dyn Error>> {
    let all = |_: &Value| true;
    let last = |_: &Value| false;

    chapter("Caching", "/api/ is fresh for 2 s, then served stale while it is fetched anew in the background.");
    stage.visit(ANN, "/api/rates").await?;
    stage.visit(ANN, "/api/rates").await?;
    let stale = |report: &Value| report["cache"]["outcome"] == "stale";
    let background = |report: &Value| report["kind"] == "revalidation";
    if stage.until(ANN, "/api/rates", Duration::from_millis(200), background, stale).await? == 1 {
        stage.background().await;
    }
    stage.visit(ANN, "/api/rates").await?;

    chapter("Limits", "per-user allows 5 at once and 1000 a minute, for each user and address.");
    stage.until(ANN, "/api/rates", Duration::ZERO, all, |report| report["status"] == 429).await?;
    stage.visit(BOB, "/api/rates").await?;

    chapter("Geography", "The nearest origin is asked first: Frankfurt for Ann; Ashburn, which is slow, for Bob.");
    stage.visit(ANN, "/hello").await?;
    stage.visit(BOB, "/hello").await?;

    chapter("Retry", "Frankfurt answers each fourth request with 503; a GET is sent once more, to the next origin.");
    let retried = |report: &Value| report["attempts"][0]["status"] == 503;
    stage.until(ANN, "/hello", Duration::ZERO, last, retried).await?;

    chapter("Failover", "Frankfurt is killed: Ashburn answers, until the circuit opens and nobody knocks any more.");
    origins.eu.kill().await;
    let skipped = |report: &Value| report["attempts"][0]["outcome"] == "circuit_open";
    stage.until(ANN, "/hello", Duration::ZERO, all, skipped).await?;

    chapter("Recovery", "Frankfurt is back: after 2 s two requests are let through, and the circuit closes.");
    origins.eu.revive().await?;
    let tried = |report: &Value| report["attempts"][0]["outcome"] != "circuit_open";
    let closed = |report: &Value| report["attempts"][0]["circuit"] == "closed";
    stage.until(ANN, "/hello", Duration::from_millis(100), tried, closed).await?;
    stage.visit(ANN, "/hello").await?;
    Ok(())
}

fn chapter(title: &str, text: &str) {
    println!("\n{title}\n  {text}");
}
