"""What the rendered objects say, beyond being valid."""

import json

import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from helm_values import CALLER, INTEGRATION

RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def judge(checks, rendered, files):
    """`rendered` has objects by kind and name, for each name of the matrix; `files` those of the chart."""
    for name, objects in rendered.items():
        every_pod(checks, name, objects)
    configuration(checks, rendered)
    mounts(checks, rendered)
    everything(checks, rendered["everything"])
    scaling(checks, rendered)
    way_in_and_out(checks, rendered)
    monitoring(checks, rendered, files)
    tested_by_helm(checks, rendered)


def every_pod(checks, name, objects):
    pod, container = pod_of(objects), container_of(objects)
    inits = pod.get("initContainers", [])
    checks.check(
        f"restricted pod: {name}",
        pod["securityContext"]["runAsNonRoot"] is True
        and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        and all(each["securityContext"] == RESTRICTED for each in [container, *inits]),
    )
    asked = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    paths = {probe: asked[probe]["path"] for probe in asked}
    checks.check(
        f"probes ask the ops door: {name}",
        paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
        and all(each["port"] == "ops" for each in asked.values()),
        asked,
    )
    automounted = [pod["automountServiceAccountToken"]]
    automounted += [account["automountServiceAccountToken"] for account in of_kind(objects, "ServiceAccount")]
    checks.check(
        f"the token of the service account only for who reads it: {name}",
        set(automounted) == {name == "an issuer of the cluster"},
        automounted,
    )
    declared, mounted = {v["name"] for v in pod["volumes"]}, {m["name"] for m in container["volumeMounts"]}
    checks.check(f"each volume is mounted, and each mount has its volume: {name}", declared == mounted, (declared, mounted))
    for init in inits:
        same = all(init.get(part) == container.get(part) for part in ("image", "env", "volumeMounts", "securityContext"))
        checks.check(f"the check sees what the service sees: {name}", same and init["args"] == ["check", *container["args"][1:]], init)


def configuration(checks, rendered):
    config = rendered_config(rendered["one integration"])
    checks.check("the file holds the integration as it was given", config["integrations"] == {"elf-prod": INTEGRATION}, config)
    checks.check("the file holds the caller as it was given", config["callers"] == {"log-shipper": CALLER}, config)
    null = rendered_config(rendered["sections that are null"])
    checks.check("a section that is null is no section", null == config, null)
    for name in ("one integration", "cert-manager"):
        tls = rendered_config(rendered[name])["server"]["tls"]
        checks.check(f"TLS from the Secret: {name}", tls["certificate_path"] == "/etc/aquila/tls/tls.crt", tls)
    checks.check("no authorities unless asked for", "client_ca_path" not in config["server"]["tls"], config)
    mutual = rendered_config(rendered["callers by certificate"])["server"]["tls"]
    checks.check("authorities of clients from their Secret", mutual["client_ca_path"] == "/etc/aquila/client-ca/ca.crt", mutual)
    checks.check("and whether one is required", mutual["client_certificate"] == "required", mutual)
    ops = rendered_config(rendered["monitored"])["ops"]
    checks.check("the ops door asks for its token", ops["bearer_token_path"] == "/etc/aquila/ops-token/token", ops)
    checks.check("and speaks TLS", ops["tls"]["private_key_path"] == "/etc/aquila/ops-tls/tls.key", ops)
    image = container_of(rendered["the values of README"])["image"]
    checks.check("README names a registry", image == "registry.example/aquila:0.1.0", image)


