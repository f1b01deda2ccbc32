//! An axum service behind Tidegate's layer: `cargo run -p tidegate --example axum`, then `curl -i
//! localhost:3000/api/time`.

use std::net::SocketAddr;
use std::time::SystemTime;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use axum::{Router, routing::get};
use tidegate::{PeerAddress, TidegateLayer};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/axum.toml");
    let time = || async { format!("{:?}\n", SystemTime::now()) };
    let app = Router::new()
        .route("/api/time", get(time))
        .layer(TidegateLayer::from_file(policy)?)
        .layer(map_request(peer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}/api/time", listener.local_addr()?);
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await
}

/// Tells the layer who the client is; limits by address need it.
async fn peer(ConnectInfo(address): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(PeerAddress(address));
    request
}
