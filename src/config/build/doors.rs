//! `[server]` and `[ops]`: who reaches a door, and what protects it there.

use std::net::SocketAddr;

use secrecy::ExposeSecret;

use super::Workshop;
use crate::config::network::ClientCertificate;
use crate::config::report::Located;
use crate::config::setting::Field;
use crate::config::times::Shutdown;
use crate::config::values::{FilePath, Listen};
use crate::config::{ClientCa, Ops, Server, Tls, file, secret};

pub(super) fn doors(
    server: Field<file::Server>,
    ops: Field<file::Ops>,
    shop: &mut Workshop<'_>,
) -> Option<(Server, Ops)> {
    let server = server.value.and_then(|file| self::server(file, shop));
    let ops = ops.value.and_then(|file| self::ops(file, shop));
    if let (Some((server, _)), Some((ops, at))) = (&server, &ops) {
        apart(server.listen, ops.listen, at, shop);
    }
    Some((server?.0, ops?.0))
}

fn server(file: file::Server, shop: &mut Workshop<'_>) -> Option<(Server, Located<()>)> {
    let at = file.listen.at.clone();
    exposure(&file, shop);
    let listen = file.listen.value.map(|Listen(address)| address);
    let tls = tls(file.tls, shop);
    let wait = |field: Field<Shutdown>| field.value.map(|Shutdown(time)| time);
    let server = Server {
        listen: listen?,
        public_url: file.public_url.value.map(|url| url.0),
        tls,
        trusted_proxies: file.trusted_proxies.value?.into_iter().map(|network| network.0).collect(),
        shutdown_grace: wait(file.shutdown_grace)?,
        shutdown_delay: wait(file.shutdown_delay)?,
        failed_proofs_per_minute: file.failed_proofs_per_minute.value?.0,
    };
    Some((server, at))
}

/// Keys and tokens pass this door: beyond this machine only under TLS, ours or that of who stands before us.
fn exposure(file: &file::Server, shop: &mut Workshop<'_>) {
    let plain = file.plain_http.value == Some(true);
    if file.tls.written && plain {
        let remedy = "keep `tls` if this service ends TLS, `plain_http` if something before it does";
        shop.report.error(&file.plain_http.at, "`tls` and `plain_http = true` exclude each other", remedy);
    }
    // A `plain_http` that is wrong has been told; it may have been meant as true.
    let unprotected = !file.tls.written && file.plain_http.value == Some(false);
    let open = file.listen.value.as_ref().is_some_and(|listen| !listen.0.ip().is_loopback());
    if open && unprotected {
        let remedy = "set `tls`, or `plain_http = true` if TLS ends before this service";
        shop.report.error(&file.listen.at, "without TLS this door opens on loopback only", remedy);
    }
}

fn ops(file: file::Ops, shop: &mut Workshop<'_>) -> Option<(Ops, Located<()>)> {
    let at = file.listen.at.clone();
    let tokenless = !file.bearer_token_path.written && !file.bearer_token_env.written;
    let token = secret::read(file.bearer_token_path, file.bearer_token_env, shop);
    if let Some(token) = &token {
        let sendable = token.value.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
        if !sendable {
            let remedy = "take printable ASCII without spaces, such as the output of `openssl rand -hex 32`";
            shop.report.error(token, "no HTTP header can carry this token", remedy);
        }
    }
    let listen = file.listen.value.map(|Listen(address)| address);
    if tokenless && listen.is_some_and(|address| !address.ip().is_loopback()) {
        let remedy = "set `bearer_token_path` or `bearer_token_env`, or let a network policy guard the port";
        shop.report.warning(&at, "metrics and status are open to everybody who reaches this address", remedy);
    }
    let tls = tls(file.tls, shop);
    if let Some(authorities) = tls.as_ref().and_then(|tls| tls.client_ca.as_ref()).filter(|it| !it.required) {
        let remedy = "set `client_certificate = \"required\"`, and give probes another way in: they have none";
        shop.report.warning(&authorities.path, "this door asks for certificates and lets everybody in without", remedy);
    }
    let ops = Ops { listen: listen?, tls, bearer_token: token.map(|token| token.value) };
    Some((ops, at))
}

fn tls(field: Field<file::Tls>, shop: &mut Workshop<'_>) -> Option<Tls> {
    let file = field.value?;
    let certificate_path = shop.path(file.certificate_path);
    let private_key_path = shop.key_path(file.private_key_path);
    let client_ca = client_ca(file.client_ca_path, file.client_certificate, shop);
    let tls = Tls { certificate_path: certificate_path?, private_key_path: private_key_path?, client_ca: client_ca? };
    shop.tls.push(tls.clone());
    Some(tls)
}

/// Who signs the certificates of clients. Nothing, if that could not be read: a door without it would stand open.
fn client_ca(
    path: Field<FilePath>,
    presence: Field<ClientCertificate>,
    shop: &mut Workshop<'_>,
) -> Option<Option<ClientCa>> {
    if presence.written && !path.written {
        let remedy = "set `client_ca_path`, or remove this";
        shop.report.error(&presence.at, "nobody's client certificates are taken here", remedy);
    }
    if !path.written {
        return Some(None);
    }
    let path = shop.path(path);
    let required = if presence.written { presence.value?.required } else { false };
    path.map(|path| Some(ClientCa { path, required }))
}

/// Two doors cannot have one address. Port 0 means any free one, and an unspecified address takes them all.
fn apart(server: SocketAddr, ops: SocketAddr, at: &Located<()>, shop: &mut Workshop<'_>) {
    let same_port = server.port() == ops.port() && server.port() != 0;
    let overlap = server.ip() == ops.ip() || server.ip().is_unspecified() || ops.ip().is_unspecified();
    if same_port && overlap {
        let told = "`server.listen` has this address and port too";
        shop.report.error(at, told, "give each door its own port");
    }
}
