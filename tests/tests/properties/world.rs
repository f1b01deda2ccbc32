//! The origin: an honest one, whose bodies name what they were made for. It remembers all that it
//! has said.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, response};
use tidegate_core::cache::date;
use tidegate_core::purge::Purge;
use tidegate_core::{Attempt, Engine, Failure, FailureKind, Timestamp};
use tidegate_tests::simulator::{Answer, Origins};

use crate::plan::{Expires, More, PAGES, Plan, Tag, Targeted};

/// One answer of the origin.
#[derive(Debug, Clone)]
pub(crate) struct NumberedPurge {
    pub(crate) plan: Plan,
    pub(crate) method: Method,
    pub(crate) url: String,
    /// The request's header fields.
    pub(crate) request: HeaderMap,
    /// The fields that Vary names; `*` for any other.
    pub(crate) vary: Vec<&'static str>,
    /// The whole body, of which a 206 has a part.
    pub(crate) whole: Bytes,
    /// Its place among requests to the origin and purges.
    pub(crate) moment: u64,
    pub(crate) asked: Timestamp,
    pub(crate) answered: Timestamp,
    pub(crate) modified: Timestamp,
}

/// A purge, or a change through the node, which ends the use of what was asked for before.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) moment: u64,
    pub(crate) purge: Purge,
    /// The answer to the change, which may be stored.
    pub(crate) spared: Option<usize>,
}

/// The origin and what it remembers.
pub(crate) struct World {
    pub(crate) made: Vec<NumberedPurge>,
    pub(crate) ended: Vec<Ended>,
    /// The plans of the exchange that runs.
    pub(crate) plans: Vec<Plan>,
    pub(crate) meanwhile: Option<Purge>,
    engine: Engine,
    moment: u64,
    /// Number and time of each URL's version.
    versions: BTreeMap<String, (u64, Timestamp)>,
}

/// A representation: its text, and what names it.
pub(crate) struct Current {
    pub(crate) text: String,
    pub(crate) tag: String,
    pub(crate) modified: Timestamp,
}

impl World {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            made: Vec::new(),
            ended: Vec::new(),
            plans: Vec::new(),
            meanwhile: None,
            engine,
            moment: 0,
            versions: BTreeMap::new(),
        }
    }

    /// Returns the number of what has happened so far.
    pub(crate) fn moment(&self) -> u64 {
        self.moment
    }

    /// Makes a purge.
    pub(crate) fn purge(&mut self, purge: Purge) {
        self.engine.purge(&purge);
        self.note_end(purge, None);
    }

    /// Remembers what the node has purged by itself.
    pub(crate) fn note_end(&mut self, purge: Purge, spared: Option<usize>) {
        self.moment += 1;
        self.ended.push(Ended {
            moment: self.moment,
            purge,
            spared,
        });
    }

    /// Changes what is at a URL.
    pub(crate) fn change(&mut self, url: &str, now: Timestamp) {
        let (number, modified) = self.versions.entry(url.to_owned()).or_insert((0, now));
        (*number, *modified) = (*number + 1, now);
    }

    /// Returns the representation that a request gets.
    pub(crate) fn current(&mut self, url: &str, request: &HeaderMap, now: Timestamp) -> Current {
        let old = Timestamp::from_millis(now.as_millis() - 300_000);
        let (version, modified) = *self.versions.entry(url.to_owned()).or_insert((0, old));
        let mut text = format!("{version} GET {url}");
        for name in depends_on(url) {
            text.extend([" ", name, "=", &value(request, name)]);
        }
        text.push_str(&".".repeat(usize::try_from(version * 5 % 17).unwrap_or(0)));
        let tag = format!("\"{:x}\"", fingerprint(&text));
        Current {
            text,
            tag,
            modified,
        }
    }
}

fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The fields on which the page at a URL depends.
fn depends_on(url: &str) -> &'static [&'static str] {
    let path = url.split('?').next().unwrap_or_default();
    path.rsplit('/')
        .next()
        .and_then(|page| PAGES.get(page.parse::<usize>().ok()?))
        .copied()
        .unwrap_or_default()
}

