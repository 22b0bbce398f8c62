//! Form bodies: content-length or chunked, only if the request says that it is a form.
//!
//! Parameters nobody asks for are tolerated. An empty one is an absent one, and none may stand twice (RFC 6749, 3.2).

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;

use super::rows::TokenRow;

/// An assertion is about a kilobyte; this leaves room for odd ones.
const BODY_LIMIT: usize = 256 * 1024;

#[derive(Default)]
pub(super) struct Form {
    parameters: Vec<(String, String)>,
}

impl Form {
    /// Reads the body, and the query string too if that is wanted.
    pub(super) async fn read(request: Request, with_query: bool) -> Result<Self, TokenRow> {
        let (parts, body) = request.into_parts();
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| TokenRow::InvalidAssertion)?;

        let mut form = Self::default();
        if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            form.add(&body);
        }
        if with_query {
            form.add(parts.uri.query().unwrap_or_default().as_bytes());
        }
        Ok(form)
    }

    fn add(&mut self, text: &[u8]) {
        let pairs = url::form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty());
        self.parameters.extend(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())));
    }

    /// The parameter of this name.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, TokenRow> {
        let mut values = self.parameters.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() { Err(TokenRow::RepeatedParameter) } else { Ok(value) }
    }
}
