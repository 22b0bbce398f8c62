//! The shape of the file: every setting with its type, its default and the sentence that documents it. The only place
//! that knows defaults; both syntaxes and the JSON Schema come from here.
//!
//! What a single setting may hold is in `values.rs` and `urls.rs`; rules between settings are in `build/`.

use super::certificate::CertificateName;
use super::document::Node;
use super::network::{ClientCertificate, Network};
use super::proof_values::{Claims, IssuerText, KeyUrl, KubernetesName, OneOrSeveral};
use super::redis_values::{KeyPrefix, MasterName, RedisMode, RedisUrl, RedisUser, Replicas};
use super::report::{Located, Report};
use super::setting::Preset::{Flag, List, Number, Table as Empty, Text};
use super::setting::{Field, Keys, Presence, Setting, Table, section, section_schema};
use super::times::{RequestTimeout, SessionTimeout, Shutdown};
use super::urls::{AudienceUrl, InstanceUrl, ProxyUrl, PublicUrl, TokenUrl};
use super::values::{
    Alias, ClientId, Digest, EnvironmentName, FilePath, Filter, Format, HostPattern, Label, Limit, Listen, LoginBudget,
    Named, RootStore, Username,
};
use crate::names::{CallerName, IntegrationName, IntegrationPattern, IssuerName, SubjectPattern};
use crate::signature::Algorithm;

section! {
    /// Configuration of Aquila, the Salesforce token broker.
    File later [] {
        /// The callers' door.
        server: Server, or Empty;
        /// The ops door: probes, metrics, status.
        ops: Ops, or Empty;
        /// The way out.
        salesforce: Salesforce, or Empty;
        /// Salesforce integration users, by name.
        integrations: Named<IntegrationName, Located<Integration>>, or Empty;
        /// Internal services that may ask for tokens, by name.
        callers: Named<CallerName, Located<Caller>>, or Empty;
        /// Those whose JWTs prove who calls, by name.
        issuers: Named<IssuerName, Located<Issuer>>, or Empty;
        /// Log output.
        log: Log, or Empty;
        /// The audit trail.
        audit: Audit, or Empty;
        /// What the replicas of this service share. Without it each is on its own.
        store: Store, optional;
    }
}

section! {
    /// The callers' door.
    Server later [] {
        /// Address of the door. Any but a loopback address needs `tls`, or `plain_http = true`.
        listen: Listen, or Text("127.0.0.1:8080");
        /// What callers call this service: issuer of the metadata.
        public_url: PublicUrl, optional;
        /// TLS ends before this service: plain HTTP is fine on any address.
        plain_http: bool, or Flag(false);
        /// TLS of this door.
        tls: Tls, optional;
        /// Proxies before this door, as addresses or networks: only what they say of a client's address is believed, for
        /// records and to count failed proofs by.
        trusted_proxies: Vec<Network>, or List;
        /// How long requests in progress may take after SIGTERM.
        shutdown_grace: Shutdown, or Text("20s");
        /// How long new requests are still taken after SIGTERM, while `/readyz` already says no.
        shutdown_delay: Shutdown, or Text("0s");
        /// Proofs from one address that may fail within a minute; more are answered with 429. A good proof always counts.
        failed_proofs_per_minute: Limit, or Number(60);
    }
}

section! {
    /// TLS of a door.
    Tls later [] {
        /// PEM file with the certificate chain, leaf first.
        certificate_path: FilePath, required;
        /// PEM file with the private key of the certificate.
        private_key_path: FilePath, required;
        /// PEM bundle with the authorities of client certificates. Without it none are asked for.
        client_ca_path: FilePath, optional;
        /// Whether nobody comes in without one of these certificates: `optional` (the default) or `required`.
        client_certificate: ClientCertificate, optional;
    }
}

