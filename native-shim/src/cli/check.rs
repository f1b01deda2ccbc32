//! `tidegate check`: a policy is parsed and looked over.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};
use tidegate::TlsFiles;
use tidegate_core::{Policy, Problem, policy};

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
    /// Leaves out the files that the policy names: certificates and keys, which are opened where it
    /// is served.
    #[arg(long)]
    no_files: bool,
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
    let mut warnings = Policy::lint(&name, &text);
    let errors = match Policy::parse(&name, &text) {
        Err(error) => error.problems,
        Ok(_) if arguments.no_files => Vec::new(),
        Ok(policy) => {
            let (errors, more) = look_at_files(&arguments.file, &name, &text, &policy);
            warnings.extend(more);
            errors
        }
    };
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
        println!(
            "{}",
            policy::verdict(&name, valid, errors.len(), warnings.len())
        );
    }
    if valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Opens the files that a server would open. Returns errors and warnings.
fn look_at_files(
    path: &Path,
    name: &str,
    text: &str,
    policy: &Policy,
) -> (Vec<Problem>, Vec<Problem>) {
    let files = TlsFiles::new(path.parent().unwrap_or(Path::new("")));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for finding in files.examine(policy, now.try_into().unwrap_or(i64::MAX)) {
        let keys: Vec<&str> = finding.keys.iter().map(String::as_str).collect();
        let problem = Policy::problem(name, text, &keys, finding.message);
        if finding.fatal {
            errors.push(problem);
        } else {
            warnings.push(problem);
        }
    }
    (errors, warnings)
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
