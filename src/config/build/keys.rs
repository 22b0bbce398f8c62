//! The private key of an integration: in a file, or in an HSM.

use super::Workshop;
use crate::config::report::Located;
use crate::config::setting::Field;
use crate::config::values::{FilePath, Label};
use crate::config::{Key, KeyFile, KeyHolder, TokenKey, file, secret};

/// The settings that say where a key is.
pub(super) struct Source {
    pub(super) path: Field<FilePath>,
    pub(super) pkcs11: Field<file::Pkcs11>,
}

impl Source {
    pub(super) fn is_written(&self) -> bool {
        self.path.written || self.pkcs11.written
    }
}

/// The key at this place, if it is written and whole.
pub(super) fn key(source: Source, shop: &mut Workshop<'_>) -> Option<Key> {
    if source.path.written && source.pkcs11.written {
        shop.report.error(&source.pkcs11.at, "the key is configured twice", "keep the file or the HSM, not both");
        return None;
    }
    let holder = match source.pkcs11.value {
        Some(file) => KeyHolder::Token(Box::new(token_key(file, &source.pkcs11.at, shop)?)),
        None => KeyHolder::File(KeyFile { path: shop.key_path(source.path)? }),
    };
    let key = Key { holder };
    shop.keys.push(key.clone());
    Some(key)
}

fn token_key(file: file::Pkcs11, at: &Located<()>, shop: &mut Workshop<'_>) -> Option<TokenKey> {
    if !file.pin_path.written && !file.pin_env.written {
        shop.report.error(at, "nothing says the PIN of the token", "add `pin_path` or `pin_env` here");
    }
    // Not one of the files that are looked at for changes: a library is loaded once in a process.
    let module = file.module_path.located().map(|path| {
        let resolved = shop.resolve(&path.value);
        Located { value: resolved, setting: path.setting, place: path.place }
    });
    let label = |field: Field<Label>| {
        let Located { value: Label(value), setting, place } = field.located()?;
        Some(Located { value, setting, place })
    };
    let (token_label, key_label) = (label(file.token_label), label(file.key_label));
    let pin = secret::read(file.pin_path, file.pin_env, shop);
    Some(TokenKey { module_path: module?, token_label: token_label?, key_label: key_label?, pin: pin? })
}
