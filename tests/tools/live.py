"""The newcomer's round, with the real binary: setup, check --live, serve, and clients that read an Event Log File.

    aquila check --live ──http──> aquila simulate
    simple-salesforce ──https──> Front ──http──> aquila simulate, with a token of aquila serve

The inputs of docs/elastic.md ask as that page configures them. Then the same walk on an org where a permission is
missing, and on a terminal.
"""

import argparse
import contextlib
import csv
import fcntl
import io
import json
import os
import pathlib
import pty
import re
import shlex
import struct
import subprocess
import tempfile
import termios
import time

import requests
from joserfc import jwt
from joserfc.jwk import RSAKey
from simple_salesforce import Salesforce

import canary
from checks import Checks
from front import Front
from service import free_port, loopback_tls, new_key, openssl, private_key, running

CALLER = "log-shipper"
ELASTIC = "elastic"
# As docs/elastic.md names it.
INTEGRATION = "elf-prod"
USERNAME = "elastic-log@acme.example"
CONTROL = "throw-away-control-secret"
WITHIN = 90.0


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    binary = str(pathlib.Path(arguments.parse_args().binary).resolve())
    with Checks("live") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        simulator = Simulator(free_port())
        page = Page(pathlib.Path(__file__).parents[2] / "docs/elastic.md")
        config, command = material(checks, binary, folder, simulator.port)
        keys, ops, door = complete(binary, config, page)
        key = keys[CALLER]

        before = check(binary, config)
        checks.check("before the simulator runs the walk fails with status 1", before.returncode == 1, before.stdout)
        rows = by_step(before)
        checks.check("and says that there is no connection", rows["connection"]["verdict"] == "fail", rows["connection"])

        simulator.start(stack, binary, folder, command)
        seen = green(checks, binary, config, simulator)
        serve = stack.enter_context(running(binary, folder, "serve", "serve", "--config", config))
        serve.wait_until_ready(ops)
        token = fetch(checks, door, key)
        tls = loopback_tls(folder)
        os.environ["REQUESTS_CA_BUNDLE"] = str(tls["ca"])
        front = stack.enter_context(Front(tls, to_port=simulator.port, plain=True))
        read_the_same_file(checks, token, front.port, seen)
        salesforce_input(checks, page, door, front.port, config.parent / "elastic.key", token)
        httpjson_input(checks, page, door, front.port, keys[ELASTIC])
        beside_the_service(checks, binary, config, door, key, token)
        a_permission_is_missing(checks, binary, config, simulator)
        on_a_terminal(checks, binary, config)
        checks.check("SIGTERM ends the service with status 0", serve.stop() == 0, serve.tail())


def material(checks, binary, folder, port):
    """What `aquila setup` makes: the configuration, and the command by which it has the simulator started."""
    org = folder / "org"
    done = subprocess.run(
        [binary, "setup", "--dir", org, "--my-domain", f"http://127.0.0.1:{port}", "--username", USERNAME,
         "--email", "admin@acme.example", "--integration", INTEGRATION],
        capture_output=True, text=True, timeout=WITHIN, check=False,
    )  # fmt: skip
    checks.check("setup makes key, certificate and configuration", done.returncode == 0, done.stdout + done.stderr)
    canary.note_private_key((org / f"{INTEGRATION}.pem").read_text())
    canary.look_into("the output of setup", done.stdout + done.stderr)
    steps = (org / "STEPS.md").read_text().replace("\\\n", " ")
    command = next(line for line in steps.splitlines() if line.strip().startswith("aquila simulate "))
    return org / "aquila.toml", shlex.split(command)[1:]


def complete(binary, config, page):
    """Two callers, one as docs/elastic.md writes it, and ports of our own. Their keys by name, and both doors' ports."""
    keys = {}
    keys[CALLER], digest = new_key(binary, CALLER)
    keys[ELASTIC], elastic_digest = new_key(binary, ELASTIC)
    key = private_key(config.parent / "elastic.key")
    (config.parent / "elastic.pub").write_bytes(openssl("pkey", "-in", key, "-pubout"))
    blocks = [block for block in page.blocks("toml") if f"[callers.{ELASTIC}]" in block]
    public_url = re.search(r'public_url = "(.+?)"', blocks[0]).group(1)
    elastic = blocks[0][blocks[0].index(f"[callers.{ELASTIC}]") :]
    ops, door = free_port(), free_port()
    with open(config, "a") as file:
        file.write(
            f"""
[callers.{CALLER}]
integrations = ["elf-*"]
api_key_sha256 = ["{digest}"]

{elastic}
api_key_sha256 = ["{elastic_digest}"]

[server]
listen = "127.0.0.1:{door}"
public_url = "{public_url}"

[ops]
listen = "127.0.0.1:{ops}"

[audit]
path = "audit.jsonl"
"""
        )
    return keys, ops, door


