//! The head of a stored response as text, for stores outside the process.

use std::borrow::Cow;
use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::cache::freshness::Freshness;
use crate::cache::stored::Stored;
use crate::cache::vary::Nominated;
use crate::purge;
use crate::purge::label::Label;
use crate::time::{Millis, Timestamp};

/// The format's version; a record of another version is not read, so the response is fetched anew.
const VERSION: u8 = 3;

#[derive(Deserialize)]
struct Record {
    v: u8,
    status: u16,
    received: Timestamp,
    initial_age: Millis,
    freshness: Freshness,
    vary: Vec<(String, Option<String>)>,
    #[serde(rename = "born")]
    epoch: purge::Number,
    labels: Vec<Label>,
    headers: Vec<(String, String)>,
}

/// What is written of a head. It borrows what it can: a head is written for each miss.
#[derive(Serialize)]
struct Written<'a> {
    v: u8,
    status: u16,
    received: Timestamp,
    initial_age: Millis,
    freshness: Freshness,
    vary: Vec<(&'a str, Option<Cow<'a, str>>)>,
    #[serde(rename = "born")]
    epoch: purge::Number,
    labels: &'a [Label],
    headers: Vec<(&'a str, Cow<'a, str>)>,
}

/// Writes a head as one line of ASCII JSON.
pub fn write(stored: &Stored) -> String {
    let mut vary = Vec::with_capacity(stored.vary.len());
    for (name, value) in &stored.vary {
        vary.push((name.as_str(), value.as_deref().map(to_text)));
    }
    let mut headers = Vec::with_capacity(stored.headers.len());
    for (name, value) in &stored.headers {
        headers.push((name.as_str(), to_text(value.as_bytes())));
    }
    let record = Written {
        v: VERSION,
        status: stored.status.as_u16(),
        received: stored.received,
        initial_age: stored.initial_age,
        freshness: stored.freshness,
        vary,
        epoch: stored.epoch,
        labels: &stored.labels,
        headers,
    };
    escaped(serde_json::to_string(&record).unwrap_or_default())
}

/// Field values may have bytes beyond ASCII; the record must fit into a field value itself.
fn escaped(json: String) -> String {
    if json.is_ascii() {
        return json;
    }
    let mut text = String::with_capacity(json.len() + 32);
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        }
    }
    text
}

/// Reads a head; `None` for anything that this version did not write.
pub fn read(text: &str) -> Option<Stored> {
    let record: Record = serde_json::from_str(text)
        .ok()
        .filter(|r: &Record| r.v == VERSION)?;
    let mut headers = HeaderMap::with_capacity(record.headers.len());
    for (name, value) in record.headers {
        headers.append(
            HeaderName::try_from(name).ok()?,
            HeaderValue::from_bytes(&to_bytes(&value)?).ok()?,
        );
    }
    let nominated = |(name, value): (String, Option<String>)| -> Option<Nominated> {
        let value = match value {
            Some(value) => Some(to_bytes(&value)?),
            None => None,
        };
        Some((HeaderName::try_from(name).ok()?, value))
    };
    Some(Stored {
        status: StatusCode::from_u16(record.status).ok()?,
        headers,
        received: record.received,
        initial_age: record.initial_age,
        freshness: record.freshness,
        vary: record
            .vary
            .into_iter()
            .map(nominated)
            .collect::<Option<_>>()?,
        epoch: record.epoch,
        labels: record.labels,
    })
}

/// Each byte becomes the character of the same number.
fn to_text(bytes: &[u8]) -> Cow<'_, str> {
    if bytes.is_ascii() {
        return String::from_utf8_lossy(bytes);
    }
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn to_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::stored;

    #[test]
    fn a_head_survives_the_way_out_and_back() {
        let mut head = stored(&[
            ("etag", "\"a\""),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]);
        head.headers
            .insert("x-bytes", HeaderValue::from_bytes(b"\xfc\xff\"\\").unwrap());
        head.vary = vec![
            (http::header::ACCEPT, None),
            (http::header::COOKIE, Some(b"\xe9".to_vec())),
        ];
        head.freshness.lifetime = u64::MAX;
        (head.epoch, head.labels) = (7, vec![1, u64::MAX]);
        let text = write(&head);
        assert!(text.is_ascii() && HeaderValue::from_str(&text).is_ok());
        assert_eq!(read(&text), Some(head));
    }

    #[test]
    fn the_names_in_a_record_do_not_change_while_its_version_stays() {
        let mut head = stored(&[("etag", "\u{fc}")]);
        head.vary = vec![(http::header::ACCEPT, Some(b"a".to_vec()))];
        let text = write(&head);
        assert_eq!(
            text,
            r#"{"v":3,"status":200,"received":1700000000000,"initial_age":0,"freshness":{"lifetime":60000,"explicit":false,"grace":0,"keep":0,"keep_disconnected":0,"always_validate":false},"vary":[["accept","a"]],"born":0,"labels":[],"headers":[["etag","\u00c3\u00bc"]]}"#
        );
    }

    #[test]
    fn anything_else_is_not_read() {
        let text = write(&stored(&[]));
        for wrong in [
            "",
            "{}",
            "nonsense",
            &text.replace(&format!("\"v\":{VERSION}"), "\"v\":1"),
            &text.replace("\"status\":200", "\"status\":2000"),
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
