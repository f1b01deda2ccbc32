//! What a client got, compared with what the origin has said.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, StatusCode, request};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tidegate_core::purge::{Purge, Target};
use tidegate_core::report::CacheOutcome;
use tidegate_core::{Source, Timestamp};
use tidegate_tests::simulator::{Outcome, Simulator};

use crate::plan::{Ask, Directives, Expires, Targeted};
use crate::world::{NumberedPurge, World, value};

/// How often what has happened.
pub(crate) type Seen = BTreeMap<&'static str, u32>;

/// What the cases must contain, and how often at least.
pub(crate) const EXPECTED: &[(&str, u32)] = &[
    ("hit", 2000),
    ("stale", 200),
    ("stale in place of an error", 50),
    ("revalidated", 200),
    ("part from the store", 200),
    ("several parts from the store", 50),
    ("304 from the store", 50),
    ("spared by a purge", 30),
];

/// One exchange, after it.
pub(crate) struct Served<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) head: &'a request::Parts,
    pub(crate) outcome: &'a Outcome,
    /// What had happened before: moments, and answers of the origin.
    pub(crate) began: (u64, usize),
    pub(crate) now: Timestamp,
}

/// What is remembered from one exchange to the next.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// The last age of each stored response, by the answers that it comes from.
    ages: BTreeMap<(usize, usize), u64>,
}

/// The answers that a stored response comes from.
struct Origin<'a> {
    /// The one with the body.
    body: &'a NumberedPurge,
    /// The last one, which may be a 304.
    last: &'a NumberedPurge,
    control: Directives,
    targeted: bool,
}

/// Says of what is stored that it may be.
pub(crate) fn stored(simulator: &Simulator, world: &World) -> Result<(), TestCaseError> {
    for (head, body) in simulator.stored() {
        let Some((origin, _)) = origin(&head.headers, world) else {
            continue;
        };
        let made = origin.body;
        prop_assert!(
            !forbidden(&origin, head.status),
            "stored although forbidden: {head:?}"
        );
        prop_assert!(
            !value(&made.request, "cache-control").eq_ignore_ascii_case("no-store"),
            "stored: {head:?}"
        );
        prop_assert!(
            !unshared(&origin),
            "stored although for one who was authorized: {head:?}"
        );
        prop_assert!(
            !head.headers.contains_key("set-cookie")
                || shares_cookies(&head.headers, &origin, world),
            "{head:?}"
        );
        prop_assert!(!head.headers.contains_key("age"));
        if head.status != StatusCode::PARTIAL_CONTENT {
            prop_assert_eq!(body, &made.whole, "{:?}", head);
        }
    }
    Ok(())
}

/// Finds the answers that header fields come from; `None` for those of the node itself.
fn origin<'a>(headers: &HeaderMap, world: &'a World) -> Option<(Origin<'a>, (usize, usize))> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<usize>().ok();
    let (body, last) = (number("x-body")?, number("x-last")?);
    let plan = |field: &str| {
        number(field)
            .and_then(|number| world.made.get(number))
            .map(|made| &made.plan)
    };
    let targeted =
        plan("x-of-cdn-cache-control").and_then(|plan| match plan.targeted.as_ref()? {
            Targeted::Valid(control) => {
                Some(control.clone()).filter(|control| !control.members().is_empty())
            }
            Targeted::Invalid(_) => None,
        });
    let control = plan("x-of-cache-control")
        .and_then(|plan| plan.control.clone())
        .unwrap_or_default();
    let origin = Origin {
        body: world.made.get(body)?,
        last: world.made.get(last)?,
        targeted: targeted.is_some(),
        control: targeted.unwrap_or(control),
    };
    Some((origin, (body, last)))
}

fn forbidden(origin: &Origin<'_>, status: StatusCode) -> bool {
    let control = &origin.control;
    let understood = status != 299;
    control.private || (control.no_store && !(control.must_understand && understood))
}

/// Whether only the one whose request was authorized may have the response (RFC 9111, section 3.5).
fn unshared(origin: &Origin<'_>) -> bool {
    origin.last.request.contains_key("authorization") && !origin.control.allow_sharing()
}

/// Whether the origin says for how long the response may be used, cookies and all.
fn shares_cookies(headers: &HeaderMap, origin: &Origin<'_>, world: &World) -> bool {
    let control = &origin.control;
    let expires = headers.contains_key("expires") && !origin.targeted;
    let told = expires || control.s_maxage.or(control.max_age).is_some();
    told && !control.no_cache
        && lifetime(headers, origin, world).is_some_and(|lifetime| lifetime > 0)
}

