"""Published clients, each in its own default settings and over TLS, against the real service and its simulator.

    run.py --binary target/debug/aquila --tools target/test-tools    all checks
    run.py … --write                                                 the same, and docs/clients.md written anew

Each client must get the token that the broker holds, take its `expires_in`, and say in its own words that a secret is
wrong. `docs/clients.md` must show what ran: its table and its settings are held against this run.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))

import canary
import certificates
import deaths
import examples
import issuer
import page
import prometheus
import readers
import renewals
import signers
from checks import Checks
from clients import CLIENTS, Tools
from doors import Certified, open_doors
from service import loopback_tls

ANSWER_WITHIN = 30.0
HEAD = ("Client", "Version", "Way of the secret", "Result", "A wrong secret reads as", "Worth knowing")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--tools", required=True, type=pathlib.Path)
    arguments.add_argument("--only", help="run only the clients whose name holds this; the page is not judged")
    arguments.add_argument("--write", action="store_true", help="write what was seen into docs/clients.md")
    options = arguments.parse_args()
    base = options.tools.resolve()
    tools = Tools(
        node=base / "clients-node",
        sf=base / "node/node_modules",
        rust=base / "rust/debug/aquila-client-oauth2",
        prometheus=pathlib.Path(shutil.which("prometheus") or base / "prometheus/usr/bin/prometheus"),
    )
    with Checks("clients") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        tls = loopback_tls(folder)
        trust_only(tls["ca"])
        chosen = [client for client in CLIENTS if (options.only or "") in client.name]
        callers = [client.caller for client in CLIENTS] + [*readers.CALLERS, *deaths.CALLERS]
        callers += [examples.CALLER, prometheus.CALLER, certificates.CALLER]
        identity = certificates.client_identity(folder)
        certified = Certified(certificates.CALLER, certificates.SPIFFE_ID, identity["ca"])
        oidc = issuer.Issuer()
        callers = dict.fromkeys(callers, "") | signers.make_keys(folder) | {issuer.CALLER: oidc.caller_lines}
        brief = [renewals.caller_of(client) for client in CLIENTS if client.renews]
        callers |= dict.fromkeys(brief, "")
        stage = open_doors(stack, options.binary, folder, tls, callers, certified, brief, oidc.section)
        run = Run(checks, stage, tools, folder)

        rows = [judge(run, client) for client in chosen]
        if wanted(options, "Prometheus"):
            rows.append(prometheus.judge(run, tls))
        read = readers.judge(run) if wanted(options, "readers") else []
        jsforce = next(tools.version(client) for client in CLIENTS if client.name == "jsforce")
        died = deaths.judge(run, tls, jsforce) if wanted(options, "deaths") else []
        renewed = renewals.judge(run, tls) if wanted(options, "renewals") else []
        signed = signers.judge(run) if wanted(options, "signers") else []
        if wanted(options, "issuer"):
            issuer.judge(run, oidc)
        if wanted(options, "examples"):
            examples.judge(run, tls)
        if wanted(options, "certificates"):
            certificates.judge(run, identity)
        if not options.only:
            everybody_is_on_record(run, chosen)
            tables = {"clients": page.Table(HEAD, rows), "readers": page.Table(readers.HEAD, read)}
            tables["deaths"] = page.Table(deaths.HEAD, died)
            tables["renewals"] = page.Table(renewals.HEAD, renewed)
            tables["signers"] = page.Table(signers.HEAD, signed)
            page.judge(checks, tables, options.write)
        checks.check("SIGTERM ends the service with status 0", stage.serve.stop() == 0, stage.serve.tail())


def wanted(options, name):
    return not options.only or options.only in name


def trust_only(ca):
    """Every runtime is told by its own variable to trust this one authority."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        os.environ[name] = str(ca)


class Run:
    """What each check needs."""

    def __init__(self, checks, stage, tools, folder):
        self.checks, self.stage, self.tools, self.folder = checks, stage, tools, folder

    def current(self, caller):
        """What the broker itself answers: `GET /token` with the caller's key."""
        request = urllib.request.Request(f"{self.stage.door}/token")
        request.add_header("Authorization", f"Bearer {self.stage.keys[caller]}")
        context = ssl.create_default_context(cafile=str(self.stage.ca))
        with urllib.request.urlopen(request, timeout=15, context=context) as answer:
            held = json.load(answer)
        canary.note("the token of a client", held["access_token"])
        return held

    def execute(self, command, caller, key=None, url=None, within=ANSWER_WITHIN, **more):
        """Runs a client as a user would: who it is, its key and the broker's address are in the environment."""
        environment = os.environ | {
            "AQUILA_URL": url or self.stage.door,
            "AQUILA_CALLER": caller,
            "AQUILA_KEY": key or self.stage.keys[caller],
            "SALESFORCE_URL": self.stage.salesforce,
            "NO_COLOR": "1",
            **more,
        }
        begun = time.monotonic()
        try:
            done = subprocess.run(
                command, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=within, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self.checks.check(f"{caller} ends within {within:.0f} s", False, "it hangs")
        return done, time.monotonic() - begun


def judge(run, client):
    """One client. The row that the table must have for it."""
    check, stage, name = run.checks.check, run.stage, client.name
    command = run.tools.command(client.script)

    done, _ = run.execute(command, client.caller)
    check(f"{name} ends well", done.returncode == 0, done.stdout + done.stderr)
    got = json.loads(done.stdout)
    held = run.current(client.caller)
    check(f"{name} has the token that the broker holds", got["access_token"] == held["access_token"])
    if client.reads_expiry:
        left = got.get("seconds_left", got.get("expires_in"))
        # Two answers and a start of an interpreter lie between the two numbers, and some clients keep a margin.
        early, late = held["expires_in"] - 90, held["expires_in"] + 30
        check(f"{name} takes expires_in as it is", early < left <= late, f"{left}, the broker's is {held['expires_in']}")

    stage.recorder.requests.clear()
    done, _ = run.execute(command, client.caller, url=stage.recorder.url)
    sent = token_requests(stage)
    check(f"{name} asks once", done.returncode == 0 and len(sent) == 1, [seen.path for seen in sent])
    manner = sent[0].manner()
    check(f"{name} sends its secret as the table says", manner == client.sends, manner)
    check(f"{name} sends its own secret", sent[0].proof()[1] == stage.keys[client.caller])

    stage.recorder.requests.clear()
    done, lasted = run.execute(command, client.caller, key=stage.stranger, url=stage.recorder.url)
    said = done.stdout + done.stderr
    check(f"{name} fails with a wrong secret, at once", done.returncode != 0 and lasted < 15, f"{lasted:.1f} s: {said}")
    words = re.search(client.refusal, said)
    check(f"{name} says so in its own words", words is not None, said)
    tried = len(token_requests(stage))
    check(f"{name} tries a wrong secret once", tried == 1, tried)
    result = "the token, with its `expires_in`" if client.reads_expiry else "the token"
    cells = (name, run.tools.version(client), manner, result, f"`{words[0].strip(' :')}`", client.note)
    return page.Row(cells, of_the_machine=client.language == "shell")


def token_requests(stage):
    return [request for request in stage.recorder.requests if request.method == "POST"]


def everybody_is_on_record(run, chosen):
    audit = [json.loads(line) for line in run.stage.audit.read_text().splitlines()]
    for client in chosen:
        outcomes = {record["outcome"] for record in audit if record.get("caller") == client.caller}
        run.checks.check(f"the audit trail shows {client.name} being served", "issued" in outcomes, outcomes)


if __name__ == "__main__":
    main()
