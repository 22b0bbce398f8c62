"""HTTP, TLS and metrics as the standards have them: bytes over sockets, redbot, sslyze, promtool.

What an HTTP client library would not let us send is sent as bytes: every method on every path, odd request targets,
conditions and ranges, headers that stand twice, old versions, bodies that are announced and do not come as announced.
"""

import argparse
import contextlib
import json
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from api_service import INTEGRATION, ISSUER_PATH, OPS_TOKEN, REFUSED, ready, simulated
from checks import Checks
from service import loopback_tls, new_key

ROOT = pathlib.Path(__file__).resolve().parents[2]
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "QUERY", "PROPFIND", "get")
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
GRANT = "grant_type=client_credentials"
# What every route that takes a form finds its own in; each ignores the rest.
EITHER = GRANT + "&token=none"
# Differs from answer to answer.
VOLATILE = ("date", "x-request-id")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--promtool", required=True)
    arguments = arguments.parse_args()
    with Checks("conformity") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        key, digest = new_key(arguments.binary, "log-shipper")
        salesforce = stack.enter_context(simulated(arguments.binary, folder))
        start = {"binary": arguments.binary, "folder": folder, "salesforce": salesforce, "digest": digest}
        plain = stack.enter_context(ready(**start))
        callers = Door(plain.callers, f"Authorization: Bearer {key}\r\n")
        ops = Door(plain.ops, f"Authorization: Bearer {OPS_TOKEN}\r\n")

        methods(checks, callers, ops)
        heads(checks, callers, ops)
        targets(checks, callers)
        headers(checks, callers)
        versions(checks, callers)
        bodies(checks, callers)
        redbot(checks, callers, ops)
        checks.check("the service still gives a token", callers.get("/token").status == 200)

        # Records that cannot be written are a series too; `*` adds the integration that Salesforce refuses.
        tls = loopback_tls(folder)
        options = {"name": "serve-tls", "grants": "*", "audit": "/dev/full", "tls": tls}
        secured = stack.enter_context(ready(**start, **options))
        sslyze(checks, secured.callers)
        metrics(checks, arguments.promtool, plain, secured, key)
        for service in (plain, secured):
            checks.check("SIGTERM ends the service with status 0", service.process.stop() == 0, service.process.tail())
            checks.check("no handler panicked", "panicked" not in service.process.output(), service.process.tail())


class Answer:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        self.version, self.status = (line.split(" ")[0], int(line.split(" ")[1])) if " " in line else ("", 0)
        self.headers = [(name.lower(), value.strip()) for name, _, value in (text.partition(":") for text in lines)]

    def header(self, name):
        return next((value for known, value in self.headers if known == name), None)

    def steady(self):
        return sorted((name, value) for name, value in self.headers if name not in VOLATILE)

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def __str__(self):
        return f"{self.version} {self.status} {self.headers} {self.body[:200]!r}"


