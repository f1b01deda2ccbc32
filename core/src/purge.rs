//! Which stored responses are of no more use, without touching them: purges are remembered, and looked at when a response would be used.
//!
//! Purges are numbered. A response carries the number of the last purge before it was asked for; it is void if one of its labels (its URL, its
//! host, each prefix of its path, its tags, its groups) was purged later. So a purge takes the same time however many responses it reaches, reaches
//! every variant and every stale copy, and a response that was on its way when the purge came is void when it arrives. Labels are remembered as
//! hashes in tables of fixed size, each in several slots: others may have been there too, and then a purge reaches responses that it does not mean.
//! Nothing else can go wrong: nothing is ever forgotten. Changes, of which clients make many, have a table of their own, where one of a label's slots
//! lies in a region of its host: however many changes one host sees, the responses of other hosts stay. Which slots a label has depends on the node's seed,
//! so that nobody outside can choose labels that fall together.

mod order;
pub(crate) mod url;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::hash;
use crate::cache::{Stored, key};
use crate::message::path;
use crate::message::request::Request;
use crate::policy::Policy;

pub use order::Order;

/// Slots of a table of operators' purges. After n of them, a label that none of them means is reached with a chance of (2n / slots)².
const SLOTS: usize = 1 << 16;

/// Slots of the table of changes: 6 MiB, a third of them in regions. After 20,000 changes at its own host during the life of a response it is void by mistake
/// with a chance of 0.6 %.
const SLOTS_OF_CHANGES: usize = 3 << 18;

/// Regions of the table of changes, over which hosts are spread.
const REGIONS: u64 = 1 << 6;

/// Most prefixes of a path that count.
const PREFIXES_MAX: usize = 32;

/// The number of a purge; 0 before the first.
pub type Number = u64;

/// What is purged. Hosts are without port: a purge reaches all ports and both schemes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everything.
    All,
    /// The responses of one URL: every variant, whatever else is in their keys.
    Url {
        /// Host.
        host: String,
        /// Path.
        path: String,
        /// Query, without its question mark.
        query: Option<String>,
    },
    /// The responses of one URL of one origin: what a change at that origin reaches.
    Exact(Exact),
    /// Every URL of a host.
    Host(String),
    /// Every URL of a host whose path is this one or lies below it.
    Prefix(String, String),
    /// Every response with this tag.
    Tag(String),
    /// Every response of a host in this group (RFC 9875).
    Group(String, String),
}

/// A purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// What it reaches.
    pub target: Target,
    /// Whether what it reaches is kept as stale, to be validated or to stand in for failing origins.
    pub soft: bool,
}

/// A purge as nodes tell each other of it: numbered, its target a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its number; 0 before it has one.
    pub number: Number,
    /// What it reaches; everything if there is none.
    pub label: Option<Label>,
    /// Whether what it reaches is kept as stale.
    pub soft: bool,
}

impl Made {
    /// Takes a purge that has no number yet.
    pub(crate) fn of(purge: &Purge) -> Self {
        Self { number: 0, label: purge.target.label(), soft: purge.soft }
    }
}

/// A URL of one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exact {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host and port, as requests name them.
    pub authority: String,
    /// Host alone.
    pub host: String,
    /// Path.
    pub path: String,
    /// Query, without its question mark.
    pub query: Option<String>,
}

impl Purge {
    /// Spells a purge of a URL out for each form that its query may have in keys.
    pub(crate) fn spelt_out(&self, policy: &Policy) -> Vec<Self> {
        let (host, path, query) = match &self.target {
            Target::Url { host, path, query } => (host, path, query),
            // A response that has more tags than are remembered may have this one.
            Target::Tag(_) => {
                let rest = Self { target: Target::Tag(ANY_TAG.to_owned()), soft: self.soft };
                return vec![self.clone(), rest];
            }
            Target::All | Target::Exact(_) | Target::Host(_) | Target::Prefix(..) | Target::Group(..) => {
                return vec![self.clone()];
            }
        };
        let (host, path) = (host_name(host), path::normalised(path).unwrap_or_else(|| path.clone()));
        let mut queries = vec![query.clone()];
        // What clients do not encode, routes and profiles see as it is.
        let (plain_path, plain_query) = (url::plain(&path), query.as_deref().map(url::plain));
        let paths = [&*path, &*plain_path];
        for profile in paths.into_iter().flat_map(|path| policy.profiles_at(&host, path)) {
            for query in [query.as_deref(), plain_query.as_deref()] {
                let query = key::query(profile, query).map(Cow::into_owned);
                if !queries.contains(&query) {
                    queries.push(query);
                }
            }
        }
        let target = |query| Target::Url { host: host.clone(), path: path.clone(), query };
        queries.into_iter().map(|query| Self { target: target(query), soft: self.soft }).collect()
    }
}

