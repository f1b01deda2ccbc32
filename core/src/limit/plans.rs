//! Plans: another amount for callers of whom the request says something.
//!
//! Why: who pays more may use more. A plan is a limit of its own that shares name, key and windows with
//! the one that it belongs to, and therefore the count: whoever changes plan keeps what was used. What a
//! state means to another quota is what it means after the policy has changed.

use std::borrow::Cow;
use std::sync::Arc;

use super::cost::Cost;
use super::definition::{KeyPart, Limit, Mode};
use super::key;
use super::rule::Rule;
use crate::message::request::Request;
use crate::packed::{Packed, Unpacking, packed_struct};

/// What plans change of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plans {
    /// What says which plan a request is of.
    part: KeyPart,
    /// The limit of each plan, in the order of their names.
    limits: Vec<Arc<Limit>>,
}

/// What one plan changes of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the request says; not empty.
    pub name: Arc<str>,
    /// How much is allowed: of the limit's own kind, and with its windows.
    pub rule: Rule,
    /// What one request uses; at most what may be used at once.
    pub cost: Cost,
    /// As the limit's own, with the plan's own amount in advance.
    pub mode: Mode,
}

packed_struct!(Plan {
    name,
    rule,
    cost,
    mode
});

impl Limit {
    /// Gives a limit its plans, whose names differ. `part` says which of them a request is of.
    #[must_use]
    pub fn with_plans(self, part: KeyPart, mut plans: Vec<Plan>) -> Self {
        plans.sort_by(|a, b| a.name.cmp(&b.name));
        let mut limits = Vec::with_capacity(plans.len());
        for plan in plans {
            limits.push(Arc::new(self.of_plan(plan)));
        }
        Self {
            plans: Some(Arc::new(Plans { part, limits })),
            ..self
        }
    }

    fn of_plan(&self, plan: Plan) -> Self {
        Self {
            rule: plan.rule,
            cost: plan.cost,
            mode: plan.mode,
            plan: Some(plan.name),
            plans: None,
            ..self.clone()
        }
    }

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

    /// Lists what is read of requests to count them: the parts of the key, and what says the plan.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &KeyPart> {
        let plan = self.plans.as_ref().map(|plans| &plans.part);
        self.key.iter().chain(plan)
    }

    /// Lists the plans with their limits.
    pub(crate) fn limits_of_plans(&self) -> &[Arc<Self>] {
        self.plans.as_ref().map_or(&[], |plans| &plans.limits)
    }

    fn packed_plans(&self) -> Option<(&KeyPart, Vec<Plan>)> {
        let plans = self.plans.as_ref()?;
        let mut packed = Vec::with_capacity(plans.limits.len());
        for limit in &plans.limits {
            packed.extend(limit.plan.as_ref().map(|name| Plan {
                name: Arc::clone(name),
                rule: limit.rule.clone(),
                cost: limit.cost.clone(),
                mode: limit.mode,
            }));
        }
        Some((&plans.part, packed))
    }
}

/// Returns what counts instead of a limit for a request whose plans these are.
pub(crate) fn in_force<'a>(limit: &'a Arc<Limit>, planned: &'a [Arc<Limit>]) -> &'a Arc<Limit> {
    let mut planned = planned.iter();
    let own = planned.find(|plan| Arc::ptr_eq(&plan.name, &limit.name));
    own.unwrap_or(limit)
}

/// Of plans only what they change is packed.
impl Packed for Limit {
    fn pack(&self, into: &mut Vec<u8>) {
        let Self {
            name,
            rule,
            key,
            absent,
            methods,
            cost,
            counts_at_origin,
            except,
            dry_run,
            mode,
            on_store_error,
            told_by,
            plan: _,
            plans: _,
        } = self;
        name.pack(into);
        rule.pack(into);
        key.pack(into);
        absent.pack(into);
        methods.pack(into);
        cost.pack(into);
        counts_at_origin.pack(into);
        except.pack(into);
        dry_run.pack(into);
        mode.pack(into);
        on_store_error.pack(into);
        told_by.pack(into);
        let plans = self.packed_plans();
        plans.is_some().pack(into);
        if let Some((part, plans)) = plans {
            part.pack(into);
            plans.pack(into);
        }
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let limit = Self {
            name: Packed::unpack(from),
            rule: Packed::unpack(from),
            key: Packed::unpack(from),
            absent: Packed::unpack(from),
            methods: Packed::unpack(from),
            cost: Packed::unpack(from),
            counts_at_origin: Packed::unpack(from),
            except: Packed::unpack(from),
            dry_run: Packed::unpack(from),
            mode: Packed::unpack(from),
            on_store_error: Packed::unpack(from),
            told_by: Packed::unpack(from),
            plan: None,
            plans: None,
        };
        if bool::unpack(from) {
            let part = KeyPart::unpack(from);
            return limit.with_plans(part, Packed::unpack(from));
        }
        limit
    }
}

#[cfg(test)]
mod tests;
