//! Conditions on requests: what a route matches, and what a limit does not count.
//!
//! A route has the same fields as [`RawConditions`] among its own ones. They are written there once
//! more, because serde can flatten one struct into another only where unknown fields are accepted.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::message::matching::{Glob, HostPattern, Matcher, PathPattern};
use crate::policy::compiler::Compiler;
use crate::policy::error::KeyPath;
use crate::policy::list::OneOrMany;

/// Which requests are meant. Conditions of different kinds must all hold; within a list one is
/// enough.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawConditions {
    /// Host names, without port: "shop.example" or "*.shop.example" (one or more labels more).
    pub host: Option<OneOrMany>,
    /// Exact paths.
    pub path: Option<OneOrMany>,
    /// Beginnings of paths.
    pub path_prefix: Option<OneOrMany>,
    /// Path patterns: `*` is any run of characters without a slash, `**` any run at all.
    pub path_glob: Option<OneOrMany>,
    /// Methods.
    pub method: Option<OneOrMany>,
    /// Header fields and their values, all of which must match; "*" matches any value.
    pub header: BTreeMap<String, String>,
}

/// Conditions, wherever they are written.
pub(super) struct Conditions<'a> {
    pub(super) host: &'a Option<OneOrMany>,
    pub(super) path: &'a Option<OneOrMany>,
    pub(super) path_prefix: &'a Option<OneOrMany>,
    pub(super) path_glob: &'a Option<OneOrMany>,
    pub(super) method: &'a Option<OneOrMany>,
    pub(super) header: &'a BTreeMap<String, String>,
}

impl RawConditions {
    pub(super) fn conditions(&self) -> Conditions<'_> {
        Conditions {
            host: &self.host,
            path: &self.path,
            path_prefix: &self.path_prefix,
            path_glob: &self.path_glob,
            method: &self.method,
            header: &self.header,
        }
    }
}

type MakePattern = fn(String) -> PathPattern;

pub(super) fn matcher(c: &mut Compiler<'_>, at: &KeyPath, said: &Conditions<'_>) -> Matcher {
    let list = |many: &Option<OneOrMany>| many.as_ref().map(|m| m.0.clone()).unwrap_or_default();
    let mut hosts = Vec::new();
    for text in list(said.host) {
        match host(&text) {
            Some(pattern) => hosts.push(pattern),
            None => c.wrong(
                &at.key("host"),
                format!(
                    "`{text}` is not a host; write shop.example or *.shop.example, without port"
                ),
            ),
        }
    }
    let mut paths: Vec<PathPattern> = Vec::new();
    let kinds: [(&str, &Option<OneOrMany>, MakePattern); 3] = [
        ("path", said.path, PathPattern::Exact),
        ("path_prefix", said.path_prefix, PathPattern::Prefix),
        ("path_glob", said.path_glob, |p| {
            PathPattern::Glob(Glob::new(&p))
        }),
    ];
    for (key, texts, make) in kinds {
        for text in list(texts) {
            let begins_well = text.starts_with('/') || text.starts_with('*');
            if !begins_well || text.contains('?') || text.len() > 2000 {
                let message = format!(
                    "`{text}` is not a path; it begins with / and has no query and at most 2000 bytes"
                );
                c.wrong(&at.key(key), message);
            } else if key != "path_glob" && text.contains('*') {
                c.wrong(
                    &at.key(key),
                    format!("`{text}` has a star; patterns go to path_glob"),
                );
            }
            paths.push(make(text));
        }
    }
    let mut headers = Vec::new();
    for (name, value) in said.header {
        if let Some(name) = c.header_name(&at.key("header").key(name), name) {
            headers.push((name, (value != "*").then(|| value.clone())));
        }
    }
    let methods = c.methods(&at.key("method"), &list(said.method));
    Matcher {
        hosts,
        paths,
        methods,
        headers,
    }
}

fn host(text: &str) -> Option<HostPattern> {
    let valid = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
    };
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("*.") {
        Some(rest) => valid(rest).then(|| HostPattern::Suffix(format!(".{rest}"))),
        None => (valid(&lower) || is_bracketed(&lower)).then_some(HostPattern::Exact(lower)),
    }
}

fn is_bracketed(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}
