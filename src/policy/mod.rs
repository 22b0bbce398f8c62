//! Who may have what: pure, and no by default. What other rights would change is told by `trial.rs`.

mod trial;

pub use self::trial::Trial;
use crate::names::IntegrationPattern;

/// The integrations granted to one caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    granted: Vec<IntegrationPattern>,
}

/// The rule that allowed a request, as it stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule(IntegrationPattern);

impl Rule {
    /// The pattern that fits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Rights {
    /// Rights as the configuration grants them.
    pub fn new(granted: Vec<IntegrationPattern>) -> Self {
        Self { granted }
    }

    /// The first rule that grants `integration`, if one does.
    pub fn allow(&self, integration: &str) -> Option<Rule> {
        self.granted.iter().find(|pattern| pattern.matches(integration)).cloned().map(Rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_granted_by_default_and_rules_cover_whole_names() {
        assert_eq!(Rights::new(Vec::new()).allow("elf-prod"), None);
        let rights = Rights::new(vec!["crm".parse().unwrap(), "elf-*".parse().unwrap()]);
        assert_eq!(rights.allow("elf-prod").unwrap().as_str(), "elf-*");
        assert_eq!(rights.allow("crm").unwrap().as_str(), "crm");
        for other in ["crm2", "xcrm", "elf", "", "*", "elf-*/../crm2"] {
            let allowed = rights.allow(other).is_some();
            assert_eq!(allowed, other.starts_with("elf-"), "{other}");
        }
    }
}
