//! Why a mint failed, in words for the operator and with a rule for the broker.
//!
//! Salesforce answers nearly every mistake with 400 `invalid_grant`, and only the description tells them apart; its case
//! and punctuation have changed over the years, so texts are compared lower-cased and by part.

use std::time::Duration;

use super::mint_error::LEAST_PAUSE;

/// One reason, told apart from its neighbours because its cure is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The app exists in another org than the one asked.
    AppNotInOrg,
    /// Admin-approved app, and the user is not among the approved.
    AppNotApprovedForUser,
    /// Signature, certificate or the form of the assertion.
    BadAssertion,
    /// Nobody was asked: the token host failed so often in a row that it is left alone for a while.
    CircuitOpen,
    /// `exp` in the past: a clock is wrong.
    ExpiredAssertion,
    /// A token that was minted this moment is refused by the org.
    FreshTokenRefused,
    /// The org is locked, closed or suspended.
    InactiveOrg,
    /// The user is deactivated, frozen or locked.
    InactiveUser,
    /// The token belongs to another instance than the pinned one.
    InstanceMismatch,
    /// Login IP ranges or login hours.
    IpOrHours,
    /// Our own key did not sign.
    KeyFailed,
    /// Our own key did not sign, for a reason that may pass: an HSM that is away, or slow.
    KeyUnavailable,
    /// Nobody was asked: `login_budget_per_hour` is used up.
    LoginBudget,
    /// Nobody was asked: what is left of `login_budget_per_hour` is kept for tokens that have expired.
    LoginReserve,
    /// Over the hourly logins of this user.
    LoginRate,
    /// An answer that is no token response.
    Malformed,
    /// Nobody was asked from here: another replica has the right to log in, and has brought no token yet.
    OtherReplica,
    /// No answer: the name does not resolve.
    Dns,
    /// No answer: no connection.
    Connect,
    /// No answer: TLS failed.
    Tls,
    /// No answer in time.
    Timeout,
    /// The token lives for less than a whole second.
    ShortLived,
    /// Salesforce says to try again, or answers with 5xx or 429.
    Transient,
    /// `iss` names no app.
    UnknownApp,
    /// The token is for a host outside the allowlist.
    UntrustedInstance,
    /// Nobody approved this app for this user.
    UserNotApproved,
    /// `aud` does not fit the host.
    WrongAudience,
    /// Anything else that Salesforce says. Stays the last: [`Cause::ALL`] is as long as this says.
    Unknown,
}

/// What the broker does about a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It passes by itself: try again after a short pause.
    RetryLater,
    /// It is likely gone with the next request: one more try at once, then as [`Rule::RetryLater`].
    RetryNow,
    /// Somebody has to change something at Salesforce or here: try again rarely.
    WaitForChange,
}

impl Cause {
    /// Each of them.
    pub const ALL: [Self; Self::Unknown as usize + 1] = [
        Self::AppNotInOrg,
        Self::AppNotApprovedForUser,
        Self::BadAssertion,
        Self::CircuitOpen,
        Self::ExpiredAssertion,
        Self::FreshTokenRefused,
        Self::InactiveOrg,
        Self::InactiveUser,
        Self::InstanceMismatch,
        Self::IpOrHours,
        Self::KeyFailed,
        Self::KeyUnavailable,
        Self::LoginBudget,
        Self::LoginReserve,
        Self::LoginRate,
        Self::Malformed,
        Self::OtherReplica,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::ShortLived,
        Self::Transient,
        Self::UnknownApp,
        Self::UntrustedInstance,
        Self::UserNotApproved,
        Self::WrongAudience,
        Self::Unknown,
    ];

