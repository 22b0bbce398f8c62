//! Carries out a forced answer: waits, answers, spoils the usual answer, ends the connection.
//!
//! Nothing here holds a lock while it waits; a wait ends early when the simulator stops.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};

use super::faults::{Fault, FaultAnswer, Row};
use super::format::Format;
use super::line::Misconduct;
use super::render;
use super::rows::name_of;
use super::streams;
use super::world::World;

/// What is left to do after an order was looked at.
pub(super) enum Order {
    /// Work as usual, then let the answer pass through this.
    AsUsual(Afterwards),
    /// This is the answer; the text names it in the counts.
    Answer(Response, String),
}

/// What happens to the usual answer.
pub(super) enum Afterwards {
    Nothing,
    Alter(Map<String, Value>),
    Cut,
    Trickle(Duration),
    Lose,
}

impl Afterwards {
    /// The answer as it leaves.
    pub(super) async fn applied_to(self, response: Response) -> Response {
        match self {
            Self::Nothing => response,
            Self::Alter(members) => altered(response, members).await,
            Self::Cut => streams::cut(response).await,
            Self::Trickle(pause) => streams::trickled(response, pause).await,
            Self::Lose => hang_up(),
        }
    }
}

/// Carries the order out; a row of the token endpoint comes in the `format` that the request wants.
pub(super) async fn obey(world: &World, fault: Option<Fault>, format: Format) -> Order {
    let Some(fault) = fault else { return Order::AsUsual(Afterwards::Nothing) };
    if fault.delay_ms > 0 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(fault.delay_ms)) => {}
            () = world.stopping.cancelled() => {}
        }
    }
    let (response, name) = match fault.answer {
        FaultAnswer::AsUsual => return Order::AsUsual(Afterwards::Nothing),
        FaultAnswer::Altered { members } => return Order::AsUsual(Afterwards::Alter(members)),
        FaultAnswer::Cut => return Order::AsUsual(Afterwards::Cut),
        FaultAnswer::Trickle { pause_ms } => {
            return Order::AsUsual(Afterwards::Trickle(Duration::from_millis(pause_ms)));
        }
        FaultAnswer::LoseAnswer => return Order::AsUsual(Afterwards::Lose),
        FaultAnswer::Row { row: Row::Token(row) } => (render::token_refusal(row, format), name_of(row)),
        FaultAnswer::Row { row: Row::Rest(row) } => (render::rest_row(row), name_of(row)),
        FaultAnswer::Raw { status, content_type, headers, body } => {
            (raw(status, content_type.as_deref(), &headers, body), "raw".to_owned())
        }
        FaultAnswer::Maintenance { status } => (maintenance(status), "maintenance".to_owned()),
        FaultAnswer::Huge { bytes } => (streams::blanks(Some(bytes)), "huge".to_owned()),
        FaultAnswer::EndlessBody => (streams::blanks(None), "endless_body".to_owned()),
        FaultAnswer::EndlessHead => (misconduct(Misconduct::EndlessHead), "endless_head".to_owned()),
        FaultAnswer::GzipBomb { mebibytes } => (streams::bomb(mebibytes), "gzip_bomb".to_owned()),
        FaultAnswer::HangUp => (hang_up(), "hang_up".to_owned()),
        FaultAnswer::Reset => (misconduct(Misconduct::Reset), "reset".to_owned()),
        FaultAnswer::NeverAnswer => {
            world.stopping.cancelled().await;
            (hang_up(), "never_answer".to_owned())
        }
    };
    Order::Answer(response, format!("fault_{name}"))
}

/// Stands for no answer at all.
fn hang_up() -> Response {
    misconduct(Misconduct::HangUp)
}

/// `server.rs` does it instead of sending the response.
fn misconduct(what: Misconduct) -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(what);
    response
}

async fn altered(response: Response, members: Map<String, Value>) -> Response {
    let (mut parts, body) = response.into_parts();
    // Made in memory, so this neither fails nor waits.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(&body) else {
        return Response::from_parts(parts, Body::from(body));
    };
    for (name, value) in members {
        match value {
            Value::Null => object.remove(&name),
            value => object.insert(name, value),
        };
    }
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(Value::Object(object).to_string()))
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
