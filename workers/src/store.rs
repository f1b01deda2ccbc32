//! Stored responses in the platform's Cache API, under keys of our own.
//!
//! Vary, freshness and validation are the core's; the platform only keeps bytes and forgets them in
//! time. What it is given are plain 200 answers that no rule of its own touches; the real head is a
//! record beside the body (see [`mod@entry`]).
//!
//! The cache of another data centre is another store, and every entry may vanish at any time. Two
//! writers of one key at the same time may lose one of their responses, never mix them: heads name
//! their bodies by random names. For a response that varies, or is a part of one, this time is that
//! of a look into the cache; for others it is that of the fetch.

pub(crate) mod entry;

use std::sync::Arc;

use http::StatusCode;
use tidegate_core::cache::variants::{Put, put};
use tidegate_core::cache::{CacheKey, Stored};
use tidegate_core::{AwaitLookup, Fill, FillKind, Timestamp};
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{Result, js_sys, web_sys};

use crate::convert::Body;
use crate::{clock, streams, tasks};
use entry::{BodyLocation, Entry, Variant};

#[wasm_bindgen(module = "/js/store.mjs")]
extern "C" {
    /// A promise of the response at a URL; of undefined if there is none.
    #[wasm_bindgen(catch)]
    fn find(url: &str) -> Result<JsValue, JsValue>;

    /// A promise that settles when the response is stored.
    #[wasm_bindgen(js_name = put, catch)]
    fn put_response(url: &str, response: &web_sys::Response) -> Result<JsValue, JsValue>;

    /// A promise that settles when nothing is at the URL any more.
    #[wasm_bindgen(js_name = drop, catch)]
    fn drop_response(url: &str) -> Result<JsValue, JsValue>;
}

/// What a lookup found.
#[derive(Default)]
pub(crate) struct Found {
    /// All that is stored under the key and can be served.
    pub(crate) heads: Vec<Arc<Stored>>,
    /// Where their bodies lie.
    variants: Vec<Variant>,
    key: Option<CacheKey>,
    /// The one that the request would be served, with its body.
    body: Option<(Arc<Stored>, Option<web_sys::ReadableStream>)>,
}

impl Found {
    /// Returns whether the key was looked up, and nothing was stored under it.
    pub(crate) fn is_nothing_under(&self, key: &CacheKey) -> bool {
        self.key.as_ref() == Some(key) && self.variants.is_empty()
    }

    /// Gets the body stored with this head, if it is not the one at hand.
    pub(crate) async fn load(&mut self, head: &Arc<Stored>) {
        if self.body.as_ref().is_some_and(|(stored, _)| stored == head) {
            return;
        }
        let body_at = self
            .variants
            .iter()
            .find(|v| v.head == *head)
            .map(|v| &v.body_at);
        let (Some(BodyLocation::Named(name)), Some(key)) = (body_at, &self.key) else {
            return;
        };
        let body = get(&entry::body_url(key, name)).await;
        if let Ok(Some(response)) = body {
            self.discard();
            self.body = Some((Arc::clone(head), response.body()));
        }
    }

    /// Hands out the body stored with this head.
    pub(crate) fn take(&mut self, head: &Arc<Stored>) -> Result<Body> {
        let body = self.body.take_if(|(stored, _)| stored == head);
        body.map(|(_, body)| body.into())
            .ok_or_else(|| "the platform has dropped the body".into())
    }

