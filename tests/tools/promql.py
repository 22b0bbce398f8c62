"""Which metrics and labels an expression names, held against those that the service exports.

No parser of PromQL: Prometheus itself parses every expression elsewhere in these tests; this finds the names in it.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "helm/aquila/files/alerts.yaml"
DASHBOARD = ROOT / "helm/aquila/files/dashboard.json"
# What Prometheus and its operator add to each series.
OF_TARGETS = {"instance", "job", "namespace", "pod"}
# Prometheus' own, for alerts of our rules.
OF_PROMETHEUS = {"ALERTS": {"alertname", "alertstate", "severity", "integration"}}
PARTS = {"_bucket": {"le"}, "_count": set(), "_sum": set()}


def documented():
    """Labels by metric, as the table of README has them; tests/readme.rs holds its names to the code."""
    table = (ROOT / "README.md").read_text().partition("\n### Metrics\n")[2].partition("\n### ")[0]
    known = dict(OF_PROMETHEUS)
    for names, labels in re.findall(r"^\| (`aquila_.*?) \| (.*?) \|$", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            known[name] = set(re.findall(r"`(\w+)`", labels.partition(":")[0]))
    for name in [name for name in known if name.endswith("_duration_seconds")]:
        known.update({name + part: known[name] | more for part, more in PARTS.items()})
    return known


def exported(text):
    """The same, out of what `/metrics` answers; of series that are there."""
    series = re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", text, re.MULTILINE)
    return {name: set(re.findall(r'(\w+)="', labels)) for name, labels in series}


def faults(expression, known):
    """What is wrong with the names in an expression; nothing, it is to be hoped."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    named = set(re.findall(r"\b((?:aquila|process)_[a-z_]+|ALERTS)\b", bare))
    found = [f"there is no metric {name}" for name in sorted(named - known.keys())]
    allowed = OF_TARGETS.union(*(known.get(name, set()) for name in named))
    if not named:
        found.append("it names no metric")
    for name, matchers in re.findall(r"\b([a-zA-Z_]+)\{([^}]*)\}", bare):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            if label not in known.get(name, set()) | OF_TARGETS:
                found.append(f"{name} has no label {label}")
    for labels in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", bare):
        wrong = {label.strip() for label in labels.split(",")} - allowed
        found += [f"none of its metrics has the label {label}" for label in sorted(wrong)]
    return found
