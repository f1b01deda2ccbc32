//! Every fixture over HTTP through the native shim: real sockets on both sides, one clock that the
//! scripted origins move.

#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod origin;
mod shim;

use serde_json::Value;
use tidegate_tests::FIXTURES;
use tidegate_tests::fixture::{Expected, Fixture};

#[tokio::test]
async fn every_fixture_comes_out_of_the_native_shim_as_expected() {
    let mut wrong = Vec::new();
    let mut core_only = Vec::new();
    for (name, text) in FIXTURES {
        let fixture = Fixture::parse(name, text);
        if let Some(why) = &fixture.core_only {
            core_only.push(format!("{name}: {why}"));
            continue;
        }
        let got = shim::run(&fixture).await;
        assert_eq!(
            got.len(),
            fixture.expected.len(),
            "{name} has an exchange without expectation"
        );
        for (i, (got, want)) in got.iter().zip(&fixture.expected).enumerate() {
            wrong.extend(
                difference(got, want).map(|what| format!("{name}, exchange {}: {what}", i + 1)),
            );
        }
    }
    println!(
        "{} fixtures ran over HTTP, {} against the core only:",
        FIXTURES.len() - core_only.len(),
        core_only.len()
    );
    println!("{}", core_only.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Compares what a client and an operator see. What the origins saw is compared where the core runs
/// alone: here they listen elsewhere.
fn difference(got: &Expected, want: &Expected) -> Option<String> {
    let pairs = [
        ("report", &got.report, &want.report),
        ("background", &got.background, &want.background),
    ];
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let differing = pairs
        .into_iter()
        .find(|(_, got, want)| json(got) != json(want));
    let (what, got, want) = if without_added_date(&got.reply, &want.reply) == want.reply {
        differing?
    } else {
        ("reply", &got.reply, &want.reply)
    };
    Some(format!("{what} differs\n got {got}\nwant {want}"))
}

/// The HTTP library adds a Date to answers that have none.
fn without_added_date(got: &str, want: &str) -> String {
    let wanted = want.lines().any(|line| line.starts_with("date: "));
    let kept = got
        .split_inclusive('\n')
        .filter(|line| wanted || !line.starts_with("date: "));
    kept.collect()
}
