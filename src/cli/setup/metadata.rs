//! The metadata of an org that lets the broker in: an app that knows the certificate, its policies, and two permission
//! sets. Pure: facts in, files out.
//!
//! Types, fields and values are those of Salesforce's Metadata API Developer Guide, version 66. Where it leaves
//! something open, the file says so in a remark, and `docs/salesforce-setup.md` has the clicks instead.

use super::facts::{Facts, Kind};
use super::xml::Document;

/// The API version of the project: the lowest that has every field used here.
pub(super) const API_VERSION: &str = "63.0";

/// No browser is ever sent there; Salesforce wants one all the same.
const CALLBACK: &str = "https://localhost/callback";

/// Aquila never asks for a refresh token; Salesforce's own instructions for this flow give the app the scope all the same.
const SCOPES: [&str; 2] = ["Api", "RefreshToken"];

/// One component: a file of the project, and an entry of the manifest.
pub(super) struct Component {
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// Below `force-app/main/default`.
    pub(super) path: String,
    pub(super) text: String,
}

/// All components, in the order in which an org needs them.
pub(super) fn components(facts: &Facts, certificate: &str) -> Vec<Component> {
    let mut components = vec![event_logs_set(facts), access_set(facts)];
    components.extend(match facts.app.kind {
        Kind::ExternalClientApp => external_client_app(facts, certificate),
        Kind::ConnectedApp => vec![connected_app(facts, certificate)],
    });
    components
}