class Door:
    """A plain door, and the proof that it wants."""

    def __init__(self, port, proof):
        self.port, self.proof = port, proof

    def bytes(self, data, within=12.0):
        """Everything that comes back until the service closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=within) as stream:
            # It may answer and close before it has read everything.
            with contextlib.suppress(ConnectionError):
                stream.sendall(data.encode("latin-1") if isinstance(data, str) else data)
            came = b""
            with contextlib.suppress(ConnectionError):
                while chunk := stream.recv(65536):
                    came += chunk
            return came

    def send(self, line, more="", body=""):
        return Answer(self.bytes(f"{line}\r\nHost: aquila.example\r\nConnection: close\r\n{self.proof}{more}\r\n{body}"))

    def get(self, path, more=""):
        return self.send(f"GET {path} HTTP/1.1", more)

    def post(self, more="", body=GRANT, path="/token"):
        return self.send(f"POST {path} HTTP/1.1", more, body)


def paths(door):
    """The described paths of a door with their methods; the names filled in."""
    described = json.loads((ROOT / "openapi/aquila.openapi.json").read_text())["paths"]
    for path, item in described.items():
        urls = [server["url"] for server in item.get("servers", [{"url": "/"}])]
        if ("/" in urls) if door == "callers" else any(url != "/" for url in urls):
            concrete = path.replace("{integration}", INTEGRATION).replace("{path}", ISSUER_PATH)
            yield concrete, {method.upper() for method in item if method in ("get", "head", "post")}


def methods(checks, callers, ops):
    for name, door in (("callers", callers), ("ops", ops)):
        for path, listed in paths(name):
            for method in METHODS:
                answer = door.send(f"{method} {path} HTTP/1.1", FORM + f"Content-Length: {len(EITHER)}\r\n", EITHER)
                if method in listed:
                    holds = answer.status == 200
                else:
                    allowed = set((answer.header("allow") or "").replace(" ", "").split(","))
                    holds = answer.status == 405 and allowed == listed
                checks.check(f"{name} {method} {path}: {'taken' if method in listed else '405 with Allow'}", holds, answer)


def heads(checks, callers, ops):
    for name, door in (("callers", callers), ("ops", ops)):
        for path, listed in paths(name):
            # The size of these changes by itself, with each request and each second.
            if "HEAD" in listed and path not in ("/metrics", "/status", "/status.json"):
                get, head = door.get(path), door.send(f"HEAD {path} HTTP/1.1")
                # Four digits of life stay four for longer than this takes, so the length is the same too.
                same = (head.status, head.steady()) == (get.status, get.steady())
                checks.check(f"HEAD {path} is its GET without the body", same and head.body == b"", f"{get}\n{head}")


def targets(checks, callers):
    for target, status in (
        ("//token", 404),
        ("/token/", 404),
        ("/TOKEN", 404),
        ("/./token", 404),
        ("/x/../token", 404),
        ("/%74oken", 404),
        ("/token%2F" + INTEGRATION, 404),
        ("/token;x=1", 404),
        ("/token%00", 404),
        ("/\\token", 404),
        (f"/token/{INTEGRATION}/", 404),
        ("/" + "a" * 20_000, 404),
        ("/" + "a" * 100_000, 431),
        ("/token/%2e%2e", 403),
        ("/token/..", 403),
        ("/token/%ff", 403),
        (f"/token/{INTEGRATION}%20", 403),
        (f"/token?integration={INTEGRATION}%00", 403),
        ("/token?integration=", 400),
        ("/token?min_ttl=1e3", 400),
        ("/token?min_ttl=1&min_ttl=1", 400),
        ("/token/\xe9", 400),
        # hyper reads it as a host.
        ("token", 404),
        ("/token?", 200),
        ("/token?unknown=1&unknown=2", 200),
        (f"/token/%65{INTEGRATION[1:]}", 200),
        # RFC 9112 section 3.2.2: a server takes the absolute form.
        ("http://aquila.example/token", 200),
    ):
        answer = callers.get(target)
        checks.check(f"GET {target[:40]}: {status}", answer.status == status, answer)
    options = callers.send("OPTIONS * HTTP/1.1")
    checks.check("OPTIONS *: 404, there is nothing to say of the whole server", options.status == 404, options)


def headers(checks, callers):
    whole = callers.get("/openapi.json")
    for name, value in (
        ("Range", "bytes=0-3"),
        ("If-None-Match", '"x"'),
        ("If-Modified-Since", "Fri, 21 Nov 2036 00:00:00 GMT"),
        ("Accept", "text/html"),
        ("Accept-Encoding", "gzip, br"),
        ("Connection", "Upgrade"),
        # An expectation that nobody knows may be ignored (RFC 9110 section 10.1.1).
        ("Expect", "the-unexpected"),
    ):
        # There are no validators and no ranges here, so each of these changes nothing.
        answer = callers.get("/openapi.json", f"{name}: {value}\r\n")
        same = answer.status == 200 and answer.body == whole.body and answer.steady() == whole.steady()
        checks.check(f"{name} changes nothing", same, answer)
        token = callers.get("/token", f"{name}: {value}\r\n")
        checks.check(f"{name} at a token changes nothing", token.status == 200 and "access_token" in token.json(), token)
    for what, more, status in (
        ("a second Authorization", callers.proof, 400),
        ("a second Host", "Host: aquila.example\r\n", 400),
        ("a folded header", "X-A: b\r\n c\r\n", 400),
        ("a space before the colon", "X-A : b\r\n", 400),
        ("a NUL in a header", "X-A: b\0\r\n", 400),
        ("more than 64 headers", "".join(f"X-{number}: y\r\n" for number in range(64)), 431),
        ("headers of 80 KiB", f"X-A: {'y' * 80 * 1024}\r\n", 431),
    ):
        answer = callers.get("/token", more)
        checks.check(f"{what}: {status}", answer.status == status, answer)


def versions(checks, callers):
    for version, more, status in (
        ("HTTP/1.0", "", 200),
        ("HTTP/1.1", "", 400),
        ("HTTP/1.1", "Host: aquila.example\r\n", 200),
        ("HTTP/1.1", "Host: two words\r\n", 400),
        ("HTTP/1.2", "Host: aquila.example\r\n", 400),
        ("HTTP/2.0", "Host: aquila.example\r\n", 400),
        ("HTTQ/1.1", "Host: aquila.example\r\n", 400),
    ):
        answer = Answer(callers.bytes(f"GET /token {version}\r\nConnection: close\r\n{callers.proof}{more}\r\n"))
        checks.check(f"{version} with {more.strip() or 'no Host'}: {status}", answer.status == status, answer)
    old = Answer(callers.bytes(f"GET /token HTTP/1.0\r\n{callers.proof}\r\n"))
    checks.check("HTTP/1.0 ends with the connection, its length told", len(old.body) == int(old.header("content-length")), old)
    checks.check("HTTP/1.0 is not chunked", old.header("transfer-encoding") is None, old)
    older = Answer(callers.bytes("GET /token\r\n\r\n"))
    checks.check("a line without a version: 400", older.status == 400, older)
    host = "Host: aquila.example\r\n"
    both = callers.bytes(f"GET /healthz HTTP/1.1\r\n{host}\r\nGET /livez HTTP/1.1\r\n{host}Connection: close\r\n\r\n")
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", both)
    checks.check("two requests in one packet: two answers, in their order", statuses == [b"200", b"404"], both)


def bodies(checks, callers):
    length = f"Content-Length: {len(GRANT)}\r\n"
    chunked = "Transfer-Encoding: chunked\r\n"
    chunks = f"{len(GRANT):x}\r\n{GRANT}\r\n0\r\n"
    for what, more, body, status in (
        ("a body with its length", FORM + length, GRANT, 200),
        ("a body in chunks", FORM + chunked, chunks + "\r\n", 200),
        ("chunks with a trailer", FORM + chunked, chunks + "X-Trailer: y\r\n\r\n", 200),
        ("a charset", FORM.replace("\r\n", "; charset=UTF-8\r\n") + length, GRANT, 200),
        ("a chunk without a length", FORM + chunked, "what\r\n", 400),
        ("two lengths", FORM + length + "Content-Length: 3\r\n", GRANT, 400),
        ("a length that is none", FORM + "Content-Length: +29\r\n", GRANT, 400),
        ("an encoding that nobody knows", FORM + "Transfer-Encoding: gzip\r\n", GRANT, 400),
        ("two content types", FORM + FORM + length, GRANT, 400),
        ("no content type", length, GRANT, 400),
        ("JSON", "Content-Type: application/json\r\nContent-Length: 2\r\n", "{}", 400),
        ("no body", FORM + "Content-Length: 0\r\n", "", 400),
        ("17 KiB", FORM + "Content-Length: 17408\r\n", "x=" + "y" * 17406, 413),
        ("17 KiB in a chunk", FORM + chunked, "4400\r\nx=" + "y" * 17406 + "\r\n0\r\n\r\n", 413),
    ):
        answer = callers.post(more, body)
        checks.check(f"POST, {what}: {status}", answer.status == status, answer)
    # RFC 9112 section 6.1: read by the chunks alone, and the connection ends: what follows may be somebody else's.
    smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    both = f"POST /token HTTP/1.1\r\nHost: x\r\n{callers.proof}{FORM}Content-Length: 5\r\n{chunked}\r\n{chunks}\r\n{smuggled}"
    came = callers.bytes(both)
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", came)
    checks.check("a length and chunks: chunks count, and the connection ends", statuses in ([b"200"], [b"400"]), statuses)
    with socket.create_connection(("127.0.0.1", callers.port), timeout=4) as stream:
        head = f"POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{callers.proof}{FORM}{length}Expect: 100-continue\r\n\r\n"
        stream.sendall(head.encode())
        first = stream.recv(65536)
        checks.check("Expect: 100-continue is answered before the body", first.startswith(b"HTTP/1.1 100 "), first)
        stream.sendall(GRANT.encode())
        second = stream.recv(65536)
        checks.check("and after it with a token", second.startswith(b"HTTP/1.1 200 "), second)
    slow = callers.post(FORM + "Content-Length: 10\r\n", "x=")
    checks.check("a body that does not come: 408 within the time", slow.status == 408, slow)


# What redbot may say of our answers; anything else is a finding.
GOOD_NOTES = (
    "The server's clock is correct.",
    "The Content-Length header is correct.",
    "This response can't be stored by caches.",
    "This response cannot be stored by caches.",
    "The resource could not be found.",
    "The resource does not allow the request method.",
    # RFC 6749 section 5.1 wants it beside Cache-Control, whatever HTTP thinks of it in an answer.
    "\"Pragma\" isn't valid in a response.",
)


def redbot(checks, callers, ops):
    program = pathlib.Path(sys.executable).with_name("redbot")
    urls = [(callers, path) for path in ("/openapi.json", "/token", "/healthz", "/nothing", "/services/oauth2/token")]
    urls += [(callers, "/.well-known/oauth-authorization-server")]
    urls += [(ops, path) for path in ("/metrics", "/status", "/status.json", "/readyz", "/livez", "/nothing")]
    for door, path in urls:
        command = [program, "-o", "text", f"http://127.0.0.1:{door.port}{path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        notes = re.findall(r"^ +\* (.+)$", done.stdout, re.MULTILINE)
        bad = [note for note in notes if note not in GOOD_NOTES]
        checks.check(f"redbot has nothing against {path}", notes and not bad, bad or done.stdout + done.stderr)


def sslyze(checks, port):
    program = pathlib.Path(sys.executable).with_name("sslyze")
    command = [program, "--mozilla_config=intermediate", f"localhost:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    _, _, judgement = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")
    findings = re.findall(r"^ +\* (\w+): (.+)$", judgement, re.MULTILINE)
    checks.check("sslyze came to a judgement", f"localhost:{port}" in judgement, done.stdout + done.stderr)
    # The authority is a throw-away of this test, which nobody's store has.
    bad = [finding for finding in findings if finding[0] != "certificate_path_validation"]
    checks.check("sslyze finds Mozilla's intermediate configuration", not bad, bad)
    checks.check("sslyze finds no known weakness", "VULNERABLE" not in done.stdout, done.stdout)
    for version in ("SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"):
        told = version in ("TLS 1.2", "TLS 1.3")
        section = done.stdout.partition(f"* {version} Cipher Suites:")[2].partition("\n * ")[0]
        accepted, rejected = "server accepted" in section, "rejected all" in section
        checks.check(f"{version} is {'spoken' if told else 'refused'}", accepted == told and rejected != told, section)


# Those of the contract that this version has, and what it adds. A series appears on first use, so the tour made them all.
FAMILIES = (
    "http_requests_total", "http_request_duration_seconds", "token_requests_total", "caller_requests_total",
    "cache_lookups_total", "mints_total", "mint_duration_seconds", "confirms_total", "token_remaining_seconds",
    "login_budget_remaining", "upstream_circuit_open",
    "auth_failures_total", "audit_records_lost_total", "build_info",
)  # fmt: skip


def metrics(checks, promtool, plain, secured, key):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for path in (f"/token/{INTEGRATION}", f"/token/{INTEGRATION}", f"/token/{REFUSED}", "/token/nobody", "/token"):
        for proof in (key, "wrong"):
            url = f"https://127.0.0.1:{secured.callers}{path}"
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {proof}"})
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(request, context=context, timeout=12).close()
    for name, service in (("after the checks above", plain), ("after a tour", secured)):
        text = Door(service.ops, f"Authorization: Bearer {OPS_TOKEN}\r\n").get("/metrics").body
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
        said = (done.stdout + done.stderr).decode()
        checks.check(f"promtool has nothing against the metrics {name}", done.returncode == 0 and not said.strip(), said)
    known = set(re.findall(r"^# TYPE (\S+) ", text.decode(), re.MULTILINE))
    missing = [family for family in FAMILIES if f"aquila_{family}" not in known]
    checks.check("the tour made every series appear", not missing, missing)
    own = {family for family in known if family.startswith("aquila_")}
    unknown = own - {f"aquila_{family}" for family in FAMILIES}
    checks.check("and none that is not in the list above", not unknown, unknown)
    checks.check("the process's own are there", "process_start_time_seconds" in known, known)


if __name__ == "__main__":
    main()
