"""The chart: linted, rendered over a matrix of values, validated against Kubernetes' own schemas; bad values refused.

Helm's engine comes as a Python package, so neither helm nor a cluster is needed. With `--binary`, the service's own
`check` reads the configuration file that the chart renders.
"""

import argparse
import copy
import pathlib
import subprocess
import sys
import tempfile

import helm_python
import yaml

from checks import Checks
from service import private_key

CHART = pathlib.Path(__file__).resolve().parents[2] / "helm" / "aquila"
KUBERNETES = ["1.29.0", "1.31.0", "1.37.0"]

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
MUTUAL_TLS = {"tls": {"clientCa": {"existingSecret": "mesh-ca"}, "clientCertificate": "required"}}


def merged(*parts):
    """The parts one over the other, as Helm lays values over values."""
    result = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


WORKING = merged(
    TLS,
    {"config": {"integrations": {"elf-prod": INTEGRATION}, "callers": {"log-shipper": CALLER}}},
    {"keys": {"existingSecret": "aquila-keys"}},
)
MATRIX = {
    "plain HTTP": PLAIN,
    "TLS": TLS,
    "one integration": WORKING,
    "callers by certificate": merged(WORKING, MUTUAL_TLS),
    "everything": merged(
        WORKING,
        {
            "replicaCount": 3,
            "fullnameOverride": "broker",
            "image": {"repository": "registry.example/aquila", "tag": "1.2.3", "pullPolicy": "Always", "pullSecrets": ["pull"]},
            "config": {
                "server": {"listen": "0.0.0.0:18443", "public_url": "https://aquila.example", "shutdown_delay": "1m", "shutdown_grace": "30s"},
                "ops": {"listen": "[::]:19090", "tls": {"certificate_path": "/ops/tls.crt", "private_key_path": "/ops/tls.key"}},
                "log": {"level": "debug"},
                "audit": {"path": "-", "required": True},
            },
            "extraEnv": [{"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "extraVolumes": [{"name": "ops-tls", "secret": {"secretName": "ops-tls"}}],
            "extraVolumeMounts": [{"name": "ops-tls", "mountPath": "/ops", "readOnly": True}],
            "serviceAccount": {"annotations": {"a.example/b": "c"}},
            "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a.example/b": "c"}},
            "opsService": {"port": 9100, "annotations": {"a.example/b": "c"}},
            "podAnnotations": {"a.example/b": "c"},
            "podLabels": {"team": "logs"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        },
    ),
    "somebody else's service account": merged(PLAIN, {"serviceAccount": {"create": False, "name": "theirs"}}),
    "no service account": merged(PLAIN, {"serviceAccount": {"create": False}}),
}

# What is refused, and a word of the refusal.
REFUSED_BY_SCHEMA = {
    "an unknown value": (merged(PLAIN, {"replicas": 2}), "replicas"),
    "an unknown value of the image": (merged(PLAIN, {"image": {"tagg": "1"}}), "tagg"),
    "replicas as text": (merged(PLAIN, {"replicaCount": "two"}), "replicaCount"),
    "a pull policy that Kubernetes does not know": (merged(PLAIN, {"image": {"pullPolicy": "Sometimes"}}), "pullPolicy"),
    "a callers' door on loopback": (merged(PLAIN, {"config": {"server": {"listen": "127.0.0.1:8080"}}}), "listen"),
    "an ops door on loopback": (merged(PLAIN, {"config": {"ops": {"listen": "[::1]:9090"}}}), "listen"),
    "a privileged port": (merged(PLAIN, {"config": {"server": {"listen": "0.0.0.0:80"}}}), "listen"),
    "a grace time that cannot be added up": (merged(PLAIN, {"config": {"server": {"shutdown_grace": "1m 30s"}}}), "shutdown_grace"),
    "an integration with a bad name": (merged(PLAIN, {"config": {"integrations": {"Elf_Prod": INTEGRATION}}}), "Elf_Prod"),
    "an integration without its token_url": (
        merged(PLAIN, {"config": {"integrations": {"elf": {"client_id": "x", "username": "y"}}}}),
        "token_url",
    ),
    "a caller without integrations": (merged(PLAIN, {"config": {"callers": {"log-shipper": {}}}}), "integrations"),
    "an API key in place of its digest": (
        merged(PLAIN, {"config": {"callers": {"log-shipper": {"integrations": ["*"], "api_key_sha256": ["aquila_x"]}}}}),
        "api_key_sha256",
    ),
    "a port that is none": (merged(PLAIN, {"service": {"port": 70000}}), "port"),
}
REFUSED_BY_TEMPLATE = {
    "neither TLS nor plain HTTP": ({}, "how do callers reach the service?"),
    "plain HTTP and TLS": (merged(PLAIN, TLS), "choose one"),
    "authorities of clients without TLS": (merged(PLAIN, MUTUAL_TLS), "needs tls.existingSecret"),
    "two sources of TLS": (merged(TLS, {"config": {"server": {"tls": {"certificate_path": "/a", "private_key_path": "/b"}}}}), "choose one"),
}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", help="aquila, to check the rendered configuration")
    binary = arguments.parse_args().binary
    with Checks("helm") as checks, tempfile.TemporaryDirectory() as folder, helm_python.Chart.load(str(CHART)) as chart:
        for version in KUBERNETES:
            said = helm_python.lint(str(CHART), strict=True, kube_version=f"v{version}")
            faults = said["errors"] or [m for m in said["messages"] if m["severity"] >= 2]
            checks.check(f"lint for Kubernetes {version}", not faults, faults)

        rendered = {}
        for name, values in MATRIX.items():
            chart.validate_schema(values)
            files = chart.render(values, name="rel", namespace="prod")
            texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml") and text.strip()]
            objects = {}
            for text in texts:
                document = yaml.safe_load(text)
                objects[document["kind"], document["metadata"]["name"]] = document
            rendered[name] = objects
            checks.check(f"renders: {name}", len(objects) >= 4, list(objects))
            path = pathlib.Path(folder) / "rendered.yaml"
            path.write_text("\n".join(f"---\n{text}" for text in texts))
            for version in KUBERNETES:
                validate(checks, name, version, path)
            notes = next(text for path, text in files.items() if path.endswith("NOTES.txt"))
            checks.check(f"notes: {name}", "rollout status" in notes, notes)

        judge(checks, rendered)
        if binary:
            checked_by_the_service(checks, binary, pathlib.Path(folder), rendered)
        changed = chart.render(merged(PLAIN, {"config": {"log": {"level": "debug"}}}), name="rel", namespace="prod")
        deployment = yaml.safe_load(next(text for path, text in changed.items() if path.endswith("deployment.yaml")))
        checks.check("a changed configuration rolls the pods", checksum(deployment) != checksum(deployment_of(rendered["plain HTTP"])))

        for name, (values, word) in REFUSED_BY_SCHEMA.items():
            checks.refused(f"refused by the schema: {name}", lambda v=values: chart.validate_schema(merged(defaults(), v)), word)
        for name, (values, word) in REFUSED_BY_TEMPLATE.items():
            chart.validate_schema(merged(defaults(), values))
            checks.refused(f"refused by the chart: {name}", lambda v=values: chart.render(v, name="rel", namespace="prod"), word)

        # The validator is known to refuse, or the matrix above would prove nothing.
        path = pathlib.Path(folder) / "bad.yaml"
        path.write_text(yaml.safe_dump(with_unknown_field(deployment_of(rendered["TLS"]))))
        refused = validator(KUBERNETES[0], path).returncode != 0
        checks.check("the validator refuses a field that Kubernetes does not know", refused)


def judge(checks, rendered):
    """What the objects say, beyond being valid."""
    for name, objects in rendered.items():
        pod = deployment_of(objects)["spec"]["template"]["spec"]
        container = pod["containers"][0]
        checks.check(
            f"restricted pod: {name}",
            pod["securityContext"]["runAsNonRoot"] is True
            and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            and container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            and pod["automountServiceAccountToken"] is False,
        )
        checks.check(
            f"probes ask the ops door: {name}",
            container["livenessProbe"]["httpGet"]["path"] == "/livez"
            and container["readinessProbe"]["httpGet"]["path"] == "/readyz"
            and all(container[probe]["httpGet"]["port"] == "ops" for probe in ("livenessProbe", "readinessProbe")),
        )

    objects = rendered["one integration"]
    pod = deployment_of(objects)["spec"]["template"]["spec"]
    config = rendered_config(objects)
    checks.check("the file holds the integration as it was given", config["integrations"] == {"elf-prod": INTEGRATION}, config)
    checks.check("the file holds the caller as it was given", config["callers"] == {"log-shipper": CALLER}, config)
    checks.check("TLS from the Secret", config["server"]["tls"]["certificate_path"] == "/etc/aquila/tls/tls.crt", config)
    mutual = rendered_config(rendered["callers by certificate"])["server"]["tls"]
    checks.check("authorities of clients from their Secret", mutual["client_ca_path"] == "/etc/aquila/client-ca/ca.crt", mutual)
    checks.check("and whether one is required", mutual["client_certificate"] == "required", mutual)
    mesh = deployment_of(rendered["callers by certificate"])["spec"]["template"]["spec"]
    mounted = {m["name"]: m["mountPath"] for m in mesh["containers"][0]["volumeMounts"]}
    checks.check("the bundle is mounted there", mounted["client-ca"] == "/etc/aquila/client-ca", mounted)
    checks.check("from that Secret", any(v.get("secret", {}).get("secretName") == "mesh-ca" for v in mesh["volumes"]), mesh["volumes"])
    checks.check("no authorities unless asked for", "client_ca_path" not in config["server"]["tls"], config)
    secrets = {v["name"]: v["secret"] for v in pod["volumes"] if "secret" in v}
    checks.check("keys for the group only", secrets["keys"] == {"secretName": "aquila-keys", "defaultMode": 0o440}, secrets)
    checks.check("the group is the service's own", pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"])
    checks.check("5 s + 20 s, and 5 s more to stop", pod["terminationGracePeriodSeconds"] == 30)
    config_volume = next(v for v in pod["volumes"] if v["name"] == "config")
    checks.check("the pod mounts the ConfigMap that is there", ("ConfigMap", config_volume["configMap"]["name"]) in objects)

    objects = rendered["everything"]
    pod = deployment_of(objects)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    checks.check("ports follow the configuration", [p["containerPort"] for p in container["ports"]] == [18443, 19090])
    checks.check("minutes are counted as minutes", pod["terminationGracePeriodSeconds"] == 95)
    checks.check("probes speak TLS to an ops door with TLS", container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS")
    for service, port, target in (("broker", 443, "callers"), ("broker-ops", 9100, "ops")):
        spec = objects["Service", service]["spec"]
        labels = deployment_of(objects)["spec"]["template"]["metadata"]["labels"]
        checks.check(f"Service {service} leads to {target}", [(p["port"], p["targetPort"]) for p in spec["ports"]] == [(port, target)])
        checks.check(f"Service {service} finds the pods", spec["selector"].items() <= labels.items(), labels)


def checked_by_the_service(checks, binary, folder, rendered):
    """The rendered file, with paths that exist here in place of the pod's."""
    key = private_key(folder / "elf-prod.pem")
    values = merged(rendered_config(rendered["one integration"]), {"integrations": {"elf-prod": {"client_key_path": str(key)}}})
    # The chart's TLS files are in the pod; here the door is plain.
    values["server"] = merged({k: v for k, v in values["server"].items() if k != "tls"}, {"plain_http": True})
    for what, config, expected in (
        ("aquila check accepts the chart's configuration", values, {0}),
        # Bad configuration; whether `check` calls it 78 or 1 is not this script's business.
        ("aquila check refuses an unknown key in it", merged(values, {"server": {"lissten": "0.0.0.0:1"}}), {1, 78}),
    ):
        path = folder / "aquila.yaml"
        path.write_text(yaml.safe_dump(config))
        done = subprocess.run([binary, "check", "--config", str(path)], capture_output=True, text=True, check=False)
        checks.check(what, done.returncode in expected, f"status {done.returncode}\n{done.stdout}{done.stderr}")


def validate(checks, name, version, path):
    said = validator(version, path)
    checks.check(f"valid for Kubernetes {version}: {name}", said.returncode == 0, said.stdout + said.stderr)


def validator(version, path):
    # Options stand before the file name, or they are not read.
    command = [str(pathlib.Path(sys.executable).parent / "kubernetes-validate"), "-k", version, "--strict", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def defaults():
    return yaml.safe_load((CHART / "values.yaml").read_text())


def deployment_of(objects):
    return next(document for (kind, _), document in objects.items() if kind == "Deployment")


def rendered_config(objects):
    return next(yaml.safe_load(d["data"]["aquila.yaml"]) for (kind, _), d in objects.items() if kind == "ConfigMap")


def checksum(deployment):
    return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]


def with_unknown_field(deployment):
    bad = copy.deepcopy(deployment)
    bad["spec"]["template"]["spec"]["containers"][0]["imagine"] = "x"
    return bad


if __name__ == "__main__":
    main()
