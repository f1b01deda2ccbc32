//! Builds the Worker: wasm, its JavaScript, one bundle.
//!
//! `workers/build/dist/` then holds `worker.js` and `index_bg.wasm`, all that is deployed.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::shell::{Result, WASM_TARGET, at, cargo, command, output, root, run, target};
use crate::steps::Outcome::{self, Passed};
use crate::{unused, wasm};

/// Builds `workers/build/dist/` and prints its sizes.
pub(crate) fn build() -> Result<()> {
    wasm::ensure_target()?;
    run(&mut cargo(&[
        "build",
        "--profile",
        "wasm",
        "--target",
        WASM_TARGET,
        "--package",
        "tidegate-worker",
    ]))?;
    let bound = root().join("workers/build/bind");
    let built = root().join("workers/build/dist");
    bind(&bound)?;
    mend(&bound.join("index.js"))?;
    run(command("esbuild").args([
        "workers/js/entry.mjs",
        "--bundle",
        "--format=esm",
        "--outfile=workers/build/dist/worker.js",
        "--external:*.wasm",
        "--external:cloudflare:*",
        "--minify",
        // Nothing disposes of an object of the module by `using`. Else no class could be left out.
        "--define:Symbol.dispose=undefined",
        // wasm-bindgen names its snippets once for each block that imports from them.
        "--log-override:duplicate-object-key=silent",
        "--log-level=warning",
    ]))?;
    fs::create_dir_all(&built).map_err(at(&built))?;
    let module = bound.join("index_bg.wasm");
    unused::drop_exports(&module, &built.join("worker.js"), &FEATURES)?;
    optimise(&module, &built.join("index_bg.wasm"))?;
    print_sizes(&sizes()?);
    Ok(())
}

/// Lets wrangler build the Worker and do all of a deployment but the sending.
pub(crate) fn deploy_dry() -> Result<Outcome> {
    let mut wrangler = command("wrangler");
    wrangler
        .args(["deploy", "--dry-run", "--outdir"])
        .arg(target().join("dry-run"));
    // Nobody is spoken to.
    wrangler
        .env("WRANGLER_SEND_METRICS", "false")
        .env("WRANGLER_SEND_ERROR_REPORTS", "false");
    run(wrangler
        .env("WRANGLER_LOG_PATH", target().join("wrangler-logs"))
        .env("CI", "1"))?;
    check_size(&sizes()?)?;
    Ok(Passed)
}

fn bind(out: &Path) -> Result<()> {
    if out.exists() {
        fs::remove_dir_all(out).map_err(at(out))?;
    }
    let wasm = target().join(WASM_TARGET).join("wasm/tidegate_worker.wasm");
    let mut bindgen = command(wasm::tools()?.bindgen);
    bindgen.arg(wasm).arg("--out-dir").arg(out);
    bindgen.args([
        "--out-name",
        "index",
        "--target",
        "module",
        "--no-typescript",
    ]);
    // A failed instance is noticed in every call, and can be replaced by a fresh one.
    bindgen.args([
        "--experimental-reset-state-function",
        "--force-enable-abort-handler",
    ]);
    run(&mut bindgen)
}

/// Changes three places of the generated module, each of which must be there exactly once, and all
/// of a fourth kind.
fn mend(path: &Path) -> Result<()> {
    const CHANGES: [(&str, &str, &str); 3] = [
        // The bundler and the runtime know the plain form.
        (
            "the import of the wasm module",
            "import source wasmModule",
            "import wasmModule",
        ),
        // The entry answers the requests in flight as soon as the instance fails, whatever the
        // reason.
        (
            "the abort hook",
            "function __wbg_call_abort_hook() {\n",
            "function __wbg_call_abort_hook() {\n    state.criticalError = true;\n",
        ),
        // A callback of a failed instance must find that out before, not after, the instance is
        // replaced: else it would run in the fresh one with pointers of the old one.
        (
            "the check for stale closures",
            "        if (state.instance !== __wbg_instance_id) {\n            throw new Error('Cannot invoke",
            "        __wbg_call_guard();\n        if (state.instance !== __wbg_instance_id) {\n            throw new Error('Cannot invoke",
        ),
    ];
    let mut text = fs::read_to_string(path).map_err(at(path))?;
    for (what, before, after) in CHANGES {
        if text.matches(before).count() != 1 {
            return Err(format!(
                "{}: {what} is not where this version of wasm-bindgen puts it",
                path.display()
            ));
        }
        text = text.replace(before, after);
    }
    // A registry that nobody asks does nothing: so the bundler leaves out classes that are not used.
    let registry = "new FinalizationRegistry(";
    if !text.contains(registry) {
        return Err(format!(
            "{}: this version of wasm-bindgen makes registries in another way",
            path.display()
        ));
    }
    text = text.replace(registry, &format!("/* @__PURE__ */ {registry}"));
    fs::write(path, text).map_err(at(path))
}

