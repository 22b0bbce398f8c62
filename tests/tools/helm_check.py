"""The chart: linted, rendered over a matrix of values, validated against Kubernetes' own schemas; bad values refused.

Helm's engine comes as a Python package, so neither helm nor a cluster is needed. With `--binary`, the service's own
`check` reads the configuration file that the chart renders, and its `healthcheck` the command line of `helm test`.
"""

import argparse
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import yaml

import helm_objects
from checks import Checks
from helm_objects import deployment_of, rendered_config
from helm_values import EVERYTHING, MATRIX, REFUSED_BY_SCHEMA, REFUSED_BY_TEMPLATE, STORE, WORKING, config, integration, merged
from service import private_key

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART, README = ROOT / "helm" / "aquila", ROOT / "README.md"
KUBERNETES = ["1.29.0", "1.31.0", "1.37.0"]
# Of operators, whose schemas are not Kubernetes'; helm_objects.py looks at them.
FOREIGN = {"monitoring.coreos.com/v1", "cert-manager.io/v1"}
# What checkov asks of kinds of objects and the chart does not do, with the reason.
NOT_DONE = {
    "CKV_K8S_8 Pod": "the pod of helm test asks once and ends: there is nothing to probe",
    "CKV_K8S_9 Pod": "as before",
    "CKV_K8S_11": "no CPU limit: throttling would turn bursts of cheap answers into slow ones",
    "CKV_K8S_15": "a tag of this image is never moved; `image.pullPolicy` is a value",
    "CKV_K8S_43": "the digest is a value: a chart cannot know it of an image that everybody builds",
    "CKV_K8S_35": "a secret by environment variable only where the operator says so, in extraEnv",
    "CKV_K8S_21": "the namespace is the release's, which the objects do not name",
    "CKV2_K8S_6": "it looks for a NetworkPolicy by namespace, which the objects do not name",
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
        of_readme = next(block for block in README.read_text().split("```yaml\n") if block.startswith("# values.yaml")).partition("```")[0]
        matrix = MATRIX | {"the values of README": yaml.safe_load(of_readme)}
        rendered = {name: render_one(checks, chart, name, values) for name, values in matrix.items()}
        validator_refuses(checks, rendered)
        files = {file["name"]: contents(file["data"]) for file in chart.files}
        helm_objects.judge(checks, rendered, files)
        stores(checks, rendered)
        notes(checks, chart)
        changes(checks, chart)
        hooks(checks)
        if binary:
            checked_by_the_service(checks, binary, pathlib.Path(folder), rendered)
        refusals(checks, chart)
        checkov(checks, pathlib.Path(folder), rendered)


class EachKeyOnce(yaml.SafeLoader):
    """Kubernetes and its tools differ about which of two equal keys counts."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"stands there twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def contents(data):
    return data.decode() if isinstance(data, bytes) else data


def render(chart, values):
    """The objects by kind and name, and the notes."""
    files = chart.render(values, name="rel", namespace="prod")
    texts = [text for path, text in files.items() if path.endswith(".yaml") and text.strip()]
    documents = [document for text in texts for document in yaml.load_all(text, EachKeyOnce) if document]
    notes = next(text for path, text in files.items() if path.endswith("NOTES.txt"))
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}, notes


def render_one(checks, chart, name, values):
    chart.validate_schema(values)
    objects, notes = render(chart, values)
    checks.check(f"renders: {name}", len(objects) >= 5, list(objects))
    for version in KUBERNETES:
        faults = [fault for document in objects.values() if (fault := fault_of(document, version))]
        checks.check(f"valid for Kubernetes {version}: {name}", not faults, faults)
    checks.check(f"notes: {name}", "rollout status" in notes and "helm -n prod test rel" in notes, notes)
    return objects


def fault_of(document, version):
    if document["apiVersion"] in FOREIGN:
        return None
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{document['kind']}: {error.message} at {list(error.path)}"


def validator_refuses(checks, rendered):
    """The validator is known to refuse, or the matrix would prove nothing."""
    for kind, document in (("Deployment", deployment_of(rendered["TLS"])), ("NetworkPolicy", rendered["TLS"]["NetworkPolicy", "rel-aquila"])):
        bad = copy.deepcopy(document)
        bad["spec"]["imagine"] = "x"
        checks.check(f"the validator refuses a field of a {kind} that Kubernetes does not know", all(fault_of(bad, v) for v in KUBERNETES))


def changes(checks, chart):
    """What the service reads anew by itself rolls no pod; what it cannot take over does."""
    shared = merged(WORKING, STORE)
    for what, values, more, rolls in (
        ("a changed integration", WORKING, integration(session_timeout="4h"), False),
        ("a new caller", WORKING, config(callers={"crm-sync": {"integrations": ["crm"]}}), False),
        ("a changed log", WORKING, config(log={"level": "debug"}), True),
        ("a changed audit trail", WORKING, config(audit={"required": True}), True),
        ("a store", WORKING, STORE, True),
        ("another database of the store", shared, config(store={"redis": {"url": "rediss://redis.example:6380/1"}}), True),
        ("a changed port", WORKING, config(server={"listen": "0.0.0.0:8443"}), True),
        ("more replicas", WORKING, {"replicaCount": 6}, False),
        ("more replicas that share a budget", shared, {"replicaCount": 6}, True),
        ("more replicas of as many as were named", merged(shared, config(store={"max_replicas": 9})), {"replicaCount": 6}, False),
    ):
        before, after = (deployment_of(render(chart, each)[0])["spec"]["template"] for each in (values, merged(values, more)))
        checks.check(f"{what} {'rolls the pods' if rolls else 'restarts nothing'}", (after != before) == rolls)


def stores(checks, rendered):
    """The chart writes what it mounts, and how many pods share it; the policy lets out to Redis."""
    one, behind = rendered["a shared store"], rendered["a shared store behind Sentinels"]
    store = rendered_config(one)["store"]
    paths = store["seal_key_path"], store["redis"]["password_path"], store["redis"]["ca_path"]
    mounted = {mount["mountPath"] for mount in helm_objects.pod_of(one)["containers"][0]["volumeMounts"]}
    checks.check("the store's secrets are mounted where the configuration names them", {p.rpartition("/")[0] for p in paths} <= mounted, paths)
    checks.check("as many share it as there are pods", store["max_replicas"] == 30, store)
    none = rendered_config(rendered["a shared store of no pod yet"])["store"]
    checks.check("and one at least", none["max_replicas"] == 1, none)
    checks.check("unless the configuration says otherwise", rendered_config(behind)["store"]["max_replicas"] == 7)
    for objects, ports, to in ((one, [6380], None), (behind, [6379, 26379], [{"podSelector": {"matchLabels": {"app": "redis"}}}])):
        rules = objects["NetworkPolicy", "rel-aquila"]["spec"]["egress"]
        found = [rule.get("to") for rule in rules if sorted(port["port"] for port in rule["ports"]) == ports]
        checks.check(f"the policy lets out to Redis at {ports}", found == [to], rules)


def notes(checks, chart):
    """They show commands that work on this ops door, and name the image that nobody has but who built it."""
    own = config(ops={"bearer_token_path": "/a", "tls": {"certificate_path": "/b", "private_key_path": "/c"}})
    ours = {"ops": {"token": {"existingSecret": "ops-token", "key": "a.b"}, "tls": {"existingSecret": "ops-tls"}}}
    bearer, verified = '-H "Authorization: Bearer $TOKEN" ', "--cacert ops-ca.crt --resolve rel-aquila-ops.prod.svc:9090:127.0.0.1 "
    read_token = """TOKEN=$(kubectl -n prod get secret ops-token -o go-template='{{ index .data "a.b" | base64decode }}')"""
    read_ca = """kubectl -n prod get secret ops-tls -o go-template='{{ index .data "ca.crt" | base64decode }}' > ops-ca.crt"""
    url = "http://127.0.0.1:9090/status.json", "https://rel-aquila-ops.prod.svc:9090/status.json"
    for what, values, said, unsaid in (
        ("an open ops door", {}, [f"curl -sS {url[0]}\n", "In a browser http://127.0.0.1:9090/status shows"], ["TOKEN", "ops-ca.crt"]),
        ("one with a token", {"ops": {"token": ours["ops"]["token"]}}, [read_token, f"curl -sS {bearer}{url[0]}\n"], ["ops-ca.crt"]),
        ("one with TLS", {"ops": {"tls": ours["ops"]["tls"]}}, [read_ca, f"curl -sS {verified}{url[1]}\n"], ["TOKEN"]),
        ("one with both", ours, [read_token, read_ca, f"curl -sS {bearer}{verified}{url[1]}\n", "as the password"], []),
        ("one with both in the configuration", own, ["TOKEN=...", "in ops-ca.crt the authority", bearer + verified], ["get secret"]),
    ):
        told = render(chart, merged(WORKING, values))[1]
        checks.check(f"the notes ask {what}", all(text in told for text in said) and not any(text in told for text in unsaid), told)
    warning, pushed = "which no registry has: each node needs the image aquila:", {"image": {"repository": "registry.example/aquila"}}
    told = [warning in render(chart, values)[1] for values in (WORKING, merged(WORKING, pushed))]
    checks.check("the notes warn of an image that nobody pushed, and of no other", told == [True, False], told)
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    readme = README.read_text()
    built = [f"docker build -t aquila:{version} .", f"docker push registry.example/aquila:{version}"]
    checks.check("README builds and pushes what its values name", all(line in readme for line in built), built)


def hooks(checks):
    """As `helm install --dry-run=client` sees it: the pod of `helm test` is no part of the release."""
    with helm_python.Config(namespace="prod", storage_driver="memory") as helm:
        release = helm.install(str(CHART), "rel", EVERYTHING, dry_run="client")
    kinds = {document["kind"] for document in yaml.safe_load_all(release["manifest"]) if document}
    checks.check("an install by Helm has everything but the test", "Deployment" in kinds and "Pod" not in kinds, kinds)


def checked_by_the_service(checks, binary, folder, rendered):
    """The rendered file, with paths that exist here in place of the pod's."""
    key = private_key(folder / "elf-prod.pem")
    values = merged(rendered_config(rendered["one integration"]), {"integrations": {"elf-prod": {"client_key_path": str(key)}}})
    # The chart's TLS files are in the pod; here the door is plain.
    values["server"] = merged({k: v for k, v in values["server"].items() if k != "tls"}, {"plain_http": True})
    path = folder / "aquila.yaml"
    init = helm_objects.pod_of(rendered["one integration"])["initContainers"][0]["args"]
    for what, written, expected in (
        ("aquila check accepts the chart's configuration", values, 0),
        ("aquila check refuses an unknown key in it", merged(values, {"server": {"lissten": "0.0.0.0:1"}}), 78),
    ):
        path.write_text(yaml.safe_dump(written))
        here = [str(path) if word.endswith("aquila.yaml") else word for word in init]
        done = subprocess.run([binary, *here], capture_output=True, text=True, check=False)
        checks.check(what, done.returncode == expected, f"status {done.returncode}\n{done.stdout}{done.stderr}")
    args = rendered["everything"]["Pod", "broker-test"]["spec"]["containers"][0]["args"]
    done = subprocess.run([binary, *args], capture_output=True, text=True, check=False)
    # The authority's file is in the pod: it was understood and tried.
    checks.check("aquila healthcheck understands what helm test asks", done.returncode == 1 and "ca.crt" in done.stderr, done.stderr)


def refusals(checks, chart):
    for name, (values, word) in REFUSED_BY_SCHEMA.items():
        checks.refused(f"refused by the schema: {name}", lambda v=values: chart.validate_schema(merged(defaults(), v)), word)
    for name, (values, word) in REFUSED_BY_TEMPLATE.items():
        chart.validate_schema(merged(defaults(), values))
        checks.refused(f"refused by the chart: {name}", lambda v=values: render(chart, v), word)
    described = set(json.loads((CHART / "values.schema.json").read_text())["properties"]) - {"global"}
    checks.check("the schema describes each value, and no other", described == set(defaults()), described ^ set(defaults()))


def checkov(checks, folder, rendered):
    program = pathlib.Path(sys.executable).with_name("checkov")
    needed, bad = set(), []
    for name in ("one integration", "everything"):
        path = folder / f"{name.replace(' ', '-')}.yaml"
        path.write_text(yaml.safe_dump_all(list(rendered[name].values())))
        command = [program, "-f", path, "--framework", "kubernetes", "--compact", "--quiet", "--skip-download", "--output", "json"]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120, check=False)
        report = json.loads(done.stdout)
        for check in report["results"]["failed_checks"]:
            found = {check["check_id"], f"{check['check_id']} {check['resource'].partition('.')[0]}"}
            needed |= found & NOT_DONE.keys()
            if not found & NOT_DONE.keys():
                bad.append((check["check_id"], check["resource"], check["check_name"]))
        checks.check(f"checkov finds nothing that has no reason: {name}", not bad and report["summary"]["passed"] > 50, bad or report["summary"])
    unused = NOT_DONE.keys() - needed
    checks.check("each reason is still needed", not unused, unused)


def defaults():
    return yaml.safe_load((CHART / "values.yaml").read_text())


if __name__ == "__main__":
    main()
