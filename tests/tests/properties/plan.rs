//! What is generated: requests, purges, and how the origin answers.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use tidegate_core::purge::{Purge, Target};

/// What happens next.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A client asks.
    Ask(Box<Ask>),
    /// An operator purges.
    Purge(Purge),
}

/// A request, and what the origin has for it.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Milliseconds since the event before.
    pub(crate) after: u64,
    pub(crate) method: &'static str,
    pub(crate) url: Url,
    /// Header fields but for the conditions.
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    pub(crate) condition: Option<Condition>,
    /// Whether the origin's representation has changed since it was last asked for.
    pub(crate) changed: bool,
    /// One for each attempt; the last also for any further one.
    pub(crate) plans: Vec<Plan>,
    /// A purge that comes while the origin thinks.
    pub(crate) meanwhile: Option<Purge>,
}

/// A URL under one of the policy's profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: &'static str,
    pub(crate) host: &'static str,
    pub(crate) profile: &'static str,
    pub(crate) page: usize,
    pub(crate) query: &'static str,
}

/// A condition about what the origin has now, or about something else.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition {
    NoneMatch { current: bool },
    Match { current: bool },
    IfRange { current: bool },
    ModifiedSince { current: bool },
    UnmodifiedSince { current: bool },
}

/// How the origin answers once.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn alone")]
pub(crate) struct Plan {
    pub(crate) status: u16,
    pub(crate) fails: bool,
    pub(crate) control: Option<Directives>,
    pub(crate) targeted: Option<Targeted>,
    pub(crate) vary: More,
    pub(crate) tag: Tag,
    pub(crate) modified: bool,
    /// Seconds by which Date is behind.
    pub(crate) date: Option<i64>,
    pub(crate) age: Option<u64>,
    pub(crate) expires: Option<Expires>,
    pub(crate) set_cookie: bool,
    pub(crate) labels: Vec<&'static str>,
    pub(crate) unsized_body: bool,
    pub(crate) ranges: bool,
    pub(crate) conditions: bool,
    /// Names the URL that was asked for, so that a POST speaks for a later GET.
    pub(crate) content_location: bool,
    pub(crate) spelling: u8,
    /// Milliseconds until it answers.
    pub(crate) takes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expires {
    /// In so many seconds.
    In(i64),
    Invalid,
}

/// What Vary names besides the fields on which the page truly depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    Nothing,
    Field(&'static str),
    Star,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    None,
    Strong,
    Weak,
}

/// A targeted field, as it is or spoilt.
#[derive(Debug, Clone)]
pub(crate) enum Targeted {
    Valid(Directives),
    Invalid(&'static str),
}

/// Directives of a response.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive")]
pub(crate) struct Directives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) private_field: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) max_age: Option<u64>,
    pub(crate) s_maxage: Option<u64>,
    pub(crate) swr: Option<u64>,
    pub(crate) sie: Option<u64>,
}

impl Directives {
    /// The members, in the case of the Structured Fields.
    pub(crate) fn members(&self) -> Vec<String> {
        let flags = [
            (self.no_store, "no-store"),
            (self.no_cache, "no-cache"),
            (self.private, "private"),
            (self.private_field && !self.private, "private=\"x-secret\""),
            (self.public, "public"),
            (self.must_revalidate, "must-revalidate"),
            (self.must_understand, "must-understand"),
        ];
        let seconds = [
            (self.max_age, "max-age"),
            (self.s_maxage, "s-maxage"),
            (self.swr, "stale-while-revalidate"),
            (self.sie, "stale-if-error"),
        ];
        let flags = flags
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name.to_owned());
        flags
            .chain(
                seconds
                    .into_iter()
                    .filter_map(|(s, name)| Some(format!("{name}={}", s?))),
            )
            .collect()
    }

    pub(crate) fn allow_sharing(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage.is_some()
    }

    pub(crate) fn withhold_secret(&self) -> bool {
        self.private_field && !self.private
    }
}

