//! `plans` of a limit, as they are written.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::policy::burst::RawBurst;

/// What a plan allows: a quota, or a table with one.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(untagged))]
pub enum RawPlan {
    /// As `quota` of the limit is written.
    Quota(String),
    /// With what belongs to the quota.
    Table(RawPlanned),
}

/// What a plan allows.
#[derive(Debug, Default, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawPlanned {
    /// As `quota` of the limit is written, with the same period if the limit is a budget.
    pub quota: Option<String>,
    /// Of a rate: most that may be used at once. Default: the plan's amount.
    pub burst: Option<RawBurst>,
    /// Of a leased limit: most that a node takes in advance. Default: a twentieth of what may be used
    /// at once.
    pub lease_max: Option<u64>,
}

impl<'de> Deserialize<'de> for RawPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawPlan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quota such as \"10000/min\", or a table such as { quota = \"10000/min\", burst = 500 }")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<RawPlan, E> {
                Ok(RawPlan::Quota(value.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawPlan, A::Error> {
                RawPlanned::deserialize(MapAccessDeserializer::new(map)).map(RawPlan::Table)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
