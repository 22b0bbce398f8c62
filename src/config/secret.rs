//! Secrets of the configuration: from a file (`…_path`) or the environment (`…_env`), never from the configuration
//! itself. The only caller of `std::env::var`.
//!
//! Messages name neither the file nor the variable, for a secret may have been pasted in their place; the line says
//! which setting it is.

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::build::Workshop;
use super::report::Located;
use super::setting::{Field, relocated};
use super::source::{self, TIGHTEN, loose_permissions};
use super::values::{EnvironmentName, FilePath};

const LARGEST_SECRET: u64 = 64 * 1024;

/// Asks the environment of the process; nothing for what is no text.
#[expect(clippy::disallowed_methods, reason = "this is the place through which the environment is read")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The secret with its place, if one is configured and readable. One trailing line end is not part of it.
pub(super) fn read(
    path: Field<FilePath>,
    variable: Field<EnvironmentName>,
    shop: &mut Workshop<'_>,
) -> Option<Located<SecretString>> {
    if path.written && variable.written {
        shop.report.error(&variable.at, "the secret is configured twice", "keep the file or the variable, not both");
        return None;
    }
    let secret = match (path.located(), variable.located()) {
        (Some(path), _) => from_file(&path, shop)?,
        (None, Some(variable)) => from_environment(&variable, shop)?,
        (None, None) => return None,
    };
    let text =
        secret.value.strip_suffix('\n').map_or(secret.value.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        shop.report.error(&secret, "the secret is empty", "put the secret into the file or variable named here");
        return None;
    }
    Some(relocated(&secret, SecretString::from(text.to_owned())))
}

fn from_file(path: &Located<FilePath>, shop: &mut Workshop<'_>) -> Option<Located<Zeroizing<String>>> {
    let resolved = shop.resolve(&path.value);
    shop.files.push(resolved.clone());
    let file = match source::read(&resolved, LARGEST_SECRET) {
        Ok(file) => file,
        Err(error) => {
            shop.report.error(path, error.to_string(), error.remedy());
            return None;
        }
    };
    if let Some(told) = loose_permissions(file.mode) {
        shop.report.warning(path, told, TIGHTEN);
    }
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => Some(relocated(path, Zeroizing::new(text.to_owned()))),
        Err(_) => {
            shop.report.error(path, "the secret in this file is not text", "put it there as text");
            None
        }
    }
}

fn from_environment(
    variable: &Located<EnvironmentName>,
    shop: &mut Workshop<'_>,
) -> Option<Located<Zeroizing<String>>> {
    let found = (shop.environment)(&variable.value.0);
    if found.is_none() {
        let remedy = "set it for the process, or take the `_path` setting";
        shop.report.error(variable, "the environment variable that is named here is not set", remedy);
    }
    found.map(|text| relocated(variable, Zeroizing::new(text)))
}