impl Exact {
    /// Returns the URL at the origin of a request with another path and query.
    pub(crate) fn at_origin_of(request: &Request, path: String, query: Option<String>) -> Self {
        let (authority, host) = (request.authority.clone(), without_dot(request.host()).to_owned());
        Self { scheme: request.scheme.as_str(), authority, host, path, query }
    }

    fn place(&self) -> Place<'_> {
        let Self { scheme, authority, host, path, query } = self;
        Place { scheme, authority, host, path, query: query.as_deref() }
    }
}

/// What purges have left of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it was.
    Kept,
    /// It is stale.
    Stale,
    /// It is void.
    Void,
}

/// A label's hash.
pub type Label = u64;

/// Where a response belongs; every response has the labels of its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub(crate) fn of(request: &'a Request) -> Self {
        Self {
            scheme: request.scheme.as_str(),
            authority: &request.authority,
            host: without_dot(request.host()),
            path: request.path(),
            query: request.head.uri.query(),
        }
    }

    fn url(&self) -> Label {
        url(self.host, self.path, self.query)
    }

    fn exact(&self) -> Label {
        // Whether there is a query counts.
        let (mark, query) = self.query.map_or(("", ""), |query| ("?", query));
        of_change(self.host, label(Kind::Exact, &[self.scheme, self.authority, self.path, mark, query]))
    }

    fn labels(self) -> impl Iterator<Item = Label> {
        let ends = self.path.match_indices('/').map(|(at, _)| at).take(PREFIXES_MAX);
        let above = ends.filter_map(move |at| self.path.get(..at));
        let whole = (!self.path.ends_with('/')).then_some(self.path);
        let prefixes = above.chain(whole).map(move |prefix| label(Kind::Prefix, &[self.host, prefix]));
        [self.url(), self.exact(), label(Kind::Host, &[self.host])].into_iter().chain(prefixes)
    }
}

fn url(host: &str, path: &str, query: Option<&str>) -> Label {
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    label(Kind::Url, &[host, path, mark, query])
}

/// What a label speaks of; labels of different kinds are different.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Url = 1,
    Exact,
    Host,
    Prefix,
    Tag,
    Group,
}

/// Hashes what a label speaks of. What is outside ASCII counts as if it were percent-encoded, with digits in upper case: some clients send it as it is, or
/// encode it otherwise, and mean the same URL.
fn label(kind: Kind, parts: &[&str]) -> Label {
    let mut seed = kind as u64;
    for part in parts {
        let part = url::canonical(part);
        seed = xxh3_64_with_seed(part.as_bytes(), seed);
    }
    seed & !OF_CHANGES
}

/// Makes the label of a change: its upper half tells the host.
fn of_change(host: &str, label: Label) -> Label {
    let host = xxh3_64_with_seed(host.as_bytes(), 0) << 32;
    host | OF_CHANGES | (label & 0xffff_ffff)
}

/// The bit that labels have by which changes purge, and no others.
const OF_CHANGES: Label = 1 << 63;

fn is_of_changes(label: Label) -> bool {
    label & OF_CHANGES != 0
}

/// `shop.example.` is `shop.example`.
fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// As the hosts of places are.
fn host_name(text: &str) -> String {
    without_dot(&text.to_ascii_lowercase()).to_owned()
}

/// Returns the label of a tag, which has no case.
pub(crate) fn tag(tag: &str) -> Label {
    label(Kind::Tag, &[&tag.to_ascii_lowercase()])
}

