//! `tidegate check`: a policy is parsed and looked over, and compiled for the Worker.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};
use tidegate::TlsFiles;
use tidegate_core::policy::{FORMAT, Published};
use tidegate_core::{Policy, Problem, policy};

/// What `check` is asked.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
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
    /// Compiles the policy, if it is valid, into what the Worker reads from KV. Goes to standard
    /// output unless --output names a file; what is found goes to standard error then.
    #[arg(long)]
    compile: bool,
    /// Where the compiled policy is written.
    #[arg(long, short, requires = "compile", value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What was found in a policy file.
struct Found {
    name: String,
    valid: bool,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    notes: Vec<Problem>,
    /// There if the policy is valid and was to be compiled.
    compiled: Option<Published>,
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
    let found = examine(arguments, name, &text);
    if let (Some(compiled), Some(path)) = (&found.compiled, &arguments.output)
        && let Err(error) = std::fs::write(path, &compiled.text)
    {
        eprintln!("tidegate: {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if arguments.json {
        println!("{}", found.as_json(arguments));
    } else {
        found.print(arguments);
    }
    if found.valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn examine(arguments: &Arguments, name: String, text: &str) -> Found {
    let mut found = Found {
        warnings: Policy::lint(&name, text),
        notes: Policy::notes(&name, text),
        errors: Vec::new(),
        valid: false,
        compiled: None,
        name,
    };
    let policy = match Policy::parse(&found.name, text) {
        Ok(policy) => policy,
        Err(error) => {
            found.errors = error.problems;
            return found;
        }
    };
    if !arguments.no_files {
        let (errors, warnings) = look_at_files(&arguments.file, &found.name, text, &policy);
        found.errors = errors;
        found.warnings.extend(warnings);
    }
    found.valid = found.errors.is_empty() && (found.warnings.is_empty() || !arguments.strict);
    if found.valid && arguments.compile {
        found.compiled = Some(policy.publish(text));
    }
    found
}

impl Found {
    fn print(&self, arguments: &Arguments) {
        let mut lines: Vec<String> = self.errors.iter().map(Problem::to_string).collect();
        for problem in &self.warnings {
            lines.push(format!("{problem} [warning]"));
        }
        for note in &self.notes {
            lines.push(format!("{note} [note]"));
        }
        let (errors, warnings) = (self.errors.len(), self.warnings.len());
        let verdict = policy::verdict(&self.name, self.valid, errors, warnings);
        lines.push(verdict);
        if let Some(Published { source, .. }) = &self.compiled {
            lines.push(format!(
                "compiled into format {FORMAT} from SHA-256 {source}"
            ));
        }
        let told = lines.join("\n");
        match &self.compiled {
            Some(compiled) if arguments.output.is_none() => {
                eprintln!("{told}");
                print!("{}", compiled.text);
            }
            Some(_) | None => println!("{told}"),
        }
    }

    fn as_json(&self, arguments: &Arguments) -> Value {
        let mut json = json!({
            "valid": self.valid,
            "errors": list(&self.errors),
            "warnings": list(&self.warnings),
            "notes": list(&self.notes),
        });
        if let Some(Published { text, source }) = &self.compiled {
            json["compiled"] = match &arguments.output {
                Some(path) => json!({ "format": FORMAT, "sha256": source, "file": path }),
                None => json!({ "format": FORMAT, "sha256": source, "text": text }),
            };
        }
        json
    }
}

fn list(problems: &[Problem]) -> Vec<Value> {
    problems.iter().map(as_json).collect()
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
