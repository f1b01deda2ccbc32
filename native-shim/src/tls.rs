//! TLS settings from files: trusted authorities and client certificates of origins, the certificate of the listener.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tidegate_core::Policy;
use tidegate_core::policy::ServerTls;
use tidegate_core::route::OriginTls;

/// Why TLS cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for TlsError {}

/// The TLS settings of all origins, read once for each policy.
#[derive(Debug)]
pub struct TlsFiles {
    folder: PathBuf,
    clients: Mutex<Vec<(OriginTls, Arc<ClientConfig>)>>,
}

impl TlsFiles {
    /// Prepares to read files relative to the policy's folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), clients: Mutex::default() }
    }

    /// Reads the files of all origins of a policy, in place of those read before.
    pub fn load(&self, policy: &Policy) -> Result<(), TlsError> {
        let mut clients: Vec<(OriginTls, Arc<ClientConfig>)> = Vec::new();
        for origin in policy.origins.iter().filter(|o| o.scheme == http::uri::Scheme::HTTPS) {
            let tls = origin.tls.clone().unwrap_or_default();
            if !clients.iter().any(|(known, _)| *known == tls) {
                let config = Arc::new(self.read_client(&tls)?);
                clients.push((tls, config));
            }
        }
        *self.clients.lock().unwrap_or_else(PoisonError::into_inner) = clients;
        Ok(())
    }

    /// Returns the settings for an origin; those of an earlier policy's are read again.
    pub(crate) fn client(&self, tls: Option<&OriginTls>) -> Result<Arc<ClientConfig>, TlsError> {
        let tls = tls.cloned().unwrap_or_default();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = clients.iter().find(|(known, _)| *known == tls) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.read_client(&tls)?);
        clients.push((tls, Arc::clone(&config)));
        Ok(config)
    }

    /// Reads the listener's certificate. Offers HTTP/2 and HTTP/1.1.
    pub fn server(&self, tls: &ServerTls) -> Result<ServerConfig, TlsError> {
        let (chain, key) = self.identity(&tls.certificate, &tls.key)?;
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let wrong = |error: rustls::Error| self.error(&tls.certificate, &error);
        let mut config = builder.map_err(wrong)?.with_no_client_auth().with_single_cert(chain, key).map_err(wrong)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn read_client(&self, tls: &OriginTls) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore::empty();
        match &tls.ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(file) => {
                for certificate in self.certificates(file)? {
                    roots.add(certificate).map_err(|error| self.error(file, &error))?;
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let about = tls.ca.as_deref().unwrap_or("(public authorities)");
        let builder = builder.map_err(|error| self.error(about, &error))?.with_root_certificates(roots);
        match &tls.client_certificate {
            None => Ok(builder.with_no_client_auth()),
            Some((certificate, key)) => {
                let (chain, key) = self.identity(certificate, key)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| self.error(certificate, &error))
            }
        }
    }

    fn identity(
        &self,
        certificate: &str,
        key: &str,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let chain = self.certificates(certificate)?;
        let key_read = PrivateKeyDer::from_pem_file(self.folder.join(key));
        Ok((chain, key_read.map_err(|error| self.error(key, &error))?))
    }

    fn certificates(&self, file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let read = CertificateDer::pem_file_iter(self.folder.join(file)).and_then(Iterator::collect);
        let certificates: Vec<_> = read.map_err(|error| self.error(file, &error))?;
        if certificates.is_empty() {
            return Err(self.error(file, &"no certificate in it"));
        }
        Ok(certificates)
    }

    fn error(&self, file: &str, reason: &dyn fmt::Display) -> TlsError {
        TlsError { file: Path::join(&self.folder, file), reason: reason.to_string() }
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
