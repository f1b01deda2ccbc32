//! Messages and reports as text that people can review and every runner can compare.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::{HeaderMap, response};
use tidegate_core::{Attempt, Report};

use crate::fixture::Expected;

/// Fields that say how a message was carried, not what it says.
const OF_THE_CARRIER: [&str; 4] = [
    "connection",
    "content-length",
    "keep-alive",
    "transfer-encoding",
];

/// Writes a reply: status, fields sorted by name, body.
pub fn reply(head: &response::Parts, body: &[u8]) -> String {
    let fields = fields(&head.headers);
    format!(
        "{}\n{fields}\n{}",
        head.status.as_u16(),
        String::from_utf8_lossy(body)
    )
}

/// Writes a request as an origin sees it.
pub fn request(attempt: &Attempt) -> String {
    let head = &attempt.head;
    format!(
        "{}: {} {}\n{}",
        attempt.origin.name,
        head.method,
        attempt.url(),
        fields(&head.headers)
    )
}

/// Writes a report as JSON, one member a line; objects in a list that hold no others are a line
/// each.
pub fn json(report: &Report) -> String {
    let pretty = serde_json::to_string_pretty(report).unwrap_or_default();
    let mut text = String::with_capacity(pretty.len());
    let mut lines = pretty.lines().peekable();
    while let Some(line) = lines.next() {
        text.push_str(line);
        let mut is_flat = line.trim() == "{" && line.starts_with(' ');
        while let Some(next) = lines.next_if(|_| is_flat) {
            text.push(' ');
            text.push_str(next.trim());
            is_flat = !next.trim().starts_with('}');
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// Field lines sorted by name. Lines of one name are joined, as the platforms may do, except
/// Set-Cookie.
fn fields(headers: &HeaderMap) -> String {
    let mut sorted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if !OF_THE_CARRIER.contains(&name.as_str()) {
            sorted
                .entry(name.as_str())
                .or_default()
                .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
    }
    let mut text = String::new();
    for (name, values) in sorted {
        let lines = if name == "set-cookie" {
            values
        } else {
            vec![values.join(", ")]
        };
        for line in lines {
            let _ = writeln!(text, "{name}: {line}");
        }
    }
    text
}

/// Writes the expected part of a fixture file.
pub fn expected(all: &[Expected]) -> String {
    let mut text = String::new();
    for e in all {
        text.push_str("\n[[expected]]\n");
        for (key, value) in [
            ("reply", &e.reply),
            ("origins", &e.origins),
            ("report", &e.report),
            ("background", &e.background),
        ] {
            let _ = if value.contains('\n') {
                writeln!(text, "{key} = '''\n{value}'''")
            } else {
                writeln!(text, "{key} = '{value}'")
            };
        }
    }
    text
}