section! {
    /// The ops door: probes, metrics, status.
    Ops later [] {
        /// Address of the door.
        listen: Listen, or Text("127.0.0.1:9090");
        /// TLS of this door.
        tls: Tls, optional;
        /// File with the token that `/metrics`, `/status` and `/status.json` ask for.
        bearer_token_path: FilePath, optional;
        /// Environment variable with the token that `/metrics`, `/status` and `/status.json` ask for.
        bearer_token_env: EnvironmentName, optional;
    }
}

section! {
    /// The way out.
    Salesforce later [] {
        /// Hosts that assertions may go to beside Salesforce's own.
        allowed_hosts: Vec<HostPattern>, or List;
        /// Bound on one call to Salesforce, connecting included.
        request_timeout: RequestTimeout, or Text("5s");
        /// Egress proxy. Without it `HTTPS_PROXY` and `NO_PROXY` of the environment count.
        proxy_url: ProxyUrl, optional;
        /// File with the proxy's credentials: user, colon, password.
        proxy_credentials_path: FilePath, optional;
        /// Environment variable with the proxy's credentials: user, colon, password.
        proxy_credentials_env: EnvironmentName, optional;
        /// Whose certificate authorities are trusted: those of this machine, or Mozilla's as of the build.
        roots: RootStore, or Text("system");
        /// PEM bundle of extra certificate authorities.
        ca_path: FilePath, optional;
    }
}

section! {
    /// One Salesforce integration user, reached through one app in one org.
    Integration later [] {
        /// `aud` of the assertion, sent byte for byte as written. Default: login or test at salesforce.com by the host
        /// of `token_url`.
        audience_url: AudienceUrl, optional;
        /// File with the private key whose certificate was uploaded to the app: PEM, DER, PKCS#12 or JKS, told by content.
        client_key_path: FilePath, optional;
        /// A private key in an HSM, instead of a file.
        client_key_pkcs11: Pkcs11, optional;
        /// File with the password of the key or of the keystore.
        client_key_password_path: FilePath, optional;
        /// Environment variable with the password of the key or of the keystore.
        client_key_password_env: EnvironmentName, optional;
        /// File with the password of the key in a keystore. Default: the password of the keystore.
        client_key_entry_password_path: FilePath, optional;
        /// Environment variable with the password of the key in a keystore. Default: the password of the keystore.
        client_key_entry_password_env: EnvironmentName, optional;
        /// Which key of the keystore, where there are several.
        client_key_alias: Alias, optional;
        /// File with the certificate of the key, PEM or DER, whose end is watched. Default: the one beside the key.
        certificate_path: FilePath, optional;
        /// File with the private key that is tried when the other is refused: while the certificate of the app is changed.
        next_key_path: FilePath, optional;
        /// The same in an HSM, instead of a file.
        next_key_pkcs11: Pkcs11, optional;
        /// File with the password of the next key or of its keystore.
        next_key_password_path: FilePath, optional;
        /// Environment variable with the password of the next key or of its keystore.
        next_key_password_env: EnvironmentName, optional;
        /// File with the password of the next key in its keystore. Default: the password of the keystore.
        next_key_entry_password_path: FilePath, optional;
        /// Environment variable with the password of the next key in its keystore. Default: the password of the keystore.
        next_key_entry_password_env: EnvironmentName, optional;
        /// Which key of its keystore is the next one.
        next_key_alias: Alias, optional;
        /// File with the certificate of the next key, PEM or DER, whose end is watched. Default: the one beside the key.
        next_certificate_path: FilePath, optional;
        /// The Salesforce username: `sub` of the assertion.
        username: Username, required;
        /// The consumer key of the app: `iss` of the assertion.
        client_id: ClientId, required;
        /// The org's own URL as expected; another one is passed on with a warning.
        instance_url: InstanceUrl, optional;
        /// Refuse a token for another instance instead of warning.
        pin_instance_url: bool, or Flag(false);
        /// The token endpoint; a bare origin means its `/services/oauth2/token`.
        token_url: TokenUrl, required;
        /// What Salesforce Setup says under Session Settings.
        session_timeout: SessionTimeout, or Text("15m");
        /// Make one REST call with each new token, and to renew it: proof that the session lives. A token that somebody
        /// reports as dead is asked about all the same.
        confirm_session: bool, or Flag(true);
        /// File with the consumer secret of the app. With it each new token is introspected (RFC 7662), which tells its end.
        client_secret_path: FilePath, optional;
        /// Environment variable with the consumer secret of the app.
        client_secret_env: EnvironmentName, optional;
        /// Renew the token ahead of its end also while nobody asks for it.
        keep_warm: bool, or Flag(false);
        /// Mint at start, beside everything else, instead of on the first request.
        prefetch: bool, or Flag(false);
        /// Logins within an hour, at most, of this user at this host; a tenth is kept for tokens that have expired.
        /// Salesforce blocks a user at 3,600, all its clients together.
        login_budget_per_hour: LoginBudget, or Number(120);
    }
}