class Simulator:
    def __init__(self, port):
        self.port = port

    def start(self, stack, binary, folder, command):
        """By a command that names files beside the configuration."""
        secret = folder / "control.secret"
        secret.write_text(CONTROL)
        command = [str(folder / "org" / word) if word.endswith(".crt") else word for word in command]
        process = stack.enter_context(
            running(binary, folder, "simulate", *command, "--control-secret-path", secret)
        )
        process.wait_for_port(self.port)

    def control(self, method, path, body=None):
        answer = requests.request(
            method, f"http://127.0.0.1:{self.port}/__simulator/{path}", json=body, timeout=10,
            headers={"Authorization": f"Bearer {CONTROL}"},
        )  # fmt: skip
        answer.raise_for_status()
        return answer.json()


def check(binary, config, *more):
    command = [binary, "check", "--config", str(config), "--live", "--output", "json", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN, check=False)
    canary.look_into("the output of check --live", done.stdout + done.stderr)
    return done


def by_step(done):
    return {row["step"]: row for row in json.loads(done.stdout)["live"][0]["rows"]}


def green(checks, binary, config, simulator):
    done = check(binary, config, "--read-one-log", "--try-audiences")
    checks.check("check --live ends with status 0", done.returncode == 0, done.stdout + done.stderr)
    told = json.loads(done.stdout)
    walk = told["live"][0]
    checks.check("it says that all is well", told["ok"] and walk["ok"] and walk["fail"] == 0, walk)
    posts = simulator.control("GET", "counts")["token_posts"]
    checks.check("its one login is the only one", walk["logins"] == posts == 1, (walk["logins"], posts))
    rows = by_step(done)
    unknown = sorted(step for step, row in rows.items() if row["verdict"] == "unknown")
    checks.check("only what nothing here can show is unknown", set(unknown) <= {"certificate", "lifetime", "ip_lock"}, unknown)
    checks.check("it names the user", rows["user_and_org"]["facts"]["username"] == USERNAME, rows["user_and_org"])
    return rows["log_file"]


def fetch(checks, door, key):
    url = f"http://127.0.0.1:{door}/token"
    answer = requests.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=15)
    checks.check("the broker hands out a token", answer.status_code == 200, answer.status_code)
    return answer.json()["access_token"]


def read_the_same_file(checks, token, port, seen):
    """What the walk said of a log file, against the file as another client reads it."""
    salesforce = Salesforce(instance_url=f"https://localhost:{port}", session_id=token)
    file = re.search(r"EventLogFile/(\w{18})/LogFile", seen["asked"]).group(1)
    url = f"https://{salesforce.sf_instance}/services/data/v60.0/sobjects/EventLogFile/{file}/LogFile"
    answer = salesforce.session.get(url, headers=salesforce.headers, timeout=10)
    rows = list(csv.reader(io.StringIO(answer.text)))
    facts = seen["facts"]
    checks.check("simple-salesforce reads the file that the walk read", answer.status_code == 200, answer.status_code)
    checks.check("its columns are those that the walk named", rows[0] == facts["columns"], (rows[0], facts["columns"]))
    checks.check("it has as many rows", len(rows) - 1 == facts["rows"] and facts["whole"], (len(rows), facts["rows"]))
    cells = {cell for row in rows[1:] for cell in row if len(cell) > 12}
    checks.check("and none of its cells is in what the walk said", not any(cell in seen["seen"] for cell in cells))


class Page:
    """A page of the documentation, by its blocks."""

    def __init__(self, path):
        self.text = path.read_text()

    def blocks(self, language):
        return re.findall(rf"```{language}\n(.*?)```", self.text, re.S)

    def input(self, kind):
        return Input(next(block for block in self.blocks("yaml") if f"type: {kind}\n" in block))


class Input:
    """The settings of one input, as far as they are a name and a value on a line."""

    def __init__(self, block):
        pairs = re.findall(r'^ *([\w.]+): +(?:"([^"]*)"|([^"\s#]+))', block, re.M)
        self.settings = [(name, quoted or plain) for name, quoted, plain in pairs]

    def all(self, name):
        return [value for known, value in self.settings if known == name]

    def one(self, name):
        (value,) = self.all(name)
        return value


