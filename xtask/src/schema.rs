//! The committed JSON Schemas in `schema/`: editors complete a policy with one, readers of the
//! access log check it with the other.

use std::fs;
use std::path::Path;

use crate::shell::{Result, at, cargo, root, run, target};
use crate::steps::Outcome::{self, Passed};

const FILES: [&str; 2] = ["tidegate.schema.json", "report.schema.json"];

/// Writes them anew.
pub(crate) fn write() -> Result<()> {
    write_into(&root().join("schema"))
}

/// Fails when the types in the core have changed since.
pub(crate) fn check() -> Result<Outcome> {
    let fresh = target().join("schema");
    write_into(&fresh)?;
    for file in FILES {
        let (wanted, present) = (fresh.join(file), root().join("schema").join(file));
        let wanted = fs::read(&wanted).map_err(at(&wanted))?;
        if fs::read(&present).map_err(at(&present))? != wanted {
            return Err(format!(
                "schema/{file} is not what the core's types say now: run `cargo xtask schema`"
            ));
        }
    }
    Ok(Passed)
}

fn write_into(folder: &Path) -> Result<()> {
    let mut program = cargo(&[
        "run",
        "--quiet",
        "--package",
        "xtask",
        "--features",
        "schema",
        "--bin",
        "schema",
        "--",
    ]);
    run(program.arg(folder))
}
