//! `wasm-bindgen` and `wasm-bindgen-test-runner` in one program: the name it is called by decides.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use wasm_bindgen_cli::{wasm_bindgen, wasm_bindgen_test_runner};

fn main() -> ExitCode {
    let called = env::args_os().next().unwrap_or_default();
    let result = if Path::new(&called)
        .file_stem()
        .is_some_and(|stem| stem == "wasm-bindgen-test-runner")
    {
        wasm_bindgen_test_runner::run_cli_with_args(env::args_os())
    } else {
        wasm_bindgen::run_cli_with_args(env::args_os())
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}
