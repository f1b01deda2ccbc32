//! `cargo xtask test`: everything that must hold.

use std::collections::BTreeSet;
use std::process::Command;

use crate::shell::{Result, WASM_TARGET, cargo, command, output};
use crate::steps::Outcome::{self, Passed};
use crate::steps::Steps;
use crate::{checks, javascript, modules, npm, rfc, schema, servers, shell, wasm, worker};

/// Runs every step in order, or those whose names contain `only`, and stops at the first that
/// fails.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    let mut steps = Steps::named(only);
    let result = all(&mut steps);
    steps.summary();
    result.and_then(|()| steps.must_have_run())
}

fn all(steps: &mut Steps) -> Result<()> {
    steps.run("format", checks::format)?;
    steps.run("circles of modules", modules::check)?;
    steps.run("rust target for wasm", || {
        wasm::ensure_target().map(|()| Passed)
    })?;
    steps.run("npm packages", || npm::install().map(|()| Passed))?;
    steps.run("clippy", checks::clippy)?;
    steps.run("rustdoc", checks::rustdoc)?;
    steps.run("dependencies", checks::dependencies)?;
    steps.run("advisories", checks::advisories)?;
    steps.run("schemas", schema::check)?;
    steps.run("citations of RFC 9111", rfc::check)?;
    steps.run("Redis for tests", || Ok(servers::install()))?;
    steps.run("native tests", native)?;
    steps.run("core tests on wasm", core_on_wasm)?;
    steps.run("build of the Worker", worker::deploy_dry)?;
    steps.run("build of the npm package", || {
        javascript::build().map(|()| Passed)
    })?;
    steps.run("tests in workerd and Node", node)?;
    steps.run("conformance", conformance)
}

fn native() -> Result<Outcome> {
    let mut tests = cargo(&["test", "--quiet", "--workspace"]);
    if !servers::has_redis() {
        tests.env(servers::WITHOUT_REDIS, "1");
    }
    shell::run(&mut tests)?;
    Ok(Passed)
}

/// The golden fixtures and the core's unit tests where the core runs at the edge, under Node. All
/// unit tests, for one without wasm-bindgen's attribute would silently not run.
fn core_on_wasm() -> Result<Outcome> {
    const RUNNER: &str = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER";
    let runner = wasm::tools()?.test_runner;
    let natively = ["test", "--package", "tidegate-core", "--lib"];
    let on_wasm = [
        "test",
        "--package",
        "tidegate-core",
        "--lib",
        "--target",
        WASM_TARGET,
    ];
    shell::run(cargo(&on_wasm).env(RUNNER, &runner))?;
    let golden = [
        "test",
        "--package",
        "tidegate-tests",
        "--test",
        "golden",
        "--target",
        WASM_TARGET,
    ];
    shell::run(cargo(&golden).env(RUNNER, &runner))?;
    let native = names(cargo(&natively).args(["--", "--list"]))?;
    let wasm = names(cargo(&on_wasm).env(RUNNER, &runner).args(["--", "--list"]))?;
    match native.difference(&wasm).next() {
        None => Ok(Passed),
        Some(test) => Err(format!(
            "{} of {} tests did not run on wasm, among them `{test}`; their module needs\n    \
             #[cfg(target_arch = \"wasm32\")]\n    use wasm_bindgen_test::wasm_bindgen_test as test;",
            native.difference(&wasm).count(),
            native.len(),
        )),
    }
}

/// The names that a test program lists.
fn names(list: &mut Command) -> Result<BTreeSet<String>> {
    let text = output(list).ok_or("the tests cannot be listed")?;
    Ok(text
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}

fn node() -> Result<Outcome> {
    shell::run(command("node").args([
        "--test",
        "--test-reporter=spec",
        "--test-timeout=60000",
        "tests/edge/*.test.mjs",
    ]))?;
    Ok(Passed)
}

/// The public conformance suite for HTTP caches, against both shells.
fn conformance() -> Result<Outcome> {
    shell::run(&mut cargo(&["build", "--quiet", "--package", "tidegate"]))?;
    shell::run(command("node").arg("tests/conformance/run.mjs"))?;
    Ok(Passed)
}
