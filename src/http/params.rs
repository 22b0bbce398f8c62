//! Parameters of a query or a form, strictly: a known one that stands twice is a mistake, an empty one of a form is
//! absent, an unknown one is nobody's business (RFC 6749 section 3.2).

use std::time::Duration;

use zeroize::Zeroizing;

use super::error::Refusal;

/// Parameters by name. Values may be secrets: no `Debug`, wiped on drop.
pub(super) struct Params {
    pairs: Vec<(String, Zeroizing<String>)>,
}

/// More than any client sends; a body of 16 KiB could hold thousands.
const MOST: usize = 128;

impl Params {
    /// Reads `name=value&…`; `%xx` and `+` are decoded.
    ///
    /// Refused: more than 128 parameters, or text that is not UTF-8 once decoded.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let mut pairs = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            if pairs.len() == MOST {
                return Err(Refusal::invalid_request("too many parameters"));
            }
            if name.contains('\u{FFFD}') || value.contains('\u{FFFD}') {
                return Err(Refusal::invalid_request("a parameter is not UTF-8"));
            }
            pairs.push((name.into_owned(), Zeroizing::new(value.into_owned())));
        }
        Ok(Self { pairs })
    }

    /// The value, unless it is empty or absent.
    pub(super) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All values that are not empty.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Whether it stands there, empty or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key == name)
    }

    /// Refuses any of `names` that stands more than once.
    pub(super) fn once(&self, names: &[&str]) -> Result<(), Refusal> {
        let twice = |name: &&str| self.pairs.iter().filter(|(key, _)| key == *name).nth(1).is_some();
        match names.iter().any(twice) {
            true => Err(Refusal::invalid_request("a parameter stands more than once")),
            false => Ok(()),
        }
    }

    /// A whole number of seconds; zero when absent.
    pub(super) fn seconds(&self, name: &str) -> Result<Duration, Refusal> {
        match self.get(name) {
            None if self.has(name) => Err(Refusal::invalid_request("min_ttl must be a whole number of seconds")),
            None => Ok(Duration::ZERO),
            Some(text) if text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Duration::from_secs(text.parse().unwrap_or(0)))
            }
            Some(_) => Err(Refusal::invalid_request("min_ttl must be a whole number of seconds")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_is_absent_and_twice_is_a_mistake() {
        let params =
            Params::parse(b"scope=&resource=a&resource=b&grant_type=client%5Fcredentials&x=1&x=2&s=a+b%20c").unwrap();
        assert_eq!(params.get("scope"), None);
        assert!(params.has("scope"));
        assert_eq!(params.all("resource").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(params.get("grant_type"), Some("client_credentials"));
        assert_eq!(params.get("s"), Some("a b c"));
        assert!(params.once(&["scope", "grant_type"]).is_ok());
        assert!(params.once(&["x"]).is_err());
        assert!(Params::parse(b"a=%FF").is_err());
        assert!(Params::parse("a&".repeat(200).as_bytes()).is_err());
    }

    #[test]
    fn seconds_are_digits() {
        let seconds = |text: &str| Params::parse(text.as_bytes()).unwrap().seconds("min_ttl");
        assert_eq!(seconds("min_ttl=600").unwrap(), Duration::from_secs(600));
        assert_eq!(seconds("").unwrap(), Duration::ZERO);
        for bad in ["min_ttl=", "min_ttl=-1", "min_ttl=1.5", "min_ttl=+5", "min_ttl=1e3", "min_ttl=9999999999"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_was_sent_is_read_back_and_nothing_else(
            pairs in prop::collection::vec(("[a-z_]{1,8}", "[^\u{FFFD}]{0,12}"), 0..20),
        ) {
            let mut text = url::form_urlencoded::Serializer::new(String::new());
            pairs.iter().for_each(|(name, value)| { text.append_pair(name, value); });
            let params = Params::parse(text.finish().as_bytes()).unwrap();
            for (name, _) in &pairs {
                let sent: Vec<&str> = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
                let full: Vec<&str> = sent.iter().copied().filter(|value| !value.is_empty()).collect();
                prop_assert_eq!(params.all(name).collect::<Vec<_>>(), full);
                prop_assert_eq!(params.once(&[name]).is_ok(), sent.len() == 1);
                prop_assert!(params.has(name));
            }
            prop_assert!(!params.has("NOBODY"));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(params) = Params::parse(&bytes) {
                let _ = params.seconds("min_ttl");
                let _ = params.once(&["a", "b"]);
            }
        }
    }
}
