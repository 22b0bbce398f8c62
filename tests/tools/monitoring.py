"""Alerts and dashboard: judged by promtool, and let loose with a real Prometheus on the real service.

The service gets into each kind of trouble that an alert is for, and out of it again. Prometheus knows no clock but the
real one, so there each duration of the rules is a sixtieth of what it is: minutes are seconds. Thresholds stay as they
are. The durations themselves are tested by promtool, with series of our own (tests/monitoring).
"""

import argparse
import contextlib
import json
import pathlib
import re
import subprocess
import tempfile

import yaml

import promql
from checks import Checks
from trouble import Trouble

UNIT_TESTS = sorted((promql.ROOT / "tests/monitoring").glob("*_test.yaml"))


def main():
    arguments = argparse.ArgumentParser()
    for option in ("--binary", "--promtool", "--prometheus"):
        arguments.add_argument(option, required=True)
    arguments = arguments.parse_args()
    rules = [rule for group in yaml.safe_load(promql.RULES.read_text())["groups"] for rule in group["rules"]]
    with Checks("monitoring") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        judged_by_promtool(checks, arguments.promtool)
        known = promql.documented()
        runbooks(checks, rules)
        causes(checks, rules)
        for rule in rules:
            faults = promql.faults(rule["expr"], known)
            checks.check(f"{rule['alert']} names only metrics and labels that exist", not faults, faults)
        names_that_do_not_exist(checks, known)

        trouble = Trouble(stack, arguments.binary, arguments.prometheus, pathlib.Path(folder), hastened(rules))
        trouble.live_well(checks)
        trouble.get_into_it(checks)
        exported(checks, known, trouble.metrics())
        dashboard(checks, known | promql.exported(trouble.metrics()), trouble)
        trouble.get_out_of_it(checks)
        trouble.vanish(checks, {rule["alert"] for rule in rules})


def judged_by_promtool(checks, promtool):
    for what, *command in (("check rules", "check", "rules", promql.RULES), *(("test rules", "test", "rules", path) for path in UNIT_TESTS)):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=60, check=False)
        checks.check(f"promtool {what}: {command[-1].name}", done.returncode == 0, done.stdout + done.stderr)
    tested = "".join(path.read_text() for path in UNIT_TESTS)
    alerts = re.findall(r"- alert: (\w+)", promql.RULES.read_text())
    untested = [alert for alert in alerts if f'"{alert}"' not in tested and f"alertname: {alert}" not in tested]
    checks.check("each alert has a unit test", alerts and not untested, untested)


def runbooks(checks, rules):
    page = (promql.ROOT / "docs/operations.md").read_text()
    table = (promql.ROOT / "README.md").read_text()
    for rule in rules:
        alert, annotations = rule["alert"], rule["annotations"]
        expected = f"docs/operations.md#{alert.lower()}"
        checks.check(f"{alert} points at its runbook", annotations["runbook_url"] == expected, annotations)
        runbook = page.partition(f"\n### {alert}\n")[2].partition("\n### ")[0]
        parts = [part for part in ("Means", "Confirm", "Do", "Goes away") if f"\n**{part}:** " not in runbook]
        checks.check(f"{alert}: the runbook says what it means, how to confirm, what to do, when it goes away", not parts, parts)
        severity = rule["labels"]["severity"]
        checks.check(f"{alert} is in README with its severity", f"| `{alert}` | {severity} |" in table)
    headings = set(re.findall(r"^### (Aquila\w+)$", page, re.MULTILINE))
    checks.check("no runbook for an alert that is not there", headings == {rule["alert"] for rule in rules}, headings)


def causes(checks, rules):
    """What AquilaLoginRefused leaves out are causes that pass by themselves, as the page of causes says."""
    page = (promql.ROOT / "docs/troubleshooting.md").read_text()
    rule = next(rule for rule in rules if rule["alert"] == "AquilaLoginRefused")
    left_out = re.search(r'outcome!~"success\|([a-z_|]+)"', rule["expr"])[1].split("|")
    for cause in left_out:
        told = page.partition(f"\n## {cause}\n")[2].partition("\n## ")[0]
        checks.check(f"{cause} passes by itself", "**Rule:** retry" in told, told[:200])


def names_that_do_not_exist(checks, known):
    """The check of names can fail."""
    for expression, word in (
        ("aquila_mintz_total", "aquila_mintz_total"),
        ('aquila_mints_total{caller="a"}', "no label caller"),
        ("sum by (caller) (aquila_mints_total)", "the label caller"),
        ("vector(1)", "names no metric"),
    ):
        faults = promql.faults(expression, known)
        checks.check(f"a wrong name is found: {expression}", any(word in fault for fault in faults), faults)


def exported(checks, known, text):
    """What README says of labels, held against what the service really says."""
    seen = promql.exported(text)
    ours = {name: labels for name, labels in seen.items() if name.startswith("aquila_")}
    checks.check("the service told most of its metrics", len(ours) > 12, sorted(ours))
    wrong = {name: labels for name, labels in ours.items() if known.get(name) != labels}
    checks.check("README has the labels that the service exports", not wrong, wrong)


def dashboard(checks, known, trouble):
    """Each query of the dashboard, asked while the service is in trouble, so that there is something to see."""
    board = json.loads(promql.DASHBOARD.read_text())
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            checks.check(f"${variable['name']} is a label of its metric", label in known[name] | promql.OF_TARGETS, known[name])
    queries = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]
    told = {name for _, query in queries for name in known if re.search(rf"\b{name}\b", query)}
    checks.check("the dashboard has many queries", len(queries) > 30 and len(told) > 15, (len(queries), told))
    checks.refused("Prometheus refuses what is no query", lambda: trouble.api("format_query", query="sum("), "400")
    for title, written in queries:
        query = written.replace("$__rate_interval", "10s").replace("$instance", ".*").replace("$integration", ".*")
        faults = promql.faults(query, known) + (["an unknown variable"] if "$" in query else [])
        checks.check(f"{title}: names only what exists", not faults, f"{faults} in {written}")
        checks.check(f"{title}: Prometheus parses it", trouble.api("format_query", query=query), query)
        checks.check(f"{title}: shows something", trouble.query(query), query)


def hastened(rules):
    """The rules with each duration a sixtieth of what it is."""
    units = {"m": "{0}s", "h": "{0}m", "d": "{1}m"}

    def faster(match):
        number = int(match[1])
        return units[match[2]].format(number, 24 * number)

    def through(text):
        # Durations only: each follows `[`, `:` or `offset`.
        return re.sub(r"(?<=[\[:])(\d+)([mhd])|(?<=offset )(\d+)([mhd])", lambda m: faster([m[0], m[1] or m[3], m[2] or m[4]]), text)

    fast = json.loads(json.dumps(rules))
    for rule in fast:
        rule["expr"] = through(rule["expr"])
        if "for" in rule:
            rule["for"] = through(f":{rule['for']}")[1:]
    return {"groups": [{"name": "aquila", "rules": fast}]}


if __name__ == "__main__":
    main()
