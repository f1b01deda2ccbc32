//! What goes into the store.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};

use crate::cache::range::Part;
use crate::cache::{CacheKey, Profile, Stored};
use crate::flight::Lead;

/// A response to put into the store.
#[derive(Debug)]
pub struct Fill {
    /// Under which key; [`crate::cache::variants::put`] says where among the key's responses.
    pub key: CacheKey,
    /// The head to store.
    pub head: Arc<Stored>,
    /// Whether the body comes from the origin or stays.
    pub kind: FillKind,
    /// Most bytes of body; a longer one is not stored.
    pub body_bytes_max: u64,
    /// Most bytes that a part may have together with what is stored beside it; 0 if it is not to be
    /// joined to that.
    pub joined_max: u64,
    /// Ends the wait of other requests when dropped: keep it until the response is stored, or has
    /// proved not to be.
    pub lead: Option<Lead>,
}

/// What a fill does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FillKind {
    /// Stores head and body of the origin's response.
    Insert,
    /// Stores the head with the body of this stored response: in its place, or beside it if the
    /// head is for other requests.
    Refresh(Arc<Stored>),
}

impl Fill {
    /// Stores a head with the body that is stored with an `old` one.
    pub(super) fn refresh(
        key: CacheKey,
        head: Arc<Stored>,
        old: &Arc<Stored>,
        profile: &Profile,
        lead: Option<Lead>,
    ) -> Self {
        Self {
            key,
            head,
            kind: FillKind::Refresh(Arc::clone(old)),
            body_bytes_max: profile.body_bytes_max,
            joined_max: 0,
            lead,
        }
    }

    /// Returns the head to store with a body that has been read to its end and is so long; `None`
    /// when it must not be stored: it is larger than allowed, or not as long as announced.
    pub fn completed(&self, length: u64) -> Option<Arc<Stored>> {
        let announced = self.head.announced_length();
        if length > self.body_bytes_max || announced.is_some_and(|announced| announced != length) {
            return None;
        }
        let part = Part::of(self.head.status, &self.head.headers);
        let mends = part.is_some_and(|part| part.length() != length);
        if !mends && (announced.is_some() || self.head.status == StatusCode::NO_CONTENT) {
            return Some(Arc::clone(&self.head));
        }
        let mut head = Stored::clone(&self.head);
        head.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(part) = part {
            head.headers
                .insert(header::CONTENT_RANGE, part.shortened_to(length)?.field()?);
        }
        Some(Arc::new(head))
    }
}
