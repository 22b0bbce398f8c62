"""Measures Aquila against its baselines and prints one table. Called by bench/run."""

import base64
import hashlib
import json
import os
import platform
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

RELEASE = Path(sys.argv[1]).resolve()
QUICK = "--quick" in sys.argv
ROUNDS = 3 if QUICK else 5
SECONDS = 2 if QUICK else 6
MANY = 10_000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, headers=None, timeout=30):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=timeout) as answer:
        return answer.read()


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.002)
    raise SystemExit(f"bench: {what} did not happen within {seconds} s")


@contextmanager
def running(*command, cpu=None, **options):
    if cpu is not None:
        command = ("taskset", "-c", str(cpu), *command)
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def memory(process, field="VmRSS"):
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", text)[1]) / 1024


class House:
    """A folder with a key, a configuration and the simulator's address."""

    def __init__(self, folder, simulator, key, integrations=1, callers=1, server="", caller="", more=""):
        self.folder = Path(folder)
        self.folder.mkdir()
        self.port, self.ops = free_port(), free_port()
        self.key = key
        lines = [
            f'[server]\nlisten = "127.0.0.1:{self.port}"\n{server}',
            f'[ops]\nlisten = "127.0.0.1:{self.ops}"\n',
            '[audit]\npath = "audit.jsonl"\n',
        ]
        for number in range(integrations):
            user = "simulated@example.com" if number == 0 else f"user{number}@example.com"
            lines.append(
                f'[integrations.elf-{number}]\nclient_key_path = "{key}"\nusername = "{user}"\n'
                f'client_id = "simulated-client-id"\ntoken_url = "{simulator}"\nsession_timeout = "2h"\n'
            )
        made = subprocess.run([RELEASE / "aquila", "new-key", "caller-0"], capture_output=True, text=True, check=True).stdout
        self.api_key = made.splitlines()[0]
        for number in range(callers):
            digest = hashlib.sha256((self.api_key if number == 0 else str(number)).encode()).hexdigest()
            granted = "elf-*" if number == 0 else f"elf-{number % integrations}"
            lines.append(f'[callers.caller-{number}]\nintegrations = ["{granted}"]\napi_key_sha256 = ["{digest}"]\n{caller}')
        lines.append(more)
        self.config = self.folder / "aquila.toml"
        self.config.write_text("".join(lines))
        self.url = f"http://127.0.0.1:{self.port}/token/elf-0"

    @contextmanager
    def serving(self, cpu=None):
        started = time.monotonic()
        with running(RELEASE / "aquila", "serve", "--config", self.config, cpu=cpu) as process:
            until(lambda: get(f"http://127.0.0.1:{self.ops}/readyz") == b"ready\n", 60, "readiness")
            self.start = time.monotonic() - started
            yield process

    def token(self, name="elf-0"):
        return get(f"http://127.0.0.1:{self.port}/token/{name}", {"Authorization": f"Bearer {self.api_key}"})


