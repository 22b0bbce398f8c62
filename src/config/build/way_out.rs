//! `[salesforce]`: the way out.

use std::path::PathBuf;

use super::Workshop;
use super::proxy;
use crate::config::report::Located;
use crate::config::{Salesforce, file};

pub(super) fn way_out(file: file::Salesforce, shop: &mut Workshop<'_>) -> Option<Salesforce> {
    let proxy = proxy::Settings {
        url: file.proxy_url,
        credentials_path: file.proxy_credentials_path,
        credentials_env: file.proxy_credentials_env,
    };
    let proxy = proxy.proxy(shop);
    let ca_path: Option<Located<PathBuf>> = shop.path(file.ca_path);
    Some(Salesforce {
        allowed_hosts: file.allowed_hosts.value?.into_iter().map(|pattern| pattern.0).collect(),
        request_timeout: file.request_timeout.value?.0,
        proxy,
        roots: file.roots.value?.0,
        ca_path,
    })
}
