//! What happened in an exchange, and when.

use serde::{Serialize, Serializer};
use smallvec::SmallVec;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::time::Millis;

/// Most entries before the reply. An exchange that has more of them is one of very many attempts.
const ENTRIES_MAX: usize = 64;

/// Entries for which there is room without an allocation.
const ENTRIES_USUAL: usize = 8;

/// Something that happened in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Happening {
    /// The keys of an issuer are waited for.
    WaitForKeys,
    /// The signature of the client's token is verified.
    Verify,
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
    /// Nobody waits for the response to an attempt any more.
    LetGo,
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
    /// Milliseconds since the request came; at most some 49 days.
    pub at_ms: u32,
    /// What happened.
    pub event: Happening,
    /// The number of the attempt that it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u8>,
}

/// What happened in an exchange, in time. Of an exchange with more than 64 entries, those after the
/// sixty-fourth are left out, except the reply and the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline(SmallVec<[Entry; ENTRIES_USUAL]>);

impl Timeline {
    pub(crate) fn push(&mut self, at: Millis, event: Happening, attempt: Option<u8>) {
        let is_last = matches!(event, Happening::Reply | Happening::End);
        if is_last || self.0.len() < ENTRIES_MAX {
            self.0.push(Entry {
                at_ms: u32::try_from(at).unwrap_or(u32::MAX),
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
        Some(Millis::from(entry.at_ms))
    }
}

impl Serialize for Timeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timeline {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timeline".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<Entry>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{ENTRIES_MAX, Happening, Timeline};

    #[test]
    fn a_timeline_is_bounded_and_keeps_its_end() {
        let mut timeline = Timeline::default();
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