/// The tag of what has more tags than are remembered. No field can name it.
const ANY_TAG: &str = "\n";

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
    let place = Place::of(request);
    [place.exact(), place.url(), Place { query: None, ..place }.url()]
}

impl Target {
    fn label(&self) -> Option<Label> {
        Some(match self {
            Self::All => return None,
            Self::Url { host, path, query } => {
                let path = path::normalised(path).unwrap_or_else(|| path.clone());
                self::url(&host_name(host), &path, query.as_deref())
            }
            Self::Exact(exact) => exact.place().exact(),
            Self::Host(host) => label(Kind::Host, &[&host_name(host)]),
            Self::Prefix(host, path) => {
                let path = path::normalised(path).unwrap_or_else(|| path.clone());
                let path = path.trim_end_matches('/');
                // Nobody looks deeper.
                let deep = path.match_indices('/').map(|(at, _)| at).nth(PREFIXES_MAX - 1);
                let path = deep.and_then(|at| path.get(..at)).unwrap_or(path);
                label(Kind::Prefix, &[&host_name(host), path])
            }
            Self::Tag(name) => tag(name),
            Self::Group(host, name) => group(host, name),
        })
    }
}

/// The numbers of the last purges, by label.
#[derive(Debug, Default)]
struct Table {
    slots: OnceLock<Box<[AtomicU64]>>,
    all: AtomicU64,
    seed: u64,
}

impl Table {
    fn set(&self, label: Option<Label>, number: Number, size: usize) {
        let Some(label) = label else {
            self.all.fetch_max(number, Ordering::AcqRel);
            return;
        };
        let slots = self.slots.get_or_init(|| (0..size).map(|_| AtomicU64::new(0)).collect());
        for slot in self.slots_of(slots, label) {
            slot.fetch_max(number, Ordering::AcqRel);
        }
    }

    /// Returns whether everything, or one of the labels, was purged after `born`.
    fn reaches(&self, mut labels: impl Iterator<Item = Label>, born: Number) -> bool {
        let later = |slot: &AtomicU64| slot.load(Ordering::Acquire) > born;
        let one = |slots, label| self.slots_of(slots, label).all(later);
        later(&self.all) || self.slots.get().is_some_and(|slots| labels.any(|label| one(slots, label)))
    }

    /// Lists the slots of a label: two anywhere, and for a change one among those of its host.
    fn slots_of<'a>(&self, slots: &'a [AtomicU64], label: Label) -> impl Iterator<Item = &'a AtomicU64> {
        let is_of_change = is_of_changes(label);
        let (anywhere, of_hosts) =
            if is_of_change { slots.split_at(slots.len() / 3 * 2) } else { slots.split_at(slots.len()) };
        let drawn = hash::draw(self.seed, label);
        let (one, another) = (drawn & 0xffff_ffff, drawn >> 32);
        let region = hash::draw(self.seed, label >> 32) % REGIONS;
        let size = of_hosts.len() as u64 / REGIONS;
        let of_host = is_of_change.then(|| region * size + hash::draw(drawn, 1) % size.max(1));
        let of_host = of_host.and_then(|slot| at(of_hosts, slot));
        [at(anywhere, one), at(anywhere, another), of_host].into_iter().flatten()
    }
}

fn at(slots: &[AtomicU64], slot: u64) -> Option<&AtomicU64> {
    let slot = slot % (slots.len() as u64).max(1);
    slots.get(usize::try_from(slot).ok()?)
}

/// The purges of a node.
#[derive(Debug, Default)]
pub(crate) struct Purges {
    last: AtomicU64,
    /// The highest number in the tables, from which nothing younger is void.
    highest: AtomicU64,
    hard: Table,
    soft: Table,
    changes: Table,
    one_at_a_time: Mutex<()>,
}

impl Purges {
    /// Makes one that knows of no purge. `seed` chooses slots only.
    pub(crate) fn new(seed: u64) -> Self {
        let table = || Table { seed, ..Table::default() };
        Self { hard: table(), soft: table(), changes: table(), ..Self::default() }
    }

    /// Returns the number of the last purge.
    pub(crate) fn last(&self) -> Number {
        self.last.load(Ordering::Acquire)
    }

