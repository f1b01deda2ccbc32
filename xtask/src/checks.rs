//! The checks that are not tests.

use std::path::PathBuf;

use crate::shell::{Result, WASM_TARGET, cargo, command, output, root, run, target};
use crate::steps::Outcome::{self, Passed, Skipped};

const DENY_VERSION: &str = "0.20.2";

pub(crate) fn format() -> Result<Outcome> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    Ok(Passed)
}

/// Lints everything natively, and what runs at the edge as it runs there.
pub(crate) fn clippy() -> Result<Outcome> {
    run(&mut cargo(&[
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    let mut edge = cargo(&["clippy", "--quiet", "--target", WASM_TARGET]);
    run(edge.args([
        "-p",
        "tidegate-core",
        "-p",
        "tidegate-js",
        "-p",
        "tidegate-worker",
        "--",
        "--deny",
        "warnings",
    ]))?;
    // Alone the Worker has a core that reads no policies as they are written.
    let mut worker = cargo(&["clippy", "--quiet", "--target", WASM_TARGET]);
    run(worker.args(["-p", "tidegate-worker", "--", "--deny", "warnings"]))?;
    Ok(Passed)
}

pub(crate) fn rustdoc() -> Result<Outcome> {
    run(cargo(&["doc", "--quiet", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "--deny warnings"))?;
    Ok(Passed)
}

/// Licences, sources and bans of the dependency graph. Advisories need a database from the network:
/// a step of its own.
pub(crate) fn dependencies() -> Result<Outcome> {
    match cargo_deny() {
        Ok(deny) => {
            // Packages for other systems than this one are looked at too.
            run(&mut cargo(&["fetch", "--quiet"]))?;
            run(command(deny).args([
                "--workspace",
                "--offline",
                "check",
                "bans",
                "licenses",
                "sources",
            ]))?;
            Ok(Passed)
        }
        Err(error) => Ok(Skipped(format!(
            "cargo-deny is not installed and cannot be built: {error}"
        ))),
    }
}

/// Known vulnerabilities; their database is a git repository, which not every machine can reach.
pub(crate) fn advisories() -> Result<Outcome> {
    let Ok(deny) = cargo_deny() else {
        return Ok(Skipped("cargo-deny is missing".to_owned()));
    };
    if output(command(&deny).args(["fetch", "db"])).is_none() {
        return Ok(Skipped(
            "the advisory database cannot be fetched from here".to_owned(),
        ));
    }
    run(command(&deny).args(["--workspace", "check", "advisories"]))?;
    Ok(Passed)
}

/// The installed cargo-deny, else one built once into the target directory.
fn cargo_deny() -> Result<PathBuf> {
    let installed = PathBuf::from("cargo-deny");
    if output(command(&installed).arg("--version")).is_some() {
        return Ok(installed);
    }
    let dir = target().join("cargo-deny").join(DENY_VERSION);
    let built = dir.join("bin/cargo-deny");
    if !built.exists() {
        println!("    building cargo-deny {DENY_VERSION}");
        let mut install = cargo(&[
            "install",
            "--quiet",
            "--debug",
            "--locked",
            "cargo-deny",
            "--version",
            DENY_VERSION,
        ]);
        install
            .args(["--no-track", "--root"])
            .arg(&dir)
            .arg("--target-dir")
            .arg(target().join("cargo-deny/build"));
        // Outside the repository's own settings, and without what only slows a tool's build down.
        install
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_PROFILE_DEV_INCREMENTAL", "false")
            .current_dir(root());
        run(&mut install)?;
    }
    Ok(built)
}
