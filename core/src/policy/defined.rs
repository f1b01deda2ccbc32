//! What a section of the policy defines by name.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What a section defines by name, in the order of the names.
pub(super) struct Defined<T> {
    /// What it defines, as messages call it.
    pub(super) kind: &'static str,
    /// Says what to write for a name to be defined, in full.
    pub(super) how_to_define: fn(&str) -> String,
    /// Each name that is written, with what it stands for unless that is wrong.
    pub(super) entries: BTreeMap<String, Option<Arc<T>>>,
}

impl<T> Defined<T> {
    /// Compiles all that a section has. `compile` gets the position, the name, and what is written.
    pub(super) fn new<R>(
        kind: &'static str,
        how_to_define: fn(&str) -> String,
        raw: &BTreeMap<String, R>,
        mut compile: impl FnMut(usize, &str, &R) -> Option<T>,
    ) -> Self {
        let mut entries = BTreeMap::new();
        for (position, (name, raw)) in raw.iter().enumerate() {
            entries.insert(name.clone(), compile(position, name, raw).map(Arc::new));
        }
        Self {
            kind,
            how_to_define,
            entries,
        }
    }

    /// Lists the names that are written.
    pub(super) fn names(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    /// Lists what is right.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.entries.values().flatten().map(Arc::clone).collect()
    }
}
