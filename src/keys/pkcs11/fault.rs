//! What can be wrong with an HSM, in words for the operator.
//!
//! Free of the library that speaks to it: a build without that tells its own mistakes all the same.

/// Which setting a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `module_path`.
    Module,
    /// `token_label`.
    Token,
    /// `key_label`.
    Key,
    /// `pin_path` or `pin_env`.
    Pin,
}

/// Why a key in an HSM was not opened, or did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HsmError {
    /// The key wants the PIN for each signature (`CKA_ALWAYS_AUTHENTICATE`).
    #[error("the key asks for the PIN before each signature (CKA_ALWAYS_AUTHENTICATE)")]
    AsksEachTime,
    /// The module does not do its work: no call of it comes back.
    #[error("the HSM does not answer within {0} s")]
    NoAnswer(u64),
    /// Another key has the label now.
    #[error("another key has this label now than when the configuration was read")]
    KeyChanged,
    /// What the module says no to, and would the next time.
    #[error("the HSM refuses: {0}")]
    Fault(String),
    /// The way to the token is gone: it, its daemon or its network.
    #[error("the HSM is not to be reached: {0}")]
    Lost(String),
    /// No file of this name.
    #[error("there is no such file")]
    ModuleMissing,
    /// The loader says no.
    #[error("the module cannot be loaded: {0}")]
    ModuleUnloadable(String),
    /// A library, and none for PKCS#11.
    #[error("the file is a library and no PKCS#11 module: it has no C_GetFunctionList")]
    NotAModule,
    /// A build for which there are no HSMs.
    #[error("this build has no PKCS#11 in it")]
    NotBuiltIn,
    /// `CKA_SIGN` is false.
    #[error("the key may not sign (CKA_SIGN is false)")]
    MayNotSign,
    /// No private key of this label.
    #[error("the token has no private key of this label; {}", listed(.0, "there are"))]
    NoKey(Vec<String>),
    /// Neither RS256 nor raw RSA.
    #[error("the token makes no RSA signatures (neither CKM_SHA256_RSA_PKCS nor CKM_RSA_PKCS)")]
    NoMechanism,
    /// Nothing tells the public half.
    #[error("neither the private key nor a public key of the same CKA_ID tells its modulus and exponent")]
    NoPublicHalf,
    /// Another kind of key.
    #[error("the key is no RSA key ({0}), and Salesforce takes RSA only")]
    NotRsa(String),
    /// No token of this label.
    #[error("there is no token of this label; {}", listed(.0, "there are"))]
    NoToken(Vec<String>),
    /// The token wants another PIN first.
    #[error("the PIN has expired and must be changed")]
    PinExpired,
    /// One more mistake would lock it.
    #[error("the token takes one more wrong PIN before it locks itself, so none is tried")]
    PinLastTry,
    /// It is.
    #[error("the token is locked after too many wrong PINs")]
    PinLocked,
    /// Nobody set one.
    #[error("the token has no user PIN yet")]
    PinNotSet,
    /// It was tried, once.
    #[error("the token does not take this PIN")]
    PinWrong,
    /// Which of them?
    #[error("{0} private keys of the token have this label")]
    SeveralKeys(usize),
    /// Which of them?
    #[error("{0} tokens have this label")]
    SeveralTokens(usize),
    /// Too long for Salesforce.
    #[error("the RSA key has {0} bits, and Salesforce takes 4096 at most")]
    TooLong(usize),
    /// Too short for Salesforce.
    #[error("the RSA key has {0} bits, and 2048 is the least")]
    TooShort(usize),
    /// The public half is of another key.
    #[error("a signature of the key does not fit its public half")]
    Unfit,
}

impl HsmError {
    /// The setting that it is about.
    pub fn part(&self) -> Part {
        match self {
            Self::ModuleMissing
            | Self::ModuleUnloadable(_)
            | Self::NotAModule
            | Self::NotBuiltIn
            | Self::NoAnswer(_)
            | Self::Lost(_) => Part::Module,
            Self::NoToken(_) | Self::SeveralTokens(_) | Self::NoMechanism | Self::PinNotSet => Part::Token,
            Self::PinExpired | Self::PinLastTry | Self::PinLocked | Self::PinWrong => Part::Pin,
            _ => Part::Key,
        }
    }

