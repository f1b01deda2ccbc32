//! Which differences between queries do not matter (No-Vary-Search,
//! draft-ietf-httpbis-no-vary-search).
//!
//! The origin says it with a response; it then holds for the path of that response until another
//! response says otherwise. A query is brought into the form that its path's rule gives it before
//! it goes into the key, and the rule itself is part of the key.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;

use crate::map::Map;
use crate::message::structured::{self, Member, Value};
use crate::message::{names, query};
use crate::parts::push_part;
use crate::sorting::sort_by;

/// Most paths whose rule is remembered; a response for another path is found under its whole query.
const PATHS_MAX: usize = 10_000;

/// What does not matter in a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whether the order of parameters does not.
    order: bool,
    parameters: Parameters,
}

/// Which parameters do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Parameters {
    These(Vec<String>),
    AllBut(Vec<String>),
}

impl Rule {
    /// Reads the rule of a response; `None` if everything matters, or if the field is not valid.
    pub fn of(response: &HeaderMap) -> Option<Self> {
        if !response.contains_key(names::NO_VARY_SEARCH) {
            return None;
        }
        let field = structured::joined(response, &names::NO_VARY_SEARCH);
        let members = structured::dictionary(&field)?;
        let order = match member(&members, b"key-order") {
            None => false,
            Some(value) => flag(value)?,
        };
        let except = member(&members, b"except");
        let parameters = match member(&members, b"params") {
            None if except.is_some() => return None,
            None => Parameters::These(Vec::new()),
            Some(value) => match (flag(value), except) {
                (Some(true), None) => Parameters::AllBut(Vec::new()),
                (Some(true), Some(names)) => Parameters::AllBut(strings(names)?),
                (Some(false), None) => Parameters::These(Vec::new()),
                (None, None) => Parameters::These(strings(value)?),
                (Some(false) | None, Some(_)) => return None,
            },
        };
        let rule = Self { order, parameters };
        (rule
            != Self {
                order: false,
                parameters: Parameters::These(Vec::new()),
            })
        .then_some(rule)
    }

    /// Appends what matters of a query, and the rule.
    pub(crate) fn push(&self, key: &mut Vec<u8>, query: &str) {
        let (kind, names) = match &self.parameters {
            Parameters::These(names) => ("these", names),
            Parameters::AllBut(names) => ("all-but", names),
        };
        push_part(
            key,
            Some(if self.order { b"unordered" } else { b"ordered" }),
        );
        push_part(key, Some(kind.as_bytes()));
        push_part(key, Some(names.join("\u{0}").as_bytes()));
        let kept = query
            .split('&')
            .filter(|text| !text.is_empty() && self.matters(text));
        let mut pairs: Vec<(String, String)> = kept.map(pair).collect();
        if self.order {
            sort_by(&mut pairs, |(a, _), (b, _)| a.cmp(b));
        }
        for (name, value) in pairs {
            push_part(key, Some(name.as_bytes()));
            push_part(key, Some(value.as_bytes()));
        }
    }

    /// Returns whether what stands between two `&` matters. To an origin that splits it at `;` too,
    /// it may be several parameters.
    fn matters(&self, text: &str) -> bool {
        query::pairs(text).any(|pair| match &self.parameters {
            Parameters::These(names) => !names.contains(&decoded(pair.name)),
            Parameters::AllBut(names) => names.iter().any(|name| query::may_be(pair.name, name)),
        })
    }
}

fn member<'a>(members: &'a [Member<'_>], key: &[u8]) -> Option<&'a Value> {
    let member = members.iter().find(|member| member.key == key)?;
    Some(&member.value)
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Boolean(value) => Some(*value),
        Value::Integer(_) | Value::String(_) | Value::List(_) | Value::Other => None,
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let Value::List(items) = value else {
        return None;
    };
    let mut strings = Vec::new();
    for item in items {
        let Value::String(text) = item else {
            return None;
        };
        strings.push(decoded(text));
    }
    Some(strings)
}

/// Name and value, as forms are encoded.
fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (decoded(name), decoded(value))
}

