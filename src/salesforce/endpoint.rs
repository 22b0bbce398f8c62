//! HTTP to Salesforce: bounded in time and size, to known hosts only, never along a redirect.
//!
//! The only place that builds the client that carries assertions and tokens outwards.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hyper::body::Bytes;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Certificate, Client, ClientBuilder, NoProxy, Proxy, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout_at};
use url::Url;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;
use zeroize::Zeroizing;

use super::cause::Cause;
use super::mint_error::MintError;
use super::no_answer;
use crate::config::{self, Roots, hosts, source};
use crate::telemetry::trace::{self, Span};
use crate::token::AccessToken;

/// The client and its bounds.
#[derive(Debug, Clone)]
pub struct WayOut {
    client: Client,
    request_timeout: Duration,
    has_proxy: bool,
}

/// An answer in memory. The body may hold a token, hence the wrapping, and no `Debug`.
#[expect(missing_debug_implementations, reason = "the body may hold a token")]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The `Date` header: what time it is there.
    pub date: Option<Timestamp>,
    /// How long `Retry-After` asks to be left alone, at most a day; who waits has a bound of its own.
    pub retry_after: Option<Duration>,
    /// The `Sforce-Limit-Info` header: API requests of the org within 24 hours, and how many it may make.
    pub api_usage: Option<(u64, u64)>,
    /// Whether there is more than was read, which only happens where no more was wanted.
    pub cut: bool,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

#[cfg(any(test, feature = "fuzzing"))]
impl Reply {
    /// A status and a body, and no header that says anything.
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        let body = Zeroizing::new(body.to_vec());
        Self { status, date: None, retry_after: None, api_usage: None, cut: false, body }
    }
}

/// How much of a body is wanted.
#[derive(Clone, Copy)]
enum Wanted {
    /// All of it, or none if it is longer than [`MAX_BODY`].
    Whole,
    /// So many bytes; the rest is left.
    Begin(usize),
}

/// Whose tokens an app may introspect: its own, for which it proves itself.
pub(super) struct Introspector<'a> {
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a SecretString,
}

/// More than any token response or version list; less than what could hurt.
const MAX_BODY: usize = 1024 * 1024;

/// Salesforce sends some twenty. Over HTTP/1.1 they are counted, and the HTTP library bounds their bytes (408 KiB);
/// over HTTP/2 their bytes are.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: u32 = 64 * 1024;

const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

impl WayOut {
    /// Builds the client.
    ///
    /// Errors name the setting at fault: the proxy or `ca_path`. A machine without certificate authorities of its own
    /// (an image without ca-certificates) can still reach what `ca_path` vouches for, and plain loopback; that is told
    /// in the log.
    pub fn new(settings: &config::Salesforce) -> Result<Self, WayOutError> {
        let extra = match &settings.ca_path {
            Some(located) => read_bundle(&located.value)?,
            None => Vec::new(),
        };
        if let Some(proxy) = &settings.proxy {
            let (host, from) = (proxy.url.host_str(), proxy.variable.unwrap_or("salesforce.proxy_url"));
            tracing::info!(
                proxy.host = host,
                proxy.port = proxy.url.port(),
                from,
                "Salesforce is asked through a proxy"
            );
        }
        let client = match settings.roots {
            Roots::Bundled => client(settings, |builder| builder.tls_certs_only(bundled().chain(extra)))?,
            Roots::System => match client(settings, |builder| builder.tls_certs_merge(extra.clone())) {
                Err(WayOutError::Client(reason)) => {
                    let remedy = "install ca-certificates, or set salesforce.roots = \"bundled\" or salesforce.ca_path";
                    let told = "this machine has no certificate authorities: only what salesforce.ca_path vouches for can be reached";
                    tracing::warn!(reason, remedy, "{told}");
                    client(settings, |builder| builder.tls_certs_only(extra))?
                }
                built => built?,
            },
        };
        Ok(Self { client, request_timeout: settings.request_timeout, has_proxy: settings.proxy.is_some() })
    }