section! {
    /// A private key in an HSM, which it never leaves.
    Pkcs11 later [] {
        /// The PKCS#11 library of the HSM.
        module_path: FilePath, required;
        /// The label of the token.
        token_label: Label, required;
        /// The label of the private key in it.
        key_label: Label, required;
        /// File with the user PIN of the token.
        pin_path: FilePath, optional;
        /// Environment variable with the user PIN of the token.
        pin_env: EnvironmentName, optional;
    }
}

section! {
    /// One internal service that may ask for tokens.
    Caller later [] {
        /// What it may ask for.
        integrations: Vec<Located<IntegrationPattern>>, required;
        /// What it is to have next: tried beside `integrations`, what would change is logged and counted, and nothing is
        /// let through by it. Empty: nothing is tried.
        next_integrations: Vec<Located<IntegrationPattern>>, or List;
        /// Logins and renewals that it may cause within an hour and wait for. Default: 600 for each integration that it
        /// may have.
        mints_per_hour: Limit, optional;
        /// Reports of a current token within a minute.
        reports_per_minute: Limit, or Number(600);
        /// SHA-256 of each of its API keys; several, so that a key can be changed without a gap.
        api_key_sha256: Vec<Located<Digest>>, or List;
        /// What its client certificates are called, whole and exact; one of the names is enough.
        client_certificate: Vec<Located<CertificateName>>, or List;
        /// Rules on JWTs of issuers: one that fits proves this caller.
        jwt: Vec<Located<Jwt>>, or List;
        /// Kubernetes service accounts that are this caller: `issuer`, `namespace` and `service_account`; one, or a list.
        kubernetes: OneOrSeveral<Located<Kubernetes>>, optional;
        /// Public keys of this caller, for assertions that it signs itself: `path` and `algorithm` of each.
        public_keys: Vec<Located<PublicKey>>, or List;
        /// Whether an assertion signed with such a key may also stand for a whole request for a token, with the integration
        /// in `sub`.
        jwt_bearer_grant: bool, or Flag(false);
    }
}

section! {
    /// What a JWT must say. All of it has to fit.
    Jwt later [] {
        /// The name of the issuer.
        issuer: IssuerName, required;
        /// `sub`: the whole text, in which `*` stands for any characters.
        sub: SubjectPattern, optional;
        /// Other claims and their values. Of a claim that is a list, one item has to be the value.
        claims: Claims, or Empty;
    }
}

section! {
    /// A Kubernetes service account: `sub` is `system:serviceaccount:NAMESPACE:SERVICE_ACCOUNT`.
    Kubernetes later [] {
        /// The name of the issuer: the same account of another cluster is somebody else.
        issuer: IssuerName, required;
        /// The namespace.
        namespace: KubernetesName, required;
        /// The service account.
        service_account: KubernetesName, required;
    }
}

