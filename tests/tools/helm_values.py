"""What the chart is rendered with: a matrix of values, and values that it refuses with a word of the refusal."""

import copy

INTEGRATION = {
    "client_key_path": "/etc/aquila/keys/elf-prod.pem",
    "client_id": "3MVG9.example",
    "username": "elastic-log@acme.example",
    "audience_url": "https://login.salesforce.com",
    "token_url": "https://acme.my.salesforce.com/services/oauth2/token",
    "session_timeout": "2h",
}
CALLER = {"integrations": ["elf-*"], "api_key_sha256": ["6b" * 32]}
PLAIN = {"config": {"server": {"plain_http": True}}}
TLS = {"tls": {"existingSecret": "aquila-tls"}}
CERT_MANAGER = {"tls": {"certManager": {"enabled": True, "issuerRef": {"name": "internal", "kind": "ClusterIssuer"}}}}
MUTUAL_TLS = {"tls": {"clientCa": {"existingSecret": "mesh-ca"}, "clientCertificate": "required"}}
KEYS = {"keys": {"existingSecret": "aquila-keys"}}
CSI = {"keys": {"csi": {"secretProviderClass": "vault-aquila"}}}
SCALED = {"autoscaling": {"enabled": True, "maxReplicas": 25}}
STORE = {
    "store": {"sealKey": {"existingSecret": "seal"}, "password": {"existingSecret": "redis"}, "ca": {"existingSecret": "redis-ca"}},
    "config": {"store": {"redis": {"url": "rediss://redis.example:6380/0", "username": "aquila"}}},
}
SENTINELS = {
    "store": {"sealKey": {"existingSecret": "seal", "key": "keys.txt"}},
    "config": {
        "store": {
            "max_replicas": 7,
            "redis": {"urls": ["rediss://a.example:26379", "rediss://b.example:26379"], "mode": "sentinel", "master_name": "mymaster"},
        },
    },
    "networkPolicy": {"store": {"to": [{"podSelector": {"matchLabels": {"app": "redis"}}}], "extraPorts": [6379]}},
}
MONITORED = {
    "ops": {"token": {"existingSecret": "ops-token"}, "tls": {"existingSecret": "ops-tls"}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "tlsConfig": {"minVersion": "TLS12"}},
    "prometheusRule": {
        "enabled": True, "labels": {"release": "prometheus"}, "ruleLabels": {"team": "logs"}, "disabled": ["AquilaTokensSlow"],
        "runbookUrlPrefix": "https://code.example/aquila/blob/main/",
    },
    "dashboard": {"enabled": True, "annotations": {"folder": "Salesforce"}},
}  # fmt: skip


def merged(*parts):
    """The parts one over the other, as Helm lays values over values."""
    result = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def config(**sections):
    return {"config": sections}


def integration(**settings):
    return config(integrations={"elf-prod": {**INTEGRATION, **settings}})


# All that is needed from whoever installs it.
WORKING = merged(TLS, KEYS, integration(), config(callers={"log-shipper": CALLER}))
EVERYTHING = merged(
    WORKING,
    MONITORED,
    {
        "replicaCount": 3,
        "fullnameOverride": "broker",
        "image": {"repository": "registry.example/aquila", "tag": "1.2.3", "pullPolicy": "Always", "pullSecrets": ["pull"]},
        "config": {
            "server": {"listen": "0.0.0.0:18443", "public_url": "https://aquila.example", "shutdown_delay": "1m", "shutdown_grace": "30s"},
            "ops": {"listen": "[::]:19090"},
            "salesforce": {"proxy_url": "http://proxy.example:3128"},
            "log": {"level": "debug"},
            "audit": {"path": "-", "required": True},
        },
        "extraEnv": [{"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "extraVolumes": [{"name": "audit", "emptyDir": {"sizeLimit": "1Gi"}}],
        "extraVolumeMounts": [{"name": "audit", "mountPath": "/var/log/aquila"}],
        "serviceAccount": {"annotations": {"a.example/b": "c"}},
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a.example/b": "c"}},
        "opsService": {"port": 9100, "annotations": {"a.example/b": "c"}},
        "networkPolicy": {
            "callersFrom": [],
            "monitoringFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
            "salesforce": {"cidrs": ["203.0.113.0/24"], "except": []},
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "198.51.100.7/32"}}], "ports": [{"port": 6443}]}],
        },
        "podDisruptionBudget": {"maxUnavailable": "50%"},
        "topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}],
        "priorityClassName": "system-cluster-critical",
        "podAnnotations": {"a.example/b": "c"},
        "podLabels": {"team": "logs"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    },
)
NOTHING_EXTRA = {
    "check": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "topologySpreadConstraints": [],
}
MATRIX = {
    "plain HTTP": PLAIN,
    "TLS": TLS,
    "one integration": WORKING,
    "callers by certificate": merged(WORKING, MUTUAL_TLS),
    "cert-manager": merged(CERT_MANAGER, KEYS, integration()),
    "cert-manager with names": merged(CERT_MANAGER, MUTUAL_TLS, {"tls": {"certManager": {"dnsNames": ["aquila.example"]}}}),
    "keys by CSI": merged(TLS, CSI, integration()),
    "scaled": merged(WORKING, SCALED),
    "monitored": merged(WORKING, MONITORED),
    "monitored by pod": merged(WORKING, {"podMonitor": {"enabled": True}}),
    "everything": EVERYTHING,
    "nothing extra": merged(PLAIN, NOTHING_EXTRA),
    "by digest": merged(PLAIN, {"image": {"digest": "sha256:" + "0f" * 32}}),
    "an issuer of the cluster": merged(
        WORKING,
        config(issuers={"cluster": {"issuer": "https://k8s.example", "bearer_token_path": "/var/run/secrets/kubernetes.io/serviceaccount/token"}}),
    ),
    "as many logins as may be": merged(WORKING, {"replicaCount": 3}, integration(login_budget_per_hour=1000)),
    "a shared store": merged(WORKING, {"replicaCount": 30}, STORE),
    "a shared store of no pod yet": merged(WORKING, {"replicaCount": 0}, STORE),
    "sections that are null": merged(WORKING, config(salesforce=None, audit=None)),
    "a shared store behind Sentinels": merged(WORKING, SCALED, SENTINELS),
    "names that YAML would read as numbers": merged(WORKING, {"nameOverride": "123"}),
    "networks of both kinds": merged(
        PLAIN,
        {"networkPolicy": {"salesforce": {"cidrs": ["10.0.0.0/8", "1.2.3.4/32", "2001:db8::/32", "::1/128", "1:2:3:4:5:6:7:8/128"], "except": []}}},
    ),
    "somebody else's service account": merged(PLAIN, {"serviceAccount": {"create": False, "name": "theirs"}}),
    "no service account": merged(PLAIN, {"serviceAccount": {"create": False}}),
}