/// Decodes `+` and `%XX`; what is no UTF-8 afterwards is replaced.
fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&query::decoded(text.as_bytes())).into_owned()
}

/// The rules of paths that have one.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    count: AtomicUsize,
    by_path: Mutex<Map<Vec<u8>, Arc<Rule>>>,
}

impl Rules {
    /// Returns the rule of a path; `path` is the part of a key that stands before the query.
    pub(crate) fn find(&self, path: &[u8]) -> Option<Arc<Rule>> {
        if self.is_empty() {
            return None;
        }
        self.lock().get(path).map(Arc::clone)
    }

    /// Returns whether no path has a rule.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Takes what the latest response for a path says.
    pub(crate) fn learn(&self, path: &[u8], rule: Option<&Rule>) {
        let mut by_path = self.lock();
        match rule {
            Some(rule) if by_path.len() < PATHS_MAX || by_path.contains_key(path) => {
                by_path.insert(path.to_vec(), Arc::new(rule.clone()));
            }
            Some(_) => {}
            None => {
                by_path.remove(path);
            }
        }
        self.count.store(by_path.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Map<Vec<u8>, Arc<Rule>>> {
        self.by_path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::headers;

    fn rule(text: &str) -> Option<Rule> {
        Rule::of(&headers(&[("no-vary-search", text)]))
    }

    fn same(field: &str, one: &str, two: &str) -> bool {
        let part = |query| {
            let mut key = Vec::new();
            rule(field).unwrap().push(&mut key, query);
            key
        };
        part(one) == part(two)
    }

    #[test]
    fn queries_are_the_same_but_for_what_does_not_matter() {
        assert!(
            same("key-order", "a=1&b=2", "b=2&a=1") && !same("key-order", "a=1&a=2", "a=2&a=1")
        );
        assert!(same(
            "params=(\"utm\" \"x y\")",
            "a=1&utm=x&x+y=1",
            "x%20y=2&a=1"
        ));
        assert!(
            !same("params=(\"utm\")", "a=1&b=2", "b=2&a=1")
                && !same("params=(\"utm\")", "a=1", "a=2")
        );
        assert!(same("params", "a=1&b=2", "") && same("params", "a=1", "c"));
        assert!(
            same("params, except=(\"a\")", "a=1&b=2", "c=3&a=1")
                && !same("params, except=(\"a\")", "a=1", "a=2")
        );
        assert!(
            same("key-order, params=(\"u\")", "%61=%31&u", "a=1") && same("key-order", "a", "a=")
        );
        assert!(
            !same("params=(\"utm\")", "a=1&utm=x;callback=y", "a=1")
                && same("params=(\"utm\")", "utm=x;utm=y", "")
        );
        assert!(
            !same("params, except=(\"id\")", "x=1;id=2", "")
                && !same("params, except=(\"id\")", "id[]=1", "")
        );
        assert!(!same("key-order", "a=%2", "a=%02") && !same("key-order", "a=b&c=d", "a=b%26c=d"));
    }

    #[test]
    fn what_is_not_valid_lets_everything_matter() {
        for void in [
            "",
            "key-order=?0",
            "params=?0",
            "params=()",
            "key-order=1",
            "params=\"a\"",
            "params=(a)",
            "except=(\"a\")",
            "params=(\"a\"), except=(\"b\")",
            "params, except=\"a\"",
            "params=(\"a\"",
            "KEY-ORDER",
        ] {
            assert_eq!(rule(void), None, "{void}");
        }
        assert_eq!(Rule::of(&headers(&[])), None);
    }

    #[test]
    fn the_latest_response_of_a_path_counts() {
        let rules = Rules::default();
        assert_eq!(rules.find(b"/a"), None);
        let one = rule("key-order").unwrap();
        rules.learn(b"/a", Some(&one));
        assert_eq!(
            (rules.find(b"/a").as_deref(), rules.find(b"/b")),
            (Some(&one), None)
        );
        rules.learn(b"/a", None);
        assert_eq!(rules.find(b"/a"), None);
    }
}
