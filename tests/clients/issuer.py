"""npm `oidc-provider` as issuer: its access tokens in JWT form prove a caller, also after it has changed its key."""

import json
import os
import secrets
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode

import canary
from service import free_port, running

NAME = "oidc-provider"
CALLER = "issuer-oidc-provider"
CLIENT = "svc-logs"
# Keys are asked for once in ten seconds at most.
WITHIN = 40.0


class Issuer:
    """Its settings at both sides."""

    def __init__(self):
        self.port, self.secret = free_port(), secrets.token_urlsafe(24)
        canary.note(f"the client secret at {NAME}", self.secret)
        self.url = f"http://localhost:{self.port}"
        self.caller_lines = f'jwt = [{{ issuer = "oidc", sub = "{CLIENT}" }}]\n'
        self.section = f'\n[issuers.oidc]\nissuer = "{self.url}"\n'

    def start(self, run, kid):
        command = run.tools.command("issuer/oidc-provider.mjs")
        settings = {
            "ISSUER_PORT": str(self.port),
            "ISSUER_KID": kid,
            "ISSUER_CLIENT": CLIENT,
            "ISSUER_SECRET": self.secret,
            "AUDIENCE": run.stage.door,
        }
        os.environ.update(settings)
        return running(command[0], run.folder, f"{NAME}-{kid}", *command[1:])

    def token(self):
        form = urllib.parse.urlencode({"grant_type": "client_credentials"}).encode()
        request = urllib.request.Request(f"{self.url}/token", form)
        proof = b64encode(f"{CLIENT}:{self.secret}".encode()).decode()
        request.add_header("Authorization", f"Basic {proof}")
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)["access_token"]


def judge(run, issuer):
    check = run.checks.check
    held = run.current(CALLER)["access_token"]
    tokens = {}
    for kid in ("first", "second"):
        with issuer.start(run, kid) as process:
            process.wait_for_port(issuer.port)
            tokens[kid] = issuer.token()
            canary.note(f"a JWT of {NAME}", tokens[kid])
            status, body = wait_for_200(run, tokens[kid])
            check(f"a JWT of {NAME} with its {kid} key proves the caller", status == 200, body)
            check(f"and gets the token that the broker holds ({kid})", body.get("access_token") == held)
            cut = tokens[kid][:-8] + "AAAAAAAA"
            check(f"a changed signature does not ({kid})", ask(run, cut)[0] == 401)
    status, body = ask(run, tokens["second"])
    check(f"{NAME} is down, and its token is still good", status == 200, body)
    check("a key that it has taken back is not", ask(run, tokens["first"])[0] == 401)


def wait_for_200(run, token):
    deadline = time.monotonic() + WITHIN
    while True:
        status, body = ask(run, token)
        if status == 200 or time.monotonic() > deadline:
            return status, body
        time.sleep(0.2)


def ask(run, token):
    request = urllib.request.Request(f"{run.stage.door}/token")
    request.add_header("Authorization", f"Bearer {token}")
    context = ssl.create_default_context(cafile=str(run.stage.ca))
    try:
        with urllib.request.urlopen(request, timeout=15, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)
