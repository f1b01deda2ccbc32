//! One request for an issuer's keys, over a connection of its own: it is made a few times an hour.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header, response};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tidegate_core::KeyFetch;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::box_error::BoxError;
use crate::dial::dial;
use crate::tls::TlsFiles;

type Answer = (response::Parts, Bytes);

/// Fetches the keys. Errors are texts for operators.
pub(super) async fn get(fetch: &KeyFetch, tls: &TlsFiles) -> Result<Answer, String> {
    let limit = Duration::from_millis(KeyFetch::PATIENCE);
    let asked = tokio::time::timeout(limit, ask(fetch.url(), tls));
    let late = |_| format!("no answer within {} ms", KeyFetch::PATIENCE);
    asked
        .await
        .map_err(late)?
        .map_err(|error| error.to_string())
}

async fn ask(url: &str, tls: &TlsFiles) -> Result<Answer, BoxError> {
    let uri: Uri = url.parse()?;
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = dial(host, port).await?;
    if !secure {
        return exchange(stream, &uri).await;
    }
    let name = ServerName::try_from(host.to_owned())?;
    let config = tls.client(None)?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    exchange(stream?, &uri).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
) -> Result<Answer, BoxError> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake?;
    let request = Request::get(uri.path_and_query().map_or("/", |target| target.as_str()))
        .header(
            header::HOST,
            uri.authority().map_or("", |host| host.as_str()),
        )
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "tidegate")
        .body(Empty::<Bytes>::new());
    let answer = async {
        let response = sender.send_request(request?).await;
        let (head, body) = response?.into_parts();
        let body = Limited::new(body, KeyFetch::BODY_BYTES_MAX).collect().await;
        Ok((head, body?.to_bytes()))
    };
    // Whoever asks drives the connection, which ends with this.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            // What has come may still be read.
            Ok(()) => answer.await,
            Err(error) => Err(error.into()),
        },
    }
}
