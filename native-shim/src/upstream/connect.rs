//! New connections to origins: name, address, TLS, all within the origin's time.

use std::time::Duration;

use http::uri::Scheme;
use rustls::pki_types::ServerName;
use tidegate_core::FailureKind;
use tidegate_core::route::Origin;
use tokio_rustls::TlsConnector;

use super::stream::Stream;
use crate::dial::dial;
use crate::tls::TlsFiles;

/// Connects. Nothing of a request has been sent when this fails.
pub(super) async fn connect(origin: &Origin, files: &TlsFiles) -> Result<Stream, FailureKind> {
    let limit = Duration::from_millis(origin.timeouts.connect);
    tokio::time::timeout(limit, open(origin, files))
        .await
        .unwrap_or(Err(FailureKind::ConnectTimeout))
}

async fn open(origin: &Origin, files: &TlsFiles) -> Result<Stream, FailureKind> {
    let secure = origin.scheme == Scheme::HTTPS;
    let port = origin
        .authority
        .port_u16()
        .unwrap_or(if secure { 443 } else { 80 });
    let host = origin.authority.host();
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    let stream = dial(host, port)
        .await
        .map_err(|_| FailureKind::Unreachable)?;
    let _ = stream.set_nodelay(true);
    if !secure {
        return Ok(Stream::Plain(stream));
    }
    let name = origin
        .tls
        .as_ref()
        .and_then(|tls| tls.server_name.as_deref())
        .unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| FailureKind::Tls)?;
    let config = files
        .client(origin.tls.as_ref())
        .map_err(|_| FailureKind::Tls)?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|_| FailureKind::Tls)?;
    Ok(Stream::Tls(Box::new(stream)))
}
