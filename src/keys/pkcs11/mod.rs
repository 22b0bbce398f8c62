//! Keys in an HSM, by way of PKCS#11: they sign inside it and never enter this process.
//!
//! `module.rs` is the library of the HSM, `token.rs` one token with its login and its sessions, `object.rs` a key in it,
//! `fault.rs` what can be wrong. All calls block, so none is made by a thread that serves, and few at a time.

pub(super) mod fault;
#[cfg(feature = "pkcs11")]
mod module;
#[cfg(feature = "pkcs11")]
mod object;
#[cfg(feature = "pkcs11")]
mod open;
#[cfg(feature = "pkcs11")]
mod token;

#[cfg(feature = "pkcs11")]
pub(super) use self::open::{forgive, open_all};

#[cfg(not(feature = "pkcs11"))]
mod absent;
#[cfg(not(feature = "pkcs11"))]
pub(super) use self::absent::{forgive, open_all};
