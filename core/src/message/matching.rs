//! Which route a request belongs to.

use http::{HeaderMap, HeaderName, Method};

use crate::message::plain;
use crate::packed::{packed_enum, packed_struct};

/// Conditions of a route. An empty list holds for every request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Hosts, any of which must match.
    pub hosts: Vec<HostPattern>,
    /// Paths, any of which must match.
    pub paths: Vec<PathPattern>,
    /// Methods, any of which must match.
    pub methods: Vec<Method>,
    /// Header fields, all of which must match; `None` matches any value.
    pub headers: Vec<(HeaderName, Option<String>)>,
}

packed_struct!(Matcher {
    hosts,
    paths,
    methods,
    headers
});

/// A host name or a wildcard, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// Any name that ends with this, the leading dot included.
    Suffix(String),
}

packed_enum!(HostPattern { 0 = Exact(name), 1 = Suffix(suffix) });

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// Paths that begin so.
    Prefix(String),
    /// Paths of this shape.
    Glob(Glob),
}

packed_enum!(PathPattern { 0 = Exact(path), 1 = Prefix(prefix), 2 = Glob(glob) });

impl Matcher {
    /// Returns whether every condition holds. `host` is in lower case and without port.
    pub fn matches(&self, method: &Method, host: &str, path: &str, headers: &HeaderMap) -> bool {
        self.may_match(method, host, path) && self.has_fields(headers)
    }

    /// Returns what [`Matcher::matches`] does for a path as an origin may read it, which is
    /// compared with what the policy's paths are when they are read so.
    pub(crate) fn matches_read(
        &self,
        method: &Method,
        host: &str,
        read: &str,
        headers: &HeaderMap,
    ) -> bool {
        any_or_empty(&self.methods, |m| m == method)
            && self.is_for(host)
            && any_or_empty(&self.paths, |p| p.matches_read(read))
            && self.has_fields(headers)
    }

    fn has_fields(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().all(|(name, wanted)| match wanted {
            None => headers.contains_key(name),
            Some(wanted) => headers
                .get_all(name)
                .iter()
                .any(|v| v.as_bytes() == wanted.as_bytes()),
        })
    }

    /// Returns whether requests for this URL match, if they have the right header fields.
    pub fn may_match(&self, method: &Method, host: &str, path: &str) -> bool {
        any_or_empty(&self.methods, |m| m == method)
            && self.is_for(host)
            && any_or_empty(&self.paths, |p| p.matches(path))
    }

    /// Returns whether requests for this host match, if the rest of them does.
    pub fn is_for(&self, host: &str) -> bool {
        any_or_empty(&self.hosts, |h| h.matches(host))
    }

    /// Returns whether every request that `other` matches is matched by this one too. May say no
    /// where the answer is yes.
    pub fn covers(&self, other: &Self) -> bool {
        covers_list(&self.methods, &other.methods, |a, b| a == b)
            && covers_list(&self.hosts, &other.hosts, HostPattern::covers)
            && covers_list(&self.paths, &other.paths, PathPattern::covers)
            && self.headers.iter().all(|wanted| {
                other
                    .headers
                    .iter()
                    .any(|has| has.0 == wanted.0 && (wanted.1.is_none() || has.1 == wanted.1))
            })
    }
}

fn any_or_empty<T>(list: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(holds)
}

fn covers_list<T>(wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    wide.is_empty()
        || (!narrow.is_empty() && narrow.iter().all(|n| wide.iter().any(|w| covers(w, n))))
}

impl HostPattern {
    /// Returns whether `host`, in lower case, is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Exact(name) => self.matches(name),
            Self::Suffix(narrow) => {
                matches!(self, Self::Suffix(wide) if narrow.ends_with(wide.as_str()))
            }
        }
    }
}