    /// A body that nobody reads would hold one of the few connections of the request.
    fn discard(&mut self) {
        if let Some((_, Some(stream))) = self.body.take() {
            streams::discard(&stream);
        }
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Looks a key up: one `match` for a response that does not vary, two for one that does.
pub(crate) async fn lookup(next: &AwaitLookup) -> Result<Found> {
    let Some(Entry {
        mut variants,
        mut body,
    }) = entry(next.key()).await?
    else {
        let mut nothing = Found::default();
        nothing.key = Some(next.key().clone());
        return Ok(nothing);
    };
    while let Some(chosen) = next.choose(&heads(&variants), clock::now()).cloned() {
        let Some(at) = variants.iter().position(|v| v.head == chosen) else {
            break;
        };
        let stream = match variants.get(at).map(|v| &v.body_at) {
            Some(BodyLocation::Here) => Some(body.take()),
            Some(BodyLocation::Named(name)) => get(&entry::body_url(next.key(), name))
                .await?
                .map(|r| r.body()),
            None => None,
        };
        if let Some(stream) = stream {
            let key = Some(next.key().clone());
            return Ok(Found {
                heads: heads(&variants),
                variants,
                key,
                body: Some((chosen, stream)),
            });
        }
        // The platform has dropped this body: its head is of no use.
        variants.remove(at);
    }
    if let Some(stream) = body {
        streams::discard(&stream);
    }
    Ok(Found {
        heads: heads(&variants),
        variants,
        key: Some(next.key().clone()),
        body: None,
    })
}

/// Puts a response into the store. `fetched` is the origin's body; `is_first` says that nothing was
/// stored under the key when the exchange looked. Other requests that wait for it may go on
/// afterwards.
pub(crate) async fn fill(
    fill: Fill,
    fetched: Option<web_sys::ReadableStream>,
    is_first: bool,
) -> Result<()> {
    match &fill.kind {
        FillKind::Insert => {
            // Read whole before any of it is put: the platform may keep the part of a body that
            // breaks off as if it were all.
            let body = streams::collect(fetched.as_ref(), fill.body_bytes_max).await?;
            let Some(head) = fill.completed(body.length().into()) else {
                return Err("the body has another length than its head says".into());
            };
            let stands_alone = head.vary.is_empty() && head.status != StatusCode::PARTIAL_CONTENT;
            if is_first && stands_alone {
                // What others have stored meanwhile is most likely the same.
                return put_alone(&fill.key, &head, body).await;
            }
            insert(&fill.key, head, body, fill.joined_max).await
        }
        FillKind::Refresh(old) => {
            fetched.iter().for_each(streams::discard);
            refresh(&fill.key, old, &fill.head).await
        }
    }
}

/// Drops all responses stored under a key.
pub(crate) async fn invalidate(key: &CacheKey) -> Result<()> {
    let Some(entry) = entry(key).await? else {
        return Ok(());
    };
    delete(&entry::url(key)).await?;
    for variant in &entry.variants {
        if let BodyLocation::Named(name) = &variant.body_at {
            delete(&entry::body_url(key, name)).await?;
        }
    }
    Ok(())
}

async fn insert(
    key: &CacheKey,
    head: Arc<Stored>,
    body: js_sys::Uint8Array,
    joined_max: u64,
) -> Result<()> {
    let now = clock::now();
    let (mut variants, mut first) = match entry(key).await? {
        Some(entry) => (entry.variants, entry.body),
        None => (Vec::new(), None),
    };
    variants.retain(|v| v.head.expires() > now);
    let Put {
        at,
        head,
        before,
        after,
    } = put(&heads(&variants), head, joined_max);
    let mut body = body;
    if let Some(old) = at
        .filter(|_| !(before.is_empty() && after.is_empty()))
        .and_then(|at| variants.get(at))
    {
        let old = body_of(key, old, first.take()).await?;
        body = streams::join(&old, &before, &body, &after);
    }
    let alone = variants.is_empty() || (variants.len() == 1 && at == Some(0));
    if alone {
        first.iter().for_each(streams::discard);
        return put_alone(key, &head, body).await;
    }
    // The first response moves out of the entry when a second one comes.
    if let Some(variant) = variants
        .iter_mut()
        .find(|v| v.body_at == BodyLocation::Here)
    {
        variant.body_at = BodyLocation::Named(entry::new_name());
        put_body(
            key,
            variant,
            streams::collect(first.as_ref(), u64::MAX).await?,
            now,
        )
        .await?;
    }
    let new = Variant {
        head,
        body_at: BodyLocation::Named(entry::new_name()),
    };
    put_body(key, &new, body, now).await?;
    match at.and_then(|at| variants.get_mut(at)) {
        Some(old) => *old = new,
        None => variants.push(new),
    }
    put_entry(&entry::url(key), entry::several(&variants, now)?).await
}

/// Stores the only response under a key.
async fn put_alone(key: &CacheKey, head: &Arc<Stored>, body: js_sys::Uint8Array) -> Result<()> {
    put_entry(&entry::url(key), entry::alone(head, body, clock::now())?).await
}

/// A head that shares its entry with the body cannot be replaced alone: the body is read from
/// the old entry and put into the new one.
async fn refresh(key: &CacheKey, old: &Arc<Stored>, new: &Arc<Stored>) -> Result<()> {
    let Some(Entry { mut variants, body }) = entry(key).await? else {
        return Ok(());
    };
    let now = clock::now();
    let Some(variant) = variants.iter_mut().find(|v| v.head == *old) else {
        body.iter().for_each(streams::discard);
        return Ok(());
    };
    if new.vary != old.vary {
        // A variant of its own, with a copy of the body.
        let body = body_of(key, variant, body).await?;
        return insert(key, Arc::clone(new), body, 0).await;
    }
    variant.head = Arc::clone(new);
    let response = match variant.body_at {
        BodyLocation::Here => {
            entry::alone(new, streams::collect(body.as_ref(), u64::MAX).await?, now)?
        }
        BodyLocation::Named(_) => entry::several(&variants, now)?,
    };
    put_entry(&entry::url(key), response).await
}

/// Reads a stored body; `first` is the one in the entry.
async fn body_of(
    key: &CacheKey,
    variant: &Variant,
    first: Option<web_sys::ReadableStream>,
) -> Result<js_sys::Uint8Array> {
    let stream = match &variant.body_at {
        BodyLocation::Here => first,
        BodyLocation::Named(name) => {
            let response = get(&entry::body_url(key, name)).await?;
            response.ok_or("the platform has dropped the body")?.body()
        }
    };
    Ok(streams::collect(stream.as_ref(), u64::MAX).await?)
}

async fn entry(key: &CacheKey) -> Result<Option<Entry>> {
    Ok(get(&entry::url(key))
        .await?
        .and_then(|response| Entry::read(&response)))
}

async fn put_body(
    key: &CacheKey,
    variant: &Variant,
    body: js_sys::Uint8Array,
    now: Timestamp,
) -> Result<()> {
    let BodyLocation::Named(name) = &variant.body_at else {
        return Ok(());
    };
    put_entry(
        &entry::body_url(key, name),
        entry::body(&variant.head, body, now)?,
    )
    .await
}

async fn get(url: &str) -> Result<Option<web_sys::Response>> {
    let found = tasks::wait(&find(url)?).await?;
    Ok((!found.is_undefined()).then(|| found.unchecked_into()))
}

async fn put_entry(url: &str, response: web_sys::Response) -> Result<()> {
    tasks::wait(&put_response(url, &response)?).await?;
    Ok(())
}

async fn delete(url: &str) -> Result<()> {
    tasks::wait(&drop_response(url)?).await?;
    Ok(())
}

fn heads(variants: &[Variant]) -> Vec<Arc<Stored>> {
    variants.iter().map(|v| Arc::clone(&v.head)).collect()
}
