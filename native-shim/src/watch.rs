//! The policy's file: read at the start, and again when it has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_core::Policy;
use tidegate_core::policy::{Server, verdict};

use crate::counters::Counters;
use crate::node::Node;
use crate::shared_counters::SharedCounters;
use crate::tls::{Finding, TlsFiles};

/// A policy file and what was last read from it.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
    text: String,
    /// Why the text is valid but cannot be followed yet: a file that it names cannot be used.
    waits: Option<String>,
    /// The listener's settings, which last until the process ends.
    server: Server,
}

/// What looking at the file brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It says what it said before.
    Same,
    /// The node follows it now. The lines warn of what needs a restart.
    Taken(Vec<String>),
    /// It cannot be used, and the node goes on as before.
    Refused(String),
}

impl PolicyFile {
    /// Reads a policy.
    ///
    /// # Errors
    /// Says what is wrong, a line for each problem, and at the end how many there are.
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, Policy), String> {
        let path = path.into();
        let text = read(&path)?;
        let name = path.display().to_string();
        let policy = match Policy::parse(&name, &text) {
            Ok(policy) => policy,
            Err(error) => {
                return Err(format!(
                    "{error}\n{}",
                    verdict(&name, false, error.problems.len(), 0)
                ));
            }
        };
        Ok((
            Self {
                path,
                text,
                waits: None,
                server: policy.server.clone(),
            },
            policy,
        ))
    }

    /// Says where in the file what a node has found out is about, and what.
    pub fn told(&self, finding: &Finding) -> String {
        let keys: Vec<&str> = finding.keys.iter().map(String::as_str).collect();
        let name = self.path.display().to_string();
        Policy::problem(&name, &self.text, &keys, finding.message.clone()).to_string()
    }

    /// Returns the folder that file names in the policy are relative to.
    pub fn folder(&self) -> PathBuf {
        self.path
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default()
    }

    /// Looks at the file. The content is compared, not its time: a mounted `ConfigMap` changes by
    /// swapping a link. A policy refused because of a file that it names is tried again each time,
    /// and reported once.
    pub fn look(&mut self, node: &Arc<Node>, files: &TlsFiles) -> Look {
        let look = self.take(node, files, false);
        Self::count(look, node)
    }

    /// Reads the policy and the files that it names again, changed or not.
    pub fn reload(&mut self, node: &Arc<Node>, files: &TlsFiles) -> Look {
        let look = self.take(node, files, true);
        Self::count(look, node)
    }

    fn count(look: Look, node: &Node) -> Look {
        match &look {
            Look::Same => {}
            Look::Taken(_) => {
                node.metrics.reloads[0].fetch_add(1, Ordering::Relaxed);
            }
            Look::Refused(_) => {
                node.metrics.reloads[1].fetch_add(1, Ordering::Relaxed);
            }
        }
        look
    }

    fn take(&mut self, node: &Node, files: &TlsFiles, asked: bool) -> Look {
        let text = match read(&self.path) {
            Ok(text) => text,
            Err(error) if asked => return Look::Refused(error),
            // Missing for a moment while it is replaced, perhaps; it is looked at again soon.
            Err(_) => return Look::Same,
        };
        let looked_at = text == self.text && !asked;
        if looked_at && self.waits.is_none() {
            return Look::Same;
        }
        self.text = text;
        let told = self.waits.take();
        let policy = match Policy::parse(&self.path.display().to_string(), &self.text) {
            Ok(policy) => policy,
            Err(error) => return Look::Refused(error.to_string()),
        };
        let counters = files
            .load(&policy)
            .map_err(|error| error.to_string())
            .and_then(|()| SharedCounters::of_policy(&policy, files, node));
        let counters = match counters {
            Ok(counters) => counters,
            Err(error) => {
                let why = self.waits.insert(error);
                return if looked_at && told.as_ref() == Some(why) {
                    Look::Same
                } else {
                    Look::Refused(why.clone())
                };
            }
        };
        let warnings = self.needs_restart(&policy.server);
        // Passwords and certificates may be others even if the policy says the same.
        if asked || policy.counters.store != node.engine().policy().counters.store {
            node.count_in(counters.map(|counters| counters as Arc<dyn Counters>));
        }
        node.replace(policy);
        Look::Taken(warnings)
    }

    fn needs_restart(&self, new: &Server) -> Vec<String> {
        let old = &self.server;
        let changed = [
            ("listen", old.listen != new.listen),
            ("admin", old.admin != new.admin),
            ("threads", old.threads != new.threads),
            ("tls", old.tls != new.tls),
        ];
        let line = |(key, _)| format!("server.{key} has changed; it takes effect after a restart");
        changed
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(line)
            .collect()
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