impl Checker {
    pub(crate) fn check(
        &mut self,
        served: &Served<'_>,
        world: &World,
        seen: &mut Seen,
    ) -> Result<(), TestCaseError> {
        asked_for(served)?;
        let Outcome {
            head,
            source,
            report,
            ..
        } = served.outcome;
        let outcome = report.cache.as_ref().map(|cache| cache.outcome);
        let from_store = matches!(source, Source::Stored(_) | Source::Pieces(..))
            || matches!(
                outcome,
                Some(CacheOutcome::Hit | CacheOutcome::Stale | CacheOutcome::StaleIfError)
            );
        let Some((origin, numbers)) = origin(&head.headers, world) else {
            return Ok(());
        };
        body(served, &origin)?;
        let Some(outcome) = outcome.filter(|_| from_store) else {
            prop_assert!(
                numbers.1 >= served.began.1,
                "an old answer as the origin's: {head:?}"
            );
            return Ok(());
        };
        self.used(served, &origin, numbers, outcome, world)?;
        count(served, outcome, world, numbers, seen);
        Ok(())
    }

    /// Says of a stored response that this request may have it.
    fn used(
        &mut self,
        served: &Served<'_>,
        origin: &Origin<'_>,
        numbers: (usize, usize),
        outcome: CacheOutcome,
        world: &World,
    ) -> Result<(), TestCaseError> {
        let (made, head) = (origin.body, &served.outcome.head);
        prop_assert_eq!(&made.url, &served.ask.url_text(), "another URL's response");
        let for_get = made.method == Method::GET || made.plan.content_location;
        prop_assert!(
            for_get,
            "the response to {} for {}",
            made.method,
            served.head.method
        );
        for ended in world
            .ended
            .iter()
            .filter(|ended| ended.moment <= served.began.0 && !ended.purge.soft)
        {
            let spared = ended.spared == Some(numbers.0);
            prop_assert!(
                spared
                    || made.moment > ended.moment
                    || !reaches(
                        &ended.purge,
                        served.ask,
                        head_labels(head, world, ended.moment)
                    ),
                "purged by {:?}",
                ended
            );
        }
        let own = format!("s={}", numbers.1);
        let others = head
            .headers
            .get_all("set-cookie")
            .iter()
            .any(|cookie| cookie.as_bytes() != own.as_bytes());
        prop_assert!(
            !others || shares_cookies(&head.headers, origin, world),
            "another client's cookie: {head:?}"
        );
        if outcome == CacheOutcome::Revalidated {
            return Ok(());
        }
        prop_assert!(
            !forbidden(origin, head.status),
            "forbidden: {:?}",
            origin.control
        );
        prop_assert!(!unshared(origin), "for one who was authorized: {head:?}");
        prop_assert!(
            !origin.control.withhold_secret() || !head.headers.contains_key("x-secret"),
            "{head:?}"
        );
        matches(served, origin.last, world)?;
        self.in_time(served, origin, numbers, outcome, world)
    }

    /// Age is exact and never goes back, and what is served as fresh is fresh.
    fn in_time(
        &mut self,
        served: &Served<'_>,
        origin: &Origin<'_>,
        numbers: (usize, usize),
        outcome: CacheOutcome,
        world: &World,
    ) -> Result<(), TestCaseError> {
        let (last, control) = (origin.last, &origin.control);
        let overriding = served.ask.url.profile == "override";
        let answered = served.now.plus(served.outcome.report.duration_ms);
        let age = age_at(last, overriding, answered);
        let told: u64 = value(&served.outcome.head.headers, "age")
            .parse()
            .unwrap_or(u64::MAX);
        prop_assert_eq!(told, age / 1000, "age of {:?}", last);
        let before = self.ages.insert(numbers, told).unwrap_or(0);
        prop_assert!(before <= told, "age goes back from {before} to {told}");
        if !overriding {
            prop_assert!(!control.no_cache, "no-cache needs validation");
            prop_assert!(
                outcome == CacheOutcome::Hit || !control.must_revalidate,
                "stale although forbidden"
            );
        }
        if outcome != CacheOutcome::Hit {
            return Ok(());
        }
        for ended in world
            .ended
            .iter()
            .filter(|ended| ended.moment <= served.began.0 && ended.purge.soft)
        {
            let reached = reaches(
                &ended.purge,
                served.ask,
                head_labels(&served.outcome.head, world, ended.moment),
            );
            prop_assert!(
                last.moment > ended.moment || !reached,
                "fresh in spite of {:?}",
                ended
            );
        }
        let lifetime = if overriding {
            Some(20_000)
        } else {
            lifetime(&served.outcome.head.headers, origin, world)
        };
        prop_assert!(
            lifetime.is_some_and(|lifetime| age < lifetime),
            "age {age}, lifetime {lifetime:?}"
        );
        Ok(())
    }
}