def salesforce_input(checks, page, door, front, key, token):
    """The request as the library inside of the input makes it: a form with an assertion of four claims, and no jti."""
    settings = page.input("salesforce")
    org, broker = settings.all("url")
    checks.check("the page sends the token to an org and the request to the broker", "my.salesforce.com" in org, org)
    claims = {
        "aud": broker, "exp": int(time.time()) + 180,
        "iss": settings.one("client.id"), "sub": settings.one("client.username"),
    }  # fmt: skip
    assertion = jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, RSAKey.import_key(key.read_bytes()))
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    answer = requests.post(f"http://127.0.0.1:{door}/services/oauth2/token", data=form, timeout=15)
    told = answer.json()
    checks.check("the broker takes what the salesforce input signs", answer.status_code == 200, answer.text)
    checks.check("and answers with the token in memory", told["access_token"] == token, sorted(told))

    salesforce = Salesforce(instance_url=f"https://localhost:{front}", session_id=told["access_token"])
    found = salesforce.query(settings.one("default"))
    checks.check("its first query finds log files", found["totalSize"] > 0, found)
    newest = found["records"][-1]
    url = f"https://{salesforce.sf_instance}{newest['LogFile']}"
    answer = salesforce.session.get(url, headers=salesforce.headers, timeout=10)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    checks.check("and they have rows of logins", {row["EVENT_TYPE"] for row in rows} == {"Login"}, answer.text[:200])
    again = settings.one("value").replace("[[ .cursor.event_log_file.last_event_time ]]", newest["CreatedDate"])
    checks.check("the next query goes on behind them", salesforce.query(again)["totalSize"] < found["totalSize"], again)


def httpjson_input(checks, page, door, front, key):
    """Client credentials by HTTP Basic, as Go's library sends them first."""
    settings = page.input("httpjson")
    path = settings.one("token_url").removeprefix("https://aquila.example")
    form = {"grant_type": "client_credentials"}
    answer = requests.post(
        f"http://127.0.0.1:{door}{path}", data=form, auth=(settings.one("client.id"), key), timeout=15
    )
    checks.check("the broker takes the key of the httpjson input", answer.status_code == 200, answer.text)
    token = answer.json()["access_token"]
    url = settings.one("request.url").replace("https://acme.my.salesforce.com", f"https://localhost:{front}")
    query = {"q": settings.one("default")}
    listed = requests.get(url, params=query, headers={"Authorization": f"Bearer {token}"}, timeout=15)
    checks.check("its query lists log files", listed.json()["totalSize"] > 0, listed.text[:300])


def beside_the_service(checks, binary, config, door, key, token):
    done = check(binary, config)
    checks.check("the walk passes beside the running service", done.returncode == 0, done.stdout)
    checks.check("which still serves the same token", fetch(checks, door, key) == token)
    written = done.stdout + done.stderr
    checks.check("neither the token nor the caller's key is in it", token not in written and key not in written)


def a_permission_is_missing(checks, binary, config, simulator):
    simulator.control("POST", "users", {"username": USERNAME, "view_event_log_files": False})
    done = check(binary, config)
    rows = by_step(done)
    failed = sorted(step for step, row in rows.items() if row["verdict"] == "fail")
    checks.check("without View Event Log Files it ends with status 1", done.returncode == 1, done.returncode)
    checks.check("at the permission and at the files", failed == ["event_log_files", "view_event_log_files"], failed)
    remedy = rows["view_event_log_files"]["remedy"]
    checks.check("with the place in Setup", "Setup > Permission Sets" in remedy, remedy)
    simulator.control("POST", "users", {"username": USERNAME})
    checks.check("and passes when it is granted", check(binary, config).returncode == 0)


def on_a_terminal(checks, binary, config):
    """A pseudo-terminal of 80 columns for both outputs."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    command = [binary, "check", "--config", str(config), "--live"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    # The last read fails when the program has closed its side.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    checks.check("on a terminal the walk passes as well", process.wait(WITHIN) == 0)
    text = shown.decode()
    canary.look_into("what check --live shows on a terminal", text)
    checks.check("it shows how far it is", f"0 of 1 walked; {INTEGRATION}: mint" in text, text[:2000])
    lines = [re.sub(r"\x1b\[[0-9;]*[mK]", "", line.split("\r")[-1]) for line in text.replace("\r\n", "\n").split("\n")]
    checks.check("no line is longer than the terminal is wide", max(map(len, lines)) <= 80, max(lines, key=len))
    checks.check("verdicts have their colours", "\x1b[1;32mpass\x1b[0m" in text, text[-2000:])


if __name__ == "__main__":
    main()