/// `package.xml`: what a deployment takes, by type.
pub(super) fn manifest(components: &[Component]) -> String {
    let mut kinds: Vec<&str> = components.iter().map(|component| component.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut package = Document::new("Package");
    for kind in kinds {
        package.element("types", |types| {
            for component in components.iter().filter(|component| component.kind == kind) {
                types.leaf("members", &component.name);
            }
            types.leaf("name", kind);
        });
    }
    package.leaf("version", API_VERSION);
    package.finish()
}

fn component(kind: &'static str, (folder, suffix): (&str, &str), name: String, document: Document) -> Component {
    let path = format!("{folder}/{name}.{suffix}-meta.xml");
    Component { kind, name, path, text: document.finish() }
}

const PERMISSION_SET: (&str, &str) = ("permissionsets", "permissionset");

fn event_logs_set(facts: &Facts) -> Component {
    let mut set = Document::new("PermissionSet");
    set.remark(&[
        "No license element: the set fits every user whose own licences allow these permissions. A user with the licence",
        "Salesforce Integration needs the permission set licence Salesforce API Integration first.",
    ]);
    let description = match facts.view_all_data {
        false => "Reads event log files by API, and nothing else.",
        true => "Reads event log files and all other data by API.",
    };
    set.leaf("description", description).leaf("hasActivationRequired", "false");
    set.leaf("label", format!("{} Event Logs", facts.app.label));
    permission(&mut set, "ApiEnabled");
    permission(&mut set, "ViewEventLogFiles");
    if facts.view_all_data {
        set.remark(&[
            "View All Data was asked for; event log files do not need it. Unsure: it is reported to depend on the two",
            "permissions about public reports and dashboards, so they are here as well.",
        ]);
        for name in ["ViewAllData", "ViewPublicDashboards", "ViewPublicReports"] {
            permission(&mut set, name);
        }
    }
    component("PermissionSet", PERMISSION_SET, facts.event_logs_set(), set)
}

fn access_set(facts: &Facts) -> Component {
    let mut set = Document::new("PermissionSet");
    set.remark(&[
        "It grants no permission: being assigned it is what the app asks for. It stands apart from the other set because",
        "a set that is bound to the licence Salesforce API Integration cannot hold an app.",
    ]);
    set.leaf("description", format!("Its users may log in by the app {}.", facts.app.name));
    set.leaf("hasActivationRequired", "false");
    set.leaf("label", format!("{} Access", facts.app.label));
    component("PermissionSet", PERMISSION_SET, facts.access_set(), set)
}

fn permission(set: &mut Document, name: &str) {
    set.element("userPermissions", |permission| {
        permission.leaf("enabled", "true").leaf("name", name);
    });
}

fn external_client_app(facts: &Facts, certificate: &str) -> Vec<Component> {
    let name = &facts.app.name;
    let mut header = Document::new("ExternalClientApplication");
    header.leaf("contactEmail", facts.email.to_string()).leaf("description", description(facts));
    header.leaf("distributionState", "Local").leaf("isProtected", "false").leaf("label", facts.app.label.to_string());
    vec![
        component("ExternalClientApplication", ("externalClientApps", "eca"), name.to_string(), header),
        component(
            "ExtlClntAppGlobalOauthSettings",
            ("extlClntAppGlobalOauthSets", "ecaGlblOauth"),
            format!("{name}_glbloauth"),
            global_oauth(facts, certificate),
        ),
        component(
            "ExtlClntAppOauthSettings",
            ("extlClntAppOauthSettings", "ecaOauth"),
            format!("{name}_oauth"),
            oauth(facts),
        ),
        component(
            "ExtlClntAppOauthConfigurablePolicies",
            ("extlClntAppOauthPolicies", "ecaOauthPlcy"),
            format!("{name}_oauthPlcy"),
            oauth_policies(facts),
        ),
        component(
            "ExtlClntAppConfigurablePolicies",
            ("extlClntAppPolicies", "ecaPlcy"),
            format!("{name}_plcy"),
            policies(facts),
        ),
    ]
}

fn global_oauth(facts: &Facts, certificate: &str) -> Document {
    let mut settings = Document::new("ExtlClntAppGlobalOauthSettings");
    settings.remark(&[
        "The certificate is what enables the JWT bearer flow. It is public; the private key is in no file of this folder.",
        "Deploying this file without the element takes the certificate off the app.",
        "Unsure: the guide says PEM, with its BEGIN and END lines as here; some projects give the base64 alone.",
        "If Setup shows no certificate after the deployment, upload the .crt file by hand.",
        "No consumerKey: Salesforce makes it at the first deployment.",
    ]);
    settings.leaf("callbackUrl", CALLBACK).leaf("certificate", certificate.trim_end());
    settings.leaf("externalClientApplication", facts.app.name.to_string());
    settings.leaf("isConsumerSecretOptional", "false").leaf("isIntrospectAllTokens", "false");
    settings.leaf("isNamedUserJwtEnabled", "false").leaf("isPkceRequired", "true");
    settings.leaf("isSecretRequiredForRefreshToken", "true");
    settings.leaf("label", format!("{} global OAuth", facts.app.label));
    settings.leaf("shouldRotateConsumerKey", "false").leaf("shouldRotateConsumerSecret", "false");
    settings
}

fn oauth(facts: &Facts) -> Document {
    let mut settings = Document::new("ExtlClntAppOauthSettings");
    settings.remark(&["No oauthLink: Salesforce fills it in, and refuses one of another org."]);
    settings.leaf("commaSeparatedOauthScopes", SCOPES.join(", "));
    settings.leaf("externalClientApplication", facts.app.name.to_string());
    settings.leaf("label", format!("{} OAuth", facts.app.label));
    settings
}

fn oauth_policies(facts: &Facts) -> Document {
    let mut policies = Document::new("ExtlClntAppOauthConfigurablePolicies");
    policies.remark(&[
        "Unsure: the guide calls commaSeparatedPermissionSet a list of ids, and its example has a name, as here. See in",
        "Setup, at the app's policies, that the permission set is selected; if not, select it there.",
        "Unsure: for an app that exists already Salesforce has made a policy of its own. If this one is refused, set the",
        "same values in Setup.",
        "Unsure: whether Zero (expire refresh tokens at once) is taken everywhere. No refresh token is ever used, so any",
        "other value does as well.",
    ]);
    policies.leaf("commaSeparatedPermissionSet", facts.access_set());
    policies.leaf("externalClientApplication", facts.app.name.to_string());
    policies.leaf("ipRelaxationPolicyType", "Enforce").leaf("label", format!("{} OAuth policy", facts.app.label));
    policies.leaf("permittedUsersPolicyType", "AdminApprovedPreAuthorized");
    policies.leaf("refreshTokenPolicyType", "Zero").leaf("requiredSessionLevel", "STANDARD");
    policies.leaf("sessionTimeoutInMinutes", facts.session.minutes.to_string());
    policies
}

fn policies(facts: &Facts) -> Document {
    let mut policies = Document::new("ExtlClntAppConfigurablePolicies");
    policies.leaf("externalClientApplication", facts.app.name.to_string());
    policies.leaf("isEnabled", "true").leaf("isOauthPluginEnabled", "true");
    policies.leaf("label", format!("{} policy", facts.app.label)).leaf("startPage", "None");
    policies
}

fn connected_app(facts: &Facts, certificate: &str) -> Component {
    let mut app = Document::new("ConnectedApp");
    app.remark(&[
        "Since Spring '26 new Connected Apps can be created only where Salesforce Support has allowed it; an External",
        "Client App needs no such permission.",
        "Unsure: whether permissionSetName is heeded in the same deployment that creates the permission set. See in Setup,",
        "at Manage Connected Apps, that it is listed; if not, add it there.",
    ]);
    app.leaf("contactEmail", facts.email.to_string()).leaf("description", description(facts));
    app.leaf("label", facts.app.label.to_string());
    app.element("oauthConfig", |oauth| {
        oauth.leaf("callbackUrl", CALLBACK).leaf("certificate", certificate.trim_end());
        oauth.leaf("isAdminApproved", "true").leaf("isConsumerSecretOptional", "false");
        for scope in SCOPES {
            oauth.leaf("scopes", scope);
        }
    });
    app.element("oauthPolicy", |policy| {
        policy.leaf("ipRelaxation", "ENFORCE").leaf("refreshTokenPolicy", "zero");
    });
    app.leaf("permissionSetName", facts.access_set());
    app.element("sessionPolicy", |policy| {
        policy.leaf("sessionTimeout", facts.session.minutes.to_string());
    });
    component("ConnectedApp", ("connectedApps", "connectedApp"), facts.app.name.to_string(), app)
}

fn description(facts: &Facts) -> String {
    format!("Aquila, the token broker, logs in here for {} by signed JWT.", facts.integration)
}

#[cfg(test)]
mod tests {
    use super::super::testing::facts;
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";

    /// The documents by their paths.
    fn made(facts: &Facts) -> Vec<(String, String)> {
        let made = components(facts, CERTIFICATE).into_iter();
        made.map(|component| (component.path, component.text.replace("    ", ""))).collect()
    }

    fn text<'a>(made: &'a [(String, String)], ending: &str) -> &'a str {
        let found: Vec<_> = made.iter().filter(|(path, _)| path.ends_with(ending)).collect();
        assert_eq!(found.len(), 1, "{ending}");
        &found[0].1
    }

    #[test]
    fn an_external_client_app_is_five_components_and_two_permission_sets() {
        let made = made(&facts());
        let paths: Vec<_> = made.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "permissionsets/Aquila_elf_prod_Event_Logs.permissionset-meta.xml",
                "permissionsets/Aquila_elf_prod_Access.permissionset-meta.xml",
                "externalClientApps/Aquila_elf_prod.eca-meta.xml",
                "extlClntAppGlobalOauthSets/Aquila_elf_prod_glbloauth.ecaGlblOauth-meta.xml",
                "extlClntAppOauthSettings/Aquila_elf_prod_oauth.ecaOauth-meta.xml",
                "extlClntAppOauthPolicies/Aquila_elf_prod_oauthPlcy.ecaOauthPlcy-meta.xml",
                "extlClntAppPolicies/Aquila_elf_prod_plcy.ecaPlcy-meta.xml",
            ]
        );
        for (path, text) in made.iter().filter(|(path, _)| path.starts_with("extlClnt")) {
            let link = "<externalClientApplication>Aquila_elf_prod</externalClientApplication>";
            assert_eq!(text.matches(link).count(), 1, "{path}");
        }
        // What people said is text in every document.
        for (path, text) in &made {
            assert!(text.contains("<label>Aquila &lt;elf&gt; &amp; &quot;prod&quot;"), "{path}: {text}");
        }
        assert!(text(&made, ".eca-meta.xml").contains("<contactEmail>o&apos;brien@acme.example</contactEmail>"));
    }

    #[test]
    fn the_certificate_and_the_preauthorisation_are_in_the_settings_and_the_policy() {
        let made = made(&facts());
        let settings = text(&made, ".ecaGlblOauth-meta.xml");
        assert!(settings.contains(&format!("<certificate>{CERTIFICATE}</certificate>")), "{settings}");
        assert!(!settings.contains("<consumerKey>") && !settings.contains("<consumerSecret>"), "{settings}");
        assert_eq!(made.iter().filter(|(_, text)| text.contains("MIIB")).count(), 1);
        let policy = text(&made, ".ecaOauthPlcy-meta.xml");
        for line in [
            "<permittedUsersPolicyType>AdminApprovedPreAuthorized</permittedUsersPolicyType>",
            "<commaSeparatedPermissionSet>Aquila_elf_prod_Access</commaSeparatedPermissionSet>",
            "<sessionTimeoutInMinutes>120</sessionTimeoutInMinutes>",
            "<ipRelaxationPolicyType>Enforce</ipRelaxationPolicyType>",
        ] {
            assert!(policy.contains(line), "{line} in {policy}");
        }
    }

    #[test]
    fn permissions_are_the_least_unless_more_is_asked_for() {
        let granted = |facts: &Facts, set: &str| {
            let made = made(facts);
            let names = text(&made, set).split("<userPermissions>").skip(1);
            let names = names.filter_map(|rest| rest.split("<name>").nth(1)?.split('<').next().map(str::to_owned));
            names.collect::<Vec<_>>()
        };
        let mut facts = facts();
        assert_eq!(granted(&facts, "Event_Logs.permissionset-meta.xml"), ["ApiEnabled", "ViewEventLogFiles"]);
        assert!(granted(&facts, "Access.permissionset-meta.xml").is_empty());
        facts.view_all_data = true;
        let all = granted(&facts, "Event_Logs.permissionset-meta.xml");
        assert_eq!(all[2..], ["ViewAllData", "ViewPublicDashboards", "ViewPublicReports"]);
        assert!(granted(&facts, "Access.permissionset-meta.xml").is_empty());
    }

    #[test]
    fn a_connected_app_says_the_same_in_one_component() {
        let mut facts = facts();
        facts.app.kind = Kind::ConnectedApp;
        facts.session = "15m".parse().unwrap();
        let made = made(&facts);
        assert_eq!(made.len(), 3);
        let app = text(&made, "connectedApps/Aquila_elf_prod.connectedApp-meta.xml");
        for part in [
            &format!("<certificate>{CERTIFICATE}</certificate>\n<isAdminApproved>true</isAdminApproved>"),
            "<permissionSetName>Aquila_elf_prod_Access</permissionSetName>",
            "<sessionPolicy>\n<sessionTimeout>15</sessionTimeout>\n</sessionPolicy>",
            "<scopes>Api</scopes>\n<scopes>RefreshToken</scopes>",
        ] {
            assert!(app.contains(part), "{part} in {app}");
        }
    }

    #[test]
    fn the_manifest_lists_every_component_once_by_type() {
        let manifest = manifest(&components(&facts(), CERTIFICATE)).replace("    ", "");
        let sets = "<types>\n<members>Aquila_elf_prod_Event_Logs</members>\n<members>Aquila_elf_prod_Access</members>\n\
                    <name>PermissionSet</name>\n</types>\n<version>63.0</version>\n</Package>\n";
        assert!(manifest.ends_with(sets), "{manifest}");
        assert_eq!(manifest.matches("<members>").count(), 7);
        assert_eq!(manifest.matches("<types>").count(), 6);
    }

    #[test]
    fn what_is_unsure_says_so_where_it_stands() {
        let mut facts = facts();
        facts.view_all_data = true;
        let unsure = |facts: &Facts| {
            let made = made(facts);
            let unsure = made.into_iter().filter(|(_, text)| text.contains("Unsure: ")).map(|(path, _)| path);
            unsure.map(|path| path.split('/').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(unsure(&facts), ["permissionsets", "extlClntAppGlobalOauthSets", "extlClntAppOauthPolicies"]);
        facts.app.kind = Kind::ConnectedApp;
        assert_eq!(unsure(&facts), ["permissionsets", "connectedApps"]);
    }
}
