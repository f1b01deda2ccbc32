//! The policy: `tidegate.toml` parsed, checked and compiled once. Only a policy can be wrong; at
//! run time the core always answers.
//!
//! What reads a policy as it is written is behind the feature `source`. The Worker is built without
//! it: it reads what was published, of which nothing can be wrong but that it is another text.

#[cfg(feature = "source")]
mod burst;
#[cfg(feature = "source")]
mod compile;
mod compiled;
#[cfg(feature = "source")]
mod compiler;
#[cfg(feature = "source")]
mod defined;
#[cfg(feature = "source")]
mod error;
#[cfg(feature = "source")]
mod lint;
#[cfg(feature = "source")]
mod list;
#[cfg(feature = "source")]
mod names;
#[cfg(feature = "source")]
mod overrides;
mod published;
#[cfg(feature = "source")]
#[doc(hidden)]
pub mod raw;
#[cfg(feature = "source")]
mod reading;
#[cfg(feature = "source")]
#[doc(hidden)]
pub mod sections;
mod settings;
#[cfg(feature = "source")]
mod spelling;
mod tables;
#[cfg(feature = "source")]
pub mod units;
#[cfg(feature = "source")]
mod zones;

pub use compiled::Policy;
#[cfg(feature = "source")]
pub use error::{PolicyError, Problem, verdict};
pub use published::{FORMAT, Published, Unpublished};
pub use settings::{AccessLog, OnFailure, Server, ServerTls, StoreBounds};

#[cfg(feature = "source")]
impl Policy {
    /// Parses and compiles a policy. `file` is used in messages only.
    ///
    /// # Errors
    /// Lists everything wrong with it: file, line, column, key and what to do.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        compile::compile(file, text)
    }

    /// Lists what is valid but surely not meant, such as a route that no request can reach.
    pub fn lint(file: &str, text: &str) -> Vec<Problem> {
        lint::lint(file, text)
    }

    /// Lists what is valid and may be meant, but does not do everything that it seems to promise.
    pub fn notes(file: &str, text: &str) -> Vec<Problem> {
        lint::notes(file, text)
    }

    /// Makes a problem of something that a shell has found out about a value, such as a file that
    /// it names. `keys` is the way to the value.
    pub fn problem(file: &str, text: &str, keys: &[&str], message: String) -> Problem {
        error::Source::new(file, text).problem(&error::KeyPath::of(keys), message)
    }
}