/// The fields that Vary names have the values of the request that got the response, or its last
/// confirmation.
fn matches(served: &Served<'_>, last: &NumberedPurge, world: &World) -> Result<(), TestCaseError> {
    let head = &served.outcome.head;
    let by = head
        .headers
        .get("x-of-vary")
        .and_then(|number| number.to_str().ok()?.parse::<usize>().ok());
    let mut names = by
        .and_then(|number| world.made.get(number))
        .map_or_else(Vec::new, |made| made.vary.clone());
    prop_assert!(!names.contains(&"*"), "Vary: * matches nothing: {head:?}");
    names.extend((served.ask.url.profile == "override").then_some("x-a"));
    for name in names {
        let (own, other) = (
            value(&served.head.headers, name),
            value(&last.request, name),
        );
        prop_assert_eq!(own, other, "another variant by {}: {:?}", name, head);
    }
    Ok(())
}

/// RFC 9111, section 4.2.3, from what the origin knows.
fn age_at(last: &NumberedPurge, overriding: bool, now: Timestamp) -> u64 {
    let resident = now.since(last.answered);
    if overriding {
        return resident;
    }
    let apparent = last
        .plan
        .date
        .map_or(0, |behind| behind.max(0).unsigned_abs() * 1000);
    let corrected = last.plan.age.unwrap_or(0) * 1000 + last.answered.since(last.asked);
    apparent.max(corrected) + resident
}

/// RFC 9111, section 4.2.1, in milliseconds.
fn lifetime(headers: &HeaderMap, origin: &Origin<'_>, world: &World) -> Option<u64> {
    let by = |field: &str| {
        world
            .made
            .get(headers.get(field)?.to_str().ok()?.parse::<usize>().ok()?)
    };
    let control = &origin.control;
    if let Some(seconds) = control.s_maxage.or(control.max_age) {
        return Some(seconds * 1000);
    }
    let whole = |at: Timestamp, ahead: i64| at.as_secs().saturating_add_signed(ahead) * 1000;
    // The last answer's Date, or when it came.
    let last = origin.last;
    let date = last.plan.date.map_or_else(
        || last.answered.as_millis(),
        |behind| whole(last.answered, -behind),
    );
    if let Some(made) = by("x-of-expires").filter(|_| !origin.targeted) {
        return match made.plan.expires? {
            Expires::In(ahead) => Some(whole(made.answered, ahead).saturating_sub(date)),
            Expires::Invalid => None,
        };
    }
    let modified = whole(by("x-of-last-modified")?.modified, 0);
    Some((date.saturating_sub(modified) / 10).min(86_400_000))
}

/// The labels that a stored response had when a purge came.
fn head_labels<'a>(
    head: &http::response::Parts,
    world: &'a World,
    moment: u64,
) -> &'a [&'static str] {
    let by = head
        .headers
        .get("x-of-cache-tag")
        .and_then(|number| number.to_str().ok()?.parse::<usize>().ok());
    let made = by
        .and_then(|number| world.made.get(number))
        .filter(|made| made.moment < moment);
    made.map_or(&[], |made| &made.plan.labels)
}

fn reaches(purge: &Purge, ask: &Ask, labels: &[&str]) -> bool {
    let url = &ask.url;
    let path = format!("/{}/{}", url.profile, url.page);
    match &purge.target {
        Target::All => true,
        Target::Host(host) => host == url.host,
        Target::Prefix(host, prefix) => host == url.host && path.starts_with(prefix),
        Target::Url {
            host,
            path: named,
            query,
        } => host == url.host && *named == path && query.as_deref() == url.query.strip_prefix('?'),
        Target::Exact(exact) => {
            exact.scheme == url.scheme
                && exact.authority == url.host
                && exact.path == path
                && exact.query.as_deref() == url.query.strip_prefix('?')
        }
        Target::Tag(tag) => labels.iter().any(|label| label.eq_ignore_ascii_case(tag)),
        Target::Group(host, group) => host == url.host && labels.contains(&group.as_str()),
    }
}