    /// Whether it may pass without anybody changing a setting.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::NoAnswer(_) | Self::NoToken(_))
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::AsksEachTime => "make the key without CKA_ALWAYS_AUTHENTICATE, or take another key",
            Self::NoAnswer(_) | Self::Lost(_) => {
                "check that the HSM is on and reachable; `pkcs11-tool --module MODULE -L` lists its tokens"
            }
            Self::KeyChanged => "send SIGHUP to take it, or put the old key back",
            Self::Fault(_) => "look the code up in the manual of the HSM",
            Self::ModuleMissing => "name the PKCS#11 library of the HSM: a file that ends in `.so`",
            Self::ModuleUnloadable(_) => {
                "check the path, what `ldd` says of it, and that the user who runs the service may read it"
            }
            Self::NotAModule => "name the PKCS#11 library that came with the HSM",
            Self::NotBuiltIn => "take a build with the feature `pkcs11`, or `client_key_path`",
            Self::MayNotSign => "make the key for signing: `pkcs11-tool --keypairgen --usage-sign …`",
            Self::NoKey(_) => "correct `key_label`; `pkcs11-tool --module MODULE --login -O --type privkey` lists keys",
            Self::NoMechanism => "take a token that signs with RSA",
            Self::NoPublicHalf => "put the public key into the token too, with the CKA_ID of the private one",
            Self::NotRsa(_) => "make an RSA key in the token, and upload a certificate made with it",
            Self::NoToken(_) => {
                "correct `token_label`, or put the token in; `pkcs11-tool --module MODULE -L` lists them"
            }
            Self::PinExpired => "change the PIN with the tool of the HSM, then in the file or variable named here",
            Self::PinLastTry => {
                "correct the PIN here, and log in once with it elsewhere, which has the token count anew: \
                 `pkcs11-tool --module MODULE --login --test`"
            }
            Self::PinLocked => "unlock the token as its security officer, then correct the PIN here",
            Self::PinNotSet => "set the user PIN: `pkcs11-tool --module MODULE --login --login-type so --init-pin`",
            Self::PinWrong => {
                "correct the PIN; until it is another one or SIGHUP is sent it is not tried again, for that would lock \
                 the token"
            }
            Self::SeveralKeys(_) => "give one of them another label",
            Self::SeveralTokens(_) => "give one of them another label: it is set when a token is initialized",
            Self::TooLong(_) | Self::TooShort(_) => "make an RSA key of 2048, 3072 or 4096 bits",
            Self::Unfit => "remove public keys from the token that have the CKA_ID of another private key",
        }
    }
}

/// More would be a page of them.
const MOST_LISTED: usize = 20;

fn listed(labels: &[String], lead: &str) -> String {
    if labels.is_empty() {
        return "there is none at all".to_owned();
    }
    let named: Vec<String> = labels.iter().take(MOST_LISTED).map(|label| format!("`{label}`")).collect();
    let more = labels.len().saturating_sub(MOST_LISTED);
    match more {
        0 => format!("{lead} {}", named.join(", ")),
        more => format!("{lead} {} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_stands_in_the_message_and_a_page_of_it_does_not() {
        let some = HsmError::NoToken(vec!["one".to_owned(), "two".to_owned()]).to_string();
        assert_eq!(some, "there is no token of this label; there are `one`, `two`");
        assert_eq!(
            HsmError::NoKey(Vec::new()).to_string(),
            "the token has no private key of this label; there is none at all"
        );
        let many = HsmError::NoKey((0..25).map(|number| number.to_string()).collect()).to_string();
        assert!(many.ends_with("`19` and 5 more") && !many.contains("`20`"), "{many}");
    }

    #[test]
    fn a_pin_is_never_a_matter_of_waiting() {
        for error in [HsmError::PinWrong, HsmError::PinLastTry, HsmError::PinLocked, HsmError::PinExpired] {
            assert_eq!((error.may_pass(), error.part()), (false, Part::Pin));
        }
    }
}
