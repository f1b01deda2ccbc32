//! Whom a client's certificate names.

use std::sync::Arc;

use http::request;

use super::client::ClientPolicy;
use super::syntax;

/// The subject of a client's certificate, as whoever has verified the certificate writes it. It may
/// be empty, if the certificate names nobody.
///
/// A shell that ends TLS itself, or whose platform does, tells it as an extension of the request's
/// head; otherwise a trusted proxy may in a header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSubject(pub Arc<str>);

impl TlsSubject {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Finds what is said of the client's certificate. An empty field says nothing: proxies write
    /// one for clients without a certificate.
    pub(super) fn of(
        clients: &ClientPolicy,
        head: &mut request::Parts,
        from_trusted_peer: bool,
    ) -> Option<Self> {
        if let Some(told) = head.extensions.remove::<Self>() {
            return Some(told);
        }
        let field = clients.tls_subject_header.as_ref()?;
        if !from_trusted_peer {
            return None;
        }
        let value = syntax::only(&head.headers, field)?.trim();
        (!value.is_empty()).then(|| Self(value.into()))
    }
}