/// Some statuses are for those who have asked for them only.
fn asked_for(served: &Served<'_>) -> Result<(), TestCaseError> {
    let asked = |names: &[&str]| {
        names
            .iter()
            .any(|name| served.head.headers.contains_key(*name))
    };
    let allowed = match served.outcome.head.status.as_u16() {
        206 | 416 => asked(&["range"]),
        304 => asked(&["if-none-match", "if-modified-since"]),
        412 => asked(&["if-match", "if-unmodified-since"]),
        _ => true,
    };
    prop_assert!(allowed, "nobody asked for {:?}", served.outcome.head);
    if served.outcome.head.status == StatusCode::NOT_MODIFIED && asked(&["if-none-match"]) {
        let (own, told) = (
            value(&served.head.headers, "if-none-match"),
            value(&served.outcome.head.headers, "etag"),
        );
        prop_assert!(
            told.ends_with(&own),
            "304 about {told} to one who has {own}"
        );
    }
    Ok(())
}

/// The body is that of the answer, whole or the part that the head names.
fn body(served: &Served<'_>, origin: &Origin<'_>) -> Result<(), TestCaseError> {
    let Outcome { head, body, .. } = served.outcome;
    let whole = &origin.body.whole;
    if let Some(length) = head
        .headers
        .get("content-length")
        .filter(|_| served.head.method != Method::HEAD)
    {
        prop_assert_eq!(
            length.to_str().unwrap_or_default(),
            body.len().to_string(),
            "{:?}",
            head
        );
    }
    if served.head.method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED {
        prop_assert!(body.is_empty());
        return Ok(());
    }
    if head.status != StatusCode::PARTIAL_CONTENT {
        prop_assert_eq!(body, whole, "{:?}", head);
        return Ok(());
    }
    let kind = value(&head.headers, "content-type");
    let Some(boundary) = kind.strip_prefix("multipart/byteranges; boundary=") else {
        return part(&value(&head.headers, "content-range"), body, whole);
    };
    let text = String::from_utf8_lossy(body);
    let delimiter = format!("\r\n--{boundary}");
    let mut sections = text.split(delimiter.as_str()).skip(1).peekable();
    while let Some(section) = sections.next() {
        if sections.peek().is_none() {
            prop_assert_eq!(section, "--\r\n");
            continue;
        }
        let (fields, bytes) = section.split_once("\r\n\r\n").unwrap_or_default();
        let range = fields
            .lines()
            .find_map(|line| line.strip_prefix("content-range: "))
            .unwrap_or_default();
        part(range, bytes.as_bytes(), whole)?;
    }
    Ok(())
}

fn part(range: &str, bytes: &[u8], whole: &[u8]) -> Result<(), TestCaseError> {
    let read = || {
        let (range, length) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let exact = length.parse() == Ok(whole.len());
        whole
            .get(first.parse().ok()?..=last.parse().ok()?)
            .filter(|_| exact)
    };
    prop_assert_eq!(Some(bytes), read(), "{} of {}", range, whole.len());
    Ok(())
}

fn count(
    served: &Served<'_>,
    outcome: CacheOutcome,
    world: &World,
    numbers: (usize, usize),
    seen: &mut Seen,
) {
    let mut add = |what: &'static str| *seen.entry(what).or_default() += 1;
    match outcome {
        CacheOutcome::Hit => add("hit"),
        CacheOutcome::Stale => add("stale"),
        CacheOutcome::StaleIfError => add("stale in place of an error"),
        CacheOutcome::Revalidated => add("revalidated"),
        CacheOutcome::Expired
        | CacheOutcome::Miss
        | CacheOutcome::VaryMiss
        | CacheOutcome::Partial
        | CacheOutcome::Request
        | CacheOutcome::Bypass
        | CacheOutcome::OnlyIfCached => {}
    }
    match &served.outcome.source {
        Source::Pieces(_, pieces) if pieces.len() > 1 => add("several parts from the store"),
        Source::Pieces(..) => add("part from the store"),
        Source::Empty if served.outcome.head.status == StatusCode::NOT_MODIFIED => {
            add("304 from the store");
        }
        Source::Stored(_) | Source::Empty | Source::Bytes(_) | Source::Origin => {}
    }
    if world
        .ended
        .iter()
        .any(|ended| ended.moment <= served.began.0 && ended.spared == Some(numbers.0))
    {
        add("spared by a purge");
    }
}

impl Ask {
    fn url_text(&self) -> String {
        let url = &self.url;
        format!(
            "{}://{}/{}/{}{}",
            url.scheme, url.host, url.profile, url.page, url.query
        )
    }
}
