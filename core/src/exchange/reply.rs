//! What an exchange ends with.

use std::sync::Arc;

use bytes::Bytes;
use http::response;

use super::background::Background;
use super::fill::Fill;
use super::hold::{Call, Hold};
use super::taken::Taken;
use crate::cache::range::Piece;
use crate::cache::{CacheKey, Stored};
use crate::limit::{Limit, Pace};
use crate::problem::Refusal;
use crate::purge::Purge;
use crate::report::Report;
use crate::time::Millis;

/// What the shell answers, stores and does afterwards.
#[derive(Debug)]
pub struct Reply {
    /// Status and header fields for the client.
    pub head: response::Parts,
    /// Where the body comes from.
    pub source: Source,
    /// What to store. When the source is not the origin, the origin's body is still read to its end
    /// into the store.
    pub fill: Option<Fill>,
    /// Keys whose stored responses are of no more use: they may be dropped at once.
    pub invalidate: Vec<CacheKey>,
    /// What is of no more use under any key. The shell has these purges made by
    /// [`crate::Engine::apply_purges`] before it answers, so that whoever asks afterwards sees the
    /// change.
    pub purges: Vec<Purge>,
    /// Another exchange to drive, after the client has its answer.
    pub background: Option<Background>,
    /// What paces the body on its way to the client. What is stored of it is not paced.
    pub paces: Vec<Pace>,
    /// What ends with the body, the report with every decision and its reason among it. The shell
    /// tells it how the bodies ended, and records the report then.
    pub hold: Hold,
}

impl Reply {
    /// Returns every decision and its reason, as far as they are known: [`Hold::end`] completes it.
    pub fn report(&self) -> &Report {
        self.hold.report()
    }
}

/// Where a reply's body comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// There is none.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// The body stored with this head, one of those given at the last lookup.
    Stored(Arc<Stored>),
    /// These pieces of that body.
    Pieces(Arc<Stored>, Vec<Piece>),
    /// The body of the last response of an origin. A 101 hands the connections over instead.
    Origin,
}

impl Source {
    /// Returns the stored response whose body is needed.
    pub fn stored(&self) -> Option<&Arc<Stored>> {
        match self {
            Self::Stored(head) | Self::Pieces(head, _) => Some(head),
            Self::Empty | Self::Bytes(_) | Self::Origin => None,
        }
    }
}

/// A reply without what it holds.
pub(super) struct Draft {
    pub(super) head: response::Parts,
    pub(super) source: Source,
    pub(super) fill: Option<Fill>,
    pub(super) invalidate: Vec<CacheKey>,
    pub(super) purges: Vec<Purge>,
    pub(super) background: Option<Background>,
}

impl Draft {
    pub(super) fn new(head: response::Parts, source: Source) -> Self {
        Self {
            head,
            source,
            fill: None,
            invalidate: Vec::new(),
            purges: Vec::new(),
            background: None,
        }
    }

    pub(super) fn reply(
        self,
        mut report: Box<Report>,
        call: Option<Call>,
        taken: Vec<Taken>,
    ) -> Reply {
        let Self {
            head,
            source,
            fill,
            invalidate,
            purges,
            background,
        } = self;
        report.status = head.status.as_u16();
        let mut hold = Hold::new(report, call, taken);
        if source == Source::Origin {
            hold.replies_with_origin();
        }
        Reply {
            head,
            source,
            fill,
            invalidate,
            purges,
            background,
            paces: Vec::new(),
            hold,
        }
    }
}

/// Why a client is refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// After how long it is worth to come again, if anybody knows.
    pub(super) retry_after: Option<Millis>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            retry_after: None,
        }
    }
}

/// Why limits refuse a request.
pub(super) struct RefusedByLimits {
    pub(super) refusal: Refusal,
    /// The limits that do.
    pub(super) names: Vec<Arc<str>>,
    /// The first of them that has a page.
    pub(super) page: Option<Arc<Limit>>,
}
