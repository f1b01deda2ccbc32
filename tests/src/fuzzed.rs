//! What fuzzing calls: each function takes any bytes, and fails where the core breaks a promise.
//! `fuzz/` calls them with what it makes up, the test `corpora` with what has been kept.

#![allow(
    clippy::missing_panics_doc,
    reason = "to panic is how a target says what it has found"
)]

mod tokens;

use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tidegate_core::cache::control::Control;
use tidegate_core::cache::freshness::Freshness;
use tidegate_core::cache::range::{Part, combine};
use tidegate_core::cache::{Stored, date, tags};
use tidegate_core::{Attempt, Policy, Timestamp};

use crate::fixture::{CLIENT, START};
use crate::simulator::{Answer, Origins, Outcome, Simulator};

pub use tokens::tokens;

/// A fuzzed function.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const TARGETS: [(&str, Target); 6] = [
    ("cache_control", cache_control),
    ("dates", dates),
    ("structured_fields", structured_fields),
    ("ranges", ranges),
    ("policy", policy),
    ("tokens", tokens),
];

/// Lines of Cache-Control.
pub fn cache_control(data: &[u8]) {
    let mut headers = fields(&header::CACHE_CONTROL, data);
    let control = Control::read(&headers, header::CACHE_CONTROL);
    assert_eq!(control, Control::of_response(&headers));
    headers.append(
        header::CACHE_CONTROL,
        HeaderValue::from_static("No-Store, private"),
    );
    let more = Control::read(&headers, header::CACHE_CONTROL);
    assert!(
        more.no_store && more.private,
        "nothing in one line hides what another says"
    );
    assert_eq!(
        Control {
            no_store: control.no_store,
            private: control.private,
            ..more
        },
        control
    );
}

/// A date.
pub fn dates(data: &[u8]) {
    let now = Timestamp::from_millis(START);
    let Some(at) = std::str::from_utf8(data)
        .ok()
        .and_then(|text| date::parse(text, now))
    else {
        return;
    };
    let written = date::write(at);
    // The leap second at the end of the last year that can be written is the one that cannot.
    if at.as_secs() <= 253_402_300_799 {
        assert_eq!(date::parse(written.to_str().expect("ASCII"), now), Some(at));
    }
}

/// Lines of a targeted field, which are also groups and tags.
pub fn structured_fields(data: &[u8]) {
    let targeted = HeaderName::from_static("cdn-cache-control");
    let mut headers = fields(&targeted, data);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=7"));
    let control = Control::of_response(&headers);
    assert!(
        control.targeted || control.max_age == Some(7),
        "an invalid field does not count at all"
    );
    for name in ["cache-groups", "cache-group-invalidation"].map(HeaderName::from_static) {
        let named = tags::groups(&fields(&name, data), &name);
        assert!(
            named
                .iter()
                .all(|group| group.bytes().all(|byte| (0x20..0x7f).contains(&byte))),
            "{named:?}"
        );
    }
    for name in ["cache-tag", "surrogate-key", "cache-groups"].map(HeaderName::from_static) {
        if let Ok(tags::Read { labels, .. }) = tags::read(&fields(&name, data), "a.example") {
            assert!(
                labels.len() <= 1001 && labels.is_sorted_by(|a, b| a < b),
                "{labels:?}"
            );
        }
    }
}

/// Range, If-Range, and the Content-Range of an older and a newer part, one a line.
pub fn ranges(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut line = || HeaderValue::from_bytes(lines.next().unwrap_or_default()).ok();
    let (range, condition, old, new) = (line(), line(), line(), line());
    ask_for_range(range, condition.filter(|value| !value.is_empty()));
    let (old, new) = (part(old), part(new));
    let lengths = [&old, &new]
        .map(|stored| Part::of(stored.status, &stored.headers).map(|part| part.length()));
    let Some(combined) = combine(&old, &new, u64::MAX) else {
        return;
    };
    let [Some(had), Some(got)] = lengths else {
        panic!("only parts are combined")
    };
    let (before, after) = (combined.before, combined.after);
    assert!(before.start == 0 && before.end <= had && after.start <= after.end && after.end == had);
    let joined = u128::from(before.end) + u128::from(got) + u128::from(after.end - after.start);
    assert_eq!(
        combined.head.announced_length().map(u128::from),
        Some(joined),
        "{before:?} {got} {after:?}"
    );
    match Part::of(combined.head.status, &combined.head.headers) {
        Some(part) => assert_eq!(u128::from(part.length()), joined),
        None => assert_eq!(combined.head.status, StatusCode::OK),
    }
}

