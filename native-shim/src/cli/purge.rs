//! `tidegate purge`: tells running proxies that what they have stored is of no more use.

use std::process::ExitCode;

use clap::Args;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use super::admin_token::admin_token;

/// Tells proxies that what they have stored is of no more use. Their token is taken from the
/// environment: `TIDEGATE_ADMIN_TOKEN`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The admin address of a proxy; once for each proxy.
    #[arg(long, default_value = "127.0.0.1:9900")]
    admin: Vec<String>,
    /// A URL: all its variants.
    #[arg(long)]
    url: Vec<String>,
    /// HOST/PATH: everything at and below it.
    #[arg(long)]
    prefix: Vec<String>,
    /// A host.
    #[arg(long)]
    host: Vec<String>,
    /// A tag.
    #[arg(long)]
    tag: Vec<String>,
    /// Everything.
    #[arg(long)]
    everything: bool,
    /// Keeps what is reached as stale, to be validated or to stand in for failing origins.
    #[arg(long)]
    soft: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let Arguments {
        admin,
        url,
        prefix,
        host,
        tag,
        everything,
        soft,
    } = arguments;
    let order = json!({
        "urls": url, "prefixes": prefix, "hosts": host, "tags": tag, "everything": everything, "soft": soft,
    });
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tidegate: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut done = ExitCode::SUCCESS;
    for address in admin {
        match runtime.block_on(tell(address, order.to_string())) {
            Ok(answer) => println!("{address}: {}", answer.trim_end()),
            Err(why) => {
                eprintln!("tidegate: {address}: {}", why.trim_end());
                done = ExitCode::FAILURE;
            }
        }
    }
    done
}

async fn tell(address: &str, order: String) -> Result<String, String> {
    let token = admin_token().ok_or("TIDEGATE_ADMIN_TOKEN is not set, or empty")?;
    let address = address
        .strip_prefix("http://")
        .unwrap_or(address)
        .trim_end_matches('/');
    if address.contains("://") {
        return Err("the admin address is spoken to in plain HTTP; write HOST:PORT. A Worker takes the order at \
                    POST /performance/cache/invalidate: use an HTTP client"
            .into());
    }
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("cannot be reached: {error}"))?;
    // The address is expected as Host, whatever name led to it.
    let host = stream
        .peer_addr()
        .map_err(|error| error.to_string())?
        .to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let request = Request::post(Uri::from_static("/performance/cache/invalidate"))
        .header(header::HOST, host)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Full::new(bytes::Bytes::from(order)));
    let request = request.map_err(|error| error.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let told = |member: &str| answer.get(member).and_then(|value| value.as_str());
    match (status, told("title"), told("detail")) {
        (StatusCode::OK, ..) if answer.get("last_purge").is_some() => Ok(text),
        (StatusCode::OK, ..) => Err(
            "answers as no admin address does; nothing was purged. Is it the one of [server]?"
                .into(),
        ),
        (_, Some(title), Some(detail)) => Err(format!("nothing was purged: {title}: {detail}")),
        _ => Err(format!("{status}: {text}")),
    }
}
