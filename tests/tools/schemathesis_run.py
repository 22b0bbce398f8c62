"""schemathesis, with all its checks, against the running service: data as described and data that is not.

Three runs over real sockets, each with a description made from the committed one by `told_for`, which only narrows what
a request may hold to what succeeds in this set-up (which integrations exist, which key is whose): a random name would be
refused, and schemathesis would rightly call that a refusal of described data.

    callers   the callers' door, the API key in the header
    forms     the OAuth routes, the API key in the form
    ops       the ops door
"""

import argparse
import contextlib
import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from api_service import CALLER, INTEGRATION, ISSUER_PATH, OPS_TOKEN, PUBLIC_URL, ready, simulated
from checks import Checks
from service import new_key

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--examples", type=int, default=30, help="generated requests per operation and kind")
    arguments.add_argument("--seed", type=int, default=1, help="the same seed sends the same requests")
    arguments = arguments.parse_args()
    with Checks("schemathesis_run") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        key, digest = new_key(arguments.binary, CALLER)
        salesforce = stack.enter_context(simulated(arguments.binary, folder))
        service = stack.enter_context(ready(arguments.binary, folder, salesforce, digest))
        callers, ops = f"http://127.0.0.1:{service.callers}", f"http://127.0.0.1:{service.ops}"
        described = json.loads((ROOT / "openapi/aquila.openapi.json").read_text())
        runs = {
            "callers": (callers, told_for("callers", described), ["--header", f"Authorization: Bearer {key}"]),
            "forms": (callers, told_for("forms", described, key), ["--include-method", "POST"]),
            "ops": (ops, told_for("ops", described), ["--header", f"Authorization: Bearer {OPS_TOKEN}"]),
        }
        for name, (door, description, options) in runs.items():
            path = folder / f"{name}.json"
            path.write_text(json.dumps(description))
            output, status = schemathesis(arguments, folder, path, door, options)
            shown = output.replace(key, "KEY")
            print("\n".join(f"      {line}" for line in shown.splitlines()[-12:]))
            checks.check(f"{name}: no failure", status == 0, shown)
            methods = ("post",) if name == "forms" else ("get", "head", "post")
            operations = sum(method in methods for item in description["paths"].values() for method in item)
            tested = re.search(r"Tested: (\d+)", output)
            checks.check(f"{name}: all {operations} operations were tested", tested and int(tested[1]) == operations, shown)
        checks.check("SIGTERM ends the service with status 0", service.process.stop() == 0, service.process.tail())
        checks.check("no handler panicked", "panicked" not in service.process.output(), service.process.tail())


def schemathesis(arguments, folder, description, door, options):
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    command = [
        program, "run", description, "--url", door, *options, "--checks", "all", "--mode", "all",
        "--max-examples", arguments.examples, "--seed", arguments.seed, "--continue-on-failure",
        "--request-timeout", 12, "--no-color", "--generation-database", "none",
    ]  # fmt: skip
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr, done.returncode


def told_for(run, described, key=None):
    """The description as far as it concerns a run, with the values that succeed there."""
    told = copy.deepcopy(described)
    told["paths"] = ops_paths(told["paths"]) if run == "ops" else callers_paths(told["paths"])
    components = told["components"]
    for name, value in (("NamedIntegration", INTEGRATION), ("Integration", INTEGRATION), ("IssuerPath", ISSUER_PATH)):
        components["parameters"][name] |= {"schema": {"type": "string", "enum": [value]}, "example": value}
    by_query = {"$ref": "#/components/parameters/Integration"}
    for path, item in told["paths"].items():
        # Both doors are on loopback here; --url says where.
        item.pop("servers", None)
        if "post" in item:
            if by_query in item["post"].get("parameters", []):
                # With it `scope` may be any text, without it must name the integration: OpenAPI cannot say that. GET
                # has it.
                item["post"]["parameters"].remove(by_query)
            if run == "forms":
                # The proof is in the form, which no security scheme can say; without one it is for nobody to leave out.
                item["post"]["security"] = []
            named_by_url = "{integration}" in path
            item["post"]["requestBody"] = form(run, components, item["post"]["requestBody"], named_by_url, key)
    del components["requestBodies"], components["schemas"]["TokenRequest"], components["schemas"]["OfferedToken"]
    del components["schemas"]["ClientAssertion"], components["schemas"]["ClientAssertionType"]
    return told


def form(run, components, reference, named_by_url, key):
    name = reference["$ref"].rsplit("/", 1)[1]
    body = copy.deepcopy(components["requestBodies"][name])
    (media,) = body["content"].values()
    schema = copy.deepcopy(components["schemas"][media["schema"]["$ref"].rsplit("/", 1)[1]])
    known = schema["properties"]
    # What is signed cannot be made up: tests/it/caller_keys.rs and tests/clients have it.
    for signed in ("assertion", "client_assertion", "client_assertion_type"):
        known.pop(signed, None)
    body["content"]["application/x-www-form-urlencoded"]["examples"].pop("signed", None)
    if name == "ClientCredentials":
        one = {"type": "string", "enum": [INTEGRATION]}
        resource = {"type": "string", "enum": [f"{PUBLIC_URL}/integrations/{INTEGRATION}"]}
        known["grant_type"] = {"type": "string", "const": "client_credentials"}
        known |= {"audience": one, "resource": {"type": "array", "items": resource}}
        if not named_by_url:
            known["scope"] = one
    (media,) = body["content"].values()
    media["schema"] = schema
    if run == "forms":
        known["client_id"]["enum"], known["client_secret"]["enum"] = [CALLER], [key]
        schema["required"].append("client_secret")
    else:
        # The header has the proof. A second one in the form, or another name, is a malformed request (RFC 6749 section
        # 2.3): rightly 400, where schemathesis wants success, or 401 for the names that it invents for the header.
        del known["client_id"], known["client_secret"]
    for example in media["examples"].values():
        example["value"] = {name: value for name, value in example["value"].items() if not name.startswith("client_")}
        if run == "forms":
            example["value"] |= {"client_id": CALLER, "client_secret": key}
    return body


def callers_paths(paths):
    return {path: item for path, item in paths.items() if "servers" not in item or path == "/healthz"}


def ops_paths(paths):
    return {path: item for path, item in paths.items() if "servers" in item}


if __name__ == "__main__":
    main()
