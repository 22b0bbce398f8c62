//! A key in a token, opened once and checked whole, that signs from then on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicKeyComponents;
use cryptoki::error::{Error, RvError};
use futures_util::FutureExt;

use super::super::{SignError, Signer, Signing, Thumbprint};
use super::fault::HsmError;
use super::module::Module;
use super::object::Public;
use super::token::Token;
use crate::config::TokenKey;
use crate::hash::{hex, sha256};
use crate::signature::{Algorithm, VerifyingKey};

/// A key that never leaves its HSM.
pub(in crate::keys) struct HsmKey {
    token: Arc<Token>,
    label: String,
    public: Public,
    thumbprint: Thumbprint,
}

/// For so long the next key of a token is waited for; a login over a network may take seconds.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Opens keys, each token on a thread of its own: an HSM that never answers must not keep the service from saying so.
/// The results come in the order of the keys.
pub(in crate::keys) fn open_all(keys: &[&TokenKey]) -> Vec<Result<Arc<dyn Signer>, HsmError>> {
    let mut by_token = BTreeMap::<(&Path, &str), Vec<(usize, TokenKey)>>::new();
    for (place, key) in keys.iter().enumerate() {
        let token = (key.module_path.value.as_path(), key.token_label.value.as_str());
        by_token.entry(token).or_default().push((place, (*key).clone()));
    }
    leave_the_needless();
    let (tell, told) = mpsc::channel();
    for keys in by_token.into_values() {
        let tell = tell.clone();
        std::thread::spawn(move || {
            for (place, key) in keys {
                // Nobody waits any more.
                let Ok(()) = tell.send((place, open(&key))) else { return };
            }
        });
    }
    drop(tell);
    let mut opened: Vec<_> = keys.iter().map(|_| Err(HsmError::NoAnswer(ANSWERS_WITHIN.as_secs()))).collect();
    while let Ok((place, result)) = told.recv_timeout(ANSWERS_WITHIN) {
        if let Some(at) = opened.get_mut(place) {
            *at = result.map(|key| key as Arc<dyn Signer>);
        }
    }
    opened
}

fn open(key: &TokenKey) -> Result<Arc<HsmKey>, HsmError> {
    let token = Module::at(&key.module_path.value)?.token(&key.token_label.value);
    token.open(&key.pin.value, &key.key_label.value)
}

/// Logs out of tokens that the configuration in force does not have any more.
fn leave_the_needless() {
    let needless: Vec<Arc<Token>> = Module::all().iter().flat_map(|module| module.needless()).collect();
    if !needless.is_empty() {
        std::thread::spawn(move || needless.iter().for_each(|token| token.leave()));
    }
}

/// Has PINs that were refused tried again, and keys looked up anew: somebody says that something was changed.
pub(in crate::keys) fn forgive() {
    for token in Module::all().iter().flat_map(|module| module.tokens()) {
        token.forgive();
    }
}

impl HsmKey {
    pub(super) fn new(token: Arc<Token>, label: &str, public: Public) -> Result<Self, HsmError> {
        let components = PublicKeyComponents { n: &public.modulus, e: &public.exponent };
        let der: PublicKeyX509Der<'_> = components.as_der().map_err(|_| HsmError::NoPublicHalf)?;
        let thumbprint = Thumbprint(hex(&sha256([der.as_ref()])));
        Ok(Self { token, label: label.to_owned(), public, thumbprint })
    }

    /// Makes a signature and verifies it: the key signs, and the public half is its own.
    pub(super) fn prove(&self) -> Result<(), HsmError> {
        const TEXT: &[u8] = b"Aquila tries whether this key signs.";
        let signature = self.token.sign(&self.label, &self.public, TEXT)?;
        let Public { modulus, exponent } = &self.public;
        let public = VerifyingKey::from_rsa(modulus, exponent, Algorithm::Rs256).map_err(|_| HsmError::NoPublicHalf)?;
        if public.verifies(TEXT, &signature) { Ok(()) } else { Err(HsmError::Unfit) }
    }
}

