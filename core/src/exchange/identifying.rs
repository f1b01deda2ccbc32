//! What is known of the token of a request while it is being verified.

use std::sync::Arc;

use super::state::Exchange;
use crate::time::Timestamp;
use crate::token::{Compact, TokenRule};

/// What is known of the token of a request.
#[derive(Debug)]
pub(super) struct Identifying {
    pub(super) exchange: Box<Exchange>,
    pub(super) rule: Arc<TokenRule>,
    pub(super) token: Compact,
    /// With how many keys it has been tried.
    pub(super) tries: u8,
    /// Whether keys have been waited for already.
    pub(super) waited: bool,
}

impl Identifying {
    /// Returns whether no keys are being fetched any more.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let ring = self.exchange.node.keyring();
        ring.is_none_or(|ring| ring.is_settled(now))
    }
}