def wrk(url, bearer=None, script=None):
    header = ["-H", f"Authorization: Bearer {bearer}"] if bearer else []
    script = ["-s", str(script)] if script else []
    text = subprocess.run(["wrk", "-t1", "-c32", f"-d{SECONDS}s", "--latency", *header, *script, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise SystemExit(f"bench: {url} answered something else than 200\n{text}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return rate, float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def paired(first, second):
    """Rounds in turn, so that a drift of the machine meets both; medians of figures and of ratios."""
    pairs = [(first(), second()) for _ in range(ROUNDS)]
    median = statistics.median
    return {
        "rate": median(a[0] for a, _ in pairs),
        "base": median(b[0] for _, b in pairs),
        "rate_ratio": median(a[0] / b[0] for a, b in pairs),
        "p99": median(a[1] for a, _ in pairs),
        "p99_ratio": median(a[1] / b[1] for a, b in pairs),
    }


ROWS = []


def row(what, goal, measured):
    ROWS.append((what, goal, measured))
    print(f"  {what}: {measured}", flush=True)


def warm(folder, simulator, key):
    one, many = House(folder / "one", simulator, key), House(folder / "many", simulator, key, MANY, MANY)
    with one.serving() as process:
        row("start to ready, 1 integration", "<= 50 ms", f"{one.start * 1000:.0f} ms")
        row("resident, idle, 1 integration", "<= 20 MB", f"{memory(process):.1f} MB")
        body = folder / "body.json"
        body.write_bytes(one.token())
        port = free_port()
        with running(RELEASE / "examples" / "bare_route", f"127.0.0.1:{port}", body):
            bare = f"http://127.0.0.1:{port}/token"
            until(lambda: get(bare), 10, "the bare route")
            found = paired(lambda: wrk(one.url, one.api_key), lambda: wrk(bare))
        row(
            "warm GET /token against a bare route",
            ">= 0.80 of its rate, p99 <= 1.5 x",
            f"{found['rate_ratio']:.2f} ({found['rate']:.0f} of {found['base']:.0f}/s), p99 {found['p99_ratio']:.2f} x",
        )
        with many.serving() as large:
            row(f"start to ready, {MANY} integrations", "<= 2 s", f"{many.start:.2f} s")
            row(f"resident, idle, {MANY} integrations", "<= 80 MB", f"{memory(large):.1f} MB")
            many.token()
            found = paired(lambda: wrk(many.url, many.api_key), lambda: wrk(one.url, one.api_key))
            row(f"the same with {MANY} integrations and callers", ">= 0.95 of one", f"{found['rate_ratio']:.2f} ({found['rate']:.0f} of {found['base']:.0f}/s)")


class Signer:
    """A private key, and the compact JWTs that it signs."""

    def __init__(self, folder, algorithm):
        self.algorithm, self.key, self.public = algorithm, folder / f"{algorithm}.pem", folder / f"{algorithm}.pub.pem"
        kind = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "RS256" else ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("genpkey", "-algorithm", *kind, "-out", self.key)
        openssl("pkey", "-in", self.key, "-pubout", "-out", self.public)

    def jwk(self):
        der = openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")
        if self.algorithm == "ES256":
            return {"kty": "EC", "crv": "P-256", "alg": "ES256", "x": segment(der[-64:-32]), "y": segment(der[-32:])}
        modulus = openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
        return {"kty": "RSA", "alg": "RS256", "n": segment(bytes.fromhex(modulus)), "e": "AQAB"}

    def sign(self, claims):
        header = {"alg": self.algorithm}
        signed = ".".join(segment(json.dumps(part).encode()) for part in (header, claims))
        signature = openssl("dgst", "-sha256", "-sign", self.key, input=signed.encode())
        if self.algorithm == "ES256":
            # DER: two integers, each with its length, perhaps with a zero before it or without one of its own.
            r, rest = signature[4 : 4 + signature[3]], signature[4 + signature[3] :]
            signature = b"".join(part.lstrip(b"\0").rjust(32, b"\0") for part in (r, rest[2:]))
        return f"{signed}.{segment(signature)}"


def segment(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def openssl(*arguments, input=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=input, capture_output=True, check=True).stdout


PUBLIC_URL = "https://aquila.example"


def proofs(folder, simulator, key):
    """Warm answers by every other proof, each against the API key on the same route in the same run."""
    signers = [Signer(folder, algorithm) for algorithm in ("RS256", "ES256")]
    sections, rules, keys = [], [], []
    for signer in signers:
        (folder / f"{signer.algorithm}.json").write_text(json.dumps({"keys": [signer.jwk()]}))
        sections.append(f'[issuers.{signer.algorithm.lower()}]\nissuer = "https://{signer.algorithm}.example"\njwks_path = "{folder / signer.algorithm}.json"\n')
        rules.append(f'{{ issuer = "{signer.algorithm.lower()}", sub = "bench" }}')
        keys.append(f'{{ path = "{signer.public}", algorithm = "{signer.algorithm}" }}')
    caller = f"jwt = [{', '.join(rules)}]\npublic_keys = [{', '.join(keys)}]\njwt_bearer_grant = true\n"
    house = House(folder / "proofs", simulator, key, server=f'public_url = "{PUBLIC_URL}"\n', caller=caller, more="".join(sections))
    oauth = f"http://127.0.0.1:{house.port}/services/oauth2/token"
    with house.serving():
        house.token()
        for signer in signers:
            now = int(time.time())
            token = signer.sign({"iss": f"https://{signer.algorithm}.example", "aud": PUBLIC_URL, "sub": "bench", "iat": now, "exp": now + 3600})
            against_key(f"by a JWT of an issuer, {signer.algorithm}", paired(lambda: wrk(house.url, token), lambda: wrk(house.url, house.api_key)))
        by_key = posting(folder / "key.lua", {"grant_type": "client_credentials", "client_id": "caller-0", "client_secret": house.api_key})
        for signer in signers:
            # Without a `jti` it may be sent again while it lasts, which is five minutes. A client assertion may not.
            assertion = {"iss": "caller-0", "aud": PUBLIC_URL, "sub": "elf-0", "exp": int(time.time()) + 300}
            grant = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signer.sign(assertion)}
            signed = posting(folder / f"{signer.algorithm}.lua", grant)
            against_key(f"by a request that the caller signed, {signer.algorithm}", paired(lambda: wrk(oauth, script=signed), lambda: wrk(oauth, script=by_key)))
    by_certificate(folder, simulator, key)


def by_certificate(folder, simulator, key):
    """Over TLS on kept connections: the certificate is verified once for each, the key with each request."""
    issue(folder, "server", "DNS:localhost")
    issue(folder, "client", "URI:spiffe://bench.example/caller")
    authority = folder / "ca.pem"
    tls = f'tls = {{ certificate_path = "{folder}/server.pem", private_key_path = "{folder}/server.key", client_ca_path = "{authority}" }}\n'
    caller = 'client_certificate = [{ spiffe_id = "spiffe://bench.example/caller" }]\n'
    house = House(folder / "certificate", simulator, key, server=tls, caller=caller)

    def load(*proof):
        command = [RELEASE / "examples" / "tls_load", f"127.0.0.1:{house.port}", "/token/elf-0", SECONDS, authority, *proof]
        rate, slow = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout.split()
        return float(rate), float(slow)

    with house.serving():
        found = paired(lambda: load("--certificate", folder / "client.pem", folder / "client.key"), lambda: load("--key", house.api_key))
        against_key("by a client certificate, over TLS", found)


def issue(folder, name, alternative):
    """A certificate of the bench's own authority, which is made for the first one."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    authority, private = folder / "ca.pem", folder / "ca.key"
    if not authority.exists():
        openssl("req", "-x509", *curve, "-subj", "/CN=bench CA", "-keyout", private, "-out", authority)
    request = openssl("req", *curve[:-2], "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key")
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={alternative}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("x509", "-req", "-CA", authority, "-CAkey", private, "-set_serial", str(len(name)), "-days", "2", "-extfile", extensions, "-out", folder / f"{name}.pem", input=request)


def posting(script, form):
    """What wrk needs to post a form."""
    body = urllib.parse.urlencode(form)
    script.write_text(f'wrk.method = "POST"\nwrk.body = "{body}"\nwrk.headers["Content-Type"] = "application/x-www-form-urlencoded"\n')
    return script


def against_key(what, found):
    measured = f"{found['rate_ratio']:.2f} ({found['rate']:.0f} of {found['base']:.0f}/s), p99 {found['p99_ratio']:.2f} x"
    row(f"warm token {what}, against the API key", "none", measured)


def cold_mints(folder, simulator, key):
    """Each integration once, 32 at a time; the broker on one core and everything else on the other."""
    count = 400 if QUICK else 2000
    house = House(folder / "mints", simulator, key, count, 1)
    targets = folder / "targets.txt"
    targets.write_text("".join(f"http://127.0.0.1:{house.port}/token/elf-{number}\n" for number in range(count)))
    rates = []
    for _ in range(ROUNDS):
        signatures = subprocess.run(["taskset", "-c", "0", RELEASE / "examples" / "signatures", key, "2"], capture_output=True, text=True, check=True)
        with house.serving(cpu=0) as process:
            before = cpu_seconds(process)
            command = ["taskset", "-c", "1", "h2load", "-c", "1", "-m", "32", "-n", str(count), "-i", str(targets), "-H", f"Authorization: Bearer {house.api_key}"]
            text = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout
            minted = sum(float(line.split()[-1]) for line in get(f"http://127.0.0.1:{house.ops}/metrics").decode().splitlines() if line.startswith("aquila_mints_total"))
            if f"{count} 2xx" not in text or minted != count:
                raise SystemExit(f"bench: {minted:.0f} mints instead of {count}\n{text}")
            spent = cpu_seconds(process) - before
            wall = float(re.search(r"finished in ([\d.]+)(m?)s", text)[1]) / (1000 if "ms," in text.split("finished in")[1][:12] else 1)
        rates.append((count / wall, count / spent, float(signatures.stdout)))
    ratio = statistics.median(mints / base for mints, _, base in rates)
    per_cpu = statistics.median(per / base for _, per, base in rates)
    mints, _, base = rates[-1]
    row("cold mints against signatures alone, one core", ">= 0.50", f"{ratio:.2f} ({mints:.0f} of {base:.0f}/s; {per_cpu:.2f} by CPU time)")


def cpu_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stampede(folder, simulator, control, key):
    house = House(folder / "stampede", simulator, key)
    ask = lambda path, data=None: json.loads(control(path, data) or b"null")
    ask("reset-counts", {})
    # Held long enough that all of them wait at once.
    ask("faults", {"door": "token", "times": 1, "delay_ms": 4000})
    with house.serving() as process:
        before = memory(process)
        command = ["h2load", "--h1", "-c", str(MANY), "-n", str(MANY), "-H", f"Authorization: Bearer {house.api_key}", house.url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        good = int(re.search(r"status codes: (\d+) 2xx", text)[1])
        peak = memory(process, "VmHWM")
        posts = ask("counts")["token_posts"]
        if good != MANY:
            raise SystemExit(f"bench: the stampede failed\n{text}")
        time.sleep(10)
        after = memory(process)
    row(f"{MANY} cold callers at once", "1 POST, all 200, < 300 MB, given back", f"{posts} POST, {good} x 200, +{peak - before:.0f} MB, then +{after - before:.0f} MB")


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, {ROUNDS} rounds of {SECONDS} s")
    with tempfile.TemporaryDirectory(prefix="aquila-bench-") as name:
        folder = Path(name)
        key, certificate, secret = folder / "key.pem", folder / "certificate.pem", folder / "secret"
        os.umask(0o077)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=bench"], check=True, capture_output=True)
        secret.write_text("bench-control-secret")
        port = free_port()
        simulator = f"http://127.0.0.1:{port}"
        users = [f"--username=user{number}@example.com" for number in range(1, MANY)]

        def control(path, data):
            headers = {"Authorization": "Bearer bench-control-secret", "Content-Type": "application/json"}
            body = None if data is None else json.dumps(data).encode()
            return urllib.request.urlopen(urllib.request.Request(f"{simulator}/__simulator/{path}", body, headers), timeout=30).read()

        with running(RELEASE / "aquila", "simulate", "--listen", f"127.0.0.1:{port}", "--certificate", certificate, "--control-secret-path", secret, "--username=simulated@example.com", *users):
            until(lambda: get(f"{simulator}/services/data"), 30, "the simulator")
            warm(folder, simulator, key)
            proofs(folder, simulator, key)
            cold_mints(folder, simulator, key)
            stampede(folder, simulator, control, key)
    width = max(len(what) for what, _, _ in ROWS)
    goals = max(len(goal) for _, goal, _ in ROWS)
    print()
    for what, goal, measured in ROWS:
        print(f"| {what:<{width}} | {goal:<{goals}} | {measured} |")


if __name__ == "__main__":
    main()
