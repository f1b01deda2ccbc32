//! Why an order of operators is not carried out.

use http::StatusCode;
use serde::Serialize;

/// Why an operation is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Status of the reply.
    pub status: StatusCode,
    /// In a few words.
    pub title: &'static str,
    /// What is wrong and what to do.
    pub detail: String,
    /// Seconds to wait, if waiting helps.
    pub retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Document<'a> {
    detail: &'a str,
    status: u16,
    title: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

impl Refused {
    /// Says no.
    pub fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            title,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// Returns the problem document (RFC 9457).
    pub(super) fn document(&self) -> String {
        let Self {
            status,
            title,
            detail,
            retry_after: _,
        } = self;
        let document = Document {
            detail,
            status: status.as_u16(),
            title,
            kind: "about:blank",
        };
        serde_json::to_string(&document).unwrap_or_default()
    }
}
