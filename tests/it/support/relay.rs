//! Stands between the broker and the token endpoint: holds requests back behind a gate, notes the assertions that pass,
//! and answers in Salesforce's place when told to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::client;
use super::reply::Reply;

/// A running relay; dropping it ends it.
pub(crate) struct Relay {
    address: std::net::SocketAddr,
    desk: Arc<Desk>,
    _stop: DropGuard,
}

struct Desk {
    target: String,
    http: reqwest::Client,
    open: watch::Sender<bool>,
    assertions: Mutex<Vec<String>>,
    script: Mutex<Option<Script>>,
}

/// An answer in Salesforce's place, given the assertion that came.
pub(crate) type Script = Box<dyn Fn(&str) -> (u16, String) + Send>;

impl Relay {
    pub(super) async fn to(target: &str) -> Self {
        let desk = Arc::new(Desk {
            target: target.to_owned(),
            http: client(),
            open: watch::Sender::new(true),
            assertions: Mutex::default(),
            script: Mutex::default(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/services/oauth2/token", post(pass)).with_state(Arc::clone(&desk));
        let stop = CancellationToken::new();
        let told = stop.clone();
        TaskTracker::new().spawn(async move {
            tokio::select! {
                _ = axum::serve(listener, router) => {}
                () = told.cancelled() => {}
            }
        });
        Self { address, desk, _stop: stop.drop_guard() }
    }

    /// What the configuration names as token endpoint.
    pub(crate) fn token_url(&self) -> String {
        format!("http://{}/services/oauth2/token", self.address)
    }

    /// From now on requests wait.
    pub(crate) fn close(&self) {
        self.desk.open.send_replace(false);
    }

    /// Lets them all go on.
    pub(crate) fn open(&self) {
        self.desk.open.send_replace(true);
    }

    /// The assertions that have come, waiting or not.
    pub(crate) fn assertions(&self) -> Vec<String> {
        self.desk.assertions.lock().unwrap().clone()
    }

    /// Answers so from now on; Salesforce is not asked.
    pub(crate) fn answer(&self, script: Script) {
        *self.desk.script.lock().unwrap() = Some(script);
    }

    /// Salesforce answers again.
    pub(crate) fn answer_truly(&self) {
        *self.desk.script.lock().unwrap() = None;
    }
}

async fn pass(State(desk): State<Arc<Desk>>, body: Bytes) -> Response<String> {
    let assertion = url::form_urlencoded::parse(&body).find(|(name, _)| name == "assertion");
    let assertion = assertion.map_or_else(String::new, |(_, value)| value.into_owned());
    desk.assertions.lock().unwrap().push(assertion.clone());
    let _ = desk.open.subscribe().wait_for(|open| *open).await;
    let scripted = desk.script.lock().unwrap().as_ref().map(|script| script(&assertion));
    let (status, body) = match scripted {
        Some(answer) => answer,
        None => {
            let request = desk.http.post(&desk.target).header("content-type", "application/x-www-form-urlencoded");
            let reply = Reply::of(request.body(body)).await;
            (reply.status, reply.body)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