# What is refused, and a word of the refusal.
REFUSED_BY_SCHEMA = {
    "a store without its Redis": (merged(PLAIN, config(store={"max_replicas": 3})), "redis"),
    "a store at an address of another kind": (merged(PLAIN, config(store={"redis": {"url": "https://redis.example"}})), "url"),
    "an unknown value": (merged(PLAIN, {"replicas": 2}), "replicas"),
    "an unknown value of the image": (merged(PLAIN, {"image": {"tagg": "1"}}), "tagg"),
    "replicas as text": (merged(PLAIN, {"replicaCount": "two"}), "replicaCount"),
    "a pull policy that Kubernetes does not know": (merged(PLAIN, {"image": {"pullPolicy": "Sometimes"}}), "pullPolicy"),
    "a digest that is none": (merged(PLAIN, {"image": {"digest": "latest"}}), "digest"),
    "a callers' door on loopback": (merged(PLAIN, config(server={"listen": "127.0.0.1:8080"})), "listen"),
    "an ops door on loopback": (merged(PLAIN, config(ops={"listen": "[::1]:9090"})), "listen"),
    "a privileged port": (merged(PLAIN, config(server={"listen": "0.0.0.0:80"})), "listen"),
    "a grace time that cannot be added up": (merged(PLAIN, config(server={"shutdown_grace": "1m 30s"})), "shutdown_grace"),
    "an integration with a bad name": (merged(PLAIN, config(integrations={"Elf_Prod": INTEGRATION})), "Elf_Prod"),
    "an integration without its token_url": (merged(PLAIN, config(integrations={"elf": {"client_id": "x", "username": "y"}})), "token_url"),
    "a budget as text": (merged(PLAIN, integration(login_budget_per_hour="120")), "login_budget_per_hour"),
    "a caller without integrations": (merged(PLAIN, config(callers={"log-shipper": {}})), "integrations"),
    "an API key in place of its digest": (
        merged(PLAIN, config(callers={"log-shipper": {"integrations": ["*"], "api_key_sha256": ["aquila_x"]}})),
        "api_key_sha256",
    ),
    "a port that is none": (merged(PLAIN, {"service": {"port": 70000}}), "port"),
    "no pod at most": (merged(PLAIN, {"autoscaling": {"maxReplicas": 0}}), "maxReplicas"),
    "a budget of disruptions that forbids all": (merged(PLAIN, {"podDisruptionBudget": {"maxUnavailable": 0}}), "maxUnavailable"),
    "a network that is none": (merged(PLAIN, {"networkPolicy": {"salesforce": {"cidrs": ["salesforce.com"]}}}), "cidrs"),
    "a network with a number beyond 255": (merged(PLAIN, {"networkPolicy": {"salesforce": {"cidrs": ["999.1.1.1/8"]}}}), "cidrs"),
    "a network with a longer prefix than an address": (merged(PLAIN, {"networkPolicy": {"salesforce": {"except": ["10.0.0.0/99"]}}}), "except"),
    "a network of the sixth version that is none": (merged(PLAIN, {"networkPolicy": {"salesforce": {"cidrs": ["1::2::3/64"]}}}), "cidrs"),
    "a peer at an address that is none": (merged(PLAIN, {"networkPolicy": {"callersFrom": [{"ipBlock": {"cidr": "10.0.0.300/32"}}]}}), "callersFrom"),
    "a full name that no object may have": (merged(PLAIN, {"fullnameOverride": "My_App"}), "fullnameOverride"),
    "a full name that no Service may have": (merged(PLAIN, {"fullnameOverride": "1st"}), "fullnameOverride"),
    "a name that no object may have": (merged(PLAIN, {"nameOverride": "My App!"}), "nameOverride"),
    "no way to Salesforce": (merged(PLAIN, {"networkPolicy": {"salesforce": {"cidrs": []}}}), "cidrs"),
    "a misspelt peer": (merged(PLAIN, {"networkPolicy": {"callersFrom": [{"namespace": {}}]}}), "callersFrom"),
    "an issuer of another kind": (merged(PLAIN, {"tls": {"certManager": {"issuerRef": {"kind": "Authority"}}}}), "kind"),
    "an interval that is none": (merged(PLAIN, {"serviceMonitor": {"interval": "often"}}), "interval"),
    "a prefix without its slash": (merged(PLAIN, {"prometheusRule": {"runbookUrlPrefix": "https://code.example"}}), "runbookUrlPrefix"),
    "a probe with another question": (merged(PLAIN, {"probes": {"liveness": {"exec": {"command": ["true"]}}}}), "exec"),
    "a pod that is root": (merged(PLAIN, {"podSecurityContext": {"runAsNonRoot": False}}), "runAsNonRoot"),
    "a root file system that can be written": (merged(PLAIN, {"securityContext": {"readOnlyRootFilesystem": False}}), "readOnlyRootFilesystem"),
    "a constraint with a selector of its own": (
        merged(PLAIN, {"topologySpreadConstraints": [{"topologyKey": "k", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}]}),
        "topologySpreadConstraints",
    ),
}
REFUSED_BY_TEMPLATE = {
    "a store without a seal key": (merged(PLAIN, {"config": STORE["config"]}), "new-seal-key"),
    "a store at no address": (merged(PLAIN, {"store": STORE["store"]}, config(store={"redis": {}})), "needs url"),
    "secrets of a store that is not there": (merged(PLAIN, {"store": STORE["store"]}), "no config.store"),
    "neither TLS nor plain HTTP": ({}, "how do callers reach the service?"),
    "plain HTTP and TLS": (merged(PLAIN, TLS), "choose one"),
    "authorities of clients without TLS": (merged(PLAIN, MUTUAL_TLS), "needs tls.existingSecret"),
    "two sources of TLS": (merged(TLS, config(server={"tls": {"certificate_path": "/a", "private_key_path": "/b"}})), "choose one"),
    "a Secret and cert-manager": (merged(TLS, CERT_MANAGER), "choose one"),
    "cert-manager without an issuer": ({"tls": {"certManager": {"enabled": True}}}, "issuerRef.name is empty"),
    "two sources of keys": (merged(TLS, KEYS, CSI), "choose one"),
    "two sources of TLS for the ops door": (
        merged(PLAIN, {"ops": {"tls": {"existingSecret": "a"}}}, config(ops={"tls": {"certificate_path": "/a", "private_key_path": "/b"}})),
        "choose one",
    ),
    "a label of the chart's pods": (
        merged(PLAIN, {"podLabels": {"app.kubernetes.io/name": "mine"}}),
        "podLabels: the chart itself sets app.kubernetes.io/name",
    ),
    "an annotation of the chart's pods": (merged(PLAIN, {"podAnnotations": {"checksum/needs-restart": "1"}}), "podAnnotations: the chart"),
    "a label of the chart's monitor": (
        merged(PLAIN, {"podMonitor": {"enabled": True, "labels": {"app.kubernetes.io/instance": "prometheus"}}}),
        "podMonitor.labels: the chart",
    ),
    "a name beside the monitor's own": (
        merged(PLAIN, MONITORED, {"serviceMonitor": {"tlsConfig": {"serverName": "a.example"}}}),
        "serviceMonitor.tlsConfig: the chart",
    ),
    "a label of the chart's alerts": (
        merged(PLAIN, {"prometheusRule": {"enabled": True, "labels": {"helm.sh/chart": "x"}}}),
        "prometheusRule.labels: the chart",
    ),
    "a label of the chart's dashboard": (
        merged(PLAIN, {"dashboard": {"enabled": True, "labels": {"app.kubernetes.io/version": "x"}}}),
        "dashboard.labels: the chart",
    ),
    "two monitors": (merged(PLAIN, {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}), "choose one"),
    "an alert that is not there": (merged(PLAIN, {"prometheusRule": {"enabled": True, "disabled": ["AquilaTired"]}}), "no alert AquilaTired"),
    "fewer pods at most than at least": (merged(PLAIN, {"autoscaling": {"enabled": True, "minReplicas": 5}}), "minReplicas is more"),
    "more logins than Salesforce takes, scaled": (merged(WORKING, {"autoscaling": {"enabled": True, "maxReplicas": 26}}), "3120 logins"),
    "more logins than Salesforce takes": (merged(WORKING, {"replicaCount": 4}, integration(login_budget_per_hour=751)), "3004 logins"),
}
