//! A number of requests or a size.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// What may be used at once: a number, of bytes a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawBurst {
    /// So many requests.
    Number(u64),
    /// So many bytes, as they are written.
    Size(String),
}

impl<'de> Deserialize<'de> for RawBurst {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = RawBurst;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number such as 300, or of bytes a size such as \"4MiB\"")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<RawBurst, E> {
                // What is negative is refused as nothing is.
                Ok(RawBurst::Number(u64::try_from(value).unwrap_or(0)))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<RawBurst, E> {
                Ok(RawBurst::Number(value))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<RawBurst, E> {
                Ok(RawBurst::Size(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for RawBurst {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RawBurst".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string" }]
        })
    }
}
