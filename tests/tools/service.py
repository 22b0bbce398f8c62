"""The real binary as a process: keys and certificates for it, its start, its readiness, its end.

Every secret that is made or read here is searched for in everything that the processes write (`canary.py`).
"""

import contextlib
import hashlib
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import canary

START_WITHIN = 20.0
STOP_WITHIN = 40.0
# What is asked here is on loopback: no request of ours, or of a program that is started from here, is for a proxy.
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]


# Ports that were given to somebody who may not listen yet.
GIVEN = set()
# Below it are ports that services are known by, and those that no browser visits.
LOWEST_PORT = 15000


def free_port():
    """A loopback port that nobody listens on just now, and that nobody else was given.

    Outside of those that the kernel hands out by itself: one of these may be a connection's before its owner listens, or
    while its owner is started anew.
    """
    for _ in range(1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", drawn_port()))
            port = probe.getsockname()[1]
            if port not in GIVEN:
                GIVEN.add(port)
                return port
    raise RuntimeError("no port of loopback is free")


def drawn_port():
    """Any port below the kernel's own; 0, which is one of the kernel's, where there are hardly any."""
    try:
        first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 0
    return random.SystemRandom().randrange(LOWEST_PORT, first) if first > LOWEST_PORT + 5000 else 0


def fetch(url, data=None, headers=None, method=None, within=30.0):
    """Status and body, whatever the status; a dictionary is sent as a form."""
    body = urllib.parse.urlencode(data).encode() if isinstance(data, dict) else data
    request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=within) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def openssl(*arguments, stdin=None):
    """Runs the openssl program; its own words are in the error when it fails."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def private_key(path, bits=2048, pkcs1=False):
    """An RSA private key in PEM, PKCS#8 or PKCS#1, that only its owner may read."""
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}", "-out", path)
    if pkcs1:
        pem = openssl("rsa", "-traditional", "-in", path)
        pathlib.Path(path).write_bytes(pem)
    pathlib.Path(path).chmod(0o600)
    canary.note_private_key(pathlib.Path(path).read_text())
    return path


def self_signed(path, key, days=2):
    """The certificate that would be uploaded to Salesforce."""
    openssl("req", "-new", "-x509", "-key", key, "-subj", "/CN=aquila-test", "-days", str(days), "-out", path)
    return path


