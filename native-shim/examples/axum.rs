//! An axum service behind Tidegate's layer: `cargo run -p tidegate --example axum`, then `curl -i localhost:3000/api/time`.

use std::time::SystemTime;

use axum::{Router, routing::get};
use tidegate::TidegateLayer;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/axum.toml");
    let time = || async { format!("{:?}\n", SystemTime::now()) };
    let app = Router::new().route("/api/time", get(time)).layer(TidegateLayer::from_file(policy)?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await
}
