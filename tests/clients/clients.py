"""The clients: how each is run, which version it is, and what it says when the secret is wrong."""

import functools
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent


@dataclass(frozen=True)
class Client:
    """One row of the table in `docs/clients.md`."""

    name: str
    """As its users call it. Its caller in the broker has the same name, but for letters that names do not have."""
    script: str
    """Below `tests/clients/`; its marked part is what the page prints."""
    refusal: str
    """What it must say, in its own words, when the secret is wrong: a regular expression."""
    note: str
    """For the table: what is worth knowing."""
    sends: str = "Basic"
    """How it proves itself in its default settings, as `Seen.manner` words it."""
    reads_expiry: bool = True
    package: str = ""
    """Where its registry has another name for it."""
    renews: bool = False
    """Whether it asks again by itself when its token is over: `renewals.py` then ends its session."""

    @property
    def caller(self):
        return self.name.lower().replace("_", "-").replace(" ", "-").replace("(", "").replace(")", "")

    @property
    def registry_name(self):
        return self.package or self.name

    @property
    def language(self):
        return self.script.split("/")[0]


CLIENTS = [
    Client(
        "authlib (requests)",
        "python/authlib-requests.py",
        r"OAuthError: invalid_client: ",
        "Takes a 200 without a token for success, so a broker must never send one.",
        sends="Basic, charset=UTF-8",
        package="authlib",
    ),
    Client(
        "authlib (httpx)",
        "python/authlib-httpx.py",
        r"OAuthError: invalid_client: ",
        "The same for httpx.",
        sends="Basic, charset=UTF-8",
        package="authlib",
    ),
    Client(
        "requests-oauthlib",
        "python/requests-oauthlib.py",
        r"InvalidClientError: \(invalid_client\)",
        "Raises when the `scope` of the answer is not the one it asked for.",
    ),
    Client(
        "httpx-auth",
        "python/httpx-auth.py",
        r"InvalidGrantRequest: invalid_client",
        "Without `expires_in` it reads the token as a JWT and fails.",
    ),
    Client(
        "requests_oauth2client",
        "python/requests-oauth2client.py",
        r"InvalidClient",
        "Takes no token endpoint that is not https.",
        sends="body",
    ),
    Client(
        "airbyte-cdk",
        "python/airbyte-cdk.py",
        r"HTTPError: 401 Client Error: Unauthorized for url: ",
        "`type: OAuthAuthenticator` of a manifest. Its list of scopes goes under the name `scopes`, which nobody reads.",
        sends="body",
        renews=True,
    ),
    Client(
        "dlt",
        "python/dlt-rest-client.py",
        r"HTTPError: 401 Client Error: Unauthorized for url: ",
        "Takes a 200 without a token for success, and then sends `Bearer None`.",
        sends="body",
        renews=True,
    ),
    Client(
        "singer-sdk",
        "python/singer-sdk.py",
        r"Failed OAuth login with status code 401, response was ",
        "For Meltano's taps; what goes into the body is the tap's affair.",
        sends="body",
        renews=True,
    ),
    Client(
        "openid-client",
        "node/openid-client.mjs",
        r"WWWAuthenticateChallengeError: ",
        "Discovery wants `algorithm: 'oauth2'`. A 401 shows the challenge and hides `invalid_client`.",
        sends="body, charset=UTF-8",
    ),
    Client(
        "oauth4webapi",
        "node/oauth4webapi.mjs",
        r"WWWAuthenticateChallengeError: ",
        "With the Rust crate the strictest reader of answers. The caller picks the place of the secret.",
        sends="Basic (form-encoded), charset=UTF-8",
    ),
    Client(
        "simple-oauth2",
        "node/simple-oauth2.cjs",
        r"Response Error: 401 Unauthorized",
        "Do not log its errors whole: they hold the request with the secret.",
    ),
    Client(
        "client-oauth2",
        "node/client-oauth2.cjs",
        r"Error: Client authentication failed",
        "Old, and still in use.",
    ),
    Client(
        "jsforce",
        "node/jsforce.mjs",
        r"invalid_client: ",
        "Knows the host only and takes the alias path; needs `instance_url` and `id`. Reads no `expires_in`.",
        sends="body, chunked",
        reads_expiry=False,
    ),
    Client(
        "oauth2 (Rust)",
        "rust/src/main.rs",
        r"ServerResponse\(StandardErrorResponse { error: invalid_client",
        "The strictest types: `expires_in` must be a whole number, not a string.",
        package="oauth2",
    ),
    Client(
        "curl",
        "shell/curl.sh",
        r"The requested URL returned error: 401",
        "Keep the key out of the arguments, as below.",
    ),
]


@dataclass(frozen=True)
class Tools:
    """Where the stage has put what it installed."""

    node: pathlib.Path
    sf: pathlib.Path
    rust: pathlib.Path
    prometheus: pathlib.Path

    def command(self, script):
        """The command line that runs a script; its ending says with what."""
        path = HERE / script
        if path.suffix == ".py":
            return [sys.executable, str(path)]
        if path.suffix in (".mjs", ".cjs"):
            # Packages are looked for from where the script lies.
            beside = self.node / path.name
            beside.write_text(path.read_text())
            return ["node", str(beside)]
        if path.suffix == ".rs":
            return [str(self.rust)]
        return ["sh", str(path)]

    def version(self, client):
        if client.language == "python":
            return importlib.metadata.version(client.registry_name)
        if client.language == "node":
            return json.loads((self.node / "node_modules" / client.name / "package.json").read_text())["version"]
        if client.language == "rust":
            lock = (HERE / "rust/Cargo.lock").read_text()
            return re.search(rf'name = "{client.registry_name}"\nversion = "([^"]+)"', lock)[1]
        return first_version(client.name)


@functools.cache
def first_version(program):
    """The first version number that a program names when asked for it."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True)
    return re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)[0]
