//! `[limits]` as routes name them: what requests are charged, and what paces their bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::limits::{RawKind, RawLimit};
use super::{bandwidth, limit_plans, limits};
use crate::limit::{Bandwidth, Limit};
use crate::policy::compiler::Compiler;
use crate::policy::defined::Defined;
use crate::policy::error::KeyPath;

/// What a route may name as a limit.
pub(in crate::policy) enum RouteLimit {
    /// What requests are charged.
    Charged(Arc<Limit>),
    /// What paces bodies.
    Paced(Arc<Bandwidth>),
}

impl RouteLimit {
    pub(in crate::policy) fn name(&self) -> &Arc<str> {
        match self {
            Self::Charged(limit) => &limit.name,
            Self::Paced(limit) => &limit.name,
        }
    }
}

pub(in crate::policy) fn compile(
    c: &mut Compiler<'_>,
    raw: &BTreeMap<String, RawLimit>,
) -> Defined<RouteLimit> {
    Defined::new("limit", how_to_define, raw, |_, name, raw| {
        limit(c, name, raw)
    })
}

fn how_to_define(name: &str) -> String {
    format!("write [limits.{name}] with quota = \"100/min\" and key = [\"ip\"], or leave this out")
}

fn limit(c: &mut Compiler<'_>, name: &str, raw: &RawLimit) -> Option<RouteLimit> {
    let at = KeyPath::of(&["limits", name]);
    if !is_token(name) {
        let message = "a limit's name is sent to clients; use letters, digits, hyphens and underscores, here and in the routes that name it";
        c.wrong(&at, message);
    }
    limits::check_kind(c, &at, raw);
    if raw.kind == RawKind::Bandwidth {
        let paced = bandwidth::compile(c, &at, name, raw)?;
        return Some(RouteLimit::Paced(Arc::new(paced)));
    }
    let charged = limits::charged(c, &at, name, raw)?;
    let planned = limit_plans::compile(c, &at, raw, charged)?;
    Some(RouteLimit::Charged(Arc::new(planned)))
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