def authority(folder, name):
    """A throw-away certificate authority: paths of `key` and `certificate`."""
    key, certificate = private_key(folder / f"{name}.key"), folder / f"{name}.pem"
    openssl(
        "req", "-new", "-x509", "-key", key, "-subj", f"/CN=throw-away {name}", "-days", "2", "-out", certificate,
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    return {"key": key, "certificate": certificate}


def issued(folder, by, name, key, common_name, *extensions):
    """A certificate of an authority, for a key: its path."""
    request, lines, certificate = folder / f"{name}.csr", folder / f"{name}.ext", folder / f"{name}.pem"
    openssl("req", "-new", "-key", key, "-subj", f"/CN={common_name}", "-out", request)
    lines.write_text("\n".join(("basicConstraints=CA:FALSE", *extensions)) + "\n")
    openssl(
        "x509", "-req", "-in", request, "-CA", by["certificate"], "-CAkey", by["key"], "-CAcreateserial", "-days", "2",
        "-extfile", lines, "-out", certificate,
    )  # fmt: skip
    return certificate


def loopback_tls(folder):
    """A throw-away certificate authority and a certificate for localhost: paths of `ca`, `certificate`, `key`."""
    folder = pathlib.Path(folder)
    ca, key = authority(folder, "ca"), private_key(folder / "door.key")
    certificate = issued(
        folder, ca, "door", key, "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1", "extendedKeyUsage=serverAuth",
        "keyUsage=digitalSignature,keyEncipherment", "authorityKeyIdentifier=keyid", "subjectKeyIdentifier=hash",
    )  # fmt: skip
    return {"ca": ca["certificate"], "certificate": certificate, "key": key}


def new_key(binary, caller):
    """`aquila new-key`: the key, its digest as the configuration line has it."""
    done = subprocess.run([binary, "new-key", caller], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"new-key ended with {done.returncode}: {done.stderr}")
    key = re.search(r"\baquila_[A-Za-z0-9]{49}\b", done.stdout)
    digest = re.search(r"\b[0-9a-f]{64}\b", done.stdout)
    if not key or not digest:
        raise RuntimeError("new-key printed no key of the documented form with its digest")
    canary.note(f"the API key of {caller}", key.group())
    return key.group(), digest.group()


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


# What a configuration says of the secrets that it leads to, and of where records go.
PATHS = re.compile(r'^(client_secret_path|bearer_token_path) = "([^"]+)"', re.MULTILINE)
AUDIT = re.compile(r'^\[audit\]\npath = "([^"]+)"', re.MULTILINE)


class Process:
    """One run of the binary. Its output is kept in files, shown when something goes wrong, and searched at its end."""

    def __init__(self, binary, folder, name, *arguments):
        self.name, self.command = name, str(arguments[0])
        self.audit, self.ops, self.ops_token, self.searched = None, None, None, False
        self.know([str(argument) for argument in arguments])
        self.stdout_path = pathlib.Path(folder) / f"{name}.stdout"
        self.stderr_path = pathlib.Path(folder) / f"{name}.stderr"
        with open(self.stdout_path, "wb") as stdout, open(self.stderr_path, "wb") as stderr:
            self.process = subprocess.Popen(
                [str(binary), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )

    def know(self, arguments):
        """The secrets that it will read, and where it will write."""
        for option, value in zip(arguments, arguments[1:]):
            path = pathlib.Path(value)
            if option in ("--control-secret-path", "--client-secret-path"):
                canary.note(f"the secret in {path.name}", path.read_text())
            if option == "--config":
                config = path.read_text()
                for setting, file in PATHS.findall(config):
                    secret = (path.parent / file).read_text()
                    canary.note(f"{setting} of {path.name}", secret)
                    self.ops_token = secret if setting == "bearer_token_path" else self.ops_token
                self.audit = next((path.parent / file for file in AUDIT.findall(config)), None)

    def output(self):
        return self.stdout_path.read_text(errors="replace") + self.stderr_path.read_text(errors="replace")

    def wait_until(self, what, holds):
        """Polls until `holds()`; ends at once when the process has ended."""
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            with contextlib.suppress(OSError):
                if holds():
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name}: {what} not within {START_WITHIN:.0f} s:\n{self.tail()}")

    def wait_for_port(self, port):
        def connects():
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True

        self.wait_until(f"port {port}", connects)

    def wait_until_ready(self, ops_port):
        self.ops = ops_port

        def ready():
            with urllib.request.urlopen(f"http://127.0.0.1:{ops_port}/readyz", timeout=1) as answer:
                return answer.status == 200

        self.wait_until("/readyz", ready)

    def stop(self):
        """SIGTERM, as a supervisor does it. The exit status; None when it had to be killed."""
        pages = {}
        try:
            pages = self.last_pages()
        finally:
            status = self.end()
            self.search(pages)
        return status

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return None
        return self.process.returncode

    def last_pages(self):
        """What the ops door of a service says before its end, by path."""
        if self.ops is None or self.process.poll() is not None:
            return {}
        headers = {"Authorization": f"Bearer {self.ops_token}"} if self.ops_token else {}
        pages = {}
        for path in ("/metrics", "/status.json", "/status"):
            request = urllib.request.Request(f"http://127.0.0.1:{self.ops}{path}", headers=headers)
            with urllib.request.urlopen(request, timeout=10) as answer:
                pages[path] = answer.read().decode()
        return pages

    def search(self, pages):
        """Has everything that it wrote searched for secrets, once; what other programs write is not ours."""
        if self.command not in ("serve", "simulate") or self.searched:
            return
        self.searched = True
        canary.look_into(f"stdout of {self.name}", self.stdout_path.read_text(errors="replace"), self.command)
        canary.look_into(f"stderr of {self.name}", self.stderr_path.read_text(errors="replace"))
        if self.audit and self.audit.is_file():
            canary.look_into(f"audit of {self.name}", self.audit.read_text(errors="replace"))
        for path, text in pages.items():
            canary.look_into(f"{path} of {self.name}", text)

    def tail(self):
        return "\n".join(self.output().splitlines()[-30:])


@contextlib.contextmanager
def running(binary, folder, name, *arguments):
    """A process that does not outlive the block, however the block ends."""
    process = Process(binary, folder, name, *arguments)
    try:
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def simulating(binary, folder, port, *options, name="simulate"):
    """A simulator that answers at a port of loopback."""
    with running(binary, folder, name, "simulate", "--listen", f"127.0.0.1:{port}", *options) as process:
        process.wait_for_port(port)
        yield process


@contextlib.contextmanager
def serving(binary, folder, ops, config, name="serve"):
    """A broker with this configuration, which is ready; its ops door is at the port `ops`."""
    path = pathlib.Path(folder) / f"{name}.toml"
    path.write_text(config)
    with running(binary, folder, name, "serve", "--config", path) as process:
        process.wait_until_ready(ops)
        yield process
