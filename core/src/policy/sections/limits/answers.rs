//! What a limit says to those whom it refuses, and with what it is compared.

use std::sync::Arc;

use http::HeaderValue;

use super::raw::{RawLimit, RawPage};
use crate::limit::Page;
use crate::policy::compiler::Compiler;
use crate::policy::error::KeyPath;

pub(super) fn is_capacity(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> bool {
    match raw.status {
        None | Some(429) => false,
        Some(503) => true,
        Some(_) => {
            let message =
                "a limit refuses with 429, or with 503 where that is not the client's doing";
            c.wrong(&at.key("status"), message);
            false
        }
    }
}

pub(super) fn page(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawPage) -> Option<Page> {
    let at = at.key("page");
    if raw.body.is_empty() || raw.body.len() > PAGE_BYTES_MAX {
        c.wrong(&at.key("body"), "from one byte to 16 KiB");
    }
    let text = raw.content_type.as_deref();
    let content_type = text.unwrap_or("text/html; charset=utf-8");
    match HeaderValue::try_from(content_type) {
        Ok(content_type) if content_type.to_str().is_ok_and(|text| text.contains('/')) => {
            Some(Page {
                content_type,
                body: raw.body.clone(),
            })
        }
        Ok(_) | Err(_) => {
            let message =
                format!("`{content_type}` is not a media type; write one such as text/html");
            c.wrong(&at.key("content_type"), message);
            None
        }
    }
}

/// Most bytes of a page: it is part of the policy, and of each reply to a flood.
const PAGE_BYTES_MAX: usize = 16 << 10;

pub(super) fn compares_with(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    raw: &RawLimit,
) -> Option<Arc<str>> {
    let other = raw.compare_with.as_deref()?;
    if !raw.dry_run {
        let message =
            "only what is tried out is compared: write dry_run = true too, or leave this out";
        c.wrong(&at.key("compare_with"), message);
    }
    Some(other.into())
}