/// The value of a request header field, as text.
pub(crate) fn value(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or_else(
        || "none".into(),
        |value| String::from_utf8_lossy(value.as_bytes()).into_owned(),
    )
}

impl Origins for World {
    fn answer(&mut self, attempt: &Attempt, now: &mut Timestamp) -> Answer {
        let plan = if self.plans.len() > 1 {
            self.plans.remove(0)
        } else {
            self.plans[0].clone()
        };
        self.moment += 1;
        let (moment, asked) = (self.moment, *now);
        *now = now.plus(plan.takes);
        if let Some(purge) = self.meanwhile.take() {
            self.purge(purge);
        }
        if plan.fails {
            return Err(Failure {
                kind: FailureKind::Closed,
                sent: true,
                body_intact: !attempt.body,
            });
        }
        let request = &attempt.head.headers;
        let asked_for =
            value(request, "x-forwarded-proto") + "://" + &value(request, "x-forwarded-host");
        let url = format!("{asked_for}{}", attempt.head.uri);
        let current = self.current(&url, request, *now);
        let whole = whole(&attempt.head.method, &plan, &current, self.made.len());
        let (status, part) = self.status(&plan, attempt, &current, &whole);
        let number = self.made.len();
        let mut headers = fields(&plan, &url, number, &current, *now);
        let bodied = attempt.head.method != Method::HEAD && status != StatusCode::NOT_MODIFIED;
        if bodied {
            set(&mut headers, "x-body", &number.to_string());
        }
        let mut body = whole.clone();
        if let Some((first, last)) = part {
            set(
                &mut headers,
                "content-range",
                &format!("bytes {first}-{last}/{}", whole.len()),
            );
            body = whole.slice(first..=last);
        }
        if !plan.unsized_body && status != StatusCode::NOT_MODIFIED {
            set(&mut headers, "content-length", &body.len().to_string());
        }
        if !bodied {
            body = Bytes::new();
        }
        let vary = named_by_vary(&plan, &url);
        self.made.push(NumberedPurge {
            plan,
            method: attempt.head.method.clone(),
            url,
            request: request.clone(),
            vary,
            whole,
            moment,
            asked,
            answered: *now,
            modified: current.modified,
        });
        Ok((head(status, headers), body))
    }
}

impl World {
    /// Chooses between 200, 206 and 304, as the request asks and the plan allows.
    #[expect(clippy::unused_self, reason = "it is the origin that chooses")]
    fn status(
        &self,
        plan: &Plan,
        attempt: &Attempt,
        current: &Current,
        whole: &Bytes,
    ) -> (StatusCode, Option<(usize, usize)>) {
        let request = &attempt.head.headers;
        let given = |name: &str| request.get(name).map(|_| value(request, name));
        let reads = attempt.head.method == Method::GET || attempt.head.method == Method::HEAD;
        if plan.status != 200 || !reads {
            return (StatusCode::from_u16(plan.status).unwrap_or_default(), None);
        }
        let modified =
            String::from_utf8_lossy(date::write(current.modified).as_bytes()).into_owned();
        let known = match given("if-none-match") {
            Some(tags) => plan.tag != Tag::None && tags.contains(&current.tag),
            None => {
                plan.modified && given("if-modified-since").is_some_and(|since| since == modified)
            }
        };
        if known && plan.conditions {
            return (StatusCode::NOT_MODIFIED, None);
        }
        let applies =
            given("if-range").is_none_or(|tag| plan.tag == Tag::Strong && tag == current.tag);
        let part =
            given("range").filter(|_| plan.ranges && applies && attempt.head.method == Method::GET);
        match part.and_then(|range| place(&range, whole.len())) {
            Some(part) => (StatusCode::PARTIAL_CONTENT, Some(part)),
            None => (StatusCode::OK, None),
        }
    }
}

