//! Every fixture against the core, natively and on wasm32.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use tidegate_tests::FIXTURES;
use tidegate_tests::fixture::Fixture;
use tidegate_tests::script;
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test(unsupported = test)]
fn every_fixture_comes_out_as_expected() {
    let mut wrong = Vec::new();
    for (name, text) in FIXTURES {
        let fixture = Fixture::parse(name, text);
        println!("{name}");
        let got = script::run(&fixture);
        if update(name, text, &got) || got == fixture.expected {
            continue;
        }
        for (i, got) in got.iter().enumerate() {
            if fixture.expected.get(i) != Some(got) {
                wrong.push(format!(
                    "{name}, exchange {}:\n got {got:#?}\nwant {:#?}",
                    i + 1,
                    fixture.expected.get(i)
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} differ; if they are right, UPDATE_GOLDEN=1",
        wrong.join("\n\n"),
        wrong.len()
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn there_are_at_least_sixty_fixtures() {
    assert!(FIXTURES.len() >= 60, "{}", FIXTURES.len());
}

/// Rewrites the expected part of the file when asked to.
#[cfg(not(target_arch = "wasm32"))]
fn update(name: &str, text: &str, got: &[tidegate_tests::fixture::Expected]) -> bool {
    if std::env::var_os("UPDATE_GOLDEN").is_none() {
        return false;
    }
    let input = text
        .split("\n[[expected]]")
        .next()
        .unwrap_or(text)
        .trim_end();
    let file = format!("{}/golden/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(
        file,
        format!("{input}\n{}", tidegate_tests::text::expected(got)),
    )
    .expect("writable");
    true
}

#[cfg(target_arch = "wasm32")]
fn update(_: &str, _: &str, _: &[tidegate_tests::fixture::Expected]) -> bool {
    false
}
