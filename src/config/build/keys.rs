//! The settings of an integration that say where its keys are, and what opens them.

use secrecy::SecretString;

use super::Workshop;
use crate::config::report::Located;
use crate::config::setting::{Field, relocated};
use crate::config::values::{Alias, EnvironmentName, FilePath, Label};
use crate::config::{Key, KeyFile, KeyHolder, TokenKey, file, secret};

/// The two settings of a secret.
pub(super) type Secret = (Field<FilePath>, Field<EnvironmentName>);

/// The settings of one key.
pub(super) struct Source {
    pub(super) path: Field<FilePath>,
    pub(super) pkcs11: Field<file::Pkcs11>,
    pub(super) password: Secret,
    pub(super) entry_password: Secret,
    pub(super) alias: Field<Alias>,
    pub(super) certificate_path: Field<FilePath>,
}

impl Source {
    /// Whether it says where the key is.
    pub(super) fn is_written(&self) -> bool {
        self.path.written || self.pkcs11.written
    }

    /// The first setting that only a key can have use for.
    fn first_beside(&self) -> Option<&Located<()>> {
        let secrets = [&self.password, &self.entry_password];
        let secrets = secrets
            .into_iter()
            .flat_map(|(path, variable)| [(path.written, &path.at), (variable.written, &variable.at)]);
        let others = [(self.alias.written, &self.alias.at), (self.certificate_path.written, &self.certificate_path.at)];
        secrets.chain(others).find(|(written, _)| *written).map(|(_, at)| at)
    }
}

/// The first key of an integration.
pub(super) fn first(source: Source, shop: &mut Workshop<'_>) -> Option<Key> {
    if !source.is_written() {
        let remedy = "add `client_key_path`, or `client_key_pkcs11`";
        shop.report.error(&source.path.at, "this setting is missing", remedy);
        return None;
    }
    key(source, shop)
}

/// The next key, if there is one. The outer nothing: it is configured, and wrong.
pub(super) fn next(source: Source, shop: &mut Workshop<'_>) -> Option<Option<Key>> {
    if source.is_written() {
        return key(source, shop).map(Some);
    }
    if let Some(at) = source.first_beside() {
        shop.report.error(at, "there is no next key for this", "add `next_key_path`, or remove this setting");
        return None;
    }
    Some(None)
}

/// Nothing if a setting that it needs is missing or wrong, which the report says: without its password it would only be
/// told once more that it does not open.
fn key(source: Source, shop: &mut Workshop<'_>) -> Option<Key> {
    let Source { path, pkcs11, password, entry_password, alias, certificate_path } = source;
    let certificate_path = shop.path(certificate_path);
    if path.written && pkcs11.written {
        shop.report.error(&pkcs11.at, "the key is configured twice", "keep the file or the HSM, not both");
        return None;
    }
    let holder = match pkcs11.written {
        true => {
            of_no_use([&password, &entry_password], &alias, shop);
            in_token(pkcs11.value?, &pkcs11.at, shop).map(KeyHolder::Token)
        }
        false => in_file(path, [password, entry_password], alias, shop).map(KeyHolder::File),
    };
    let key = Key { holder: holder?, certificate_path };
    shop.keys.push(key.clone());
    Some(key)
}

/// What only a key in a file has use for: somebody has moved the key into an HSM and left its password behind.
fn of_no_use(secrets: [&Secret; 2], alias: &Field<Alias>, shop: &mut Workshop<'_>) {
    let secrets =
        secrets.into_iter().flat_map(|(path, variable)| [(path.written, &path.at), (variable.written, &variable.at)]);
    for (_, at) in secrets.chain([(alias.written, &alias.at)]).filter(|(written, _)| *written) {
        shop.report.warning(at, "this is not used: the key is in an HSM", "remove this setting");
    }
}

fn in_file(
    path: Field<FilePath>,
    [password, entry_password]: [Secret; 2],
    alias: Field<Alias>,
    shop: &mut Workshop<'_>,
) -> Option<KeyFile> {
    let path = shop.key_path(path);
    let password = read(password, shop);
    let entry_password = read(entry_password, shop);
    let alias_is_wrong = alias.written && alias.value.is_none();
    let alias = alias.located().map(|alias| relocated(&alias, alias.value.0.clone()));
    let file = KeyFile { path: path?, password: password?, entry_password: entry_password?, alias };
    (!alias_is_wrong).then_some(file)
}

fn in_token(file: file::Pkcs11, at: &Located<()>, shop: &mut Workshop<'_>) -> Option<TokenKey> {
    if !file.pin_path.written && !file.pin_env.written {
        shop.report.error(at, "nothing says the PIN of the token", "add `pin_path` or `pin_env` here");
    }
    // Not one of the files that are looked at for changes: a library is loaded once in a process.
    let module = file.module_path.located().map(|path| relocated(&path, shop.resolve(&path.value)));
    let label = |field: Field<Label>| field.located().map(|label| relocated(&label, label.value.0.clone()));
    let (token_label, key_label) = (label(file.token_label), label(file.key_label));
    let pin = secret::read(file.pin_path, file.pin_env, shop);
    Some(TokenKey { module_path: module?, token_label: token_label?, key_label: key_label?, pin: pin? })
}

/// The outer nothing: it is configured, and cannot be read.
fn read((path, variable): Secret, shop: &mut Workshop<'_>) -> Option<Option<Located<SecretString>>> {
    let configured = path.written || variable.written;
    let secret = secret::read(path, variable, shop);
    (secret.is_some() || !configured).then_some(secret)
}
