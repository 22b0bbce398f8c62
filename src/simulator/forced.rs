//! Carries out a forced answer: waits, answers, hangs up.
//!
//! Nothing here holds a lock while it waits; a wait ends early when the simulator stops.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::faults::{Fault, FaultAnswer, Row};
use super::format::Format;
use super::render::{self, JSON};
use super::rows::name_of;
use super::world::World;

/// In the extensions of a response: do not send it, end the connection (`server.rs` does).
#[derive(Debug, Clone, Copy)]
pub(super) struct HangUp;

/// What is left to do after an order was looked at.
pub(super) enum Order {
    /// Answer as usual.
    AsUsual,
    /// Work as usual, then end the connection.
    LoseAnswer,
    /// This is the answer; the text names it in the counts.
    Answer(Response, String),
}

/// Carries the order out; a row of the token endpoint comes in the `format` that the request wants.
pub(super) async fn obey(world: &World, fault: Option<Fault>, format: Format) -> Order {
    let Some(fault) = fault else { return Order::AsUsual };
    if fault.delay_ms > 0 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(fault.delay_ms)) => {}
            () = world.stopping.cancelled() => {}
        }
    }
    let (response, name) = match fault.answer {
        FaultAnswer::AsUsual => return Order::AsUsual,
        FaultAnswer::LoseAnswer => return Order::LoseAnswer,
        FaultAnswer::Row { row: Row::Token(row) } => (render::token_refusal(row, format), name_of(row)),
        FaultAnswer::Row { row: Row::Rest(row) } => (render::rest_row(row), name_of(row)),
        FaultAnswer::Raw { status, content_type, headers, body } => {
            (raw(status, content_type.as_deref(), &headers, body), "raw".to_owned())
        }
        FaultAnswer::Maintenance { status } => (maintenance(status), "maintenance".to_owned()),
        FaultAnswer::Huge { bytes } => {
            let length = usize::try_from(bytes).unwrap_or(usize::MAX);
            (render::plain(StatusCode::OK, JSON, " ".repeat(length)), "huge".to_owned())
        }
        FaultAnswer::HangUp => (hang_up(), "hang_up".to_owned()),
        FaultAnswer::NeverAnswer => {
            world.stopping.cancelled().await;
            (hang_up(), "never_answer".to_owned())
        }
    };
    Order::Answer(response, format!("fault_{name}"))
}

/// Stands for no answer at all.
pub(super) fn hang_up() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(HangUp);
    response
}

fn maintenance(status: u16) -> Response {
    let page = "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>\
                <body><h1>We are down for maintenance.</h1><p>SIMULATED</p></body></html>\n";
    raw(status, Some("text/html;charset=UTF-8"), &BTreeMap::new(), page.to_owned())
}

fn raw(status: u16, content_type: Option<&str>, headers: &BTreeMap<String, String>, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(value) = content_type.and_then(|text| HeaderValue::from_str(text).ok()) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