/// The profiles of the policy, as the first segment of a path.
pub(crate) const PROFILES: [&str; 4] = ["respect", "graced", "client", "override"];

/// The fields on which each page depends.
pub(crate) const PAGES: [&[&str]; 4] = [&[], &["x-a"], &["accept-language"], &["x-a", "cookie"]];

/// The events of one run: few URLs, so that they meet.
pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    (select(&PROFILES[..]), 0..PAGES.len(), 0..PAGES.len()).prop_flat_map(|(profile, one, other)| {
        let page = prop_oneof![6 => Just(one), 1 => Just(other)];
        let url = (prop_oneof![16 => Just("http"), 1 => Just("https")], host(), page, query());
        let url = url.prop_map(move |(scheme, host, page, query)| Url { scheme, host, profile, page, query });
        vec(
            prop_oneof![9 => ask(url).prop_map(|ask| Event::Ask(Box::new(ask))), 1 => purge().prop_map(Event::Purge)],
            2..14,
        )
    })
}

fn host() -> impl Strategy<Value = &'static str> {
    prop_oneof![16 => Just("a.example"), 1 => Just("b.example")]
}

fn query() -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => Just(""), 1 => Just("?q=1")]
}

fn ask(url: impl Strategy<Value = Url>) -> impl Strategy<Value = Ask> {
    let after = prop_oneof![3 => 0..2000_u64, 2 => 2000..9000_u64, 1 => 9000..200_000_u64];
    let method =
        prop_oneof![24 => Just("GET"), 3 => Just("HEAD"), 2 => Just("POST"), 1 => Just("PURGE")];
    let meanwhile = weighted(0.05, purge());
    (
        after,
        method,
        url,
        fields(),
        weighted(0.2, condition()),
        weighted(0.2, Just(())),
        vec(plan(), 1..4),
        meanwhile,
    )
        .prop_map(
            |(after, method, url, fields, condition, changed, plans, meanwhile)| Ask {
                after,
                method,
                url,
                fields,
                condition,
                changed: changed.is_some(),
                plans,
                meanwhile,
            },
        )
}

fn fields() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let one = |chance: f64, name: &'static str, values: &'static [&'static str]| {
        weighted(chance, select(values)).prop_map(move |value| value.map(|value| (name, value)))
    };
    let all = (
        one(0.3, "x-a", &["1", "2"]),
        one(0.3, "accept-language", &["de", "en"]),
        one(0.1, "cookie", &["s=1", "s=2"]),
        one(0.12, "authorization", &["Bearer a", "Bearer b"]),
        one(
            0.2,
            "range",
            &[
                "bytes=0-4",
                "bytes=5-",
                "bytes=-3",
                "bytes=2-9,20-24",
                "bytes=900-",
                "bytes=7-12",
            ],
        ),
        one(
            0.15,
            "cache-control",
            &[
                "no-cache",
                "No-Store",
                "max-age=0",
                "only-if-cached",
                "min-fresh=3",
                "max-stale",
            ],
        ),
    );
    all.prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].into_iter().flatten().collect())
}

fn condition() -> impl Strategy<Value = Condition> {
    (0..5, prop_oneof![3 => Just(true), 1 => Just(false)]).prop_map(|(kind, current)| match kind {
        0 => Condition::NoneMatch { current },
        1 => Condition::Match { current },
        2 => Condition::IfRange { current },
        3 => Condition::ModifiedSince { current },
        _ => Condition::UnmodifiedSince { current },
    })
}

