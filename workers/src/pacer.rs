//! What the chunks of paced bodies wait for. All streams of a key in this isolate share its pace.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tidegate_core::limit::paces::{Wait, Waits, chunk};
use tidegate_core::limit::{Pace, Paces};
use tidegate_core::{Millis, Report};
use worker::wasm_bindgen::prelude::wasm_bindgen;

use crate::clock;

/// Most keys whose pace is remembered; beyond it the one that is nearest to its rest is forgotten.
const KEYS_MAX: usize = 4096;

thread_local! {
    static PACES: RefCell<Paces> = const { RefCell::new(Paces::bounded(KEYS_MAX)) };
}

/// For how long the bodies of one exchange have waited, and for which limits; and how many bytes of
/// the reply have gone.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    waits: RefCell<Waits>,
    replied: Cell<u64>,
}

impl Tally {
    /// Completes the report of the exchange.
    pub(crate) fn note(&self, report: &mut Report) {
        report.note_paced(&self.waits.borrow());
    }

    /// Returns how many bytes of the reply have gone.
    pub(crate) fn replied(&self) -> u64 {
        self.replied.get()
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

impl Pacer {
    pub(crate) fn new(paces: Vec<Pace>, tally: Rc<Tally>) -> Self {
        Self {
            paces,
            tally,
            wait: Cell::default(),
        }
    }
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
        self.tally.waits.borrow_mut().add(self.wait.take());
    }

    /// So many bytes of a reply have gone.
    pub fn replied(&self, bytes: u32) {
        let replied = self.tally.replied.get();
        self.tally.replied.set(replied.saturating_add(bytes.into()));
    }
}

/// Returns a number as JavaScript has them.
#[expect(
    clippy::cast_precision_loss,
    reason = "no body has 2^53 bytes, and no wait as many milliseconds"
)]
pub(crate) fn as_number(number: Millis) -> f64 {
    number as f64
}
