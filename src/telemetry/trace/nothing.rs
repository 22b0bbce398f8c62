//! What stands in for traces where they are not built in: the same words, and nothing behind them.

use std::pin::Pin;
use std::time::Duration;

use axum::http::HeaderMap;
use url::Url;

use super::ASKING;
use crate::config::environment;

/// Where spans go: nowhere.
#[derive(Debug, Clone, Default)]
pub struct Traces(());

/// No span.
#[derive(Debug, Clone, Default)]
pub struct Span(());

/// What another span may link to: nothing.
#[derive(Debug, Clone, Default)]
pub struct Mark(());

impl Traces {
    /// Tells, if the environment asks for traces, that there are none.
    pub fn start() -> Self {
        if let Some(variable) = ASKING.into_iter().find(|name| environment(name).is_some()) {
            tracing::warn!(
                variable,
                remedy = "use a build with the feature `otel`",
                "there are no traces in this build"
            );
        }
        Self(())
    }

    /// No span.
    pub fn request(&self, _method: &'static str, _route: &'static str, _headers: &HeaderMap) -> Span {
        Span(())
    }

    /// The future as it is.
    pub async fn over<F: Future>(self, future: F) -> F::Output {
        future.await
    }

    /// Nothing waits.
    #[expect(clippy::unused_async, reason = "it is awaited where there is something to wait for")]
    pub async fn close(&self, _within: Duration) {}
}

impl Span {
    /// Not noted.
    pub fn set(&self, _key: &'static str, _value: &str) {}

    /// Not noted.
    pub fn set_number(&self, _key: &'static str, _value: i64) {}

    /// Not noted.
    pub fn fail(&self, _cause: &str) {}

    /// Not noted.
    pub fn answered(&self, _status: u16) {}

    /// Not noted.
    pub fn link(&self, _other: &Mark) {}

    /// Nothing.
    pub fn mark(&self) -> Mark {
        Mark(())
    }

    /// None.
    pub fn id(&self) -> Option<String> {
        None
    }

    /// The future as it is.
    pub async fn around<F: Future>(&self, future: Pin<&mut F>) -> F::Output {
        future.await
    }
}

/// No span.
pub fn child(_name: &'static str) -> Span {
    Span(())
}

/// No span.
pub fn call(_method: &'static str, _url: &Url) -> Span {
    Span(())
}

/// No span.
pub fn current() -> Span {
    Span(())
}

/// None.
pub fn current_id() -> Option<String> {
    None
}
