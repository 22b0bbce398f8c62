//! The baseline of the benchmark: `axum::serve` with one route that returns fixed bytes, and nothing else.
//!
//! Takes an address and a file; answers `GET /token` with the file's bytes as JSON.

use std::error::Error;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::routing::get;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: bare_route ADDRESS FILE")?;
    let file = arguments.next().ok_or("usage: bare_route ADDRESS FILE")?;
    let body: &'static [u8] = std::fs::read(file)?.leak();
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
    let router = Router::new().route("/token", get(move || async move { (headers, body) }));
    axum::serve(TcpListener::bind(address).await?, router).await?;
    Ok(())
}
