//! What responses are purged by: numbers that stand for their places, tags and groups.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::url::canonical;
use crate::message::request::Request;

/// The number of a purge; 0 before the first.
pub type Number = u64;

/// Most prefixes of a path that count.
pub(super) const PREFIXES_MAX: usize = 32;

/// A label's hash.
pub type Label = u64;

/// What a stored response bears, by which purges find it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks<'a> {
    /// The labels of its tags and groups.
    pub(crate) labels: &'a [Label],
    /// The last purge before it was asked for.
    pub(crate) epoch: Number,
}

/// What a response represents; every response has the labels of its resource.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resource<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

impl<'a> Resource<'a> {
    pub(crate) fn of(request: &'a Request) -> Self {
        Self {
            scheme: request.scheme.as_str(),
            authority: &request.authority,
            host: without_dot(request.host()),
            path: request.path(),
            query: request.head.uri.query(),
        }
    }

    pub(super) fn url(&self) -> Label {
        url(self.host, self.path, self.query)
    }

    pub(super) fn exact(&self) -> Label {
        // Whether there is a query counts.
        let (mark, query) = self.query.map_or(("", ""), |query| ("?", query));
        of_change(
            self.host,
            label(
                Kind::Exact,
                &[self.scheme, self.authority, self.path, mark, query],
            ),
        )
    }

    pub(super) fn labels(self) -> impl Iterator<Item = Label> {
        let ends = self
            .path
            .match_indices('/')
            .map(|(at, _)| at)
            .take(PREFIXES_MAX);
        let above = ends.filter_map(move |at| self.path.get(..at));
        let whole = (!self.path.ends_with('/')).then_some(self.path);
        let prefixes = above
            .chain(whole)
            .map(move |prefix| label(Kind::Prefix, &[self.host, prefix]));
        [self.url(), self.exact(), label(Kind::Host, &[self.host])]
            .into_iter()
            .chain(prefixes)
    }
}

pub(super) fn url(host: &str, path: &str, query: Option<&str>) -> Label {
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    label(Kind::Url, &[host, path, mark, query])
}

/// What a label speaks of; labels of different kinds are different.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Url = 1,
    Exact,
    Host,
    Prefix,
    Tag,
    Group,
}

/// Hashes what a label speaks of. What is outside ASCII counts as if it were percent-encoded, with
/// digits in upper case: some clients send it as it is, or encode it otherwise, and mean the same
/// URL.
pub(super) fn label(kind: Kind, parts: &[&str]) -> Label {
    let mut seed = kind as u64;
    for part in parts {
        let part = canonical(part);
        seed = xxh3_64_with_seed(part.as_bytes(), seed);
    }
    seed & !OF_CHANGES
}

/// Makes the label of a change: its upper half tells the host.
pub(super) fn of_change(host: &str, label: Label) -> Label {
    let host = xxh3_64_with_seed(host.as_bytes(), 0) << 32;
    host | OF_CHANGES | (label & 0xffff_ffff)
}

/// The bit that labels have by which changes purge, and no others.
const OF_CHANGES: Label = 1 << 63;

pub(super) fn is_of_changes(label: Label) -> bool {
    label & OF_CHANGES != 0
}

/// `shop.example.` is `shop.example`.
pub(super) fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// As the hosts of places are.
pub(super) fn host_name(text: &str) -> String {
    without_dot(&text.to_ascii_lowercase()).to_owned()
}

/// Returns the label of a tag, which has no case.
pub(crate) fn tag(tag: &str) -> Label {
    label(Kind::Tag, &[&tag.to_ascii_lowercase()])
}

/// The tag of what has more tags than are remembered. No field can name it.
pub(super) const ANY_TAG: &str = "\n";

/// Returns the label of what has more tags than are remembered.
pub(crate) fn any_tag() -> Label {
    tag(ANY_TAG)
}

/// Returns the label of a host's group.
pub(crate) fn group(host: &str, group: &str) -> Label {
    let host = without_dot(host);
    of_change(host, label(Kind::Group, &[host, group]))
}

/// Returns the labels of a request's URL, with and without its query.
pub(crate) fn labels_of_url(request: &Request) -> [Label; 3] {
    let resource = Resource::of(request);
    [
        resource.exact(),
        resource.url(),
        Resource {
            query: None,
            ..resource
        }
        .url(),
    ]
}
