//! A private key inside a token: found by its label, looked at, and known by its public half.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::fault::HsmError;

/// The public half of a key, as big-endian numbers without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Public {
    pub(super) modulus: Vec<u8>,
    pub(super) exponent: Vec<u8>,
}

/// The one private key of this label, if it can make the signatures that Salesforce takes.
pub(super) fn find(session: &Session, label: &str) -> Result<(ObjectHandle, Public), HsmError> {
    let private = Attribute::Class(ObjectClass::PRIVATE_KEY);
    let labelled = Attribute::Label(label.as_bytes().to_vec());
    let found = session.find_objects(&[private.clone(), labelled])?;
    let key = match found.as_slice() {
        [key] => *key,
        [] => return Err(HsmError::NoKey(labels(session, &session.find_objects(&[private])?))),
        several => return Err(HsmError::SeveralKeys(several.len())),
    };
    let mut facts = Facts::default();
    let asked = [AttributeType::KeyType, AttributeType::Sign, AttributeType::AlwaysAuthenticate, AttributeType::Id];
    facts.learn(session, key, &asked)?;
    match facts.kind {
        Some(KeyType::RSA) => {}
        Some(other) => return Err(HsmError::NotRsa(other.to_string())),
        None => return Err(HsmError::NotRsa("it does not say its kind".to_owned())),
    }
    if facts.may_sign == Some(false) {
        return Err(HsmError::MayNotSign);
    }
    if facts.asks_each_time == Some(true) {
        return Err(HsmError::AsksEachTime);
    }
    Ok((key, public_half(session, key, facts)?))
}

/// Of the private key, if it tells it; else of the public key that belongs to it.
fn public_half(session: &Session, key: ObjectHandle, mut facts: Facts) -> Result<Public, HsmError> {
    const NUMBERS: [AttributeType; 2] = [AttributeType::Modulus, AttributeType::PublicExponent];
    facts.learn(session, key, &NUMBERS)?;
    if facts.public().is_none()
        && let Some(id) = facts.id.clone().filter(|id| !id.is_empty())
    {
        let belongs = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id)];
        if let [public] = session.find_objects(&belongs)?.as_slice() {
            facts.learn(session, *public, &NUMBERS)?;
        }
    }
    let public = facts.public().ok_or(HsmError::NoPublicHalf)?;
    match bits(&public.modulus) {
        short @ ..2048 => Err(HsmError::TooShort(short)),
        long @ 4097.. => Err(HsmError::TooLong(long)),
        _ => Ok(public),
    }
}

/// What objects tell of themselves; of what they keep to themselves nothing.
#[derive(Default)]
struct Facts {
    kind: Option<KeyType>,
    may_sign: Option<bool>,
    asks_each_time: Option<bool>,
    id: Option<Vec<u8>>,
    modulus: Option<Vec<u8>>,
    exponent: Option<Vec<u8>>,
}

impl Facts {
    /// One by one: some libraries tell nothing at all when they are asked for something that they do not have.
    fn learn(&mut self, session: &Session, object: ObjectHandle, asked: &[AttributeType]) -> Result<(), HsmError> {
        for attribute in asked {
            for told in session.get_attributes(object, &[*attribute])? {
                match told {
                    Attribute::KeyType(kind) => self.kind = Some(kind),
                    Attribute::Sign(may) => self.may_sign = Some(may),
                    Attribute::AlwaysAuthenticate(does) => self.asks_each_time = Some(does),
                    Attribute::Id(id) => self.id = Some(id),
                    Attribute::Modulus(number) => self.modulus = trimmed(number),
                    Attribute::PublicExponent(number) => self.exponent = trimmed(number),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn public(&self) -> Option<Public> {
        Some(Public { modulus: self.modulus.clone()?, exponent: self.exponent.clone()? })
    }
}

fn labels(session: &Session, objects: &[ObjectHandle]) -> Vec<String> {
    let label = |object: &ObjectHandle| {
        let told = session.get_attributes(*object, &[AttributeType::Label]).ok()?;
        told.into_iter().find_map(|attribute| match attribute {
            Attribute::Label(label) => Some(String::from_utf8_lossy(&label).into_owned()),
            _ => None,
        })
    };
    objects.iter().filter_map(label).collect()
}

fn trimmed(number: Vec<u8>) -> Option<Vec<u8>> {
    let number: Vec<u8> = number.into_iter().skip_while(|byte| *byte == 0).collect();
    (!number.is_empty()).then_some(number)
}

fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |byte| byte.leading_zeros() as usize);
    number.len() * 8 - unused
}
