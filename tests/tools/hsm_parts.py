"""What the tests of HSM keys need: tokens of SoftHSM2, a module that takes orders, a daemon, a relay that sees assertions."""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import urllib.parse

from service import fetch, free_port, openssl, running

PIN = "0305-9876"
SO_PIN = "12345678"
CLIENT_ID = "3MVG9.hsm"
WITHIN = 60.0


def run(*command, stdin=None):
    """Runs a program; its own words are in the error when it fails."""
    done = subprocess.run([str(part) for part in command], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def until(what, holds, within=WITHIN):
    """Polls until `holds()` gives something, and comes back with that."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        seen = holds()
        if seen:
            return seen
        time.sleep(0.1)
    raise RuntimeError(f"not within {within:.0f} s: {what}")


class Tokens:
    """Tokens of SoftHSM2 in a folder of their own. From now on this process and those that it starts see only these."""

    def __init__(self, folder):
        self.folder = folder / "tokens"
        self.folder.mkdir()
        config = folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self.folder}\nobjectstore.backend = file\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(config)
        listed = run("dpkg", "-L", "libsofthsm2").splitlines()
        self.module = next(line for line in listed if re.search(r"softhsm/libsofthsm2\.so$", line))

    def make(self, label):
        run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN)

    def delete(self, label):
        run("softhsm2-util", "--delete-token", "--token", label)

    def put(self, token, label, key, number="01"):
        """Imports a private key from a PEM file."""
        run("softhsm2-util", "--import", key, "--token", token, "--label", label, "--id", number, "--pin", PIN)

    def tool(self, token, *arguments):
        return run("pkcs11-tool", "--module", self.module, "--token-label", token, "--login", "--pin", PIN, *arguments)

    def generate(self, token, label, kind, *usage, number="01"):
        self.tool(token, "--keypairgen", "--key-type", kind, "--label", label, "--id", number, *usage)

    def public_key(self, token, label, path):
        der = path.with_suffix(".der")
        self.tool(token, "--read-object", "--type", "pubkey", "--label", label, "--output-file", der)
        openssl("pkey", "-pubin", "-inform", "DER", "-in", der, "-out", path)
        return path


class Obedient:
    """A module that forwards to SoftHSM2, takes orders from a file, and keeps a journal of what it was asked."""

    def __init__(self, folder, module):
        self.orders, self.journal = folder / "orders.txt", folder / "journal.txt"
        self.path = folder / "obedient.so"
        source = pathlib.Path(__file__).parent / "hsm" / "orders.c"
        run("cc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", self.path, source, "-ldl")
        self.order()
        self.forget()
        os.environ |= {
            "ORDERS_MODULE": module, "ORDERS_FILE": str(self.orders), "ORDERS_JOURNAL": str(self.journal),
        }  # fmt: skip

    def order(self, **orders):
        """These orders from now on, and no others."""
        fresh = self.orders.with_suffix(".new")
        fresh.write_text("".join(f"{name}={value}\n" for name, value in orders.items()))
        fresh.rename(self.orders)

    def forget(self):
        self.journal.write_text("")

    def calls(self, name):
        """Results of the calls of one function."""
        lines = [line.split(" ") for line in self.journal.read_text().splitlines()]
        return [int(result, 16) for call, result in lines if call == name]


@contextlib.contextmanager
def daemon(folder, module, socket):
    """A PKCS#11 daemon before the module, as p11-kit has it. It serves each client in a child, so it has a group of its
    own and dies with all of it, without a word. Gives what kills it."""
    command = ["p11-kit", "server", "--foreground", "--name", socket, "--provider", module, "pkcs11:"]
    with open(folder / "daemon.log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def kill():
        # A group that was waited for may be somebody else's by now.
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        socket.unlink(missing_ok=True)

    try:
        until("the socket of the daemon", socket.exists)
        yield kill
    finally:
        kill()


class Relay(http.server.ThreadingHTTPServer):
    """Stands before the token endpoint and keeps the assertions that pass."""

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", free_port()), Passing)
        self.target, self.assertions = target, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/services/oauth2/token"

    @contextlib.contextmanager
    def open(self):
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class Passing(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.assertions.append(urllib.parse.parse_qs(body.decode())["assertion"][0])
        headers = {"content-type": self.headers["content-type"]}
        status, text = fetch(self.server.target, data=body, headers=headers)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def signed_by(assertion):
    """What was signed, and the signature."""
    signed, _, signature = assertion.rpartition(".")
    return signed, base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))


def key_setting(module, token="aquila", key="elf", pin="pin.txt"):
    return (
        f'client_key_pkcs11 = {{ module_path = "{module}", token_label = "{token}", key_label = "{key}", '
        f'pin_path = "{pin}" }}'
    )


class Broker:
    """A configuration, and the service or `check` on it."""

    def __init__(self, binary, folder, digest, key):
        self.binary, self.folder, self.digest, self.api_key = binary, folder, digest, key
        self.file = folder / "aquila.toml"
        self.callers, self.ops = free_port(), free_port()
        self.pin(PIN)

    def pin(self, text):
        path = self.folder / "pin.txt"
        path.touch(mode=0o600)
        path.write_text(text + "\n")

    def write(self, integrations, rights="*"):
        """`integrations`: by name the lines that say where the key is, the token URL and the user."""
        sections = "".join(
            f'\n[integrations.{name}]\naudience_url = "https://login.salesforce.com"\nclient_id = "{CLIENT_ID}"\n'
            f'username = "{user}"\ntoken_url = "{url}"\nsession_timeout = "2h"\n{key}\n'
            for name, (key, url, user) in integrations.items()
        )
        fresh = self.file.with_suffix(".new")
        fresh.write_text(
            f'[server]\nlisten = "127.0.0.1:{self.callers}"\n[ops]\nlisten = "127.0.0.1:{self.ops}"\n'
            f'[audit]\npath = "{self.folder}/audit"\n[callers.shipper]\nintegrations = ["{rights}"]\n'
            f'api_key_sha256 = ["{self.digest}"]\n{sections}'
        )
        fresh.rename(self.file)

    def check(self):
        """Status, errors, and how long it took."""
        begun = time.monotonic()
        done = subprocess.run(
            [self.binary, "check", "--config", self.file, "--output", "json"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        findings = json.loads(done.stdout)["findings"] if done.stdout else []
        errors = [finding for finding in findings if finding["severity"] == "error"]
        return done.returncode, errors, time.monotonic() - begun

    @contextlib.contextmanager
    def serving(self, name):
        with running(self.binary, self.folder, name, "serve", "--config", self.file) as process:
            process.wait_until_ready(self.ops)
            yield process

    def ask(self, integration):
        """Status, body as JSON, and the time it took."""
        begun = time.monotonic()
        headers = {"authorization": f"Bearer {self.api_key}"}
        status, body = fetch(f"http://127.0.0.1:{self.callers}/token/{integration}", headers=headers)
        return status, json.loads(body), time.monotonic() - begun

    def status(self, integration=None):
        page = json.loads(fetch(f"http://127.0.0.1:{self.ops}/status.json")[1])
        return next(one for one in page["integrations"] if one["name"] == integration) if integration else page

    def cause(self, integration):
        failure = self.status(integration)["last_failure"] or {}
        return failure.get("cause"), failure.get("detail", "")

    def reloaded(self, process, change, hangup=False):
        """Makes a change and waits for what comes of it: the status of the configuration."""
        told = lambda: self.status()["configuration"]["last_reload"]  # noqa: E731
        before = told()
        change()
        if hangup:
            process.process.send_signal(1)
        return until("the change is read", lambda: told() if told() != before else None)