/// What Rust and wasm-bindgen use of WebAssembly. wasm-bindgen adds exception handling without
/// declaring it in the module. Not all that the optimiser knows: it would write an encoding of
/// imports that Node 22 cannot read.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-exception-handling",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Shrinks a bound module and drops its names.
pub(crate) fn optimise(from: &Path, to: &Path) -> Result<()> {
    let mut optimiser = command("wasm-opt");
    optimiser
        .arg("-Oz")
        // What lies lowest is the end of the stack: only one that is about to overflow gets there.
        .arg("--low-memory-unused")
        // Both make a module smaller that is larger in gzip: the same code in several places costs
        // little there. So does what is alike when it lies side by side.
        .args(["--skip-pass=inlining-optimizing", "--skip-pass=local-cse"])
        .arg("--reorder-functions-by-name")
        .args(["--strip-debug", "--strip-producers"])
        .args(FEATURES)
        .arg(from)
        .arg("-o")
        .arg(to);
    run(&mut optimiser)
}

/// What is deployed.
const FILES: [&str; 2] = [
    "workers/build/dist/index_bg.wasm",
    "workers/build/dist/worker.js",
];

/// Most bytes that the files may have together, each in gzip: every isolate that starts loads and
/// compiles them. What makes the Worker larger than this must be worth it, and say why it is: it was
/// 250 KiB before budgets and concurrency, which have five, leases and counters of an isolate, which
/// have eleven, costs, which have two, bandwidth, which has five, plans, which have four, and
/// tokens, which have twelve: reading them and their keys strictly, and when keys are fetched.
const GZIP_BYTES_MAX: u64 = 297_000;

/// The size of one file.
#[derive(Deserialize)]
struct Size {
    file: String,
    raw: u64,
    gzip: u64,
}

/// Measures what is deployed.
fn sizes() -> Result<Vec<Size>> {
    const SCRIPT: &str =
        "const { readFileSync } = require('node:fs'), { gzipSync } = require('node:zlib');
        const size = (file) => {
          const raw = readFileSync(file);
          return { file, raw: raw.length, gzip: gzipSync(raw, { level: 9 }).length };
        };
        console.log(JSON.stringify(process.argv.slice(1).map(size)));";
    let json = output(command("node").args(["-e", SCRIPT]).args(FILES))
        .ok_or("cannot measure the built files")?;
    serde_json::from_str(&json).map_err(|error| error.to_string())
}

fn print_sizes(sizes: &[Size]) {
    for Size { file, raw, gzip } in sizes {
        println!("{} raw {} gzip  {file}", kib(*raw), kib(*gzip));
    }
    let raw = sizes.iter().map(|size| size.raw).sum();
    println!(
        "{} raw {} gzip  in all; at most {} gzip",
        kib(raw),
        kib(gzip_bytes(sizes)),
        kib(GZIP_BYTES_MAX).trim_start()
    );
}

fn check_size(sizes: &[Size]) -> Result<()> {
    let bytes = gzip_bytes(sizes);
    if bytes <= GZIP_BYTES_MAX {
        return Ok(());
    }
    print_sizes(sizes);
    Err(format!(
        "the Worker has {bytes} bytes in gzip, and may have {GZIP_BYTES_MAX}: GZIP_BYTES_MAX in \
         xtask/src/worker.rs"
    ))
}

fn gzip_bytes(sizes: &[Size]) -> u64 {
    sizes.iter().map(|size| size.gzip).sum()
}

fn kib(bytes: u64) -> String {
    let tenths = (bytes * 10 + 512) / 1024;
    let (whole, tenth) = (tenths / 10, tenths % 10);
    format!("{whole:5}.{tenth} KiB")
}
