//! Which steps an exchange took, in few bytes.

use serde::{Serialize, Serializer};
use strum::{EnumCount, IntoStaticStr, VariantArray};

/// A step of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum StepName {
    /// Limits were charged.
    Charge = 1,
    /// The store was asked.
    Lookup = 2,
    /// An origin was asked.
    Fetch = 3,
    /// Time passed.
    Wait = 4,
    /// The reply was given.
    Finish = 5,
}

/// The steps of an exchange; those after the sixteenth are not recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps(u64);

impl Steps {
    /// Appends a step.
    pub fn push(&mut self, step: StepName) {
        let used = (64 - self.0.leading_zeros()).div_ceil(4);
        if used < 16 {
            self.0 |= (step as u64) << (4 * used);
        }
    }

    /// Returns the steps in time.
    pub fn iter(self) -> impl Iterator<Item = StepName> {
        (0..16).map_while(move |i| match (self.0 >> (4 * i)) & 0xf {
            1 => Some(StepName::Charge),
            2 => Some(StepName::Lookup),
            3 => Some(StepName::Fetch),
            4 => Some(StepName::Wait),
            5 => Some(StepName::Finish),
            _ => None,
        })
    }
}

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Steps {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Steps".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<StepName>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{StepName, Steps};

    #[test]
    fn steps_are_kept_in_order_and_bounded() {
        let mut steps = Steps::default();
        let all = [
            StepName::Charge,
            StepName::Lookup,
            StepName::Fetch,
            StepName::Wait,
            StepName::Finish,
        ];
        let pushed: Vec<StepName> = all.into_iter().cycle().take(16).collect();
        for step in &pushed {
            steps.push(*step);
        }
        steps.push(StepName::Finish);
        assert_eq!(steps.iter().collect::<Vec<_>>(), pushed);
    }
}
