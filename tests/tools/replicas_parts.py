"""What the tests of replicas need: a Redis over TLS, a relay before it that takes orders, Salesforce, and a fleet of the real
service whose doors are asked from outside."""

import base64
import contextlib
import ctypes
import datetime
import ipaddress
import json
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import canary
from service import START_WITHIN, Process, fetch, free_port

CLIENT_ID = "3MVG9.replicas"
PREFIX = "aquila:"
WITHIN = 30.0
HOST_OF_SALESFORCE, HOST_OF_REDIS = "salesforce.example", "redis.example"
# By the first, one integration in two asks Salesforce how long its tokens live; the other has only its confirm call.
KINDS = ('client_secret_path = "{folder}/client.secret"\n', "")


def until(what, holds, within=WITHIN, every=0.05):
    """Polls until `holds()` gives something; what that was, and how long it took."""
    begun, deadline = time.monotonic(), time.monotonic() + within
    while time.monotonic() < deadline:
        seen = holds()
        if seen:
            return seen, time.monotonic() - begun
        time.sleep(every)
    raise RuntimeError(f"not within {within:.0f} s: {what}")


class Certificates:
    """An authority and one certificate for every name that is used here. They are as old as a day, for a replica whose
    clock is an hour behind must not find them to be of tomorrow."""

    def __init__(self, folder, *addresses):
        now = datetime.datetime.now(datetime.timezone.utc)
        self.ca, self.certificate, self.key = folder / "tls-ca.pem", folder / "tls.pem", folder / "tls.key"
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "throw-away authority")])
        ca_key, key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))

        def builder(subject, public):
            made = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
            made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            return made.not_valid_after(now + datetime.timedelta(days=2))

        ca = builder(name, ca_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        ca = ca.sign(ca_key, hashes.SHA256())
        names = [x509.DNSName(one) for one in ("localhost", HOST_OF_SALESFORCE, HOST_OF_REDIS)]
        names += [x509.IPAddress(ipaddress.ip_address(one)) for one in ("127.0.0.1", *addresses)]
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        leaf = builder(subject, key.public_key()).add_extension(x509.SubjectAlternativeName(names), critical=False)
        # The nodes of a Cluster are clients of each other.
        usage = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
        leaf = leaf.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        leaf = leaf.sign(ca_key, hashes.SHA256())
        self.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        self.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key.touch(mode=0o600)
        self.key.write_bytes(key.private_bytes(*plain))


class Child:
    """A process of somebody else's program, that is ended by its own id."""

    def __init__(self, command, log, **options):
        with open(log, "ab") as output:
            self.process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output, **options)

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()


class Redis:
    """A Redis with TLS only, a password for its owner and a user of its own for the service, which may do what
    docs/replicas.md says and nothing else."""

    def __init__(self, stack, folder, certificates, name="redis", bind="127.0.0.1", more="", rights=""):
        self.folder, self.name, self.bind = folder / name, name, bind
        self.folder.mkdir()
        self.port, self.certificates, self.child = free_port(), certificates, None
        self.owner, self.password = f"owner-of-{name}-and-nobody-else", f"password-of-the-service-at-{name}"
        self.conf = self.folder / "redis.conf"
        self.conf.touch(mode=0o600)
        self.conf.write_text(
            f"port 0\ntls-port {self.port}\nbind {bind}\ntls-cert-file {certificates.certificate}\n"
            f"tls-key-file {certificates.key}\ntls-ca-cert-file {certificates.ca}\ntls-auth-clients no\ntls-replication yes\n"
            f'save ""\nappendonly no\ndir {self.folder}\nrequirepass {self.owner}\nmasterauth {self.owner}\n'
            f"user {documented_rule(self.password)} {rights}\nrepl-diskless-sync-delay 0\n{more}"
        )
        stack.callback(self.end)

    def start(self, *before):
        self.child = Child([*before, "redis-server", self.conf], self.folder / "log", stdin=subprocess.DEVNULL)
        until(f"{self.name} answers", self.answers, within=START_WITHIN)
        return self

    def answers(self):
        if self.child.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended:\n{(self.folder / 'log').read_text()[-2000:]}")
        with contextlib.suppress(OSError):
            return self.ask("PING") == b"PONG"

    def kill(self):
        self.child.kill()

    def freeze(self):
        self.child.signal(signal.SIGSTOP)

    def thaw(self):
        self.child.signal(signal.SIGCONT)

    def end(self):
        if self.child:
            self.child.kill()

    def ask(self, *words):
        """One command of the owner, over a connection of its own."""
        with self.connected() as (stream, say):
            return say(stream, *words)

    @contextlib.contextmanager
    def connected(self):
        trust = ssl.create_default_context(cafile=self.certificates.ca)
        with socket.create_connection((self.bind, self.port), timeout=10) as plain:
            with trust.wrap_socket(plain, server_hostname="localhost") as wrapped, wrapped.makefile("rwb") as stream:
                say(stream, "AUTH", self.owner)
                yield stream, say

    def texts(self):
        """Everything that it holds, by place: each value in each form that a reader of Redis can ask for."""
        found = {}
        with self.connected() as (stream, say):
            keys = say(stream, "KEYS", "*")
            reads = {
                b"string": lambda key: say(stream, "GET", key),
                b"hash": lambda key: say(stream, "HGETALL", key),
                b"zset": lambda key: say(stream, "ZRANGE", key, "0", "-1", "WITHSCORES"),
                b"stream": lambda key: say(stream, "XRANGE", key, "-", "+"),
                b"set": lambda key: say(stream, "SMEMBERS", key),
                b"list": lambda key: say(stream, "LRANGE", key, "0", "-1"),
            }
            for key in keys:
                kind = say(stream, "TYPE", key)
                if kind == b"none":
                    continue
                found[key.decode("latin-1")] = flat(key) + flat(reads[kind](key)) + flat(say(stream, "DUMP", key))
        return found