impl PathPattern {
    /// Returns whether the path is meant.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Glob(glob) => glob.matches(path),
        }
    }

    fn matches_read(&self, read: &str) -> bool {
        match self {
            Self::Exact(exact) => plain::pattern(exact) == read,
            Self::Prefix(prefix) => read.starts_with(&*plain::pattern(prefix)),
            Self::Glob(glob) => Glob {
                pattern: plain::pattern(&glob.pattern).into_owned(),
            }
            .matches(read),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (wide, Self::Exact(path)) => wide.matches(path),
            (Self::Prefix(wide), Self::Prefix(narrow)) => narrow.starts_with(wide.as_str()),
            (Self::Prefix(wide), Self::Glob(glob)) => {
                glob.literal_start().starts_with(wide.as_str())
            }
            (Self::Glob(a), Self::Glob(b)) => a == b,
            (Self::Exact(_), Self::Prefix(_) | Self::Glob(_))
            | (Self::Glob(_), Self::Prefix(_)) => false,
        }
    }
}

/// A path pattern: `*` is any run of characters without a slash, `**` any run at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
}

packed_struct!(Glob { pattern });

impl Glob {
    /// Takes a pattern as it stands in a policy.
    pub fn new(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
        }
    }

    fn literal_start(&self) -> &str {
        self.pattern.split('*').next().unwrap_or("")
    }

    /// Matches with one point to come back to for each kind of star: time at most pattern × path,
    /// no recursion.
    fn matches(&self, path: &str) -> bool {
        let (pattern, path) = (self.pattern.as_bytes(), path.as_bytes());
        let (mut p, mut s) = (0, 0);
        let mut single: Option<(usize, usize)> = None;
        let mut double: Option<(usize, usize)> = None;
        loop {
            match (pattern.get(p), path.get(s)) {
                (None, None) => return true,
                (Some(b'*'), _) if pattern.get(p + 1) == Some(&b'*') => {
                    p += 2;
                    double = Some((p, s));
                    single = None;
                    continue;
                }
                (Some(b'*'), _) => {
                    p += 1;
                    single = Some((p, s));
                    continue;
                }
                (Some(want), Some(have)) if want == have => {
                    p += 1;
                    s += 1;
                    continue;
                }
                (Some(_) | None, _) => {}
            }
            if let Some((after, from)) =
                single.filter(|(_, from)| path.get(*from).is_some_and(|b| *b != b'/'))
            {
                single = Some((after, from + 1));
                (p, s) = (after, from + 1);
            } else if let Some((after, from)) = double.filter(|(_, from)| *from < path.len()) {
                single = None;
                double = Some((after, from + 1));
                (p, s) = (after, from + 1);
            } else {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn globs_match_within_and_across_segments() {
        let cases = [
            ("/img/*.png", "/img/a.png", true),
            ("/img/*.png", "/img/x/a.png", false),
            ("/img/**.png", "/img/x/y/a.png", true),
            ("/**/edit", "/a/b/edit", true),
            ("/**/edit", "/a/b/edit/x", false),
            ("/*/x/*", "/a/x/b", true),
            ("/*/x/*", "/a/b/x/c", false),
            ("/a*b*c", "/aXbYbZc", true),
            ("/a*b*c", "/aXbYbZ", false),
            ("**", "", true),
            ("/x", "/x", true),
            ("/x", "/xy", false),
            ("/**a*/b", "/ca/a1/b", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(
                Glob::new(pattern).matches(path),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn a_wildcard_host_needs_at_least_one_label_more() {
        let wildcard = HostPattern::Suffix(".shop.example".into());
        assert!(wildcard.matches("a.b.shop.example"));
        assert!(!wildcard.matches("shop.example"));
        assert!(!wildcard.matches(".shop.example"));
        assert!(!wildcard.matches("myshop.example"));
    }

    #[test]
    fn a_wider_matcher_covers_a_narrower_one() {
        let prefix = |p: &str| Matcher {
            paths: vec![PathPattern::Prefix(p.into())],
            ..Matcher::default()
        };
        assert!(Matcher::default().covers(&prefix("/a")));
        assert!(prefix("/a").covers(&prefix("/a/b")));
        assert!(!prefix("/a/b").covers(&prefix("/a")));
        assert!(!prefix("/a").covers(&Matcher::default()));
        let get = Matcher {
            methods: vec![Method::GET],
            ..prefix("/a")
        };
        assert!(!get.covers(&prefix("/a")));
        assert!(prefix("/").covers(&get));
    }
}
