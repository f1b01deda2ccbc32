//! What happened in an exchange, and when.

use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::time::Millis;

/// Most entries before the reply. An exchange that has more of them is one of very many attempts.
const ENTRIES_MAX: usize = 64;

/// Entries for which there is room without another allocation.
const ENTRIES_USUAL: usize = 6;

/// Something that happened in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Happening {
    /// Limits are charged.
    Charge,
    /// The store is asked.
    Lookup,
    /// Another exchange's fetch is waited for.
    WaitForFetch,
    /// An attempt is sent to an origin.
    Fetch,
    /// The head of an origin's response came.
    Response,
    /// An attempt ended without a response.
    Failure,
    /// Time passes before an origin is tried again.
    Pause,
    /// The head of the reply was decided.
    Reply,
    /// The body of the reply ended, or nobody waited for a reply any more.
    End,
}

/// One line of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Entry {
    /// Milliseconds since the request came.
    pub at_ms: Millis,
    /// What happened.
    pub event: Happening,
    /// The number of the attempt that it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u8>,
}

/// What happened in an exchange, in time. Of an exchange with more than 64 entries, those after the
/// sixty-fourth are left out, except the reply and the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Timeline(Vec<Entry>);

impl Timeline {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(ENTRIES_USUAL))
    }

    pub(crate) fn push(&mut self, at_ms: Millis, event: Happening, attempt: Option<u8>) {
        let is_last = matches!(event, Happening::Reply | Happening::End);
        if is_last || self.0.len() < ENTRIES_MAX {
            self.0.push(Entry {
                at_ms,
                event,
                attempt,
            });
        }
    }

    /// Lists what happened, in time.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Returns when something happened for the last time, in milliseconds since the request came.
    pub fn last(&self, event: Happening) -> Option<Millis> {
        let mut entries = self.0.iter().rev();
        let entry = entries.find(|entry| entry.event == event)?;
        Some(entry.at_ms)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{ENTRIES_MAX, Happening, Timeline};

    #[test]
    fn a_timeline_is_bounded_and_keeps_its_end() {
        let mut timeline = Timeline::new();
        for number in 0..100 {
            timeline.push(number, Happening::Fetch, Some(1));
        }
        timeline.push(100, Happening::Reply, None);
        timeline.push(200, Happening::End, None);
        assert_eq!(timeline.entries().len(), ENTRIES_MAX + 2);
        let kept = ENTRIES_MAX as u64;
        assert_eq!(timeline.last(Happening::Fetch), Some(kept - 1));
        assert_eq!(timeline.last(Happening::Reply), Some(100));
        assert_eq!(timeline.last(Happening::End), Some(200));
        assert_eq!(timeline.last(Happening::Pause), None);
    }
}
