//! How stored responses lie in the platform's cache.
//!
//! One entry a cache key, at `https://tidegate.store/HASH`. Its fields `tidegate-0` to
//! `tidegate-15` are the heads of the responses stored under the key, each with the place of its
//! body:
//!
//! ```text
//! tidegate-0: - HEAD
//! tidegate-1: 6c1f09a2b4d7e853 HEAD
//! ```
//!
//! HEAD is what [`record`] writes. Behind the hyphen stands the only response under the key: the
//! body is the entry's own. Another's body is the entry at
//! `https://tidegate.store/HASH/6c1f09a2b4d7e853`.

use std::fmt::Write as _;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header, response};
use sha2::{Digest, Sha256};
use tidegate_core::cache::variants::VARIANTS_MAX;
use tidegate_core::cache::{CacheKey, Stored, record};
use tidegate_core::sorting::sort_by;
use tidegate_core::{Millis, Timestamp};
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::{Result, js_sys, web_sys};

use crate::convert::Body;
use crate::{clock, convert};

/// How much longer than its head a body is kept that lies apart from it: a head that is refreshed
/// still finds it.
const BODY_OUTLIVES_HEAD: Millis = 86_400_000;

/// Most bytes of heads in one entry. The platform bounds the fields of a response too.
const HEADS_BYTES_MAX: usize = 64 << 10;

#[wasm_bindgen(module = "/js/store.mjs")]
extern "C" {
    /// The fields `tidegate-0` and so on that are there, so many at most: a line each.
    fn heads(response: &web_sys::Response, most: usize) -> String;
}

/// What lies under one key.
pub(super) struct Entry {
    pub(super) variants: Vec<Variant>,
    pub(super) body: Option<web_sys::ReadableStream>,
}

/// One stored response.
pub(super) struct Variant {
    pub(super) head: Arc<Stored>,
    pub(super) body_at: BodyLocation,
}

/// Where a body lies.
#[derive(PartialEq, Eq)]
pub(super) enum BodyLocation {
    /// In the entry itself.
    Here,
    /// In an entry of its own.
    Named(String),
}

impl Entry {
    /// Reads an entry; `None` if another version of this program wrote it.
    pub(super) fn read(response: &web_sys::Response) -> Option<Self> {
        let heads = heads(response, VARIANTS_MAX);
        let variants: Vec<Variant> = heads.lines().map(variant).collect::<Option<_>>()?;
        (!variants.is_empty()).then(|| Self {
            variants,
            body: response.body(),
        })
    }
}

fn variant(line: &str) -> Option<Variant> {
    let (body_at, record) = line.split_once(' ')?;
    let body_at = if body_at == "-" {
        BodyLocation::Here
    } else {
        BodyLocation::Named(body_at.to_owned())
    };
    Some(Variant {
        head: Arc::new(record::read(record)?),
        body_at,
    })
}

/// The entry of a key with one response.
pub(super) fn alone(
    head: &Arc<Stored>,
    body: js_sys::Uint8Array,
    now: Timestamp,
) -> Result<web_sys::Response> {
    let mut fields = fields(head.expires().since(now));
    insert(&mut fields, 0, &format!("- {}", record::write(head)))?;
    write(fields, Body::Buffer(body))
}

/// The entry of a key with several responses, all of whose bodies lie apart.
pub(super) fn several(variants: &[Variant], now: Timestamp) -> Result<web_sys::Response> {
    let longest = variants
        .iter()
        .map(|v| v.head.expires().since(now))
        .max()
        .unwrap_or(0);
    let mut fields = fields(longest);
    let mut bytes = 0;
    // The newest stay when there is not enough room for all.
    let mut newest_first: Vec<&Variant> = variants.iter().collect();
    sort_by(&mut newest_first, |a, b| {
        b.head.received.cmp(&a.head.received)
    });
    for (at, variant) in newest_first.into_iter().enumerate() {
        let BodyLocation::Named(name) = &variant.body_at else {
            continue;
        };
        let line = format!("{name} {}", record::write(&variant.head));
        bytes += line.len();
        if bytes > HEADS_BYTES_MAX {
            break;
        }
        insert(&mut fields, at, &line)?;
    }
    write(fields, Body::Empty)
}

/// The entry of a body that lies apart.
pub(super) fn body(
    head: &Arc<Stored>,
    body: js_sys::Uint8Array,
    now: Timestamp,
) -> Result<web_sys::Response> {
    write(
        fields(head.expires().since(now).saturating_add(BODY_OUTLIVES_HEAD)),
        Body::Buffer(body),
    )
}

/// Where the entry of a key lies.
pub(super) fn url(key: &CacheKey) -> String {
    format!(
        "https://tidegate.store/{}",
        hex(&Sha256::digest(key.as_bytes()))
    )
}

/// Where a body lies that is not in its key's entry.
pub(super) fn body_url(key: &CacheKey, name: &str) -> String {
    format!("{}/{name}", url(key))
}

/// A name that nobody else gives to a body.
pub(super) fn new_name() -> String {
    hex(&clock::random::<8>())
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn fields(kept_for: Millis) -> HeaderMap {
    let mut fields = HeaderMap::new();
    // Nothing here is text to the platform: it must not compress or change it.
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    let seconds = kept_for.div_ceil(1000).clamp(1, 31_536_000);
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={seconds}")) {
        fields.insert(header::CACHE_CONTROL, value);
    }
    fields
}

fn insert(fields: &mut HeaderMap, at: usize, line: &str) -> Result<()> {
    let name = HeaderName::try_from(format!("tidegate-{at}")).map_err(http::Error::from)?;
    fields.insert(
        name,
        HeaderValue::from_str(line).map_err(http::Error::from)?,
    );
    Ok(())
}

fn write(fields: HeaderMap, body: Body) -> Result<web_sys::Response> {
    let (mut head, ()): (response::Parts, ()) = http::Response::new(()).into_parts();
    head.headers = fields;
    convert::response(&head, body)
}