/// A policy file.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let lints = Policy::lint("policy", text);
    match Policy::parse("policy", text) {
        Ok(policy) => {
            let published = policy.publish(text).text;
            assert_eq!(Policy::read_published(&published), Ok(policy));
        }
        Err(error) => assert!(
            !error.to_string().is_empty() && error.to_string().contains("policy:"),
            "{error}"
        ),
    }
    for lint in lints {
        assert!(!lint.to_string().is_empty());
    }
}

/// One field, a line for each; lines that cannot be in a message are left out.
fn fields(name: &HeaderName, data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

const BODY: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// An origin whose only page may be stored.
struct Page;

impl Origins for Page {
    fn answer(&mut self, _: &Attempt, _: &mut Timestamp) -> Answer {
        let (mut head, ()) = http::Response::new(()).into_parts();
        for (name, value) in [
            ("cache-control", "max-age=60"),
            ("etag", "\"a\""),
            ("content-length", "26"),
        ] {
            head.headers.insert(name, HeaderValue::from_static(value));
        }
        Ok((head, Bytes::from_static(BODY)))
    }
}

/// Asks the store for a range. The reply has what it says.
fn ask_for_range(range: Option<HeaderValue>, condition: Option<HeaderValue>) {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    let parsed = POLICY.get_or_init(|| {
        let text = "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n[cache.all]\nmode = \"respect\"\n\
                    [[routes]]\npool = \"main\"\ncache = \"all\"\n";
        Policy::parse("policy", text).unwrap_or_else(|error| panic!("{error}"))
    });
    let mut simulator = Simulator::new(parsed.clone());
    get(&mut simulator, None, None);
    let Outcome { head, body, .. } = get(&mut simulator, range, condition);
    let text = |name: &str| {
        head.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    match head.status.as_u16() {
        200 => assert_eq!(body, BODY),
        206 if text("content-type").starts_with("multipart/byteranges") => {}
        206 => {
            let part = Part::of(head.status, &head.headers).expect("a part");
            let position = |at: u64| usize::try_from(at).expect("within the body");
            assert_eq!(part.whole, Some(26));
            assert_eq!(
                Some(&body[..]),
                BODY.get(position(part.first)..=position(part.last))
            );
        }
        416 => return assert_eq!(text("content-range"), "bytes */26"),
        status => panic!("{status} to a request for a range"),
    }
    assert_eq!(text("content-length"), body.len().to_string());
}

fn get(
    simulator: &mut Simulator,
    range: Option<HeaderValue>,
    condition: Option<HeaderValue>,
) -> Outcome {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.headers
        .insert(header::HOST, HeaderValue::from_static("a.example"));
    for (name, value) in [(header::RANGE, range), (header::IF_RANGE, condition)] {
        head.headers.extend(value.map(|value| (name, value)));
    }
    simulator.exchange(head, CLIENT, Timestamp::from_millis(START), &mut Page)
}

/// A stored part.
fn part(range: Option<HeaderValue>) -> Stored {
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, HeaderValue::from_static("\"a\""));
    headers.extend(range.map(|range| (header::CONTENT_RANGE, range)));
    Stored {
        status: StatusCode::PARTIAL_CONTENT,
        headers,
        received: Timestamp::from_millis(START),
        initial_age: 0,
        freshness: Freshness::default(),
        vary: Vec::new(),
        epoch: 0,
        labels: Vec::new(),
    }
}