    /// Whether requests to this URL go through the egress proxy, unless its exceptions name the host.
    pub(super) fn goes_by_proxy(&self, url: &Url) -> bool {
        self.has_proxy && url.scheme() == "https" && !hosts::is_loopback(url)
    }

    /// Posts an assertion to the token endpoint, as the customer's guide shows it.
    pub(super) async fn post_assertion(
        &self,
        token_url: &Url,
        assertion: &str,
        deadline: Instant,
    ) -> Result<Reply, MintError> {
        // Both values are URL-safe as they stand but for the colons of the grant type.
        let form = Zeroizing::new(format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
        ));
        self.post(token_url.clone(), form, deadline).await
    }

    /// Asks what is known of a token, as its app: RFC 7662 beside the token endpoint.
    pub(super) async fn introspect(
        &self,
        token_url: &Url,
        app: &Introspector<'_>,
        token: &AccessToken,
        deadline: Instant,
    ) -> Result<Reply, MintError> {
        self.post(beside(token_url, "introspect"), introspection_form(app, token), deadline).await
    }

    async fn post(&self, url: Url, form: Zeroizing<String>, deadline: Instant) -> Result<Reply, MintError> {
        let span = trace::call("POST", &url);
        let request = self
            .client
            .post(url)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            // Wiped when the last holder inside the client lets go.
            .body(Bytes::from_owner(form));
        self.send(span, request, deadline, Wanted::Whole).await
    }

    /// One GET of what everybody may see.
    pub(super) async fn look(&self, url: Url, deadline: Instant) -> Result<Reply, MintError> {
        let span = trace::call("GET", &url);
        let request = self.client.get(url).header(ACCEPT, HeaderValue::from_static("application/json"));
        self.send(span, request, deadline, Wanted::Whole).await
    }

    /// One GET with a token.
    pub(super) async fn get(&self, url: Url, token: &AccessToken, deadline: Instant) -> Result<Reply, MintError> {
        let span = trace::call("GET", &url);
        self.send(span, self.authorized(url, token)?, deadline, Wanted::Whole).await
    }

    /// The same for a body that may be long: its first `most` bytes.
    pub(super) async fn get_begin(
        &self,
        url: Url,
        token: &AccessToken,
        most: usize,
        deadline: Instant,
    ) -> Result<Reply, MintError> {
        let span = trace::call("GET", &url);
        self.send(span, self.authorized(url, token)?, deadline, Wanted::Begin(most)).await
    }

    fn authorized(&self, url: Url, token: &AccessToken) -> Result<RequestBuilder, MintError> {
        let mut bearer = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {}", token.expose())))
            .map_err(|_| MintError::new(Cause::Malformed, "the token does not fit into a header"))?;
        bearer.set_sensitive(true);
        let request = self.client.get(url).header(ACCEPT, HeaderValue::from_static("application/json"));
        Ok(request.header(AUTHORIZATION, bearer))
    }

    /// The span tells of the call and goes no further: what a caller sent is none of Salesforce's business.
    async fn send(
        &self,
        span: Span,
        request: RequestBuilder,
        deadline: Instant,
        wanted: Wanted,
    ) -> Result<Reply, MintError> {
        let deadline = deadline.min(Instant::now() + self.request_timeout);
        let answered = exchange(request, deadline, wanted).await;
        match &answered {
            Ok(reply) => span.answered(reply.status),
            Err(error) => span.fail(error.cause.code()),
        }
        answered
    }
}

/// Another endpoint of the same host, named by the last part of the path.
fn beside(token_url: &Url, name: &str) -> Url {
    let mut url = token_url.clone();
    let path = url.path();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = format!("{folder}/{name}");
    url.set_path(&path);
    url
}

