//! Bodies: streams of the runtime, handled by a little JavaScript so that no byte of them enters
//! wasm memory.

use std::ops::Range;

use tidegate_core::BodyEnd;
use tidegate_core::cache::range::Piece;
use worker::js_sys;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::web_sys::{AbortController, ReadableStream};

use crate::pacer::Pacer;
use crate::tasks;

#[wasm_bindgen(module = "/js/streams.mjs")]
extern "C" {
    /// A client's request body on its way to an origin.
    pub(crate) type ClientBody;

    /// Takes the body over. `length` is undefined when unknown; beyond `max` bytes the body fails.
    #[wasm_bindgen(constructor, catch)]
    pub(crate) fn new(
        stream: &ReadableStream,
        length: JsValue,
        max: f64,
    ) -> Result<ClientBody, JsValue>;

    /// A stream of the whole body for one attempt, which ends if the body fails; only while the
    /// body is intact.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn open(
        this: &ClientBody,
        attempt: &AbortController,
    ) -> Result<ReadableStream, JsValue>;

    /// Whether the whole body can still be sent.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn intact(this: &ClientBody) -> bool;

    /// Lets the body go at a pace.
    #[wasm_bindgen(method)]
    pub(crate) fn pace(this: &ClientBody, pacer: Pacer);

    /// Whether some of the body has been taken, or had to wait for its pace, since this was last asked.
    #[wasm_bindgen(method)]
    pub(crate) fn moved(this: &ClientBody) -> bool;

    /// Whether the client is waited for.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn waits(this: &ClientBody) -> bool;

    /// `aborted` when the client stopped sending, `too large` when it sent more than allowed, else
    /// empty.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn failure(this: &ClientBody) -> String;

    /// A stream to read instead, and a promise that settles with how it ended. `length` is
    /// undefined when unknown.
    #[wasm_bindgen(js_name = watched, catch)]
    fn watch_stream(stream: &ReadableStream, length: JsValue) -> Result<js_sys::Array, JsValue>;

    /// Two streams of the same bytes.
    #[wasm_bindgen(catch)]
    fn split(stream: &ReadableStream) -> Result<js_sys::Array, JsValue>;

    /// All bytes of a stream; rejects when it breaks off, or has more than `max` bytes.
    #[wasm_bindgen(js_name = collect, catch)]
    fn collect_bytes(stream: &ReadableStream, max: f64) -> Result<js_sys::Promise, JsValue>;

    /// Pieces of a stream put together: arrays of a start and an end in it, and buffers of their
    /// own.
    #[wasm_bindgen(js_name = pieces, catch)]
    fn put_together(
        stream: &ReadableStream,
        plan: &js_sys::Array,
    ) -> Result<ReadableStream, JsValue>;

    /// Gives up the rest of a stream, if nobody else reads it.
    pub(crate) fn discard(stream: &ReadableStream);
}

/// Reads a stream to its end. Fails when it breaks off, or has more bytes than allowed.
pub(crate) async fn collect(
    stream: Option<&ReadableStream>,
    max: u64,
) -> Result<js_sys::Uint8Array, JsValue> {
    let Some(stream) = stream else {
        return Ok(js_sys::Uint8Array::new_with_length(0));
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "far below 2^53, and only a bound"
    )]
    let collected = collect_bytes(stream, max as f64)?;
    let bytes = tasks::wait(&collected).await?;
    Ok(bytes.unchecked_into())
}

/// How a stream ends, some day.
pub(crate) struct Ending(JsValue);

impl Ending {
    /// Takes a promise of "whole", "broken" or "unwanted".
    pub(crate) fn of(promise: JsValue) -> Self {
        Self(promise)
    }

    /// Waits for the end.
    pub(crate) async fn reached(self) -> BodyEnd {
        let how = tasks::wait(&self.0).await;
        let how = how.ok().and_then(|how| how.as_string());
        match how.as_deref() {
            Some("whole") => BodyEnd::Whole,
            Some("broken") => BodyEnd::Broken,
            Some(_) | None => BodyEnd::Unwanted,
        }
    }
}

/// Makes a stream that tells how it ends. With a length it announces that length.
pub(crate) fn watched(
    stream: &ReadableStream,
    length: Option<u64>,
) -> Result<(ReadableStream, Ending), JsValue> {
    #[expect(clippy::cast_precision_loss, reason = "no body has 2^53 bytes")]
    let length = length.map_or(JsValue::UNDEFINED, |bytes| JsValue::from_f64(bytes as f64));
    let both = watch_stream(stream, length)?;
    Ok((both.get(0).into(), Ending(both.get(1))))
}

/// Makes two streams of one.
pub(crate) fn tee(stream: &ReadableStream) -> Result<(ReadableStream, ReadableStream), JsValue> {
    let both = split(stream)?;
    Ok((both.get(0).into(), both.get(1).into()))
}

/// Puts pieces of a stream together.
pub(crate) fn pieces(stream: &ReadableStream, pieces: &[Piece]) -> Result<ReadableStream, JsValue> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "positions in a body, far below 2^53"
    )]
    let plan = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => JsValue::from(js_sys::Uint8Array::from(&**text)),
        Piece::Body(range) => {
            js_sys::Array::of2(&(range.start as f64).into(), &(range.end as f64).into()).into()
        }
    });
    put_together(stream, &plan.collect())
}

/// Puts a new part of a body between parts of the old one.
pub(crate) fn join(
    old: &js_sys::Uint8Array,
    before: &Range<u64>,
    new: &js_sys::Uint8Array,
    after: &Range<u64>,
) -> js_sys::Uint8Array {
    let position = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
    let part = |range: &Range<u64>| old.subarray(position(range.start), position(range.end));
    let parts = [part(before), new.clone(), part(after)];
    let whole =
        js_sys::Uint8Array::new_with_length(parts.iter().map(js_sys::Uint8Array::length).sum());
    let mut at = 0;
    for part in &parts {
        whole.set(part, at);
        at += part.length();
    }
    whole
}
