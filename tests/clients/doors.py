"""The doors that the clients knock at, all over TLS and under one throw-away authority.

    client ──https──> aquila serve ──https──> aquila simulate
    client ──https──> Front ──https──> aquila serve              to see what the client sends
"""

import json
import ssl
import urllib.request
from dataclasses import dataclass

from front import Front
from service import free_port, new_key, private_key, self_signed, serving, simulating

INTEGRATION = "elf-prod"
CLIENT_ID = "3MVG9.clients"
CONTROL_SECRET = "control-of-the-clients"
# What a session lives that is to be over before anybody is tired of waiting: the client is told half of it, and less.
BRIEF = "20s"


@dataclass(frozen=True)
class Certified:
    """The caller that has a certificate, what it is called, and whose it is."""

    caller: str
    spiffe_id: str
    authority: object


@dataclass
class Stage:
    """What `open_doors` opened."""

    door: str
    recorder: Front
    salesforce: str
    keys: dict
    stranger: str
    serve: object
    audit: object
    ca: object

    def control(self, method, path, body=None):
        """A control route of the simulator."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.salesforce}/__simulator/{path}", data=data, method=method)
        request.add_header("Authorization", f"Bearer {CONTROL_SECRET}")
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(request, timeout=15, context=context) as answer:
            return json.load(answer)


def user_of(integration):
    """The user of an integration in Salesforce."""
    return f"{integration}@acme.example"


def open_doors(stack, binary, folder, tls, callers, certified, brief=(), more=""):
    """Simulator, broker and recorder, with one caller for each of `callers`: what its section has beside an API key, and the
    lines that `certified` adds to one. Those in `brief` have an integration of their own, of the same name, with brief
    sessions. `more` is for the end of the configuration.
    """
    certificate = self_signed(folder / "app.pem", private_key(folder / "app.key"))
    port = free_port()
    salesforce = f"https://localhost:{port}"
    control_secret = folder / "control.secret"
    control_secret.write_text(CONTROL_SECRET)
    integrations = {INTEGRATION: "2h"} | dict.fromkeys(brief, BRIEF)
    users = [word for name in integrations for word in ("--username", user_of(name))]
    options = [
        "--certificate", certificate, "--client-id", CLIENT_ID, "--instance-url", salesforce, *users,
        "--tls-certificate", tls["certificate"], "--tls-key", tls["key"], "--control-secret-path", control_secret,
    ]  # fmt: skip
    stack.enter_context(simulating(binary, folder, port, *options))

    door, ops = free_port(), free_port()
    made = {caller: new_key(binary, caller) for caller in callers}
    config = (
        f"""
[server]
# Every client fails once, from the same address.
failed_proofs_per_minute = 1000
listen = "127.0.0.1:{door}"
public_url = "https://localhost:{door}"
tls = {{ certificate_path = "{tls["certificate"]}", private_key_path = "{tls["key"]}", client_ca_path = "{certified.authority}" }}

[ops]
listen = "127.0.0.1:{ops}"

[salesforce]
ca_path = "{tls["ca"]}"

[log]
level = "debug"

[audit]
path = "{folder}/audit.jsonl"
"""
        + "".join(
            f"""
[integrations.{name}]
audience_url = "https://login.salesforce.com"
client_key_path = "{folder}/app.key"
client_id = "{CLIENT_ID}"
username = "{user_of(name)}"
instance_url = "{salesforce}"
token_url = "{salesforce}/services/oauth2/token"
session_timeout = "{timeout}"
"""
            for name, timeout in integrations.items()
        )
        + "".join(
            f'\n[callers.{caller}]\nintegrations = ["{caller if caller in brief else "elf-*"}"]\napi_key_sha256 = ["{digest}"]\n'
            + callers[caller]
            + (f'client_certificate = [{{ spiffe_id = "{certified.spiffe_id}" }}]\n' if caller == certified.caller else "")
            for caller, (_, digest) in made.items()
        )
        + more
    )
    serve = stack.enter_context(serving(binary, folder, ops, config))
    return Stage(
        door=f"https://localhost:{door}",
        recorder=stack.enter_context(Front(tls, to_port=door)),
        salesforce=salesforce,
        keys={caller: key for caller, (key, _) in made.items()},
        # A key of the right form that nobody was given.
        stranger=new_key(binary, "stranger")[0],
        serve=serve,
        audit=folder / "audit.jsonl",
        ca=tls["ca"],
    )
