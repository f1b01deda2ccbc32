//! New connections to origins: name, address, TLS, all within the origin's time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Scheme;
use rustls::pki_types::ServerName;
use tidegate_core::FailureKind;
use tidegate_core::route::Origin;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::TlsFiles;

/// A connection to an origin.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects. Nothing of a request has been sent when this fails.
pub(super) async fn connect(origin: &Origin, files: &TlsFiles) -> Result<Socket, FailureKind> {
    let limit = Duration::from_millis(origin.timeouts.connect);
    tokio::time::timeout(limit, open(origin, files)).await.unwrap_or(Err(FailureKind::ConnectTimeout))
}

async fn open(origin: &Origin, files: &TlsFiles) -> Result<Socket, FailureKind> {
    let secure = origin.scheme == Scheme::HTTPS;
    let port = origin.authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let host = origin.authority.host();
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let stream = tcp(host, port).await.map_err(|_| FailureKind::Unreachable)?;
    let _ = stream.set_nodelay(true);
    if !secure {
        return Ok(Socket::Plain(stream));
    }
    let name = origin.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| FailureKind::Tls)?;
    let config = files.client(origin.tls.as_ref()).map_err(|_| FailureKind::Tls)?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|_| FailureKind::Tls)?;
    Ok(Socket::Tls(Box::new(stream)))
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return TcpStream::connect(SocketAddr::new(address, port)).await;
    }
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in tokio::net::lookup_host((host, port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            // A plain send costs the kernel less.
            return self.poll_write(cx, only);
        }
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
