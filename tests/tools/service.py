"""The real binary as a process: keys and certificates for it, its start, its readiness, its end."""

import contextlib
import hashlib
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.request

START_WITHIN = 20.0
STOP_WITHIN = 40.0


def free_port():
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    return path


def self_signed(path, key, days=2):
    """The certificate that would be uploaded to Salesforce."""
    openssl("req", "-new", "-x509", "-key", key, "-subj", "/CN=aquila-test", "-days", str(days), "-out", path)
    return path


def loopback_tls(folder):
    """A throw-away certificate authority and a certificate for localhost: paths of `ca`, `certificate`, `key`."""
    folder = pathlib.Path(folder)
    ca_key, ca = private_key(folder / "ca.key"), folder / "ca.pem"
    openssl(
        "req", "-new", "-x509", "-key", ca_key, "-subj", "/CN=throw-away CA", "-days", "2", "-out", ca,
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    key, request, certificate = private_key(folder / "door.key"), folder / "door.csr", folder / "door.pem"
    openssl("req", "-new", "-key", key, "-subj", "/CN=localhost", "-out", request)
    extensions = folder / "door.ext"
    extensions.write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
        "keyUsage=digitalSignature,keyEncipherment\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
        "-extfile", extensions, "-out", certificate,
    )  # fmt: skip
    return {"ca": ca, "certificate": certificate, "key": key}


def new_key(binary, caller):
    """`aquila new-key`: the key, its digest as the configuration line has it."""
    done = subprocess.run([binary, "new-key", caller], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"new-key ended with {done.returncode}: {done.stderr}")
    key = re.search(r"\baquila_[A-Za-z0-9]{49}\b", done.stdout)
    digest = re.search(r"\b[0-9a-f]{64}\b", done.stdout)
    if not key or not digest:
        raise RuntimeError("new-key printed no key of the documented form with its digest")
    return key.group(), digest.group()


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Process:
    """One run of the binary. Its output is kept in files and shown when something goes wrong."""

    def __init__(self, binary, folder, name, *arguments):
        self.name = name
        self.stdout_path = pathlib.Path(folder) / f"{name}.stdout"
        self.stderr_path = pathlib.Path(folder) / f"{name}.stderr"
        with open(self.stdout_path, "wb") as stdout, open(self.stderr_path, "wb") as stderr:
            self.process = subprocess.Popen(
                [str(binary), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )

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
        def ready():
            with urllib.request.urlopen(f"http://127.0.0.1:{ops_port}/readyz", timeout=1) as answer:
                return answer.status == 200

        self.wait_until("/readyz", ready)

    def stop(self):
        """SIGTERM, as a supervisor does it. The exit status; None when it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return None
        return self.process.returncode

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
