//! `tidegate check`: a policy is parsed and looked over.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use tidegate_core::{Policy, Problem};

/// What `check` is asked.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The policy file.
    file: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Takes warnings as errors.
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let name = arguments.file.display().to_string();
    let text = match std::fs::read_to_string(&arguments.file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("tidegate: {name}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let errors = Policy::parse(&name, &text).err().map(|error| error.problems).unwrap_or_default();
    let warnings = Policy::lint(&name, &text);
    let notes = Policy::notes(&name, &text);
    let valid = errors.is_empty() && (warnings.is_empty() || !arguments.strict);
    if arguments.json {
        let list = |problems: &[Problem]| problems.iter().map(as_json).collect::<Vec<Value>>();
        println!(
            "{}",
            json!({ "valid": valid, "errors": list(&errors), "warnings": list(&warnings), "notes": list(&notes) })
        );
    } else {
        for problem in &errors {
            println!("{problem}");
        }
        for problem in &warnings {
            println!("{problem} [warning]");
        }
        for note in &notes {
            println!("{note} [note]");
        }
        println!("{}", summary(&name, valid, errors.len(), warnings.len()));
    }
    if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summary(name: &str, valid: bool, errors: usize, warnings: usize) -> String {
    let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let verdict = if valid { "valid" } else { "not valid" };
    match (errors, warnings) {
        (0, 0) => format!("{name} is {verdict}"),
        (0, _) => format!("{name} is {verdict}: {}", count(warnings, "warning")),
        (_, 0) => format!("{name} is {verdict}: {}", count(errors, "error")),
        _ => format!("{name} is {verdict}: {}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

fn as_json(problem: &Problem) -> Value {
    json!({
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "message": problem.message,
    })
}
