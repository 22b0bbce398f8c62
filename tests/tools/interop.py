"""Clients that other people wrote, unchanged: authlib fetches the token, simple-salesforce reads an Event Log File.

    authlib ──https──> aquila serve ──http──> aquila simulate
    simple-salesforce ──https──> Front ──http──> aquila simulate

simple-salesforce speaks https to whatever host it is given, so a small TLS front stands before the simulator.
"""

import argparse
import contextlib
import csv
import io
import os
import pathlib
import tempfile

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceExpiredSession

import canary
from checks import Checks
from front import Front
from service import free_port, loopback_tls, new_key, private_key, self_signed, serving, sha256, simulating

CALLER = "log-shipper"
CLIENT_ID = "3MVG9.interop"
USERNAME = "elastic-log@acme.example"
QUERY = "SELECT Id, EventType, LogDate, LogFileLength, LogFile FROM EventLogFile WHERE EventType = 'Login'"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    binary = arguments.parse_args().binary
    with Checks("interop") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        tls = loopback_tls(folder)
        # requests, and so both clients, trust this one authority and no other.
        os.environ["REQUESTS_CA_BUNDLE"] = str(tls["ca"])

        key, digest = new_key(binary, CALLER)
        checks.check("new-key prints the digest of the whole key", digest == sha256(key))

        simulator_port = start_simulator(stack, binary, folder)
        front = stack.enter_context(Front(tls, to_port=simulator_port, plain=True))
        serve, door = start_broker(stack, binary, folder, tls, simulator_port, digest)

        token = fetch(checks, door, key)
        read_event_log(checks, token, front.port)
        canary.note("the token of the caller", token["access_token"])
        audit = (folder / "audit.jsonl").read_text()
        checks.check("the audit trail has a record of the caller", CALLER in audit, audit[:500])
        checks.check("SIGTERM ends the service with status 0", serve.stop() == 0, serve.tail())


def start_simulator(stack, binary, folder):
    certificate = self_signed(folder / "app.pem", private_key(folder / "app.key"))
    secret = folder / "control.secret"
    secret.write_text("throw-away-control-secret")
    secret.chmod(0o600)
    port = free_port()
    options = ["--client-id", CLIENT_ID, "--username", USERNAME, "--control-secret-path", secret]
    stack.enter_context(simulating(binary, folder, port, "--certificate", certificate, *options))
    return port


def start_broker(stack, binary, folder, tls, simulator_port, digest):
    door, ops = free_port(), free_port()
    config = f"""
[server]
listen = "127.0.0.1:{door}"
public_url = "https://localhost:{door}"
tls = {{ certificate_path = "{tls["certificate"]}", private_key_path = "{tls["key"]}" }}

[ops]
listen = "127.0.0.1:{ops}"

[integrations.elf-prod]
audience_url = "https://login.salesforce.com"
client_key_path = "{folder}/app.key"
client_id = "{CLIENT_ID}"
username = "{USERNAME}"
token_url = "http://127.0.0.1:{simulator_port}/services/oauth2/token"
session_timeout = "2h"

[callers.{CALLER}]
integrations = ["elf-*"]
api_key_sha256 = ["{digest}"]

[log]
level = "debug"

[audit]
path = "{folder}/audit.jsonl"
"""
    serve = stack.enter_context(serving(binary, folder, ops, config))
    return serve, f"https://localhost:{door}"


def fetch(checks, door, key):
    # Nothing is set but what an OAuth client must know: who, the secret, where.
    session = OAuth2Session(client_id=CALLER, client_secret=key)
    token = session.fetch_token(f"{door}/token", grant_type="client_credentials")
    checks.check("authlib takes the token with its default settings", bool(token.get("access_token")), sorted(token))
    checks.check("token_type is Bearer", token["token_type"] == "Bearer", token["token_type"])
    checks.check("expires_in is a positive whole number", type(token["expires_in"]) is int and token["expires_in"] > 0)
    checks.check("it says for which integration", token.get("integration") == "elf-prod", sorted(token))
    checks.check("no refresh token", "refresh_token" not in token, sorted(token))
    checks.check("the simulator's mark is on it", "SIMULATED" in token["access_token"])

    again = OAuth2Session(client_id=CALLER, client_secret=key).fetch_token(
        f"{door}/services/oauth2/token", grant_type="client_credentials", scope="elf-prod"
    )
    checks.check("the alias and a scope give the same token", again["access_token"] == token["access_token"])
    checks.check("the scope is the caller's own word", again.get("scope") == "elf-prod", again.get("scope"))

    metadata = requests.get(f"{door}/.well-known/oauth-authorization-server", timeout=10).json()
    checks.check("RFC 8414 metadata names the issuer", metadata.get("issuer") == door, metadata)
    by_metadata = OAuth2Session(client_id=CALLER, client_secret=key, token_endpoint_auth_method="client_secret_post")
    posted = by_metadata.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    checks.check("authlib with form credentials at the endpoint of the metadata", posted["access_token"] == token["access_token"])

    stranger = OAuth2Session(client_id="stranger", client_secret=key)
    checks.refused(
        "a stranger is refused as authlib understands it",
        lambda: stranger.fetch_token(f"{door}/token", grant_type="client_credentials"),
        "invalid_client",
    )
    wrong = OAuth2Session(client_id=CALLER, client_secret=key)
    try:
        wrong.fetch_token(f"{door}/token", grant_type="client_credentials", scope="not-mine")
        checks.check("an integration that is not granted is refused", False, "a token came")
    except OAuthError as error:
        checks.check("an integration that is not granted is refused", error.error == "invalid_scope", error.error)
    return token


def read_event_log(checks, token, port):
    salesforce = Salesforce(instance_url=f"https://localhost:{port}", session_id=token["access_token"])
    found = salesforce.query(QUERY)
    checks.check("simple-salesforce finds event log files", found["totalSize"] > 0, found)
    record = found["records"][0]
    url = f"https://{salesforce.sf_instance}{record['LogFile']}"
    answer = salesforce.session.get(url, headers=salesforce.headers, timeout=10)
    rows = list(csv.reader(io.StringIO(answer.text)))
    checks.check("the log file is CSV with a header and rows", answer.status_code == 200 and len(rows) > 1, answer.status_code)
    checks.check("every row has as many cells as the header", len({len(row) for row in rows}) == 1)
    checks.check("the header names the event", "EVENT_TYPE" in rows[0], rows[0])

    dead = Salesforce(instance_url=f"https://localhost:{port}", session_id="00D000000000000!SIMULATED.nobody")
    try:
        dead.query(QUERY)
        checks.check("a token that the simulator never gave is refused", False, "rows came")
    except SalesforceExpiredSession:
        checks.check("a token that the simulator never gave is refused", True)


if __name__ == "__main__":
    main()
