//! What operators ask for at `/performance/limits/`: overrides of single keys, read and checked here.

use http::{Method, StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::refused::Refused;
use crate::limit::overrides::Override;
use crate::message::query::percent_decoded;
use crate::purge::order;

/// Where operations on limits are.
pub const LIMITS_ROOT: &str = "/performance/limits/";

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitOperation {
    /// `GET {limit}/overrides`: the overrides of a limit. [`told`] writes the answer.
    List(String),
    /// `PUT {limit}/overrides/{key}`: another quota for a key.
    Set(Override),
    /// `DELETE {limit}/overrides/{key}`: the limit's own quota again.
    Remove {
        /// The limit's name.
        limit: String,
        /// The values of the parts of its key, in order.
        key: Vec<Vec<u8>>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    quota: String,
    burst: Option<u64>,
}

/// Reads an operation from an operator's request.
///
/// # Errors
/// Says what is wrong with it, and what to send.
pub fn read_limits(method: &Method, uri: &Uri, body: &[u8]) -> Result<LimitOperation, Refused> {
    let path = uri.path().strip_prefix(LIMITS_ROOT).unwrap_or_default();
    let mut parts = path.splitn(3, '/');
    let (limit, word, key) = (parts.next(), parts.next(), parts.next());
    let Some(limit) = limit.filter(|name| !name.is_empty() && word == Some("overrides")) else {
        return Err(unknown());
    };
    if uri.query().is_some() {
        return Err(wrong("a ? in a key is written %3F"));
    }
    let limit = limit.to_owned();
    match (method, key) {
        (&Method::GET, None) => Ok(LimitOperation::List(limit)),
        (&Method::PUT, Some(key)) => {
            let order: Order = order::read_json(body).map_err(|error| {
                wrong(&format!(
                    "not an override: {error}; write {{\"quota\": \"500/min\", \"burst\": 50}}, the burst is optional"
                ))
            })?;
            Ok(LimitOperation::Set(Override {
                limit,
                key: values(key),
                quota: order.quota,
                burst: order.burst,
            }))
        }
        (&Method::DELETE, Some(_)) if !body.is_empty() => Err(wrong("DELETE has no body")),
        (&Method::DELETE, Some(key)) => Ok(LimitOperation::Remove {
            limit,
            key: values(key),
        }),
        _ => Err(unknown()),
    }
}

/// Splits a key into its parts; none is that of a limit which counts all together.
fn values(key: &str) -> Vec<Vec<u8>> {
    if key.is_empty() {
        return Vec::new();
    }
    key.split('/').map(percent_decoded).collect()
}

fn wrong(why: &str) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "Not understood", why)
}

fn unknown() -> Refused {
    let detail = format!(
        "At {LIMITS_ROOT} there are GET {{limit}}/overrides, PUT and DELETE {{limit}}/overrides/{{key}}."
    );
    Refused::new(StatusCode::NOT_FOUND, "No such operation", detail)
}

#[derive(Serialize)]
struct Listed {
    key: String,
    quota: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u64>,
    in_force: bool,
}

#[derive(Serialize)]
struct Told {
    overrides: Vec<Listed>,
}

/// Writes what an operator is told of overrides, and of whether each is in force under the policy.
pub fn told(overrides: Vec<(Override, bool)>) -> String {
    let mut listed = Vec::with_capacity(overrides.len());
    for (order, in_force) in overrides {
        listed.push(Listed {
            key: written(&order.key),
            quota: order.quota,
            burst: order.burst,
            in_force,
        });
    }
    serde_json::to_string(&Told { overrides: listed }).unwrap_or_default()
}

/// Writes a key as it is asked for.
fn written(key: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for (position, part) in key.iter().enumerate() {
        if position > 0 {
            text.push('/');
        }
        for byte in part {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                text.push(char::from(*byte));
            } else {
                text.push('%');
                for digit in [byte >> 4, byte & 15] {
                    let digit = char::from_digit(digit.into(), 16).unwrap_or('0');
                    text.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
