//! The wasm target and wasm-bindgen's tools.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{Result, WASM_TARGET, at, cargo, command, output, root, run, target};

/// Programs of exactly the version of the library in `Cargo.lock`.
pub(crate) struct Tools {
    pub(crate) bindgen: PathBuf,
    pub(crate) test_runner: PathBuf,
}

/// Adds the wasm target to the toolchain where it is missing.
pub(crate) fn ensure_target() -> Result<()> {
    let sysroot = output(command("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    if Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(WASM_TARGET)
        .exists()
    {
        return Ok(());
    }
    run(command("rustup").args(["target", "add", WASM_TARGET]))
}

/// Finds the tools on the search path, else those built before, else builds them from
/// wasm-bindgen's own library.
pub(crate) fn tools() -> Result<Tools> {
    let version = locked_version()?;
    let prebuilt = Tools {
        bindgen: "wasm-bindgen".into(),
        test_runner: "wasm-bindgen-test-runner".into(),
    };
    if has_version(&prebuilt.bindgen, &version) && has_version(&prebuilt.test_runner, &version) {
        return Ok(prebuilt);
    }
    let dir = target().join("wasm-bindgen").join(&version);
    let built = Tools {
        bindgen: dir.join("wasm-bindgen"),
        test_runner: dir.join("wasm-bindgen-test-runner"),
    };
    if !(has_version(&built.bindgen, &version) && has_version(&built.test_runner, &version)) {
        println!(
            "    building wasm-bindgen {version}: it is not on the search path in this version"
        );
        run(&mut cargo(&[
            "build",
            "--quiet",
            "--profile",
            "tools",
            "--package",
            "xtask",
            "--features",
            "wasm-tools",
            "--bin",
            "wasm-tools",
        ]))?;
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        for tool in [&built.bindgen, &built.test_runner] {
            fs::copy(target().join("tools/wasm-tools"), tool).map_err(at(tool))?;
        }
    }
    Ok(built)
}

fn has_version(tool: &Path, version: &str) -> bool {
    output(command(tool).arg("--version"))
        .is_some_and(|text| text.split_whitespace().last() == Some(version))
}

/// The version of the wasm-bindgen library in `Cargo.lock`.
fn locked_version() -> Result<String> {
    let path = root().join("Cargo.lock");
    let lock = fs::read_to_string(&path).map_err(at(&path))?;
    let mut lines = lock
        .lines()
        .skip_while(|line| *line != "name = \"wasm-bindgen\"");
    let version = lines
        .nth(1)
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version
        .map(str::to_owned)
        .ok_or_else(|| "Cargo.lock has no wasm-bindgen".to_owned())
}
