"""The service as the judges of the API see it: one caller, the simulator behind, throw-away secrets everywhere."""

import contextlib
import dataclasses

from service import Process, free_port, private_key, self_signed, serving, simulating

CALLER = "log-shipper"
INTEGRATION = "elf-demo"
ISSUER_PATH = "broker"
OPS_TOKEN = "throw-away-ops-token"
PUBLIC_URL = f"https://aquila.example/{ISSUER_PATH}"
REFUSED = "crm-refused"

CLIENT_ID = "3MVG9.api"
USERNAME = "elastic-log@acme.example"


@dataclasses.dataclass
class Service:
    process: Process
    callers: int
    ops: int


@contextlib.contextmanager
def simulated(binary, folder):
    """The simulator; its port."""
    certificate = self_signed(folder / "app.pem", private_key(folder / "app.key"))
    port = free_port()
    options = ["--certificate", certificate, "--client-id", CLIENT_ID, "--username", USERNAME]
    with simulating(binary, folder, port, *options):
        yield port


@contextlib.contextmanager
def ready(binary, folder, salesforce, digest, name="serve", grants="elf-*", audit=None, tls=None):
    """The service, ready. Salesforce does not know the user of the integration REFUSED."""
    callers, ops = free_port(), free_port()
    (folder / "ops.token").write_text(OPS_TOKEN)
    tls = f'tls = {{ certificate_path = "{tls["certificate"]}", private_key_path = "{tls["key"]}" }}' if tls else ""
    integrations = "".join(
        f"""
[integrations.{integration}]
audience_url = "https://login.salesforce.com"
client_key_path = "{folder}/app.key"
client_id = "{CLIENT_ID}"
username = "{username}"
token_url = "http://127.0.0.1:{salesforce}/services/oauth2/token"
session_timeout = "2h"
"""
        for integration, username in ((INTEGRATION, USERNAME), (REFUSED, "nobody@acme.example"))
    )
    config = f"""
[server]
listen = "127.0.0.1:{callers}"
public_url = "{PUBLIC_URL}"
{tls}

[ops]
listen = "127.0.0.1:{ops}"
bearer_token_path = "{folder}/ops.token"

[callers.{CALLER}]
integrations = ["{grants}"]
api_key_sha256 = ["{digest}"]

[audit]
path = "{audit or folder / f"{name}.audit"}"
{integrations}"""
    with serving(binary, folder, ops, config, name) as process:
        yield Service(process, callers, ops)