    /// Stable name for metrics, status and documentation.
    pub fn code(self) -> &'static str {
        match self {
            Self::AppNotInOrg => "app_not_in_org",
            Self::AppNotApprovedForUser => "app_not_approved_for_user",
            Self::BadAssertion => "bad_assertion",
            Self::CircuitOpen => "circuit_open",
            Self::ExpiredAssertion => "expired_assertion",
            Self::FreshTokenRefused => "fresh_token_refused",
            Self::InactiveOrg => "inactive_org",
            Self::InactiveUser => "inactive_user",
            Self::InstanceMismatch => "instance_mismatch",
            Self::IpOrHours => "ip_or_hours",
            Self::KeyFailed => "key_failed",
            Self::KeyUnavailable => "key_unavailable",
            Self::LoginBudget => "login_budget",
            Self::LoginReserve => "login_reserve",
            Self::LoginRate => "login_rate",
            Self::ShortLived => "short_lived",
            Self::Malformed => "malformed_answer",
            Self::OtherReplica => "other_replica",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Transient => "transient",
            Self::UnknownApp => "unknown_app",
            Self::UntrustedInstance => "untrusted_instance",
            Self::UserNotApproved => "user_not_approved",
            Self::WrongAudience => "wrong_audience",
            Self::Unknown => "unknown",
        }
    }

    /// The cause with this name; the inverse of [`Cause::code`].
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }

    /// Where the guide tells more: a path inside the repository and the documentation.
    pub fn help(self) -> String {
        format!("docs/troubleshooting.md#{}", self.code())
    }

    /// Whether it is our own restraint: nobody was asked.
    pub fn is_restraint(self) -> bool {
        matches!(self, Self::CircuitOpen | Self::LoginBudget | Self::LoginReserve | Self::OtherReplica)
    }

    /// Whether a clock that is wrong can be behind it: Salesforce tells an assertion that is dated too far ahead by the
    /// same words as one that is spoilt.
    pub(super) fn may_be_the_clock(self) -> bool {
        matches!(self, Self::BadAssertion | Self::ExpiredAssertion)
    }

    /// What is to be done about it.
    pub fn rule(self) -> Rule {
        match self {
            Self::ExpiredAssertion | Self::Transient => Rule::RetryNow,
            Self::CircuitOpen
            | Self::Connect
            | Self::Dns
            | Self::InactiveOrg
            | Self::KeyUnavailable
            | Self::LoginBudget
            | Self::LoginRate
            | Self::LoginReserve
            | Self::Malformed
            | Self::OtherReplica
            | Self::Timeout
            | Self::Tls => Rule::RetryLater,
            Self::AppNotInOrg
            | Self::AppNotApprovedForUser
            | Self::BadAssertion
            | Self::FreshTokenRefused
            | Self::InactiveUser
            | Self::InstanceMismatch
            | Self::IpOrHours
            | Self::KeyFailed
            | Self::ShortLived
            | Self::UnknownApp
            | Self::UntrustedInstance
            | Self::UserNotApproved
            | Self::WrongAudience
            | Self::Unknown => Rule::WaitForChange,
        }
    }

    /// How long the broker leaves Salesforce alone after the `streak`-th failure in a row (counting from 1).
    ///
    /// The bound doubles from 1 s for what passes by itself, up to 30 s, and from 5 s for what needs a change, up to
    /// 5 minutes; at the login limit it is the whole 5 minutes at once, because each try counts against the limit.
    /// Below its bound a pause that passes by itself lies anywhere (full jitter, `jitter` from 0 to 1), so that
    /// integrations that failed together do not come back together; a quarter of a second is the least.
    pub fn pause(self, streak: u32, jitter: f64) -> Duration {
        let (first, most) = match (self, self.rule()) {
            (Self::LoginRate, _) => (300, 300),
            (_, Rule::RetryLater | Rule::RetryNow) => (1, 30),
            (_, Rule::WaitForChange) => (5, 300),
        };
        let doubled = 1_u64.checked_shl(streak.saturating_sub(1).min(16)).unwrap_or(u64::MAX);
        let bound = Duration::from_secs(doubled.saturating_mul(first).min(most));
        match (self, self.rule()) {
            (Self::LoginRate, _) | (_, Rule::WaitForChange) => bound,
            _ => bound.mul_f64(jitter.clamp(0.0, 1.0)).max(LEAST_PAUSE),
        }
    }

    /// One sentence for the operator.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::AppNotInOrg => "the app is not installed in the org that was asked",
            Self::AppNotApprovedForUser => "the app is not assigned to this user",
            Self::CircuitOpen => "the token host failed again and again and is left alone for a moment",
            Self::BadAssertion => "Salesforce does not accept the signature, or does not know the user at this host",
            Self::ExpiredAssertion => "Salesforce finds the assertion expired: a clock is wrong",
            Self::FreshTokenRefused => "Salesforce mints a token and refuses it a moment later",
            Self::InactiveOrg => "the org is locked, closed or suspended",
            Self::InactiveUser => "the integration user is deactivated, frozen or locked",
            Self::InstanceMismatch => "the token is for another instance than `instance_url` pins",
            Self::IpOrHours => "the login comes from outside the allowed IP ranges or hours",
            Self::KeyFailed => "the private key did not sign",
            Self::KeyUnavailable => "the HSM of the private key does not answer, or has no token for the moment",
            Self::LoginBudget => "the broker's own hourly budget of logins for this user is used up",
            Self::LoginReserve => {
                "nine tenths of the hourly budget of logins are used up; the rest is kept for tokens that have expired"
            }
            Self::LoginRate => "the user is over Salesforce's hourly number of logins",
            Self::ShortLived => "the token lives for less than a second, which cannot be handed out",
            Self::Malformed => "the answer is not a token response: perhaps a maintenance page or a proxy",
            Self::OtherReplica => "another replica is logging in, and has brought no token yet",
            Self::Dns => "the token host's name does not resolve",
            Self::Connect => "the connection to the token host fails or breaks off",
            Self::Tls => "TLS to the token host failed",
            Self::Timeout => "the token host did not answer in time",
            Self::Transient => "Salesforce has a passing fault",
            Self::UnknownApp => "Salesforce does not know this client_id",
            Self::UntrustedInstance => "the token is for a host that is not on the allowlist",
            Self::UserNotApproved => "nobody approved this app for this user",
            Self::WrongAudience => "the audience does not fit the token host",
            Self::Unknown => "Salesforce refuses for a reason that is not known here",
        }
    }

    /// What to do, naming the page in Salesforce Setup.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::AppNotInOrg => {
                "an External Client App lives in one org: set token_url to that org's My Domain host \
                 (https://NAME.my.salesforce.com), and audience_url to the same"
            }
            Self::AppNotApprovedForUser => {
                "Setup > External Client App Manager (or Manage Connected Apps) > the app > Policies: add a profile or \
                 permission set that the user has"
            }
            Self::BadAssertion => {
                "compare the certificate of the app with the key (client_key_path or client_key_pkcs11), and check \
                 username and token_url; a new certificate takes up to 10 minutes to apply"
            }
            Self::CircuitOpen => "look at the failure before it in the log; the broker tries again by itself",
            Self::ExpiredAssertion => "set this machine's clock by NTP",
            Self::FreshTokenRefused => {
                "Setup > Session Settings: look for IP locking, and at the app's API access policy and IP relaxation"
            }
            Self::InactiveOrg => "ask Salesforce support, or whoever owns the org",
            Self::InactiveUser => "Setup > Users > the integration user: tick Active, and unfreeze or unlock it",
            Self::InstanceMismatch => "correct instance_url, or the username, or set pin_instance_url = false",
            Self::IpOrHours => {
                "Setup > Profiles > the user's profile: Login IP Ranges and Login Hours; or the app's IP Relaxation"
            }
            Self::KeyFailed => {
                "check that the key file is whole; if an HSM holds the key, correct what the detail says (its PIN, its \
                 label) and reload the configuration or send SIGHUP"
            }
            Self::KeyUnavailable => {
                "check that the HSM is on and reachable and its token in place; the broker tries again by itself"
            }
            Self::LoginBudget | Self::LoginReserve => {
                "find out why there are so many logins (tokens that die early, callers that report them, several brokers); \
                 login_budget_per_hour is the limit, and Salesforce blocks a user at 3,600"
            }
            Self::LoginRate => "wait an hour and find out who else logs in as this user: Setup > Login History",
            Self::ShortLived => {
                "set this machine's clock by NTP, and compare session_timeout (3s at least) with Setup > Session Settings"
            }
            Self::Malformed => "check token_url, and trust.salesforce.com for maintenance of the instance",
            Self::OtherReplica => "look at the log of the other replica; this one tries again by itself",
            Self::Dns => "check token_url and the name server; a new My Domain needs minutes to appear",
            Self::Connect => "check token_url, the firewall and the egress proxy",
            Self::Tls => "check that no proxy opens TLS on the way (salesforce.ca_path adds its CA), and the clock",
            Self::Timeout => "check the network and trust.salesforce.com",
            Self::Transient => "nothing: the broker tries again",
            Self::UnknownApp => {
                "compare client_id with the app's consumer key; a new app takes up to 10 minutes to apply"
            }
            Self::UntrustedInstance => "if the host is yours, add it to salesforce.allowed_hosts",
            Self::UserNotApproved => {
                "Setup > External Client App Manager (or Manage Connected Apps) > the app > Policies: Permitted Users = \
                 Admin approved users are pre-authorized, and assign the user; check token_url and username too"
            }
            Self::WrongAudience => {
                "set audience_url to https://login.salesforce.com (production), https://test.salesforce.com (sandbox) \
                 or the My Domain URL (External Client App)"
            }
            Self::Unknown => "Setup > Login History of the user tells more",
        }
    }

    /// The cause behind an error body of the token endpoint.
    pub fn of_answer(error: &str, description: &str) -> Self {
        let error = error.to_lowercase();
        let description = description.to_lowercase();
        let says = |part: &str| description.contains(part);
        match error.as_str() {
            "app_not_found" => Self::AppNotInOrg,
            "inactive_org" => Self::InactiveOrg,
            "inactive_user" => Self::InactiveUser,
            "invalid_app_access" => Self::AppNotApprovedForUser,
            "invalid_client_id" | "invalid_client" => Self::UnknownApp,
            "rate_limit_exceeded" => Self::LoginRate,
            "server_error" | "unknown_error" | "temporarily_unavailable" => Self::Transient,
            "invalid_grant" if says("audience") => Self::WrongAudience,
            "invalid_grant" if says("expired") => Self::ExpiredAssertion,
            "invalid_grant" if says("approved") => Self::UserNotApproved,
            "invalid_grant" if says("invalid assertion") => Self::BadAssertion,
            "invalid_grant" if says("ip restricted") || says("login hours") => Self::IpOrHours,
            "invalid_grant" if says("inactive user") || says("user is inactive") || says("locked") => {
                Self::InactiveUser
            }
            "invalid_grant" if says("login rate") || says("number of logins") => Self::LoginRate,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mint_error::LONGEST_PAUSE;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_recorded_answer_has_its_cause() {
        let cases = [
            ("invalid_grant", "user hasn't approved this consumer", Cause::UserNotApproved),
            ("invalid_grant", "invalid assertion", Cause::BadAssertion),
            ("invalid_grant", "Audience is invalid", Cause::WrongAudience),
            ("invalid_grant", "Audience validation failed", Cause::WrongAudience),
            ("invalid_grant", "expired authorization code", Cause::ExpiredAssertion),
            ("invalid_grant", "ip restricted", Cause::IpOrHours),
            ("invalid_grant", "ip restricted or invalid login hours", Cause::IpOrHours),
            ("invalid_grant", "inactive user", Cause::InactiveUser),
            ("invalid_grant", "user is locked", Cause::InactiveUser),
            ("invalid_grant", "login rate exceeded", Cause::LoginRate),
            ("invalid_app_access", "user is not admin approved to access this app", Cause::AppNotApprovedForUser),
            ("invalid_client_id", "client identifier invalid", Cause::UnknownApp),
            ("app_not_found", "External client app is not installed in this org", Cause::AppNotInOrg),
            ("inactive_user", "User is inactive", Cause::InactiveUser),
            ("inactive_org", "Org is locked, closed, or suspended", Cause::InactiveOrg),
            ("rate_limit_exceeded", "Number of logins exceeded", Cause::LoginRate),
            ("unknown_error", "retry your request", Cause::Transient),
            ("invalid_grant", "authentication failure", Cause::Unknown),
            ("unsupported_grant_type", "grant type not supported", Cause::Unknown),
        ];
        for (error, description, cause) in cases {
            assert_eq!(Cause::of_answer(error, description), cause, "{error} {description}");
        }
    }

    #[test]
    fn a_code_names_its_cause_and_no_other() {
        let codes: std::collections::BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.code()).collect();
        assert_eq!(codes.len(), Cause::ALL.len());
        for cause in Cause::ALL {
            assert_eq!(Cause::of_code(cause.code()), Some(cause));
        }
        assert_eq!(Cause::of_code("no_such_cause"), None);
    }

    #[test]
    fn pauses_grow_to_five_minutes_and_stay_there() {
        for cause in [Cause::UserNotApproved, Cause::Transient, Cause::LoginRate, Cause::Unknown] {
            let pauses: Vec<Duration> = (1..100).map(|streak| cause.pause(streak, 1.0)).collect();
            assert!(pauses.is_sorted(), "{cause:?}");
            assert!(pauses.iter().all(|pause| !pause.is_zero() && *pause <= LONGEST_PAUSE), "{cause:?}");
        }
        assert_eq!(Cause::UserNotApproved.pause(50, 0.0), LONGEST_PAUSE);
        assert_eq!(Cause::Timeout.pause(1, 1.0), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn a_pause_lies_between_a_quarter_second_and_its_bound(streak in 1_u32..100, jitter in 0.0..1.0) {
            for cause in [Cause::Timeout, Cause::Transient, Cause::Dns, Cause::BadAssertion, Cause::LoginRate] {
                let (pause, bound) = (cause.pause(streak, jitter), cause.pause(streak, 1.0));
                prop_assert!(pause >= LEAST_PAUSE && pause <= bound && bound <= LONGEST_PAUSE);
            }
        }
    }
}