/// A representation, or something that only this answer says.
fn whole(method: &Method, plan: &Plan, current: &Current, number: usize) -> Bytes {
    let reads = *method == Method::GET || *method == Method::HEAD;
    if plan.status == 200 && reads {
        return Bytes::from(current.text.clone());
    }
    Bytes::from(format!("{} {method} answer {number}", plan.status))
}

fn place(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = length.checked_sub(1)?;
    let (first, last) = match (first, last) {
        ("", count) => (length.saturating_sub(count.parse().ok()?), end),
        (first, "") => (first.parse().ok()?, end),
        (first, last) => (first.parse().ok()?, last.parse::<usize>().ok()?.min(end)),
    };
    (first <= last).then_some((first, last))
}

pub(crate) fn named_by_vary(plan: &Plan, url: &str) -> Vec<&'static str> {
    let mut names = depends_on(url).to_vec();
    match plan.vary {
        More::Nothing => {}
        More::Field(name) => names.push(name),
        More::Star => names.push("*"),
    }
    names
}

/// Each field that matters goes with one that names the answer it came with, for a 304 replaces
/// some and keeps others.
fn fields(plan: &Plan, url: &str, number: usize, current: &Current, now: Timestamp) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, text: String| {
        set(&mut headers, name, &text);
        set(&mut headers, &format!("x-of-{name}"), &number.to_string());
    };
    if let Some(control) = &plan.control {
        let mut members = control.members();
        members.extend((plan.spelling == 3).then(|| "ext=\"a, no-store\"".to_owned()));
        add("cache-control", spelt(&members, plan.spelling));
    }
    if let Some(targeted) = &plan.targeted {
        add(
            "cdn-cache-control",
            match targeted {
                Targeted::Valid(control) => control.members().join(", "),
                Targeted::Invalid(text) => (*text).to_owned(),
            },
        );
    }
    let vary = named_by_vary(plan, url);
    if !vary.is_empty() {
        add("vary", spelt(&vary, plan.spelling));
    }
    if let Some(behind) = plan.date {
        let millis = now.as_millis().saturating_add_signed(-behind * 1000);
        add("date", text(&date::write(Timestamp::from_millis(millis))));
    }
    if let Some(age) = plan.age {
        add("age", age.to_string());
    }
    if let Some(expires) = plan.expires {
        add(
            "expires",
            match expires {
                Expires::In(ahead) => text(&date::write(now.plus(ahead.unsigned_abs() * 1000))),
                Expires::Invalid => "0".to_owned(),
            },
        );
    }
    if plan.set_cookie {
        add("set-cookie", format!("s={number}"));
    }
    if !plan.labels.is_empty() {
        add("cache-tag", plan.labels.join(","));
        add(
            "cache-groups",
            plan.labels
                .iter()
                .map(|label| format!("\"{label}\""))
                .collect::<Vec<_>>()
                .join(", "),
        );
    }
    if plan.modified && plan.status == 200 {
        add("last-modified", text(&date::write(current.modified)));
    }
    match plan.tag {
        Tag::None => {}
        _ if plan.status != 200 => {}
        Tag::Strong => add("etag", current.tag.clone()),
        Tag::Weak => add("etag", format!("W/{}", current.tag)),
    }
    if plan.content_location {
        add("content-location", url.to_owned());
    }
    set(&mut headers, "x-secret", &number.to_string());
    set(&mut headers, "x-last", &number.to_string());
    headers
}

/// A list in one of the spellings that mean the same.
fn spelt(members: &[impl AsRef<str>], spelling: u8) -> String {
    let members: Vec<&str> = members.iter().map(AsRef::as_ref).collect();
    match spelling {
        0 | 1 => members.join(", "),
        2 => members.join(",").to_ascii_uppercase(),
        _ => format!(",  {} ,,", members.join(" ,\t")),
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
    headers.insert(name, HeaderValue::from_str(value).expect("a field value"));
}

fn head(status: StatusCode, headers: HeaderMap) -> response::Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    (head.status, head.headers) = (status, headers);
    head
}
