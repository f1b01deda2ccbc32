//! Plans: another amount for callers of whom the request says something.
//!
//! Why: who pays more may use more. A plan is a limit of its own that shares name, key and windows with
//! the one that it belongs to, and therefore the count: whoever changes plan keeps what was used. What a
//! state means to another quota is what it means after the policy has changed.

use std::borrow::Cow;
use std::sync::Arc;

use super::definition::{KeyPart, Limit};
use super::key;
use crate::message::request::Request;

impl Limit {
    /// Returns the limit that counts for a request which is of a plan. One that says several things
    /// is of none: a client could add a better plan to its own.
    pub(crate) fn planned(&self, request: &Request, route: &str) -> Option<&Arc<Self>> {
        let plans = self.plans.as_ref()?;
        let values = key::values(&plans.part, request, route);
        let [value] = values.as_slice() else {
            return None;
        };
        let value = match &plans.part {
            // A number, which the policy writes in digits.
            KeyPart::Asn => Cow::Owned(request.geo.asn?.to_string().into_bytes()),
            KeyPart::Ip { .. }
            | KeyPart::Header(_)
            | KeyPart::Cookie(_)
            | KeyPart::Query(_)
            | KeyPart::Path
            | KeyPart::Route
            | KeyPart::Country
            | KeyPart::Claim(_)
            | KeyPart::TlsSubject => Cow::Borrowed(&**value),
        };
        let at = plans.limits.binary_search_by(|limit| {
            let name = limit.plan.as_deref().unwrap_or_default();
            name.as_bytes().cmp(&value)
        });
        plans.limits.get(at.ok()?)
    }
}

/// Returns what counts instead of a limit for a request whose plans these are.
pub(crate) fn in_force<'a>(limit: &'a Arc<Limit>, planned: &'a [Arc<Limit>]) -> &'a Arc<Limit> {
    let mut planned = planned.iter();
    let own = planned.find(|plan| Arc::ptr_eq(&plan.name, &limit.name));
    own.unwrap_or(limit)
}

#[cfg(all(test, feature = "source"))]
mod tests;
