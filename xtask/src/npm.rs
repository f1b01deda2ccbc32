//! The npm packages: Node, workerd with its simulator, esbuild and binaryen.

use std::fs;

use crate::shell::{Result, at, command, root, run};

/// Installs exactly what `package-lock.json` names, unless that has been done, here or by hand: whoever installs leaves a copy of that file.
pub(crate) fn install() -> Result<()> {
    let lock = root().join("package-lock.json");
    let installed = root().join("node_modules/.installed-lock.json");
    let wanted = fs::read(&lock).map_err(at(&lock))?;
    if fs::read(&installed).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    println!("    installing npm packages");
    run(command("npm").args(["ci", "--loglevel=error", "--no-audit", "--no-fund"]))
        .map_err(|error| format!("{error}\nNode 20 or newer with npm is needed to start: https://nodejs.org"))
}
