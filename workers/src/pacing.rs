//! Bodies at the pace that limits of bandwidth allow. The streams are JavaScript's (`js/streams.mjs`);
//! here is what their chunks have to wait for. All streams of a key in this isolate share its pace.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use http::{HeaderMap, header};
use tidegate_core::limit::bandwidth::{Wait, chunk};
use tidegate_core::limit::{Pace, Paces};
use tidegate_core::{Attempt, Millis, Report};
use worker::js_sys;
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::web_sys::ReadableStream;

use crate::clock;
use crate::convert::Body;
use crate::streams::{ClientBody, Ending};

/// Most keys whose pace is remembered; beyond it the one that is nearest to its rest is forgotten.
const KEYS_MAX: usize = 4096;

thread_local! {
    static PACES: RefCell<Paces> = const { RefCell::new(Paces::bounded(KEYS_MAX)) };
}

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

/// For how long the bodies of one exchange have waited, and for which limits; and how many bytes of
/// the reply have gone.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    waited: RefCell<Vec<Wait>>,
    replied: Cell<u64>,
}

impl Tally {
    /// Completes the report of the exchange.
    pub(crate) fn note(&self, report: &mut Report) {
        for wait in self.waited.borrow().iter() {
            report.note_paced(wait.entry, wait.millis);
        }
    }

    /// Returns how many bytes of the reply have gone.
    pub(crate) fn replied(&self) -> u64 {
        self.replied.get()
    }

    fn add(&self, wait: Wait) {
        if wait.millis == 0 {
            return;
        }
        let mut waited = self.waited.borrow_mut();
        match waited.iter_mut().find(|known| known.entry == wait.entry) {
            Some(known) => known.millis = known.millis.saturating_add(wait.millis),
            None => waited.push(wait),
        }
    }
}

/// What paces one body. A stream has it, and asks it chunk by chunk.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Pacer {
    paces: Vec<Pace>,
    tally: Rc<Tally>,
    /// For how long that waits which was taken last.
    wait: Cell<Wait>,
}

#[wasm_bindgen]
impl Pacer {
    /// Returns how many bytes go at once at most.
    #[wasm_bindgen(getter)]
    pub fn chunk(&self) -> u32 {
        u32::try_from(chunk(&self.paces)).unwrap_or(u32::MAX)
    }

    /// Takes bytes, and returns for how many milliseconds they wait before they go.
    pub fn take(&self, bytes: u32) -> f64 {
        let (bytes, now) = (u64::from(bytes), clock::now());
        let mut longest = Wait::default();
        PACES.with_borrow_mut(|paces| {
            for pace in &self.paces {
                longest = longest.or_longer(paces.take(pace, bytes, now));
            }
        });
        self.wait.set(longest);
        as_number(longest.millis)
    }

    /// What was taken last has had its time.
    pub fn waited(&self) {
        self.tally.add(self.wait.take());
    }

    /// So many bytes of a reply have gone.
    pub fn replied(&self, bytes: u32) {
        let replied = self.tally.replied.get();
        self.tally.replied.set(replied.saturating_add(bytes.into()));
    }
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
    body.pace(Pacer {
        paces: std::mem::take(&mut attempt.paces),
        tally: Rc::clone(tally.get_or_init(Rc::default)),
        wait: Cell::default(),
    });
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
    let paced_by = Pacer {
        paces,
        tally: Rc::clone(tally),
        wait: Cell::default(),
    };
    let length = announced(fields).map_or(JsValue::UNDEFINED, |bytes| as_number(bytes).into());
    let both = pace_stream(&source, length, paced_by)?;
    let stream: ReadableStream = both.get(0).into();
    Ok((Body::Stream(stream), Some(Ending::of(both.get(1)))))
}

fn announced(fields: &HeaderMap) -> Option<u64> {
    let length = fields.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no body has 2^53 bytes, and no wait as many milliseconds"
)]
fn as_number(number: Millis) -> f64 {
    number as f64
}