def documented_rule(password):
    """What an operator who reads the documentation grants, and nothing else."""
    page = (pathlib.Path(__file__).parents[2] / "docs/replicas.md").read_text()
    return re.search(r"^ACL SETUSER (.*)$", page, re.MULTILINE)[1].replace("PASSWORD", password)


def say(stream, *words):
    """A command and its reply, in the protocol of Redis."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    stream.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
    stream.flush()
    return reply(stream)


def reply(stream):
    line = stream.readline()
    if not line:
        raise OSError("Redis hung up")
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return stream.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
    if kind == b"*":
        return [reply(stream) for _ in range(int(rest))]
    return rest


def flat(value):
    """All bytes of a reply as one text."""
    if isinstance(value, list):
        return "".join(flat(one) + "\n" for one in value)
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class Relay:
    """Stands before Redis and ends its TLS; what it does next is ordered (`replicas_relay.py`)."""

    def __init__(self, stack, folder, redis):
        self.port = free_port()
        script = pathlib.Path(__file__).parent / "replicas_relay.py"
        tls = redis.certificates
        command = [sys.executable, script, self.port, redis.port, tls.certificate, tls.key, tls.ca]
        self.child = Child(command, folder / "relay.log", stdin=subprocess.PIPE)
        stack.callback(self.child.kill)
        until("the relay listens", lambda: connects(self.port))

    def order(self, mode, upstream=None):
        self.child.process.stdin.write(json.dumps({"mode": mode, "upstream": upstream}).encode() + b"\n")
        self.child.process.stdin.flush()


class Sentinel(Redis):
    """Watches one master, and makes its replica the master when it is gone. Its word alone counts."""

    def __init__(self, stack, folder, certificates, master, name="sentinel"):
        super().__init__(stack, folder, certificates, name)
        tls = certificates
        self.conf.write_text(
            f"port 0\ntls-port {self.port}\nbind 127.0.0.1\ntls-cert-file {tls.certificate}\ntls-key-file {tls.key}\n"
            f"tls-ca-cert-file {tls.ca}\ntls-auth-clients no\ntls-replication yes\ndir {self.folder}\n"
            f"requirepass {self.owner}\nsentinel monitor aquila 127.0.0.1 {master.port} 1\n"
            f"sentinel auth-pass aquila {master.owner}\nsentinel down-after-milliseconds aquila 1000\n"
            f"sentinel failover-timeout aquila 5000\n"
        )

    def start(self):
        self.child = Child(["redis-server", self.conf, "--sentinel"], self.folder / "log", stdin=subprocess.DEVNULL)
        until(f"{self.name} answers", self.answers, within=START_WITHIN)
        return self

    def knows_a_replica(self):
        return bool(self.ask("SENTINEL", "REPLICAS", "aquila"))

    def master(self):
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "aquila")[1])


def connects(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


class Salesforce:
    """The simulator, and what it was asked."""

    def __init__(self, stack, binary, folder, users, *options, name="salesforce", listen="127.0.0.1", url=None):
        self.port = free_port()
        self.address = listen
        scheme = "https" if "--tls-certificate" in options else "http"
        self.own = f"{scheme}://{listen}:{self.port}"
        self.url = url.format(port=self.port) if url else self.own
        self.control_secret, self.folder = f"control-secret-of-{name}", folder
        self.trust = ssl.create_default_context(cafile=folder / "tls-ca.pem") if scheme == "https" else None
        secret = folder / f"{name}.secret"
        secret.write_text(self.control_secret)
        named = [word for user in users for word in ("--username", user)]
        fixed = [
            "--certificate", folder / "app.pem", "--client-id", CLIENT_ID, "--client-secret-path", folder / "client.secret",
            "--control-secret-path", secret, "--instance-url", self.url,
        ]  # fmt: skip
        process = Process(binary, folder, name, "simulate", "--listen", f"{listen}:{self.port}", *fixed, *options, *named)
        self.process = process
        stack.callback(self.end)
        until(f"{name} listens", self.listens)

    def end(self):
        self.process.process.send_signal(signal.SIGCONT) if self.process.process.poll() is None else None
        self.process.stop()

    def listens(self):
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), timeout=1):
            return True

    def request(self, method, path, data=None, headers=None):
        request = urllib.request.Request(self.own + path, data=data, headers=headers or {}, method=method)
        with urllib.request.urlopen(request, timeout=20, context=self.trust) as answer:
            return json.load(answer)

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        return self.request(method, f"/__simulator/{path}", data, {"Authorization": f"Bearer {self.control_secret}"})

    def counts(self):
        return self.control("GET", "counts")

    def posts(self):
        """Requests that ever reached the token endpoint."""
        return self.counts()["token_posts"]

    def slow(self, user, delay_ms, times=None):
        self.fault(door="token", username=user, delay_ms=delay_ms, times=times)

    def fault(self, **order):
        self.control("POST", "faults", {name: value for name, value in order.items() if value is not None})

    def calm(self):
        self.control("DELETE", "faults")

    def in_flight(self):
        return self.counts()["token_posts_in_flight"]

    def introspected(self, token):
        secret = (self.folder / "client.secret").read_text()
        form = urllib.parse.urlencode({"token": token, "client_id": CLIENT_ID, "client_secret": secret}).encode()
        said = self.request("POST", "/services/oauth2/introspect", form)
        return float(said["exp"]) if said["active"] else 0.0


class Replica:
    """One process of the service, with its two doors; started anew as often as wanted."""

    def __init__(self, scene, name, config, before=(), namespace=None):
        self.scene, self.name, self.before, self.namespace = scene, name, before, namespace
        self.port, self.ops = free_port(), free_port()
        self.path = scene.folder / f"{name}.toml"
        self.config, self.process, self.runs = config, None, 0
        self.texts = []

    def write(self, config=None):
        self.config = config or self.config
        fresh = self.path.with_suffix(".new")
        fresh.write_text(self.config(self))
        fresh.rename(self.path)

    def start(self):
        self.write()
        self.runs += 1
        name = f"{self.name}-{self.runs}"
        # The words before become the service itself, so its process id is ours.
        wrapper = self.scene.folder / f"{name}.sh"
        words = " ".join(str(word) for word in (*self.before, self.scene.binary))
        wrapper.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        wrapper.chmod(0o700)
        self.process = Process(wrapper, self.scene.folder, name, "serve", "--config", self.path)
        return self

    def wait_until_ready(self):
        self.inside(self.process.wait_until_ready, self.ops)
        return self

    def inside(self, action, *arguments):
        """Does something where its loopback is: in its network namespace, if it has one."""
        return self.namespace.inside(action, *arguments) if self.namespace else action(*arguments)

    def alive(self):
        return self.process is not None and self.process.process.poll() is None

    def signal(self, number):
        self.process.process.send_signal(number)

    def kill(self):
        self.process.process.kill()
        self.process.process.wait()
        self.process.search({})

    def stop(self):
        if self.process:
            if self.alive():
                self.signal(signal.SIGCONT)
            return self.inside(self.process.stop)
        return None

    def page(self, path):
        status, body = self.inside(fetch, f"http://127.0.0.1:{self.ops}{path}")
        if status != 200:
            raise RuntimeError(f"{path} of {self.name}: {status}")
        return body.decode()

    def status(self):
        return json.loads(self.page("/status.json"))

    def store(self):
        """What it says of the store."""
        return self.status().get("store") or {}

    def metric(self, name, **labels):
        """The sum over the series of that name with these labels."""
        total = 0.0
        for found, value in re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", self.page("/metrics"), re.MULTILINE):
            if all(f'{label}="{text}"' in found for label, text in labels.items()):
                total += float(value)
        return total

    def log(self):
        """The records of its log since it was started."""
        lines = self.process.stderr_path.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def ask(self, integration, query=""):
        """Status and body of one request by the crowd."""
        headers = {"authorization": f"Bearer {self.scene.key}"}
        status, body = self.inside(fetch, f"http://127.0.0.1:{self.port}/token/{integration}{query}", None, headers)
        return status, json.loads(body)

    def post(self, route, form, headers=None):
        headers = {"authorization": f"Bearer {self.scene.key}"} if headers is None else headers
        return self.inside(fetch, f"http://127.0.0.1:{self.port}{route}", form, headers)


class Namespace:
    """A network namespace with one wire to this machine, which can cut what goes over it by port."""

    def __init__(self, stack, name, number, block):
        self.name, self.wire = name, f"{name}w"
        self.here, self.there = f"198.18.{block}.{4 * number + 1}", f"198.18.{block}.{4 * number + 2}"
        stack.callback(self.remove)
        run("ip", "netns", "add", name)
        run("ip", "link", "add", self.wire, "type", "veth", "peer", "name", "wire", "netns", name)
        run("ip", "addr", "add", f"{self.here}/30", "dev", self.wire)
        run("ip", "link", "set", self.wire, "up")
        for line in (f"addr add {self.there}/30 dev wire", "link set wire up", "link set lo up", f"route add default via {self.here}"):
            run("ip", "-n", name, *line.split())

    def resolve(self, address, *names):
        """Gives names to an address, inside only."""
        self.etc = pathlib.Path("/etc/netns") / self.name
        self.etc.mkdir(parents=True)
        (self.etc / "hosts").write_text(f"127.0.0.1 localhost\n{address} {' '.join(names)}\n")

    def remove(self):
        subprocess.run(["ip", "link", "del", self.wire], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
        with contextlib.suppress(OSError):
            (pathlib.Path("/etc/netns") / self.name / "hosts").unlink()
            (pathlib.Path("/etc/netns") / self.name).rmdir()

    def cut(self, port):
        """From now on nothing passes to that port, nor comes back, and nobody is told."""
        self.rule("-A", port)

    def mend(self, port):
        self.rule("-D", port)

    def rule(self, way, port):
        for chain, side in (("OUTPUT", "--dport"), ("INPUT", "--sport")):
            run("ip", "netns", "exec", self.name, "iptables", "-w", way, chain, "-p", "tcp", side, port, "-j", "DROP")

    def inside(self, action, *arguments):
        """Runs it in a thread that lives in there, so that its sockets do."""
        done = {}

        def work():
            try:
                enter(self.name)
                done["result"] = action(*arguments)
            except BaseException as error:  # noqa: BLE001 handed on to the thread that asked
                done["error"] = error

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if "error" in done:
            raise done["error"]
        return done.get("result")


def enter(name):
    """Moves this thread into a network namespace. `os.setns` is of Python 3.12 only."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}", "rb") as door:
        if libc.setns(door.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), f"no way into {name}")


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}".strip())
    return done.stdout


def new_seal_key(binary, folder, name):
    """`aquila new-seal-key` into a file of its own."""
    done = subprocess.run([binary, "new-seal-key"], capture_output=True, text=True, timeout=30, check=False)
    found = re.search(r"^aquila-seal-1:([\w-]{43})=?$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not found:
        raise RuntimeError(f"new-seal-key ended with {done.returncode}: {done.stderr}")
    canary.note(f"the seal key {name}", found[1])
    canary.note(f"the bytes of the seal key {name}", base64.urlsafe_b64decode(found[1] + "=").decode("latin-1"))
    path = folder / f"{name}.seal"
    path.touch(mode=0o600)
    path.write_text(done.stdout)
    return path

