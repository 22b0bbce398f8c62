"""The newcomer's round, with the real binary: material, check --live, serve, and a client that reads an Event Log File.

    aquila check --live ──http──> aquila simulate
    simple-salesforce ──https──> TLS front of this script ──http──> aquila simulate, with a token of aquila serve

Then the same walk on an org where a permission is missing, and on a terminal.
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
import struct
import subprocess
import tempfile
import termios

import requests
from simple_salesforce import Salesforce

from checks import Checks
from interop import TlsFront
from service import free_port, loopback_tls, new_key, private_key, running, self_signed

CALLER = "log-shipper"
INTEGRATION = "elf-try"
USERNAME = "elastic-log@acme.example"
CONTROL = "throw-away-control-secret"
WITHIN = 90.0


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    binary = str(pathlib.Path(arguments.parse_args().binary).resolve())
    with Checks("live") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        for proxy in ("http_proxy", "https_proxy", "all_proxy"):
            os.environ.pop(proxy, None)
            os.environ.pop(proxy.upper(), None)
        simulator = Simulator(free_port())
        config, certificate = material(binary, folder, simulator.port)
        key, ops, door = complete(binary, config)

        before = check(binary, config)
        checks.check("before the simulator runs the walk fails with status 1", before.returncode == 1, before.stdout)
        rows = by_step(before)
        checks.check("and says that there is no connection", rows["connection"]["verdict"] == "fail", rows["connection"])

        simulator.start(stack, binary, folder, certificate)
        seen = green(checks, binary, config, simulator)
        serve = stack.enter_context(running(binary, folder, "serve", "serve", "--config", config))
        serve.wait_until_ready(ops)
        token = fetch(checks, door, key)
        tls = loopback_tls(folder)
        os.environ["REQUESTS_CA_BUNDLE"] = str(tls["ca"])
        front = stack.enter_context(TlsFront(tls, simulator.port))
        read_the_same_file(checks, token, front.port, seen)
        beside_the_service(checks, binary, config, door, key, token)
        a_permission_is_missing(checks, binary, config, simulator)
        on_a_terminal(checks, binary, config)
        checks.check("SIGTERM ends the service with status 0", serve.stop() == 0, serve.tail())


def material(binary, folder, port):
    """Key, certificate and the integration's part of the configuration: the paths of the last two."""
    certificate = self_signed(folder / "elf.crt", private_key(folder / "elf.pem"))
    config = folder / "aquila.toml"
    config.write_text(
        f"""
[integrations.{INTEGRATION}]
client_key_path = "elf.pem"
username = "{USERNAME}"
client_id = "simulated-client-id"
token_url = "http://127.0.0.1:{port}"
session_timeout = "2h"
"""
    )
    return config, certificate


def complete(binary, config):
    """A caller, and ports of our own. The caller's key, and the ports of both doors, ops first."""
    key, digest = new_key(binary, CALLER)
    ops, door = free_port(), free_port()
    with open(config, "a") as file:
        file.write(
            f"""
[callers.{CALLER}]
integrations = ["elf-*"]
api_key_sha256 = ["{digest}"]

[server]
listen = "127.0.0.1:{door}"

[ops]
listen = "127.0.0.1:{ops}"

[audit]
path = "audit.jsonl"
"""
        )
    return key, ops, door


class Simulator:
    def __init__(self, port):
        self.port = port

    def start(self, stack, binary, folder, certificate):
        secret = folder / "control.secret"
        secret.write_text(CONTROL)
        arguments = ["--certificate", certificate, "--username", USERNAME, "--control-secret-path", secret]
        process = stack.enter_context(
            running(binary, folder, "simulate", "simulate", "--listen", f"127.0.0.1:{self.port}", *arguments)
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
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN, check=False)


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
    checks.check("it shows how far it is", f"0 of 1 walked; {INTEGRATION}: mint" in text, text[:2000])
    lines = [re.sub(r"\x1b\[[0-9;]*[mK]", "", line.split("\r")[-1]) for line in text.replace("\r\n", "\n").split("\n")]
    checks.check("no line is longer than the terminal is wide", max(map(len, lines)) <= 80, max(lines, key=len))
    checks.check("verdicts have their colours", "\x1b[1;32mpass\x1b[0m" in text, text[-2000:])


if __name__ == "__main__":
    main()
