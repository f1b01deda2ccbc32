//! `tidegate demo`: the main job on an embedded policy, told in a terminal.
//!
//! Two toy origins in two regions and the proxy in front of them, all on loopback; a scripted
//! visit; then everything keeps serving.

mod origin;
mod visit;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use origin::{Manner, Origin};
use serde_json::Value;
use tidegate::{Admin, Node, Phase, Server, TlsFiles};
use tidegate_core::Policy;
use visit::{ANN, BOB, Stage, Visitor};

use super::admin_token::admin_token;

/// What `demo` is asked.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Ends after the scripted visit instead of serving on.
    #[arg(long)]
    once: bool,
}

/// The policy of the demo; also a complete example.
const POLICY: &str = include_str!("../../../examples/demo.toml");

const EU: Manner = Manner {
    name: "eu",
    city: "Frankfurt",
    port: 9001,
    delay: Duration::from_millis(5),
    fails_each: 4,
};
const US: Manner = Manner {
    name: "us",
    city: "Ashburn",
    port: 9002,
    delay: Duration::from_millis(120),
    fails_each: 0,
};

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let shown = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(show(arguments.once)));
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn show(once: bool) -> Result<(), Box<dyn Error>> {
    let policy = Policy::parse("examples/demo.toml", POLICY)?;
    let admin = policy.server.admin.clone();
    let node = Arc::new(Node::with_random_seed(policy));
    // Origins end when they are dropped.
    let mut eu = Origin::start(EU).await.map_err(|e| busy(&e))?;
    let _us = Origin::start(US).await.map_err(|e| busy(&e))?;
    let files = Arc::new(TlsFiles::new("."));
    let server = Server::start(&node, &files).map_err(|e| busy(&e))?;
    if let Some(address) = admin {
        let admin = Admin::bind(
            &address,
            Arc::clone(&node),
            &files,
            admin_token(),
            server.phase(),
        )
        .await;
        tokio::spawn(admin.map_err(|e| busy(&e))?.serve());
    }
    println!(
        "Tidegate serves a shop on {}, from Frankfurt (eu) and Ashburn (us).",
        server.address()
    );
    let stage = Stage {
        proxy: server.address(),
        node,
    };
    play(&stage, &mut eu).await?;
    if !once {
        serve_on(&stage).await?;
    }
    server.enter(Phase::Stopped);
    server.join();
    Ok(())
}

/// Tells what is decided until the user has seen enough.
async fn serve_on(stage: &Stage) -> Result<(), Box<dyn Error>> {
    println!("\nIt keeps serving, and tells here what it decides. Try, in another terminal:");
    let proxy = stage.proxy;
    println!(
        "  # miss, hits, and after 2 s a stale one (ttl below 0), which is fetched anew in the background"
    );
    println!(
        "  for i in 1 2 3 4 5 6 7; do curl -si http://{proxy}/api/rates | grep -i cache-status; sleep 0.5; done"
    );
    println!("  # 200 for five at once, then 429");
    println!(
        "  curl -s -o /dev/null -w '%{{http_code}}\\n' 'http://{proxy}/api/rates?utm_source=[1-9]'"
    );
    println!("  # a year, immutable");
    println!("  curl -i http://{proxy}/static/logo.svg");
    println!("  # from New York, as Cloudflare tells it: Ashburn is nearest and answers");
    println!("  curl -i http://{proxy}/hello {}", fields(BOB));
    println!("  # what Prometheus would see");
    println!("  curl http://127.0.0.1:9900/metrics");
    println!("  # how a request would be treated, and why");
    println!(
        "  cargo run --release -- explain GET http://shop.example/api/rates --policy examples/demo.toml"
    );
    println!("Ctrl-C ends it.\n");
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = look.tick() => stage.tell(),
            ended = tokio::signal::ctrl_c() => return Ok(ended?),
        }
    }
}

/// Writes for curl who a visitor is and where.
fn fields(visitor: Visitor) -> String {
    let Visitor {
        address,
        country,
        latitude,
        longitude,
        ..
    } = visitor;
    format!(
        "-H 'X-Forwarded-For: {address}' -H 'CF-IPCountry: {country}' -H 'CF-IPLatitude: {latitude}' -H 'CF-IPLongitude: {longitude}'"
    )
}

fn busy(error: &std::io::Error) -> String {
    format!("it needs the ports 8080, 9001, 9002 and 9900 of 127.0.0.1: {error}")
}

/// Plays the scripted visit.
async fn play(stage: &Stage, eu: &mut Origin) -> Result<(), Box<dyn Error>> {
    let all = |_: &Value| true;
    let last = |_: &Value| false;

    chapter(
        "Caching",
        "/api/ is fresh for 2 s, then served stale while it is fetched anew in the background.",
    );
    stage.visit(ANN, "/api/rates").await?;
    stage.visit(ANN, "/api/rates").await?;
    let served_stale = |report: &Value| report["cache"]["outcome"] == "stale";
    let background = |report: &Value| report["kind"] == "revalidation";
    if stage
        .until(
            ANN,
            "/api/rates",
            Duration::from_millis(200),
            background,
            served_stale,
        )
        .await?
        == 1
    {
        stage.background().await;
    }
    stage.visit(ANN, "/api/rates").await?;

    chapter(
        "Limits",
        "per-user allows 5 at once and 1000 a minute, for each user and address.",
    );
    stage
        .until(ANN, "/api/rates", Duration::ZERO, all, |report| {
            report["status"] == 429
        })
        .await?;
    stage.visit(BOB, "/api/rates").await?;

    chapter(
        "Geography",
        "The nearest origin is asked first: Frankfurt for Ann; Ashburn, which is slow, for Bob.",
    );
    stage.visit(ANN, "/hello").await?;
    stage.visit(BOB, "/hello").await?;

    chapter(
        "Retry",
        "Frankfurt answers each fourth request with 503; a GET is sent once more, to the next origin.",
    );
    let retried = |report: &Value| report["attempts"][0]["status"] == 503;
    stage
        .until(ANN, "/hello", Duration::ZERO, last, retried)
        .await?;

    chapter(
        "Failover",
        "Frankfurt is killed: Ashburn answers, until the circuit opens and nobody knocks any more.",
    );
    eu.kill().await;
    let skipped = |report: &Value| report["attempts"][0]["outcome"] == "circuit_open";
    stage
        .until(ANN, "/hello", Duration::ZERO, all, skipped)
        .await?;

    chapter(
        "Recovery",
        "Frankfurt is back: after 2 s two requests are let through, and the circuit closes.",
    );
    eu.revive().await?;
    let tried = |report: &Value| report["attempts"][0]["outcome"] != "circuit_open";
    let closed = |report: &Value| report["attempts"][0]["circuit"] == "closed";
    stage
        .until(ANN, "/hello", Duration::from_millis(100), tried, closed)
        .await?;
    stage.visit(ANN, "/hello").await?;
    Ok(())
}

fn chapter(title: &str, text: &str) {
    println!("\n{title}\n  {text}");
}