impl Signer for HsmKey {
    fn sign(self: Arc<Self>, message: Vec<u8>) -> Signing {
        async move {
            // One that is stuck keeps its seat: never do more threads hang in a token than it has of them.
            let seat = Arc::clone(&self.token.seats).acquire_owned().await;
            let signing = tokio::task::spawn_blocking(move || {
                let signed = self.token.sign(&self.label, &self.public, &message);
                drop(seat);
                signed
            });
            match signing.await {
                Ok(Ok(signature)) => Ok(signature),
                Ok(Err(error)) if error.may_pass() => Err(SignError::Unavailable(error.to_string())),
                Ok(Err(error)) => Err(SignError::Refused(error.to_string())),
                Err(_) => Err(SignError::Refused("signing was broken off".to_owned())),
            }
        }
        .boxed()
    }

    fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }
}

impl fmt::Debug for HsmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HsmKey({})", self.thumbprint.as_str())
    }
}

/// SHA-256 of the message as a `DigestInfo` (RFC 8017 section 9.2), for tokens that only pad and exponentiate.
pub(super) fn digest_info(message: &[u8]) -> Vec<u8> {
    const SHA256: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04,
        0x20,
    ];
    [SHA256.as_slice(), &sha256([message])].concat()
}

impl From<Error> for HsmError {
    fn from(error: Error) -> Self {
        let Error::Pkcs11(code, function) = error else { return Self::Fault(error.to_string()) };
        let told = format!("{} of C_{function:?}", ckr(&code));
        match code {
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => Self::PinWrong,
            RvError::PinLocked => Self::PinLocked,
            RvError::PinExpired => Self::PinExpired,
            RvError::UserPinNotInitialized => Self::PinNotSet,
            RvError::ArgumentsBad
            | RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::FunctionNotSupported
            | RvError::KeyFunctionNotPermitted
            | RvError::KeySizeRange
            | RvError::KeyTypeInconsistent
            | RvError::MechanismInvalid
            | RvError::MechanismParamInvalid => Self::Fault(told),
            // Makers differ in what they say when a token, a daemon or a network is gone; a new link is worth a try
            // whatever it is.
            _ => Self::Lost(told),
        }
    }
}

/// The name in the standard: `DeviceRemoved` is `CKR_DEVICE_REMOVED`.
fn ckr(code: &RvError) -> String {
    let mut name = "CKR".to_owned();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    fn error_of(code: RvError) -> HsmError {
        HsmError::from(Error::Pkcs11(code, Function::Sign))
    }

    #[test]
    fn whatever_tells_that_the_way_is_gone_has_it_made_anew() {
        let gone = [
            RvError::SessionHandleInvalid,
            RvError::SessionClosed,
            RvError::DeviceRemoved,
            RvError::DeviceError,
            RvError::TokenNotPresent,
            RvError::UserNotLoggedIn,
            RvError::KeyHandleInvalid,
            RvError::ObjectHandleInvalid,
            RvError::SlotIdInvalid,
            RvError::CryptokiNotInitialized,
            RvError::GeneralError,
            RvError::FunctionFailed,
        ];
        for code in gone {
            assert!(matches!(error_of(code), HsmError::Lost(_)), "{code:?}");
        }
        assert_eq!(
            error_of(RvError::DeviceRemoved).to_string(),
            "the HSM is not to be reached: CKR_DEVICE_REMOVED of C_Sign"
        );
    }

    #[test]
    fn what_the_next_try_would_not_change_is_told_as_such() {
        for code in
            [RvError::KeyFunctionNotPermitted, RvError::MechanismInvalid, RvError::PinIncorrect, RvError::PinLocked]
        {
            assert!(!error_of(code).may_pass(), "{code:?}");
        }
    }

    #[test]
    fn a_digest_info_is_what_openssl_pads() {
        // printf %s abc | openssl dgst -sha256 -sign key.pem | openssl rsautl -verify -inkey key.pem -raw, without its padding.
        let expected =
            "3031300d060960864801650304020105000420ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&digest_info(b"abc")), expected);
    }
}