    /// Makes a purge, spelt out, and returns its number.
    pub(crate) fn make(&self, spelt_out: &[Purge]) -> Number {
        let _guard = self.lock();
        let number = self.last() + 1;
        // The table first, as below.
        for purge in spelt_out {
            self.set(&Made::of(purge), number);
        }
        self.highest.fetch_max(number, Ordering::AcqRel);
        self.last.fetch_max(number, Ordering::AcqRel);
        number
    }

    /// Makes the purges of a change. See [`Purges::settle`].
    pub(crate) fn make_all(&self, purges: &[Purge], stored: Option<&Stored>) -> Option<Number> {
        let _guard = self.lock();
        let numbers = self.last() + 1..;
        let own: Vec<Made> = numbers.zip(purges).map(|(number, purge)| Made { number, ..Made::of(purge) }).collect();
        self.settle_alone(&[], &own, purges, stored)
    }

    /// Learns of purges that others have made, and have numbered.
    pub(crate) fn learn(&self, made: &[Made]) {
        let _guard = self.lock();
        self.learn_alone(made);
    }

    /// Learns of purges of which the last, `own`, are those of a change: `purges`. The first of these names the URL of a response that is to be stored as
    /// younger than all of them; returns the last number, or `None` if another purge has reached that response already.
    pub(crate) fn settle(
        &self,
        others: &[Made],
        own: &[Made],
        purges: &[Purge],
        stored: Option<&Stored>,
    ) -> Option<Number> {
        let _guard = self.lock();
        self.settle_alone(others, own, purges, stored)
    }

    /// Treats what a purge reaches as void until other purges have been learned of: for a purge that could not be numbered.
    pub(crate) fn make_provisionally(&self, purge: &Purge) {
        let _guard = self.lock();
        let made = Made::of(purge);
        let number = self.last() + 1;
        self.set(&made, number);
        self.highest.fetch_max(number, Ordering::AcqRel);
    }

    fn settle_alone(&self, others: &[Made], own: &[Made], purges: &[Purge], stored: Option<&Stored>) -> Option<Number> {
        self.learn_alone(others);
        let place = purges.first().and_then(|purge| match &purge.target {
            Target::Exact(exact) => Some(exact.place()),
            Target::All
            | Target::Url { .. }
            | Target::Host(_)
            | Target::Prefix(..)
            | Target::Tag(_)
            | Target::Group(..) => None,
        });
        // A soft purge counts too: nobody can say any more what it would leave.
        let reached = |s: &Stored| {
            place.is_some_and(|place| self.may_reach(s.born) && self.verdict(place, &s.labels, s.born) != Verdict::Kept)
        };
        let void = stored.is_some_and(reached);
        self.learn_alone(own);
        own.last().filter(|_| !void).map(|made| made.number)
    }

    fn learn_alone(&self, made: &[Made]) {
        for made in made {
            // The table first: whoever begins in between is older than the purge, and so void.
            self.set(made, made.number);
            self.highest.fetch_max(made.number, Ordering::AcqRel);
            self.last.fetch_max(made.number, Ordering::AcqRel);
        }
    }

    fn set(&self, made: &Made, number: Number) {
        match made.label {
            _ if made.soft => self.soft.set(made.label, number, SLOTS),
            Some(label) if is_of_changes(label) => self.changes.set(made.label, number, SLOTS_OF_CHANGES),
            Some(_) | None => self.hard.set(made.label, number, SLOTS),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there was any purge after `born`.
    pub(crate) fn may_reach(&self, born: Number) -> bool {
        self.highest.load(Ordering::Acquire) > born
    }

    /// Says what purges have left of a response from this place with these further labels.
    pub(crate) fn verdict(&self, place: Place<'_>, labels: &[Label], born: Number) -> Verdict {
        let all = || place.labels().chain(labels.iter().copied());
        match () {
            () if self.hard.reaches(all().filter(|label| !is_of_changes(*label)), born) => Verdict::Void,
            () if self.changes.reaches(all().filter(|label| is_of_changes(*label)), born) => Verdict::Void,
            () if self.soft.reaches(all(), born) => Verdict::Stale,
            () => Verdict::Kept,
        }
    }
}

#[cfg(test)]
mod tests;
