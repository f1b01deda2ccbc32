//! The head of a stored response as text, for stores outside the process.

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

#[derive(Serialize, Deserialize)]
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

/// Writes a head as one line of ASCII JSON.
pub fn write(stored: &Stored) -> String {
    let record = Record {
        v: VERSION,
        status: stored.status.as_u16(),
        received: stored.received,
        initial_age: stored.initial_age,
        freshness: stored.freshness,
        vary: stored
            .vary
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_deref().map(to_text)))
            .collect(),
        epoch: stored.epoch,
        labels: stored.labels.clone(),
        headers: stored
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), to_text(value.as_bytes())))
            .collect(),
    };
    let json = serde_json::to_string(&record).unwrap_or_default();
    // Field values may have bytes beyond ASCII; the record must fit into a field value itself.
    json.chars().flat_map(ascii).collect()
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
fn to_text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

fn to_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}

fn ascii(c: char) -> impl Iterator<Item = char> {
    let escaped = if c.is_ascii() {
        String::from(c)
    } else {
        format!("\\u{:04x}", u32::from(c))
    };
    escaped.chars().collect::<Vec<_>>().into_iter()
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