fn introspection_form(app: &Introspector<'_>, token: &AccessToken) -> Zeroizing<String> {
    let secret = app.client_secret.expose_secret();
    let longest = 3 * (token.expose().len() + app.client_id.len() + secret.len()) + 128;
    // Never grown: that would leave a copy behind.
    let mut form = Zeroizing::new(String::with_capacity(longest));
    form.push_str("token_type_hint=access_token");
    for (key, value) in [("token", token.expose()), ("client_id", app.client_id), ("client_secret", secret)] {
        form.extend(["&", key, "="]);
        form.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    form
}

fn client(
    settings: &config::Salesforce,
    trust: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<Client, WayOutError> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let mut builder = Client::builder()
        .user_agent(concat!("aquila/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // An assertion is sent once, whatever the other side says about it.
        .retry(reqwest::retry::never())
        // The environment counts as the configuration read it, and no further.
        .no_proxy()
        .http1_max_headers(MAX_HEADERS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        // The whole call is bounded in `send`. This bound comes first, so that a host which is not there is told from
        // one that is silent.
        .connect_timeout(settings.request_timeout.mul_f64(0.8))
        .pool_idle_timeout(Duration::from_secs(60));
    if let Some(proxy) = &settings.proxy {
        builder = builder.proxy(egress(proxy)?);
    }
    trust(builder).build().map_err(|error| WayOutError::Client(no_answer::innermost(&error)))
}

/// For https alone: plain http goes to loopback only.
fn egress(proxy: &config::Proxy) -> Result<Proxy, WayOutError> {
    let unusable = |error: reqwest::Error| WayOutError::Proxy(error.without_url().to_string());
    let mut built = Proxy::https(proxy.url.as_str()).map_err(unusable)?;
    if let Some(basic) = proxy.authorization() {
        let mut basic = HeaderValue::from_str(&basic).map_err(|error| WayOutError::Proxy(error.to_string()))?;
        basic.set_sensitive(true);
        built = built.custom_http_auth(basic);
    }
    Ok(built.no_proxy(NoProxy::from_string(&proxy.without())))
}

fn bundled() -> impl Iterator<Item = Certificate> {
    TLS_SERVER_ROOT_CERTS.iter().filter_map(|certificate| Certificate::from_der(certificate).ok())
}

async fn exchange(request: RequestBuilder, deadline: Instant, wanted: Wanted) -> Result<Reply, MintError> {
    let head = timeout_at(deadline, request.send()).await;
    let mut response = head.map_err(|_| late("no answer in time"))?.map_err(|error| no_answer::before_it(&error))?;
    let status = response.status().as_u16();
    refuse_early(&response, wanted)?;
    let date = date(response.headers(), DATE);
    let retry_after = retry_after(response.headers(), date);
    let api_usage = api_usage(response.headers());
    let mut cut = false;
    let mut body = Zeroizing::new(Vec::with_capacity(4096));
    loop {
        let seen = format!("status {status}, then {} bytes", body.len());
        let chunk = timeout_at(deadline, response.chunk()).await;
        let chunk = chunk.map_err(|_| late(&format!("{seen} and no more in time")))?;
        let Some(chunk) = chunk.map_err(|error| no_answer::within_it(&error, &seen))? else { break };
        let room = match wanted {
            Wanted::Whole if body.len() + chunk.len() > MAX_BODY => return Err(too_long(status)),
            Wanted::Whole => chunk.len(),
            Wanted::Begin(most) => most - body.len(),
        };
        cut = chunk.len() > room;
        let taken = chunk.get(..room).unwrap_or(&chunk);
        grow(&mut body, taken.len());
        body.extend_from_slice(taken);
        if cut {
            break;
        }
    }
    Ok(Reply { status, date, retry_after, api_usage, cut, body })
}

fn late(seen: &str) -> MintError {
    MintError::new(Cause::Timeout, seen)
}

fn too_long(status: u16) -> MintError {
    MintError::new(Cause::Malformed, format!("status {status}, a body of more than 1 MiB"))
}

/// What the head alone gives away; not a byte of such a body is read.
fn refuse_early(response: &Response, wanted: Wanted) -> Result<(), MintError> {
    let status = response.status().as_u16();
    let is_too_long = response.content_length().is_some_and(|length| length > MAX_BODY as u64);
    if matches!(wanted, Wanted::Whole) && is_too_long {
        return Err(too_long(status));
    }
    // Nothing was asked for but plain bytes, and nothing is ever unpacked.
    let plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !response.headers().get_all(CONTENT_ENCODING).iter().all(plain) {
        return Err(MintError::new(Cause::Malformed, format!("status {status}, packed with a content-encoding")));
    }
    Ok(())
}

pub(super) fn date(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()?;
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    // The last days of the year 9999 are beyond what a timestamp holds.
    Some(Timestamp::from_second(i64::try_from(seconds).ok()?).unwrap_or(Timestamp::MAX))
}

/// Seconds, or a date, which is read against `Date`: both come from the same clock, and ours may be wrong. A date
/// without `Date`, and all that is neither, asks for nothing; a date that is over asks for no wait.
pub(super) fn retry_after(headers: &HeaderMap, date: Option<Timestamp>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let until = self::date(headers, RETRY_AFTER)?;
        Duration::try_from(until.duration_since(date?)).unwrap_or_default()
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// `api-usage=18/5000`, alone or as one of several.
fn api_usage(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = headers.get("sforce-limit-info")?.to_str().ok()?;
    let (used, most) = text.split(',').find_map(|part| part.trim().strip_prefix("api-usage="))?.split_once('/')?;
    Some((used.trim().parse().ok()?, most.trim().parse().ok()?))
}

/// Growing in place may move the bytes and leave a copy behind; this moves them by hand and wipes the old place.
fn grow(body: &mut Zeroizing<Vec<u8>>, more: usize) {
    if body.capacity() - body.len() < more {
        let mut larger = Vec::with_capacity((body.len() + more).next_power_of_two());
        larger.extend_from_slice(body);
        *body = Zeroizing::new(larger);
    }
}

fn read_bundle(path: &Path) -> Result<Vec<Certificate>, WayOutError> {
    let pem = source::read(path, source::LARGEST_PEM).map_err(|error| WayOutError::Bundle(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem.bytes) {
        Ok(bundle) if !bundle.is_empty() => Ok(bundle),
        Ok(_) => Err(WayOutError::Bundle("it holds no PEM certificate".to_owned())),
        Err(error) => Err(WayOutError::Bundle(error.to_string())),
    }
}

/// Why there is no way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WayOutError {
    /// `salesforce.ca_path`.
    #[error("the CA bundle cannot be used: {0}")]
    Bundle(String),
    /// `salesforce.proxy_url`.
    #[error("the egress proxy cannot be used: {0}")]
    Proxy(String),
    /// The client as a whole.
    #[error("no HTTPS client can be built: {0}")]
    Client(String),
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, text)| (name.clone(), HeaderValue::from_str(text).unwrap())).collect()
    }

    /// Takes one request, which ends like this, and answers it with these bytes; the request as it came.
    async fn answered(listener: tokio::net::TcpListener, ending: &str, answer: String) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut request, mut piece) = (String::new(), [0; 4096]);
        while !request.ends_with(ending) {
            let count = stream.read(&mut piece).await.unwrap();
            request.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    }

    fn way_out() -> WayOut {
        WayOut::new(&config::Salesforce {
            allowed_hosts: Vec::new(),
            request_timeout: Duration::from_secs(5),
            proxy: None,
            roots: Roots::Bundled,
            ca_path: None,
        })
        .unwrap()
    }

    #[tokio::test]
    async fn of_a_long_body_as_much_is_read_as_is_wanted_and_a_short_one_whole() {
        let token = AccessToken::parse("00D!a".to_owned()).unwrap();
        for (length, expected) in [(50_000_000_000_u64, ("0123", true)), (10, ("0123", true)), (4, ("0123", false))] {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let url = Url::parse(&format!("http://{}/log", listener.local_addr().unwrap())).unwrap();
            let sent = usize::try_from(length.min(10)).unwrap();
            let body = "0123456789".get(..sent).unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nSforce-Limit-Info: api-usage=18/5000\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let deadline = Instant::now() + Duration::from_secs(5);
            let way_out = way_out();
            let (reply, _) =
                tokio::join!(way_out.get_begin(url, &token, 4, deadline), answered(listener, "\r\n\r\n", answer),);
            let reply = reply.map_err(|error| error.to_string()).unwrap();
            assert_eq!((str::from_utf8(&reply.body).unwrap(), reply.cut), expected, "{length}");
            assert_eq!(reply.api_usage, Some((18, 5000)));
        }
    }

    #[tokio::test]
    async fn an_introspection_is_one_post_and_its_answer_keeps_the_headers_that_count() {
        let way_out = way_out();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let token_url = format!("http://{}/services/oauth2/token", listener.local_addr().unwrap());
        let token_url = Url::parse(&token_url).unwrap();
        let answer = "HTTP/1.1 503 Down\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                      Retry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\nContent-Length: 4\r\n\r\nbusy";
        let app = Introspector { client_id: "3MVG9", client_secret: &SecretString::from("last bytes".to_owned()) };
        let token = AccessToken::parse("00D!a".to_owned()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let (reply, request) = tokio::join!(
            way_out.introspect(&token_url, &app, &token, deadline),
            answered(listener, "ytes", answer.to_owned()),
        );
        assert!(request.starts_with("POST /services/oauth2/introspect HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");
        assert!(request.ends_with("token=00D%21a&client_id=3MVG9&client_secret=last%20bytes"), "{request}");
        let reply = reply.map_err(|error| error.to_string()).unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (503, b"busy".as_slice()));
        assert_eq!(reply.date.unwrap().to_string(), "1994-11-06T08:49:37Z");
        assert_eq!(reply.retry_after, Some(Duration::from_secs(30)));
    }

    #[test]
    fn the_date_is_read_in_all_forms_of_http_and_nothing_else_is() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            let read = date(&headers(&[(DATE, text)]), DATE).unwrap();
            assert_eq!(read.to_string(), "1994-11-06T08:49:37Z", "{text}");
        }
        for text in ["", "now", "784111777", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 99:49:37 GMT"] {
            assert_eq!(date(&headers(&[(DATE, text)]), DATE), None, "{text}");
        }
    }

    #[test]
    fn a_wait_is_read_as_seconds_or_against_the_date_of_the_same_answer() {
        let day = 86_400;
        let now = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        let cases = [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999", Some(day)),
            ("99999999999999999999999999", Some(day)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 07:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(day)),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let headers = headers(&[now.clone(), (RETRY_AFTER, text)]);
            let wait = retry_after(&headers, date(&headers, DATE));
            assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{text}");
        }
        let dateless = headers(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT")]);
        assert_eq!(retry_after(&dateless, None), None);
    }

    #[test]
    fn introspection_is_asked_for_beside_the_token_endpoint_with_all_values_encoded() {
        for (token_url, expected) in [
            (
                "https://a.my.salesforce.com/services/oauth2/token",
                "https://a.my.salesforce.com/services/oauth2/introspect",
            ),
            (
                "https://a.my.site.com/vforce/services/oauth2/token",
                "https://a.my.site.com/vforce/services/oauth2/introspect",
            ),
            ("http://127.0.0.1:81/token", "http://127.0.0.1:81/introspect"),
        ] {
            assert_eq!(beside(&Url::parse(token_url).unwrap(), "introspect").as_str(), expected);
        }
        let app = Introspector { client_id: "3MVG9.A_b", client_secret: &SecretString::from("s&c=r t+é".to_owned()) };
        let form = introspection_form(&app, &AccessToken::parse("00D!a.b".to_owned()).unwrap());
        let read: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let expected = [
            ("token_type_hint", "access_token"),
            ("token", "00D!a.b"),
            ("client_id", "3MVG9.A_b"),
            ("client_secret", "s&c=r t+é"),
        ];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
