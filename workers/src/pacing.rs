//! Bodies at the pace that limits of bandwidth allow. The streams are JavaScript's (`js/streams.mjs`);
//! they ask a [`Pacer`] chunk by chunk.

use std::cell::OnceCell;
use std::rc::Rc;

use http::{HeaderMap, header};
use tidegate_core::Attempt;
use tidegate_core::limit::Pace;
use worker::js_sys;
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::web_sys::ReadableStream;

use crate::convert::Body;
use crate::pacer::{Pacer, Tally, as_number};
use crate::streams::{ClientBody, Ending};

#[wasm_bindgen(module = "/js/streams.mjs")]
extern "C" {
    /// A stream of the same bytes, and a promise that settles with how it ended. The source is a
    /// stream, or bytes; `length` is undefined when unknown.
    #[wasm_bindgen(js_name = paced, catch)]
    fn pace_stream(
        source: &JsValue,
        length: JsValue,
        pacer: Pacer,
    ) -> Result<js_sys::Array, JsValue>;
}

/// Lets the client's body go to an origin at its pace, if anything paces it.
pub(crate) fn request(
    body: Option<&ClientBody>,
    attempt: &mut Attempt,
    tally: &OnceCell<Rc<Tally>>,
) {
    if attempt.paces.is_empty() {
        return;
    }
    let Some(body) = body else { return };
    let tally = Rc::clone(tally.get_or_init(Rc::default));
    body.pace(Pacer::new(std::mem::take(&mut attempt.paces), tally));
}

/// Lets a reply's body go at its pace. Returns what takes its place, and how that ends; the body as it
/// is if there is nothing in it.
pub(crate) fn reply(
    body: Body,
    fields: &HeaderMap,
    paces: Vec<Pace>,
    tally: &Rc<Tally>,
) -> Result<(Body, Option<Ending>), JsValue> {
    let source = match body {
        Body::Empty => return Ok((body, None)),
        Body::Bytes(bytes) => js_sys::Uint8Array::from(&*bytes).into(),
        Body::Buffer(bytes) => bytes.into(),
        Body::Stream(stream) => stream.into(),
    };
    let paced_by = Pacer::new(paces, Rc::clone(tally));
    let length = announced(fields).map_or(JsValue::UNDEFINED, |bytes| as_number(bytes).into());
    let both = pace_stream(&source, length, paced_by)?;
    let stream: ReadableStream = both.get(0).into();
    Ok((Body::Stream(stream), Some(Ending::of(both.get(1)))))
}

fn announced(fields: &HeaderMap) -> Option<u64> {
    let length = fields.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