section! {
    /// A public key.
    PublicKey later [] {
        /// PEM file with a public key or a certificate.
        path: FilePath, required;
        /// The only algorithm that it verifies.
        algorithm: Algorithm, or Text("RS256");
    }
}

section! {
    /// One whose JWTs prove who calls.
    Issuer later [] {
        /// `iss` of its tokens, byte for byte.
        issuer: IssuerText, required;
        /// Its key set. Without this and `jwks_path` it is found by way of `issuer` and `/.well-known/openid-configuration`.
        jwks_url: KeyUrl, optional;
        /// File with its key set, for issuers that cannot be reached.
        jwks_path: FilePath, optional;
        /// `aud` of tokens that are meant for this service, byte for byte. Default: `server.public_url`.
        audience: IssuerText, optional;
        /// What it may sign with. Default: RS256 and ES256.
        algorithms: Vec<Located<Algorithm>>, or List;
        /// PEM bundle of the authorities that vouch for the host of its keys, instead of those of this machine.
        ca_path: FilePath, optional;
        /// File with the token that the host of its keys asks for.
        bearer_token_path: FilePath, optional;
        /// Egress proxy to the host of its keys. Without it `HTTPS_PROXY` and `NO_PROXY` of the environment count.
        proxy_url: ProxyUrl, optional;
        /// File with the proxy's credentials: user, colon, password.
        proxy_credentials_path: FilePath, optional;
        /// Environment variable with the proxy's credentials: user, colon, password.
        proxy_credentials_env: EnvironmentName, optional;
    }
}

section! {
    /// Log output.
    Log later [] {
        /// Text on a terminal and JSON elsewhere, or always one of them.
        format: Format, or Text("auto");
        /// A level, or a filter in the syntax of `RUST_LOG`.
        level: Filter, or Text("info");
    }
}

section! {
    /// The audit trail.
    Audit later [] {
        /// File that records are appended to; `-` is standard output.
        path: FilePath, or Text("-");
        /// No record, no token.
        required: bool, or Flag(false);
    }
}

section! {
    /// What the replicas of this service share.
    Store later [] {
        /// File with the keys that seal what is stored, one on a line; `aquila new-seal-key` makes one.
        seal_key_path: FilePath, required;
        /// Replicas, at most: what a login budget is divided by while a replica is cut off from the others.
        max_replicas: Replicas, or Number(10);
        /// The Redis or Valkey that they share.
        redis: Redis, required;
    }
}

section! {
    /// A Redis or Valkey.
    Redis later [] {
        /// Its address: rediss:// with TLS; redis:// to loopback, or with `plain_tcp = true`. A number at the end is the
        /// database.
        url: RedisUrl, optional;
        /// Addresses, instead of `url`: of the Sentinels, or of nodes of the Cluster.
        urls: Vec<Located<RedisUrl>>, or List;
        /// `single`, `sentinel` or `cluster`.
        mode: RedisMode, or Text("single");
        /// What the Sentinels call the master; with `mode = "sentinel"` alone.
        master_name: MasterName, optional;
        /// The ACL user. Default: Redis' own default user.
        username: RedisUser, optional;
        /// File with the password.
        password_path: FilePath, optional;
        /// Environment variable with the password.
        password_env: EnvironmentName, optional;
        /// The ACL user at the Sentinels.
        sentinel_username: RedisUser, optional;
        /// File with the password of the Sentinels.
        sentinel_password_path: FilePath, optional;
        /// Environment variable with the password of the Sentinels.
        sentinel_password_env: EnvironmentName, optional;
        /// PEM bundle of the authorities that vouch for Redis, instead of those of this machine.
        ca_path: FilePath, optional;
        /// What all names in Redis begin with.
        key_prefix: KeyPrefix, or Text("aquila:");
        /// The network between this service and Redis is protected: redis:// is fine to any address.
        plain_tcp: bool, or Flag(false);
    }
}
