//! Builds the npm package of `core/js`.

use std::fs;
use std::path::Path;

use crate::shell::{Result, WASM_TARGET, at, cargo, command, output, path_with, root, run, target};
use crate::{wasm, worker};

/// Builds `core/js/pkg/`: by wasm-pack where it is installed, else by the same steps here.
pub(crate) fn build() -> Result<()> {
    wasm::ensure_target()?;
    if output(command("wasm-pack").arg("--version")).is_some() {
        return by_wasm_pack();
    }
    println!(
        "    wasm-pack is not installed: building the same package with wasm-bindgen and wasm-opt"
    );
    by_hand()
}

fn by_wasm_pack() -> Result<()> {
    let bindgen = wasm::tools()?.bindgen;
    let mut first = vec![root().join("node_modules/.bin")];
    first.extend(
        bindgen
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .map(Path::to_path_buf),
    );
    let mut pack = command("wasm-pack");
    pack.env("PATH", path_with(&first));
    run(pack.args([
        "build",
        "core/js",
        "--release",
        "--mode",
        "no-install",
        "--target",
        "nodejs",
    ]))
}

fn by_hand() -> Result<()> {
    run(&mut cargo(&[
        "build",
        "--profile",
        "wasm",
        "--target",
        WASM_TARGET,
        "--package",
        "tidegate-js",
    ]))?;
    let package = root().join("core/js/pkg");
    let built = target().join(WASM_TARGET).join("wasm/tidegate_js.wasm");
    run(command(wasm::tools()?.bindgen)
        .arg(built)
        .args(["--target", "nodejs", "--out-dir"])
        .arg(&package))?;
    let module = package.join("tidegate_js_bg.wasm");
    worker::optimise(&module, &module)?;
    let readme = package.join("README.md");
    fs::copy(root().join("core/js/README.md"), &readme).map_err(at(&readme))?;
    let description = package.join("package.json");
    let text = "{\n  \"name\": \"tidegate-js\",\n  \"version\": \"VERSION\",\n  \"main\": \"tidegate_js.js\",\n  \"types\": \"tidegate_js.d.ts\"\n}\n";
    fs::write(
        &description,
        text.replace("VERSION", env!("CARGO_PKG_VERSION")),
    )
    .map_err(at(&description))
}