def mounts(checks, rendered):
    pod, container = pod_of(rendered["one integration"]), container_of(rendered["one integration"])
    secrets = {v["name"]: v["secret"] for v in pod["volumes"] if "secret" in v}
    checks.check("keys for the group only", secrets["keys"] == {"secretName": "aquila-keys", "defaultMode": 0o440}, secrets)
    checks.check("the group is the service's own", pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"])
    # A file mounted by subPath never changes.
    bare = all("subPath" not in mount and mount["mountPath"] == f"/etc/aquila/{mount['name']}" for mount in container["volumeMounts"])
    checks.check("whole folders are mounted, so that changes arrive", bare, container["volumeMounts"])
    config_volume = next(v for v in pod["volumes"] if v["name"] == "config")
    known = ("ConfigMap", config_volume["configMap"]["name"]) in rendered["one integration"]
    checks.check("the pod mounts the ConfigMap that is there", known)

    def secret_of(name, volume):
        return next(v["secret"]["secretName"] for v in pod_of(rendered[name])["volumes"] if v["name"] == volume)

    checks.check("authorities of clients are mounted", secret_of("callers by certificate", "client-ca") == "mesh-ca")
    issued = next(iter(of_kind(rendered["cert-manager"], "Certificate")))["spec"]
    checks.check("the issued certificate is mounted", secret_of("cert-manager", "tls") == issued["secretName"], issued)
    checks.check("it is for the Service's name", "rel-aquila.prod.svc" in issued["dnsNames"], issued)
    named = next(iter(of_kind(rendered["cert-manager with names"], "Certificate")))["spec"]
    checks.check("or for the names that were given", named["dnsNames"] == ["aquila.example"], named)
    csi = next(v["csi"] for v in pod_of(rendered["keys by CSI"])["volumes"] if v["name"] == "keys")
    expected = {"driver": "secrets-store.csi.k8s.io", "readOnly": True, "volumeAttributes": {"secretProviderClass": "vault-aquila"}}
    checks.check("keys by CSI", csi == expected, csi)


def everything(checks, objects):
    pod, container = pod_of(objects), container_of(objects)
    checks.check("ports follow the configuration", [p["containerPort"] for p in container["ports"]] == [18443, 19090])
    checks.check("5 s + 20 s, and 5 s more to stop; minutes are counted as minutes", pod["terminationGracePeriodSeconds"] == 95)
    checks.check("probes speak TLS to an ops door with TLS", container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS")
    checks.check("a mount of one's own", {"name": "audit", "mountPath": "/var/log/aquila"} in container["volumeMounts"])
    labels = deployment_of(objects)["spec"]["template"]["metadata"]["labels"]
    for service, port, target in (("broker", 443, "callers"), ("broker-ops", 9100, "ops")):
        spec = objects["Service", service]["spec"]
        checks.check(f"Service {service} leads to {target}", [(p["port"], p["targetPort"]) for p in spec["ports"]] == [(port, target)])
        checks.check(f"Service {service} finds the pods", spec["selector"].items() <= labels.items(), labels)
    spread = pod["topologySpreadConstraints"][0]
    checks.check("the pods part ways from one another", spread["labelSelector"]["matchLabels"].items() <= labels.items(), spread)
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        spec = objects[kind, "broker"]["spec"]
        selected = (spec.get("selector") or spec["podSelector"])["matchLabels"]
        checks.check(f"the {kind} is about the pods", selected.items() <= labels.items(), selected)


def scaling(checks, rendered):
    spec = rendered["scaled"]["HorizontalPodAutoscaler", "rel-aquila"]["spec"]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "rel-aquila"}
    checks.check("the autoscaler scales the Deployment", spec["scaleTargetRef"] == target and spec["maxReplicas"] == 25, spec)
    checks.check("which does not say how many pods", "replicas" not in deployment_of(rendered["scaled"])["spec"])
    checks.check("and says it where nothing scales", deployment_of(rendered["everything"])["spec"]["replicas"] == 3)
    gone = {"NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    left = {kind for kind, _ in rendered["nothing extra"]}
    checks.check("what is turned off is not there", not gone & left and "initContainers" not in pod_of(rendered["nothing extra"]), left)


def way_in_and_out(checks, rendered):
    policy = rendered["one integration"]["NetworkPolicy", "rel-aquila"]["spec"]
    callers, ops = policy["ingress"]
    checks.check("callers of the cluster come in", callers["from"] == [{"namespaceSelector": {}}], callers)
    checks.check("to the callers' door only", [port["port"] for port in callers["ports"]] == ["callers"], callers)
    monitors = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    checks.check("monitoring comes in to the ops door", monitors in ops["from"] and ops["ports"][0]["port"] == "ops", ops)
    names, salesforce = policy["egress"]
    checks.check("names are found", {port["port"] for port in names["ports"]} == {53}, names)
    out = [(to["ipBlock"]["cidr"], to["ipBlock"].get("except")) for to in salesforce["to"]]
    checks.check("Salesforce is reached, and no metadata service", out == [("0.0.0.0/0", ["169.254.0.0/16"]), ("::/0", None)], out)
    checks.check("by HTTPS only", [port["port"] for port in salesforce["ports"]] == [443], salesforce)
    special = rendered["everything"]["NetworkPolicy", "broker"]["spec"]
    checks.check("everybody comes in where the list is empty", "from" not in special["ingress"][0], special)
    checks.check("the proxy's port is open", [port["port"] for port in special["egress"][1]["ports"]] == [443, 3128], special)
    checks.check("a rule of one's own", special["egress"][2]["ports"] == [{"port": 6443}], special)


def monitoring(checks, rendered, files):
    objects = rendered["monitored"]
    monitor = objects["ServiceMonitor", "rel-aquila"]
    endpoint = monitor["spec"]["endpoints"][0]
    service = objects["Service", "rel-aquila-ops"]
    selected = monitor["spec"]["selector"]["matchLabels"]
    checks.check("the monitor finds the ops Service", selected.items() <= service["metadata"]["labels"].items(), selected)
    checks.check("and not the callers'", not selected.items() <= objects["Service", "rel-aquila"]["metadata"]["labels"].items())
    checks.check("it asks the port that is there", endpoint["targetPort"] == service["spec"]["ports"][0]["targetPort"], endpoint)
    checks.check("with the token", endpoint["authorization"]["credentials"] == {"name": "ops-token", "key": "token"}, endpoint)
    verified = {"serverName": "rel-aquila-ops.prod.svc", "ca": {"secret": {"name": "ops-tls", "key": "ca.crt"}}, "minVersion": "TLS12"}
    checks.check("over TLS that it verifies", endpoint["scheme"] == "https" and endpoint["tlsConfig"] == verified, endpoint)
    checks.check("Prometheus selects it", monitor["metadata"]["labels"]["release"] == "prometheus", monitor)
    by_pod = rendered["monitored by pod"]["PodMonitor", "rel-aquila"]["spec"]
    labels = deployment_of(rendered["monitored by pod"])["spec"]["template"]["metadata"]["labels"]
    checks.check("a monitor of pods finds them", by_pod["selector"]["matchLabels"].items() <= labels.items(), by_pod)
    ports = {port["name"] for port in container_of(rendered["monitored by pod"])["ports"]}
    checks.check("and their port", by_pod["podMetricsEndpoints"][0]["port"] in ports, by_pod)

    source = {rule["alert"]: rule for group in yaml.safe_load(files["files/alerts.yaml"])["groups"] for rule in group["rules"]}
    rules = {rule["alert"]: rule for rule in objects["PrometheusRule", "rel-aquila"]["spec"]["groups"][0]["rules"]}
    checks.check("each alert but the unwanted one", source.keys() - rules.keys() == {"AquilaTokensSlow"}, sorted(rules))
    for alert, rule in rules.items():
        known = source[alert]
        same = all(rule.get(part) == known.get(part) for part in ("expr", "for"))
        checks.check(f"{alert} as it stands in the file, with the labels of the values", same and rule["labels"] == {**known["labels"], "team": "logs"}, rule)
        annotations = {**known["annotations"], "runbook_url": "https://code.example/aquila/blob/main/" + known["annotations"]["runbook_url"]}
        checks.check(f"{alert} has its words and its runbook", rule["annotations"] == annotations, rule)

    board = objects["ConfigMap", "rel-aquila-dashboard"]
    drawn = json.loads(board["data"]["aquila.json"])
    checks.check("the dashboard is the file", drawn == json.loads(files["files/dashboard.json"]))
    checks.check("Grafana's sidecar finds it", board["metadata"]["labels"]["grafana_dashboard"] == "1", board["metadata"])
    shape = Dashboard.from_json(drawn)
    checks.check("Grafana's own types read it", len(shape.panels) == len(drawn["panels"]) > 20 and shape.title == "Aquila")
    places = [tuple(panel["gridPos"].values()) for panel in drawn["panels"]]
    ids = {panel["id"] for panel in drawn["panels"]}
    checks.check("each panel has an id and a place of its own", len(set(places)) == len(ids) == len(places), places)
    silent = [panel["title"] for panel in drawn["panels"] if panel["type"] != "row" and not panel["description"]]
    checks.check("each panel says what it shows", not silent, silent)


def tested_by_helm(checks, rendered):
    for name, url in (("one integration", "http://rel-aquila-ops.prod.svc:9090/readyz"), ("everything", "https://broker-ops.prod.svc:9100/readyz")):
        objects = rendered[name]
        pod = next(iter(of_kind(objects, "Pod")))
        args = pod["spec"]["containers"][0]["args"]
        checks.check(f"helm test asks the ops Service: {name}", args[:3] == ["healthcheck", "--url", url], args)
        labels = pod["metadata"]["labels"].items()
        found = [service["metadata"]["name"] for service in of_kind(objects, "Service") if service["spec"]["selector"].items() <= labels]
        checks.check(f"and is sent no requests itself: {name}", not found, found)
        let_in = next(iter(of_kind(objects, "NetworkPolicy")))["spec"]["ingress"][1]["from"][0]["podSelector"]["matchLabels"]
        checks.check(f"and is let in: {name}", let_in.items() <= labels, let_in)
    checks.check("over TLS by the authority of the Secret", args[3:] == ["--ca-path", "/etc/aquila/ops-tls/ca.crt"], args)


# --- parts -----------------------------------------------------------------------


def of_kind(objects, wanted):
    return [document for (kind, _), document in objects.items() if kind == wanted]


def deployment_of(objects):
    return next(iter(of_kind(objects, "Deployment")))


def pod_of(objects):
    return deployment_of(objects)["spec"]["template"]["spec"]


def container_of(objects):
    return pod_of(objects)["containers"][0]


def rendered_config(objects):
    return next(yaml.safe_load(d["data"]["aquila.yaml"]) for d in of_kind(objects, "ConfigMap") if "aquila.yaml" in d["data"])
