"""The page for the person on call, in a real browser, from the real service in every state.

    Chromium ──http──> aquila serve ──http──> aquila simulate, which fails as ordered

`status_page.mjs` drives the browser and judges; this makes the scene. With --screenshots it also leaves pictures to look at.
"""

import argparse
import base64
import contextlib
import json
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import canary
from checks import Checks
from service import free_port, new_key, private_key, running, self_signed

CLIENT_ID = "3MVG9.page"
SECRET = "throw-away-control-secret"
OPS_TOKEN = "throw-away-token-of-the-ops-door-7f3a"
MANY = 500
# Salesforce, or a proxy before it, may say anything. Each of these would do something if it were not a text.
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">' \u202egnp.exe"
REFUSED = {"kind": "raw", "status": 400, "content_type": "application/json"}
# Half of a session is promised; a renewal is tried once a quarter of that is over.
AGES = "4m"
WITHIN = 60.0


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--node", required=True)
    arguments.add_argument("--packages", required=True, help="the folder that has playwright-core and axe-core")
    arguments.add_argument("--chromium", required=True)
    arguments.add_argument("--screenshots", help="a folder for pictures")
    arguments.add_argument("--linger", type=float, default=0, help="seconds of life before the pictures")
    arguments = arguments.parse_args()
    binary = str(pathlib.Path(arguments.binary).resolve())
    with Checks("page") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        scene = Scene(stack, binary, pathlib.Path(folder), "2m" if arguments.linger else "20m")
        headers(checks, scene)
        door_with_a_token(checks, scene)
        alone(checks, scene)
        many(checks, scene)
        scene.age(checks, arguments.linger)
        in_the_browser(checks, scene, arguments)
        checks.check("SIGTERM ends the service with status 0", scene.service.stop() == 0, scene.service.tail())


