//! How the duty to fetch for all ends.

use crate::cache::stale::Usability;
use crate::cache::{Stored, stale};
use crate::flight::Lead;
use crate::time::Timestamp;

/// Lets requests for the key go alone for a while, because its response cannot be shared.
pub(super) fn end_unshared(lead: Option<Lead>, now: Timestamp) {
    if let Some(lead) = lead {
        lead.end_unshared(now);
    }
}

/// A response that each request must validate anew is stored, but nobody waits for it.
pub(super) fn while_useful_to_others(
    lead: Option<Lead>,
    stored: &Stored,
    now: Timestamp,
) -> Option<Lead> {
    match stale::usability(stored, now) {
        Usability::Fresh { .. } | Usability::Grace => lead,
        Usability::Validate => {
            end_unshared(lead, now);
            None
        }
    }
}
