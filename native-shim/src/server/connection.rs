//! One client connection: TLS, the protocol, and its life until the client, a timeout or the server
//! ends it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_core::message::bounds::Bounds;
use tidegate_core::problem::Refusal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::activity::{Activity, STREAMS_MAX, Signal};
use super::canned;
use super::header_blocks::PREFACE;
use super::registry::Registered;
use super::service::{Exchanges, Shared};
use super::wire::Wire;

/// What a head may take beyond the policy's bounds: what surrounds its fields, and enough that the
/// core refuses before hyper does.
const HEAD_ROOM: usize = 64 << 10;

/// Header fields up to which hyper needs no memory of its own for each request.
const HEADERS_CHEAP: usize = 100;

/// Most bytes of a head that are read.
fn head_bytes_max(bounds: &Bounds) -> usize {
    bounds
        .header_bytes_max
        .saturating_add(bounds.uri_bytes_max)
        .saturating_add(HEAD_ROOM)
}

/// Serves a connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    shared: Arc<Shared>,
    place: Registered,
    tls: Option<TlsAcceptor>,
) {
    let _ = stream.set_nodelay(true);
    let place = Arc::new(place);
    let activity = Arc::clone(&place.activity);
    let exchanges = Exchanges { shared, place };
    // An error has ended the connection; there is nobody to tell.
    let _ = match tls {
        None => plain(stream, exchanges, &activity).await,
        // Boxed, since it is four times as large as the other.
        Some(tls) => Box::pin(secure(stream, exchanges, &activity, &tls)).await,
    };
}

async fn plain(
    mut stream: TcpStream,
    exchanges: Exchanges,
    activity: &Arc<Activity>,
) -> io::Result<()> {
    let first = tokio::select! {
        first = first_bytes(&mut stream) => first?,
        _ = activity.signal() => return Ok(()),
    };
    let is_http2 = first.starts_with(PREFACE);
    let mut wire = Wire::new(stream, Arc::clone(activity));
    wire.unread(first);
    if is_http2 {
        serve_http2(wire, exchanges, activity).await
    } else {
        serve_http1(wire, exchanges, activity).await
    }
}

async fn secure(
    stream: TcpStream,
    exchanges: Exchanges,
    activity: &Arc<Activity>,
    tls: &TlsAcceptor,
) -> io::Result<()> {
    let limit = Duration::from_millis(activity.node.engine().policy().server.bounds.header_timeout);
    let stream = tokio::time::timeout(limit, tls.accept(stream)).await??;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let wire = Wire::new(stream, Arc::clone(activity));
    if is_http2 {
        serve_http2(wire, exchanges, activity).await
    } else {
        serve_http1(wire, exchanges, activity).await
    }
}

/// Reads until it is clear whether this is HTTP/2.
async fn first_bytes(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut bytes = [0; PREFACE.len()];
    let mut length = 0;
    while length < PREFACE.len() && PREFACE.starts_with(&bytes[..length]) {
        let read = stream.read(&mut bytes[length..]).await?;
        if read == 0 {
            break;
        }
        length += read;
    }
    Ok(Bytes::copy_from_slice(&bytes[..length]))
}

async fn serve_http1<T>(
    wire: Wire<T>,
    exchanges: Exchanges,
    activity: &Arc<Activity>,
) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    // Not `pipeline_flush`: with it hyper 1.12 closes without sending its reply to a head that it
    // cannot read.
    let bounds = activity.node.engine().policy().server.bounds;
    builder
        .header_read_timeout(None)
        .max_buf_size(head_bytes_max(&bounds));
    let headers_max = bounds.header_count_max;
    if headers_max > HEADERS_CHEAP {
        builder.max_headers(headers_max + 1);
    }
    let mut connection = builder
        .serve_connection(TokioIo::new(wire), exchanges)
        .with_upgrades();
    let mut registered = false;
    let too_slow = poll_fn(|cx| {
        while let Poll::Ready(signal) = activity.poll_signal(cx, &mut registered) {
            match signal {
                Signal::Finish => Pin::new(&mut connection).graceful_shutdown(),
                Signal::HeadersTooSlow => return Poll::Ready(true),
                Signal::Abort => return Poll::Ready(false),
            }
        }
        Pin::new(&mut connection).poll(cx).map(|_| false)
    })
    .await;
    match connection.into_parts() {
        Some(parts) if too_slow => {
            let mut wire = parts.io.into_inner();
            let reply = canned::refuse(activity, Refusal::HeadersTooSlow);
            let goodbye = async {
                wire.write_all(&reply).await?;
                wire.shutdown().await
            };
            tokio::select! {
                done = goodbye => done,
                () = activity.aborted() => Ok(()),
            }
        }
        Some(_) | None => Ok(()),
    }
}

async fn serve_http2<T>(
    mut wire: Wire<T>,
    exchanges: Exchanges,
    activity: &Arc<Activity>,
) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    activity.speaks_http2();
    wire.follow_header_blocks();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let head_max = head_bytes_max(&activity.node.engine().policy().server.bounds);
    builder
        .max_header_list_size(u32::try_from(head_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX);
    let connection = builder.serve_connection(TokioIo::new(wire), exchanges);
    let mut connection = pin!(connection);
    let (mut registered, mut refused) = (false, false);
    poll_fn(|cx| {
        while let Poll::Ready(signal) = activity.poll_signal(cx, &mut registered) {
            match signal {
                Signal::Finish => connection.as_mut().graceful_shutdown(),
                Signal::HeadersTooSlow if !refused => {
                    // There is no stream yet to reply on. The others get as long again to end.
                    canned::refuse(activity, Refusal::HeadersTooSlow);
                    refused = true;
                    activity.restart_header_block();
                    connection.as_mut().graceful_shutdown();
                }
                Signal::HeadersTooSlow | Signal::Abort => return Poll::Ready(()),
            }
        }
        connection.as_mut().poll(cx).map(|_| ())
    })
    .await;
    Ok(())
}
