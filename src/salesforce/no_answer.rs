//! Why there is no answer, or no whole one: the name, the connection, TLS, time, or what came was no HTTP.
//!
//! Told by the types of the errors where they have some. The texts of the network are kept, the URL is not.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use super::cause::Cause;
use super::mint_error::MintError;

/// No head of an answer came.
pub(super) fn before_it(error: &reqwest::Error) -> MintError {
    let causes = causes(error);
    let text = innermost(error);
    if let Some(seen) = causes.iter().find_map(|cause| cause.downcast_ref()).map(certificate) {
        return MintError::new(Cause::Tls, seen);
    }
    let says = |part: &str| causes.iter().any(|cause| cause.to_string().to_lowercase().contains(part));
    let unreadable = |error: &hyper::Error| error.is_parse() || error.is_parse_too_large();
    match () {
        () if error.is_timeout() && error.is_connect() => MintError::new(Cause::Timeout, "no connection in time"),
        () if error.is_timeout() => MintError::new(Cause::Timeout, "no answer in time"),
        () if error.is_dns() || says("dns error") => MintError::new(Cause::Dns, text),
        () if error.is_connect() && says("handshake") => MintError::new(Cause::Tls, text),
        () if error.is_connect() && says("tunnel") => {
            MintError::new(Cause::Connect, format!("the egress proxy opens no tunnel: {text}"))
        }
        () if error.is_connect() => MintError::new(Cause::Connect, text),
        () if causes.iter().filter_map(|cause| cause.downcast_ref()).any(unreadable) => {
            MintError::new(Cause::Malformed, format!("no readable head of an HTTP answer: {text}"))
        }
        () => MintError::new(Cause::Connect, format!("broken off before the head of an answer was whole: {text}")),
    }
}

/// The body broke off or was not framed as HTTP says. `seen` tells how far it came.
pub(super) fn within_it(error: &reqwest::Error, seen: &str) -> MintError {
    let text = innermost(error);
    let garbled = |error: &io::Error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
    let causes = causes(error);
    let cause = match () {
        () if error.is_timeout() => Cause::Timeout,
        () if causes.iter().any(|cause| cause.downcast_ref().is_some_and(garbled)) => Cause::Malformed,
        () => Cause::Connect,
    };
    MintError::new(cause, format!("{seen}, then broken off: {text}"))
}

/// The innermost reason says most; the outer ones repeat the URL.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    match causes(error).last() {
        Some(cause) if !cause.is::<reqwest::Error>() => cause.to_string(),
        _ => "the connection failed".to_owned(),
    }
}

/// All that lies behind an error, outermost first.
fn causes(error: &reqwest::Error) -> Vec<&(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| match cause.downcast_ref::<io::Error>() {
        // `source` would step over what an I/O error wraps, and that is where rustls says what is wrong.
        Some(io) => io.get_ref().map(|wrapped| -> &(dyn Error + 'static) { wrapped }),
        None => cause.source(),
    })
    .collect()
}

fn certificate(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(reason) = error else { return error.to_string() };
    match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority that is trusted here vouches for the certificate".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name".to_owned()
        }
        _ => error.to_string(),
    }
}
