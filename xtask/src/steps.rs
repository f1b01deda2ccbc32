//! Named steps, timed, with a summary at the end.

use std::time::{Duration, Instant};

use crate::shell::Result;

/// How a step ended.
pub(crate) enum Outcome {
    Passed,
    /// Not run, and why: said when it happens and again in the summary.
    Skipped(String),
    Failed,
}

/// The steps that have run.
pub(crate) struct Steps {
    /// Only steps whose names contain this are run.
    only: String,
    /// The names of all steps that were passed, whether they ran or not.
    names: Vec<String>,
    done: Vec<(String, Duration, Outcome)>,
}

impl Steps {
    /// Will run the steps whose names contain `only`; all of them if it is `None`.
    pub(crate) fn named(only: Option<&str>) -> Self {
        Self {
            only: only.unwrap_or_default().to_owned(),
            names: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Runs one step; its failure ends the whole run.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) -> Result<()> {
        self.names.push(name.to_owned());
        if !name.contains(&self.only) {
            return Ok(());
        }
        println!("\n==> {name}");
        let started = Instant::now();
        let (outcome, result) = match step() {
            Ok(outcome) => (outcome, Ok(())),
            Err(error) => (
                Outcome::Failed,
                Err(format!("step `{name}` failed\n{error}")),
            ),
        };
        let took = started.elapsed();
        println!("{}", line(name, took, &outcome));
        self.done.push((name.to_owned(), took, outcome));
        result
    }

    /// Fails if there is no step of the name that was wanted.
    pub(crate) fn must_have_run(&self) -> Result<()> {
        if self.done.is_empty() {
            return Err(format!(
                "no step has a name with `{}` in it; there are:\n  {}",
                self.only,
                self.names.join("\n  ")
            ));
        }
        Ok(())
    }

    /// Says what ran, how long it took, and what did not run.
    pub(crate) fn summary(&self) {
        println!("\nSummary");
        for (name, took, outcome) in &self.done {
            println!("{}", line(name, *took, outcome));
        }
        let total: Duration = self.done.iter().map(|(_, took, _)| *took).sum();
        let skipped = self
            .done
            .iter()
            .filter(|(_, _, outcome)| matches!(outcome, Outcome::Skipped(_)))
            .count();
        println!(
            "{} steps in {:.1} s, {skipped} skipped",
            self.done.len(),
            total.as_secs_f64()
        );
    }
}

fn line(name: &str, took: Duration, outcome: &Outcome) -> String {
    let took = took.as_secs_f64();
    match outcome {
        Outcome::Passed => format!("    passed   {took:>7.1} s  {name}"),
        Outcome::Skipped(why) => format!("!!! SKIPPED  {took:>7.1} s  {name}: {why}"),
        Outcome::Failed => format!("!!! FAILED   {took:>7.1} s  {name}"),
    }
}
