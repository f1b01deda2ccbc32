//! How exactly a limit counts, and what it does without its counter.

use super::raw::{RawKind, RawLimit, RawMode, RawOnStoreError};
use crate::limit::{Mode, OnStoreError};
use crate::policy::compiled::Policy;
use crate::policy::compiler::Compiler;
use crate::policy::error::{KeyPath, Problem, Source};

pub(super) fn check_lease(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) {
    if raw.mode == Some(RawMode::Leased) && raw.kind == RawKind::Concurrency {
        let message = "slots are given back one by one, so they cannot be taken in advance: write mode = \"exact\" or \"local\"";
        c.wrong(&at.key("mode"), message);
    }
}

/// Reads how exactly is counted, and how much is taken in advance, where that is written. `most` may be
/// used at once, of which a request uses `cost`.
pub(in crate::policy::sections) fn mode(
    c: &mut Compiler<'_>,
    raw: &RawLimit,
    (at, lease_max): (&KeyPath, Option<u64>),
    cost: u64,
    most: u64,
) -> Mode {
    let mode = raw.mode.unwrap_or(RawMode::Exact);
    if mode != RawMode::Leased && lease_max.is_some() {
        let message = "only a leased limit is taken in advance: write mode = \"leased\" too, or leave this out";
        c.wrong(at, message);
    }
    match mode {
        RawMode::Exact => Mode::Exact,
        RawMode::Local => Mode::Local,
        RawMode::Leased => {
            let lease_max = lease_max.unwrap_or_else(|| (most / 20).max(cost));
            if most > 0 && !(cost..=most.max(cost)).contains(&lease_max) {
                let message = format!(
                    "lease_max goes from the cost of a request ({cost}) to what may be used at once ({most})"
                );
                c.wrong(at, message);
            }
            Mode::Leased { most: lease_max }
        }
    }
}

pub(super) fn on_store_error(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> OnStoreError {
    let share = raw.local_share.unwrap_or(100);
    if !(1..=100).contains(&share) {
        c.wrong(
            &at.key("local_share"),
            "a share is a percentage from 1 to 100",
        );
    }
    let is_local = raw.on_store_error == Some(RawOnStoreError::Local);
    if raw.local_share.is_some() && !is_local {
        let message = "a node has a share only where it counts for itself: write on_store_error = \"local\" too, or leave this out";
        c.wrong(&at.key("local_share"), message);
    }
    match raw.on_store_error {
        None | Some(RawOnStoreError::Allow) => OnStoreError::Allow,
        Some(RawOnStoreError::Deny) => OnStoreError::Deny,
        Some(RawOnStoreError::Local) => OnStoreError::Local { share },
    }
}

/// Says how much may pass too much of leased limits.
pub(in crate::policy) fn notes(policy: &Policy, source: &Source<'_>) -> Vec<Problem> {
    let mut told: Vec<Problem> = Vec::new();
    let nodes = policy.counters.nodes;
    for limit in policy.routes.iter().flat_map(|route| &route.limits) {
        let Mode::Leased { most } = limit.mode else {
            continue;
        };
        let path = KeyPath::of(&["limits", &limit.name, "mode"]);
        let bound = most.saturating_mul(nodes.into());
        let message = format!(
            "in any time as much as {bound} more than the quota may pass: {most} for each node, nodes = {nodes} in [counters]"
        );
        let note = source.problem(&path, message);
        if !told.contains(&note) {
            told.push(note);
        }
    }
    told
}
