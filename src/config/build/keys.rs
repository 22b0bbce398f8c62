//! The settings of an integration that say where its key is, and what opens it.

use secrecy::SecretString;

use super::Workshop;
use crate::config::report::Located;
use crate::config::setting::{Field, relocated};
use crate::config::values::{Alias, EnvironmentName, FilePath};
use crate::config::{Key, KeyFile, KeyHolder, secret};

/// The two settings of a secret.
pub(super) type Secret = (Field<FilePath>, Field<EnvironmentName>);

/// A key in a file. Nothing if a setting that it needs is missing or wrong, which the report says: without its password
/// it would only be told once more that it does not open.
pub(super) fn in_file(
    path: Field<FilePath>,
    [password, entry_password]: [Secret; 2],
    alias: Field<Alias>,
    certificate_path: Field<FilePath>,
    shop: &mut Workshop<'_>,
) -> Option<Key> {
    let path = shop.key_path(path);
    let password = read(password, shop);
    let entry_password = read(entry_password, shop);
    let alias_is_wrong = alias.written && alias.value.is_none();
    let alias = alias.located().map(|alias| relocated(&alias, alias.value.0.clone()));
    let certificate_path = shop.path(certificate_path);
    let file = KeyFile { path: path?, password: password?, entry_password: entry_password?, alias };
    let key = Key { holder: KeyHolder::File(file), certificate_path };
    if alias_is_wrong {
        return None;
    }
    shop.keys.push(key.clone());
    Some(key)
}

/// The outer nothing: it is configured, and cannot be read.
fn read((path, variable): Secret, shop: &mut Workshop<'_>) -> Option<Option<Located<SecretString>>> {
    let configured = path.written || variable.written;
    let secret = secret::read(path, variable, shop);
    (secret.is_some() || !configured).then_some(secret)
}
