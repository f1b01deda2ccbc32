//! TLS settings from files: trusted authorities and client certificates of origins, the certificate
//! of the listener.

mod validity;

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

/// What [`TlsFiles::examine`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The way to the policy's value that names it.
    pub keys: Vec<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether a server would not start so.
    pub fatal: bool,
}

/// The TLS settings of all origins, read once for each policy.
#[derive(Debug)]
pub struct TlsFiles {
    folder: PathBuf,
    clients: Mutex<Vec<(OriginTls, Arc<ClientConfig>)>>,
}

impl TlsFiles {
    /// Prepares to read files relative to the policy's folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            clients: Mutex::default(),
        }
    }

    /// Reads the files of all origins of a policy, in place of those read before.
    pub fn load(&self, policy: &Policy) -> Result<(), TlsError> {
        let mut clients: Vec<(OriginTls, Arc<ClientConfig>)> = Vec::new();
        for origin in policy
            .origins
            .iter()
            .filter(|o| o.scheme == http::uri::Scheme::HTTPS)
        {
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

    /// Looks at all files that a server with this policy opens. `now` is in seconds after 1970.
    pub fn examine(&self, policy: &Policy, now: i64) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(tls) = &policy.server.tls {
            let keys = ["server", "tls"];
            self.note(
                &keys,
                "certificate",
                "key",
                self.server(tls).err(),
                &tls.key,
                &mut findings,
            );
            self.note_validity(&keys, "certificate", &tls.certificate, now, &mut findings);
        }
        for origin in &policy.origins {
            if let Some(tls) = &origin.tls {
                let keys = ["origins", &*origin.name, "tls"];
                self.examine_client(&keys, tls, now, &mut findings);
            }
        }
        let store = policy.counters.store.as_ref();
        if let Some(tls) = store.and_then(|store| store.tls.as_ref()) {
            let tls = OriginTls {
                ca: tls.ca.clone(),
                server_name: None,
                client_certificate: tls.client_certificate.clone(),
            };
            self.examine_client(&["counters", "tls"], &tls, now, &mut findings);
        }
        findings
    }

    /// Looks at the files of a client.
    fn examine_client(
        &self,
        keys: &[&str],
        tls: &OriginTls,
        now: i64,
        findings: &mut Vec<Finding>,
    ) {
        let (certificate, key) = tls
            .client_certificate
            .as_ref()
            .map_or(("", ""), |(c, k)| (c, k));
        let wrong = self.read_client(tls).err();
        let is_of_ca = |error: &TlsError| {
            tls.ca
                .as_ref()
                .is_some_and(|ca| error.file == self.folder.join(ca))
        };
        let about = if wrong.as_ref().is_some_and(is_of_ca) {
            "ca"
        } else {
            "certificate"
        };
        self.note(keys, about, "key", wrong, key, findings);
        if let Some(ca) = &tls.ca {
            self.note_validity(keys, "ca", ca, now, findings);
        }
        if !certificate.is_empty() {
            self.note_validity(keys, "certificate", certificate, now, findings);
        }
    }

    /// Notes what prevents a start. It is about the file `key_file`, named by the key `key`, or
    /// about what `otherwise` names.
    fn note(
        &self,
        keys: &[&str],
        otherwise: &str,
        key: &str,
        wrong: Option<TlsError>,
        key_file: &str,
        findings: &mut Vec<Finding>,
    ) {
        let Some(error) = wrong else { return };
        let about = if error.file == self.folder.join(key_file) {
            key
        } else {
            otherwise
        };
        findings.push(Finding {
            keys: way(keys, about),
            message: error.to_string(),
            fatal: true,
        });
    }

    /// Notes certificates that are not valid now. A file that cannot be read has been noted
    /// already.
    fn note_validity(
        &self,
        keys: &[&str],
        key: &str,
        file: &str,
        now: i64,
        findings: &mut Vec<Finding>,
    ) {
        for (position, certificate) in self
            .certificates(file)
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            let Some(validity) = validity::read(certificate) else {
                continue;
            };
            let which = format!(
                "{}: certificate {} of the file",
                self.folder.join(file).display(),
                position + 1
            );
            let message = match () {
                () if validity.ends < now => {
                    format!(
                        "{which} expired {}; whoever checks it refuses the connection: renew it",
                        ago(now - validity.ends)
                    )
                }
                () if validity.begins > now => {
                    format!(
                        "{which} is not valid before {} from now: look at this machine's clock",
                        span(validity.begins - now)
                    )
                }
                () => continue,
            };
            findings.push(Finding {
                keys: way(keys, key),
                message,
                fatal: false,
            });
        }
    }

    /// Reads the listener's certificate. Offers HTTP/2 and HTTP/1.1.
    pub fn server(&self, tls: &ServerTls) -> Result<ServerConfig, TlsError> {
        let (chain, key) = self.identity(&tls.certificate, &tls.key)?;
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let wrong = |error: rustls::Error| self.error(&tls.certificate, &error);
        let builder = builder.map_err(wrong)?.with_no_client_auth();
        let mismatch = |error: rustls::Error| self.mismatch(&tls.certificate, &tls.key, &error);
        let mut config = builder.with_single_cert(chain, key).map_err(mismatch)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn read_client(&self, tls: &OriginTls) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore::empty();
        match &tls.ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(file) => {
                for certificate in self.certificates(file)? {
                    roots
                        .add(certificate)
                        .map_err(|error| self.error(file, &error))?;
                }
            }
        }
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let about = tls.ca.as_deref().unwrap_or("(public authorities)");
        let builder = builder
            .map_err(|error| self.error(about, &error))?
            .with_root_certificates(roots);
        match &tls.client_certificate {
            None => Ok(builder.with_no_client_auth()),
            Some((certificate, key)) => {
                let (chain, key_read) = self.identity(certificate, key)?;
                let mismatch = |error: rustls::Error| self.mismatch(certificate, key, &error);
                builder
                    .with_client_auth_cert(chain, key_read)
                    .map_err(mismatch)
            }
        }
    }

    /// Reads a file in PEM as it is.
    pub(crate) fn read(&self, file: &str) -> Result<Vec<u8>, TlsError> {
        let read = std::fs::read(self.folder.join(file));
        read.map_err(|error| self.error(file, &error))
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
        let read =
            CertificateDer::pem_file_iter(self.folder.join(file)).and_then(Iterator::collect);
        let certificates: Vec<_> = read.map_err(|error| self.error(file, &error))?;
        if certificates.is_empty() {
            return Err(self.error(file, &"no certificate in it"));
        }
        Ok(certificates)
    }

    /// Says what is wrong with a certificate and its key, as the TLS library has found.
    fn mismatch(&self, certificate: &str, key: &str, error: &rustls::Error) -> TlsError {
        match error {
            rustls::Error::InconsistentKeys(_) => {
                let reason = format!(
                    "the key does not belong to the certificate {certificate}; name the two that were made together"
                );
                self.error(key, &reason)
            }
            other => self.error(certificate, other),
        }
    }

    fn error(&self, file: &str, reason: &dyn fmt::Display) -> TlsError {
        TlsError {
            file: Path::join(&self.folder, file),
            reason: reason.to_string(),
        }
    }
}

fn way(keys: &[&str], last: &str) -> Vec<String> {
    keys.iter()
        .chain([&last])
        .map(|key| (*key).to_owned())
        .collect()
}

fn ago(seconds: i64) -> String {
    format!("{} ago", span(seconds))
}

fn span(seconds: i64) -> String {
    if seconds >= 172_800 {
        format!("{} days", seconds / 86_400)
    } else {
        format!("{} minutes", seconds / 60)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