fn purge() -> impl Strategy<Value = Purge> {
    let path = (select(&PROFILES[..]), 0..PAGES.len())
        .prop_map(|(profile, page)| format!("/{profile}/{page}"));
    let target = prop_oneof![
        1 => Just(Target::All),
        2 => host().prop_map(|host| Target::Host(host.into())),
        3 => (host(), path, query()).prop_map(|(host, path, query)| Target::Url {
            host: host.into(),
            path,
            query: query.strip_prefix('?').map(Into::into),
        }),
        2 => (host(), select(&PROFILES[..])).prop_map(|(host, p)| Target::Prefix(host.into(), format!("/{p}/"))),
        3 => select(&["one", "TWO"][..]).prop_map(|tag| Target::Tag(tag.into())),
        2 => host().prop_map(|host| Target::Group(host.into(), "one".into())),
    ];
    (target, weighted(0.3, Just(()))).prop_map(|(target, soft)| Purge {
        target,
        soft: soft.is_some(),
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let status = prop_oneof![14 => Just(200_u16), 1 => Just(404), 1 => Just(301), 1 => Just(299), 2 => Just(503)];
    let vary = prop_oneof![
        16 => Just(More::Nothing),
        1 => Just(More::Field("x-a")),
        1 => Just(More::Field("accept-language")),
        1 => Just(More::Star)
    ];
    let tag = prop_oneof![3 => Just(Tag::None), 4 => Just(Tag::Strong), 2 => Just(Tag::Weak)];
    let targeted = prop_oneof![
        4 => directives().prop_map(Targeted::Valid),
        1 => select(&["max-age=1, &", "no-store=", "MAX-AGE=5", ""][..]).prop_map(Targeted::Invalid)
    ];
    let control = (
        weighted(0.85, directives()),
        weighted(0.15, targeted),
        vary,
        tag,
    );
    let times = (
        weighted(0.8, -5..20_i64),
        weighted(0.1, 0..20_u64),
        weighted(
            0.15,
            prop_oneof![4 => (0..30_i64).prop_map(Expires::In), 1 => Just(Expires::Invalid)],
        ),
        prop_oneof![6 => Just(0_u64), 1 => 0..3000_u64],
    );
    let labels =
        prop_oneof![4 => Just(vec![]), 1 => Just(vec!["one"]), 1 => Just(vec!["one", "Two"])];
    let flags = (
        weighted(0.1, Just(())),
        weighted(0.3, Just(())),
        any::<[bool; 3]>(),
        weighted(0.3, Just(())),
    );
    (
        status,
        weighted(0.08, Just(())),
        control,
        times,
        labels,
        flags,
        0..4_u8,
    )
        .prop_map(
            |(
                status,
                fails,
                (control, targeted, vary, tag),
                (date, age, expires, takes),
                labels,
                flags,
                spelling,
            )| {
                let (set_cookie, unsized_body, [ranges, modified, lazy], content_location) = flags;
                Plan {
                    status,
                    fails: fails.is_some(),
                    control,
                    targeted,
                    vary,
                    tag,
                    modified,
                    date,
                    age,
                    expires,
                    set_cookie: set_cookie.is_some(),
                    labels,
                    unsized_body: unsized_body.is_some(),
                    ranges,
                    conditions: !lazy || spelling > 0,
                    content_location: content_location.is_some(),
                    spelling,
                    takes,
                }
            },
        )
}

fn directives() -> impl Strategy<Value = Directives> {
    let rare = || weighted(0.04, Just(())).prop_map(|set| set.is_some());
    let forbidding = (rare(), rare(), rare(), rare());
    let allowing = (weighted(0.3, Just(())), rare(), rare());
    let seconds = (
        weighted(0.8, 0..60_u64),
        weighted(0.15, 0..30_u64),
        weighted(0.2, 0..20_u64),
        weighted(0.2, 0..50_u64),
    );
    (forbidding, allowing, seconds).prop_map(
        |(forbidding, (public, must_revalidate, must_understand), seconds)| {
            let (no_store, no_cache, private, private_field) = forbidding;
            let (max_age, s_maxage, swr, sie) = seconds;
            Directives {
                no_store,
                no_cache,
                private,
                private_field,
                public: public.is_some(),
                must_revalidate,
                must_understand,
                max_age,
                s_maxage,
                swr,
                sie,
            }
        },
    )
}