class Scene:
    """A simulator with users who fail, and a service with an integration in each state."""

    def __init__(self, stack, binary, folder, mints):
        self.mints, self.stack, self.binary, self.folder = mints, stack, binary, folder
        self.simulator, self.callers, self.ops = free_port(), free_port(), free_port()
        self.keys = {name: new_key(binary, name) for name in ("log-shipper", "nightly-export", "newcomer")}
        key = private_key(folder / "app.key")
        self_signed(folder / "app.pem", key, days=400)
        self_signed(folder / "soon.pem", key, days=20)
        (folder / "control.secret").write_text(SECRET)
        users = ("elf-prod", "elf-emea", "crm-sync", "billing", "orders-eu")
        options = ["--listen", f"127.0.0.1:{self.simulator}", "--certificate", folder / "app.pem", "--client-id", CLIENT_ID]
        options += ["--control-secret-path", folder / "control.secret"]
        options += [word for user in users for word in ("--username", f"{user}@acme.example")]
        stack.enter_context(running(binary, folder, "simulate", "simulate", *options)).wait_for_port(self.simulator)
        row = {"door": "token", "username": "billing@acme.example", "answer": {"kind": "row", "row": "user_has_not_approved"}}
        self.order(row)
        self.order({"door": "token", "username": "orders-eu@acme.example", "answer": REFUSED | {"body": self.hostile()}})
        self.service = self.serve("serve", self.config(self.integrations()), self.ops)
        for name in ("elf-prod", "elf-emea", "crm-sync", "billing", "orders-eu"):
            self.ask(name)

    @staticmethod
    def hostile():
        return json.dumps({"error": "invalid_grant", "error_description": HOSTILE})

    def integration(self, user, certificate="app.pem", timeout="2h", **more):
        return {
            "client_key_path": f"{self.folder}/app.key", "certificate_path": f"{self.folder}/{certificate}",
            "client_id": CLIENT_ID, "username": f"{user}@acme.example", "audience_url": "https://login.salesforce.com",
            "token_url": f"http://127.0.0.1:{self.simulator}", "session_timeout": timeout, **more,
        }  # fmt: skip

    def integrations(self):
        return {
            "elf-prod": self.integration("elf-prod"),
            "elf-emea": self.integration("elf-emea", certificate="soon.pem", timeout=self.mints, confirm_session=False),
            "crm-sync": self.integration("crm-sync", timeout=AGES),
            "billing": self.integration("billing"),
            "orders-eu": self.integration("orders-eu"),
            "partner-portal": self.integration("elf-prod"),
        }

    def config(self, integrations, **ops):
        callers = {name: {"integrations": ["*"], "api_key_sha256": [digest]} for name, (_, digest) in self.keys.items()}
        return {
            "server": {"listen": f"127.0.0.1:{self.callers}"},
            "ops": {"listen": f"127.0.0.1:{self.ops}", **ops},
            "audit": {"path": f"{self.folder}/audit.jsonl"},
            "integrations": integrations,
            "callers": callers,
        }

    def serve(self, name, config, ops):
        process = self.stack.enter_context(running(self.binary, self.folder, name, "serve", "--config", self.write(name, config)))
        process.wait_until_ready(ops)
        return process

    def beside(self, name, integrations, **ops):
        """Another service: its ops door's port."""
        config, port = self.config(integrations, **ops), free_port()
        config["server"]["listen"], config["ops"]["listen"] = f"127.0.0.1:{free_port()}", f"127.0.0.1:{port}"
        config["audit"]["path"] = f"{self.folder}/{name}.jsonl"
        process = self.serve(name, config, port)
        process.ops_token = OPS_TOKEN if ops else None
        return port

    def write(self, name, config):
        """YAML that is JSON."""
        path = self.folder / f"{name}.yaml"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(config))
        fresh.rename(path)
        return path

    def ask(self, integration, caller="log-shipper"):
        url = f"http://127.0.0.1:{self.callers}/token/{integration}"
        return fetch(url, {"Authorization": f"Bearer {self.keys[caller][0]}"})[0]

    def order(self, fault):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.simulator}/__simulator/faults",
            json.dumps(fault).encode(),
            {"Authorization": f"Bearer {SECRET}"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def states(self):
        status = json.loads(fetch(f"http://127.0.0.1:{self.ops}/status.json")[2])
        return {one["name"]: one["state"] for one in status["integrations"]}

    def age(self, checks, linger):
        """Waits until a renewal was refused, and then has the configuration refused."""
        began = time.monotonic()
        while time.monotonic() - began < linger:
            for name in ("elf-prod", "elf-emea", "crm-sync", "billing"):
                self.ask(name)
            time.sleep(7)
        self.ask("crm-sync", "nightly-export")
        for door in ("token", "rest"):
            answer = {"kind": "raw", "status": 503, "body": "<h1>maintenance</h1>"}
            self.order({"door": door, "username": "crm-sync@acme.example", "answer": answer})
        wanted = {
            "elf-prod": "good", "elf-emea": "good", "crm-sync": "ageing", "billing": "failing", "orders-eu": "failing",
            "partner-portal": "idle",
        }  # fmt: skip
        began = time.monotonic()
        while self.states() != wanted and time.monotonic() - began < WITHIN:
            self.ask("crm-sync")
            self.ask("elf-emea")
            time.sleep(0.5)
        checks.check(f"each state is there ({time.monotonic() - began:.0f} s)", self.states() == wanted, self.states())
        broken = self.config(self.integrations())
        broken["callers"]["log-shipper"]["integrations"] = ["no-such-integration"]
        broken["<i>sever</i>"] = {}
        self.write("serve", broken)


def fetch(url, headers=None, method="GET"):
    """Status, headers, body."""
    request = urllib.request.Request(url, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def basic(password):
    return {"Authorization": "Basic " + base64.b64encode(f"on-call:{password}".encode()).decode()}


def headers(checks, scene):
    url = f"http://127.0.0.1:{scene.ops}/status"
    status, sent, page = fetch(url)
    checks.check("the page is there", status == 200 and page.startswith("<!doctype html>"), page[:200])
    policy = sent["Content-Security-Policy"]
    inside = re.search(r"<script>.*</script>", page, re.DOTALL), re.search(r"<style>.*</style>", page, re.DOTALL)
    checks.check("with one script and one style in it", all(inside) and page.count("<script") == page.count("<style") == 1)
    checks.check("and a policy that allows these by hash and nothing else", policy.count("'sha256-") == 2, policy)
    checks.check("that is neither weakened nor opened to other hosts", "unsafe" not in policy and "http" not in policy, policy)
    checks.check("which no cache keeps", sent["Cache-Control"] == "no-store", sent)
    status, head, body = fetch(url, method="HEAD")
    checks.check("HEAD has the same head and no body", status == 200 and body == "" and head["Content-Security-Policy"] == policy, head)


def door_with_a_token(checks, scene):
    """Browsers ask people for a name and a password, and nothing else."""
    (scene.folder / "ops.token").touch(mode=0o600)
    (scene.folder / "ops.token").write_text(OPS_TOKEN)
    canary.note("the token of the ops door", OPS_TOKEN)
    scene.guarded = scene.beside("guarded", {"elf-prod": scene.integration("elf-prod")}, bearer_token_path=f"{scene.folder}/ops.token")
    url = f"http://127.0.0.1:{scene.guarded}"
    status, sent, body = fetch(f"{url}/status")
    challenges = [challenge.split()[0] for challenge in sent.get_all("WWW-Authenticate")]
    checks.check("without the token the page asks for it", status == 401 and challenges == ["Bearer", "Basic"], (challenges, body))
    for name, offered, wanted in (
        ("as Bearer", {"Authorization": f"Bearer {OPS_TOKEN}"}, 200),
        ("as the password of Basic", basic(OPS_TOKEN), 200),
        ("wrong", basic(OPS_TOKEN + "x"), 401),
        ("empty", basic(""), 401),
        ("as the user of Basic", {"Authorization": "Basic " + base64.b64encode(f"{OPS_TOKEN}:".encode()).decode()}, 401),
        ("not base64", {"Authorization": "Basic !"}, 401),
    ):
        status, _, body = fetch(f"{url}/status", offered)
        checks.check(f"the token {name}: {wanted}", status == wanted, body[:100])
    status, _, _ = fetch(f"{url}/status.json", basic(OPS_TOKEN))
    checks.check("programs still send it as Bearer", status == 401, status)


def alone(checks, scene):
    one = fetch(f"http://127.0.0.1:{scene.guarded}/status", basic(OPS_TOKEN))[2]
    size = len(one.encode())
    print(f"      1 integration: {size} bytes", flush=True)
    checks.check("the page of one integration has less than 24 KiB", size < 24 * 1024, size)


def many(checks, scene):
    integrations = {f"org-{number:03}": scene.integration("elf-prod") for number in range(MANY)}
    scene.many = scene.beside("many", integrations)
    began = time.monotonic()
    _, _, page = fetch(f"http://127.0.0.1:{scene.many}/status")
    lasted = time.monotonic() - began
    size = len(page.encode())
    print(f"      {MANY} integrations: {size} bytes in {lasted * 1000:.0f} ms", flush=True)
    checks.check(f"{MANY} integrations are on one page", page.count("<tbody") == MANY + 1, page.count("<tbody"))
    checks.check("which has less than 2 KiB for each", size < 2048 * MANY, size)


def in_the_browser(checks, scene, arguments):
    orders = {
        "packages": str(pathlib.Path(arguments.packages).resolve()),
        "chromium": arguments.chromium,
        "page": f"http://127.0.0.1:{scene.ops}/status",
        "many": f"http://127.0.0.1:{scene.many}/status",
        "guarded": f"http://127.0.0.1:{scene.guarded}/status",
        "token": OPS_TOKEN,
        "ask": f"http://127.0.0.1:{scene.callers}/token/partner-portal",
        "key": scene.keys["nightly-export"][0],
        "screenshots": arguments.screenshots,
    }
    command = [str(pathlib.Path(arguments.node).resolve()), str(pathlib.Path(__file__).with_name("status_page.mjs"))]
    done = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    done.stdin.write(json.dumps(orders))
    done.stdin.close()
    ended = False
    for line in done.stdout:
        told = json.loads(line)
        ended = told.get("end", False)
        if not ended:
            checks.check(told["what"], told["holds"], told.get("seen", ""))
    checks.check("the browser came to the end of its orders", ended and done.wait() == 0)


if __name__ == "__main__":
    main()
