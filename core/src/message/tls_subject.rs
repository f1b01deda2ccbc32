//! Whom a client's certificate names.

use std::sync::Arc;

/// The subject of a client's certificate, as whoever has verified the certificate writes it. It may
/// be empty, if the certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSubject(pub Arc<str>);

impl TlsSubject {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
