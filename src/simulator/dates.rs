//! The `Date` of every answer, by the simulator's own clock: clients measure with it how far theirs is off.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::DATE;
use axum::middleware::Next;
use axum::response::Response;

use super::world::World;

pub(super) async fn date(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // A forced answer may tell another one.
    if !response.headers().contains_key(DATE) {
        let now = httpdate::fmt_http_date(SystemTime::from(world.clock.now()));
        response.headers_mut().extend(HeaderValue::try_from(now).ok().map(|now| (DATE, now)));
    }
    response
}
