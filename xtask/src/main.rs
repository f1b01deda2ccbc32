//! Builds and checks everything. Run as `cargo xtask COMMAND`.

mod checks;
mod javascript;
mod modules;
mod npm;
mod rfc;
mod schema;
mod servers;
mod shell;
mod steps;
mod test;
mod unused;
mod wasm;
mod worker;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test          every check and every test, installing what they need
  test STEP     those steps whose names contain STEP; one that no name contains lists them
  build-worker  the release Worker in workers/build/dist/, with its sizes
  build-js      the npm package of core/js in core/js/pkg/
  schema        the JSON Schemas of the policy and the report in schema/
  rfc           the table of RFC 9111's requirements and their citations in rfc/
  wasm-tools    wasm-bindgen and its test runner, in the version of Cargo.lock
  help          this text
";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let result = match command.as_str() {
        "test" => test::run(std::env::args().nth(2).as_deref()),
        "build-worker" => npm::install().and_then(|()| worker::build()),
        "build-js" => npm::install().and_then(|()| javascript::build()),
        "schema" => schema::write(),
        "rfc" => rfc::write(),
        "wasm-tools" => wasm::tools().map(|tools| println!("{}", tools.bindgen.display())),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => Err(format!("no command `{unknown}`\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
