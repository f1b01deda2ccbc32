//! What a request uses of a limit: what is reserved before it is known, and what it has been in the
//! end.
//!
//! A reservation is a charge like any other. When the exchange has ended, what was too much of it is
//! given back, and what was too little is added, as far as the limit goes. What nobody gets to know
//! stays as it was reserved. A reservation whose node has died expires as every charge does: a rate
//! earns it back, and a budget's ends with its window.

use http::{HeaderMap, HeaderName, Method};

use crate::message::request::{Request, RequestBody};
use crate::packed::{packed_enum, packed_struct};

/// What one request uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// What a request uses of which nothing else is said; at least 1.
    pub usual: u64,
    /// What requests with these methods use; each at least 1.
    pub by_method: Vec<(Method, u64)>,
    /// What says it of a request by itself.
    pub estimate: Option<Measure>,
    /// Most that a request may use; what is said to be more is this much.
    pub most: u64,
    /// What says it of an answer.
    pub settle: Option<Measure>,
    /// Whether it is given back when the origin has failed.
    pub refunds_failures: bool,
}

packed_struct!(Cost {
    usual,
    by_method,
    estimate,
    most,
    settle,
    refunds_failures
});

/// What says how much a message uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// A header field with a whole number.
    Header(HeaderName),
    /// The bytes of its body: one for each so many, or a part of them.
    Body {
        /// At least 1.
        unit: u64,
    },
}

packed_enum!(Measure { 0 = Header(name), 1 = Body { unit } });

#[cfg(feature = "source")]
impl Measure {
    /// Returns the header field that says it, if one does.
    pub(crate) fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Header(name) => Some(name),
            Self::Body { .. } => None,
        }
    }
}

/// What an exchange has told of its cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Known {
    /// Nothing: what was reserved stays.
    #[default]
    Nothing,
    /// So much.
    Amount(u64),
    /// The origin has failed.
    Failed,
}

impl Cost {
    /// Each request uses so much.
    pub const fn fixed(cost: u64) -> Self {
        Self {
            usual: cost,
            by_method: Vec::new(),
            estimate: None,
            most: cost,
            settle: None,
            refunds_failures: false,
        }
    }

    /// Returns whether it may have been another one in the end.
    pub fn settles(&self) -> bool {
        self.settle.is_some() || self.refunds_failures
    }

    /// Returns what a request uses, as far as can be said before it is answered.
    pub(crate) fn of(&self, request: &Request) -> u64 {
        let said = match &self.estimate {
            Some(Measure::Header(name)) => number(&request.head.headers, name),
            Some(Measure::Body { unit }) => match request.body {
                RequestBody::Empty => Some(0),
                RequestBody::Sized(bytes) => Some(units(bytes, *unit)),
                RequestBody::Streamed => None,
            },
            None => None,
        };
        let by_method = || {
            let of_method = |(method, _): &&(Method, u64)| *method == request.head.method;
            let found = self.by_method.iter().find(of_method);
            found.map_or(self.usual, |(_, cost)| *cost)
        };
        said.unwrap_or_else(by_method).clamp(1, self.most.max(1))
    }

    /// Returns what the head of an origin's answer says.
    pub fn told_by(&self, answer: &HeaderMap, is_failure: bool) -> Known {
        if is_failure && self.refunds_failures {
            return Known::Failed;
        }
        let said = match &self.settle {
            Some(Measure::Header(name)) => number(answer, name),
            Some(Measure::Body { .. }) | None => None,
        };
        said.map_or(Known::Nothing, Known::Amount)
    }

    /// Returns what it has been in the end, if that is known. `bytes` are those of the reply's body.
    pub fn in_the_end(&self, known: Known, bytes: Option<u64>) -> Option<u64> {
        match (known, &self.settle) {
            (Known::Failed, _) => Some(0),
            (Known::Amount(amount), _) => Some(amount),
            (Known::Nothing, Some(Measure::Body { unit })) => Some(units(bytes?, *unit)),
            (Known::Nothing, Some(Measure::Header(_)) | None) => None,
        }
    }
}

fn units(bytes: u64, unit: u64) -> u64 {
    bytes.div_ceil(unit.max(1))
}

/// Reads a whole number in a header field that occurs once.
fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut values = headers.get_all(name).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    let text = only.to_str().ok()?.trim();
    // No number of units is as long as that, and none has a sign.
    let is_number = text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}
