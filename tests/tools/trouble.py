"""The service in each kind of trouble that an alert is for, scraped by a real Prometheus that has the alerts' rules."""

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

import canary
from redis_server import Redis, seal_key_file
from service import free_port, new_key, private_key, running, self_signed

CLIENT_ID = "3MVG9.monitoring"
SECRET = "throw-away-control-secret"
USERS = ("good", "dying", "slow", "spender", "away", "refused")
SLOW = [f"slow-{number:02}" for number in range(40)]
# The integration that each alert is to be about. AquilaAbsent comes when all is over.
EXPECTED = {
    "AquilaTokenNotRenewed": "dying",
    "AquilaLoginRefused": "refused",
    "AquilaLoginBudgetLow": "spender",
    "AquilaCircuitOpen": "away",
    "AquilaReloadRefused": None,
    "AquilaRequestsFail": "refused",
    "AquilaTokensSlow": None,
    "AquilaAuditRecordsLost": None,
    "AquilaStoreAlone": None,
}
OF_CERTIFICATES = {"AquilaCertificateEnds": "ending", "AquilaCertificateEndsSoon": "ending-soon"}
# Days that are left of their certificates, and when all is well.
DAYS = {"ending": 20, "ending-soon": 3, "well": 400}
EXPECTED |= OF_CERTIFICATES


class Trouble:
    def __init__(self, stack, binary, prometheus, folder, rules):
        self.stack, self.binary, self.folder = stack, binary, folder
        self.simulator, self.closed = free_port(), free_port()
        self.callers, self.ops, self.deaf_ops, self.port = free_port(), free_port(), free_port(), free_port()
        self.key, self.digest = new_key(binary, "log-shipper")
        self.nagging = new_key(binary, "nagger")
        certificate = self_signed(folder / "app.pem", private_key(folder / "app.key"))
        for name, days in DAYS.items():
            self_signed(folder / f"{name}.pem", folder / "app.key", days)
        (folder / "control.secret").write_text(SECRET)
        users = [word for user in USERS for word in ("--username", user)]
        options = ["--listen", f"127.0.0.1:{self.simulator}", "--certificate", certificate, "--client-id", CLIENT_ID]
        options += ["--control-secret-path", folder / "control.secret"]
        self.start("simulate", "simulate", *options, *users).wait_for_port(self.simulator)
        self.redis, self.seal_key = Redis(stack, folder), seal_key_file(binary, folder / "seal.key")
        self.configure(mended=True)
        self.service = self.start("serve", "serve", "--config", folder / "aquila.yaml")
        self.service.wait_until_ready(self.ops)
        self.service.audit = folder / "audit.jsonl"
        self.prometheus(prometheus, rules)
        self.asker = Asker(self.callers, self.key)
        stack.callback(self.asker.stop)

    def start(self, name, *arguments):
        return self.stack.enter_context(running(self.binary, self.folder, name, *arguments))

    def prometheus(self, program, rules):
        (self.folder / "rules.yaml").write_text(yaml.safe_dump(rules))
        (self.folder / "prometheus.yaml").write_text(
            f"""
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: aquila
    static_configs: [{{ targets: ["127.0.0.1:{self.ops}", "127.0.0.1:{self.deaf_ops}"] }}]
"""
        )
        options = [f"--config.file={self.folder}/prometheus.yaml", f"--storage.tsdb.path={self.folder}/series"]
        server = self.stack.enter_context(
            running(program, self.folder, "prometheus", *options, f"--web.listen-address=127.0.0.1:{self.port}")
        )
        server.wait_until("readiness", lambda: urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1))

    # --- the service's configuration ---------------------------------------------

    def configure(self, mended, broken=False):
        """YAML that is JSON: what is in trouble, or the same mended. `broken` has a mistake."""
        here, nowhere = f"http://127.0.0.1:{self.simulator}", f"http://127.0.0.1:{self.closed}"

        def integration(user, url=here, timeout="2h", **more):
            return {
                "client_key_path": f"{self.folder}/app.key", "client_id": CLIENT_ID, "username": user,
                "audience_url": "https://login.salesforce.com", "token_url": url, "session_timeout": timeout, **more,
            }  # fmt: skip

        # Half of each session is promised, and renewed within the first quarter of that.
        integrations = {"good": integration("good"), "dying": integration("dying", timeout="16s")}
        integrations |= {name: integration("slow") for name in SLOW}
        if mended:
            integrations |= {name: integration(name) for name in ("away", "refused", "spender")}
        else:
            integrations["away"] = integration("away", nowhere)
            integrations["refused"] = integration("nobody@acme.example")
            # Lives for two seconds, and each renewal is a login.
            spends = {"timeout": "4s", "confirm_session": False, "login_budget_per_hour": 8}
            integrations["spender"] = integration("spender", **spends)
        certificates = {name: "well" if mended else name for name in OF_CERTIFICATES.values()}
        integrations |= {name: integration("good", certificate_path=f"{self.folder}/{of}.pem") for name, of in certificates.items()}
        config = {
            "server": {"listen": f"127.0.0.1:{self.callers}"},
            "ops": {"listen": f"127.0.0.1:{self.ops}"},
            "audit": {"path": f"{self.folder}/audit.jsonl"},
            "store": {"seal_key_path": f"{self.seal_key}", "redis": {"url": f"redis://127.0.0.1:{self.redis.port}"}},
            "integrations": integrations,
            "callers": {
                "log-shipper": {"integrations": ["*"], "api_key_sha256": [self.digest]},
                # Has limits and rights to come, for the dashboard.
                "nagger": {
                    "integrations": ["good"], "next_integrations": ["refused"], "api_key_sha256": [self.nagging[1]],
                    "reports_per_minute": 1,
                },
            },
        }  # fmt: skip
        if broken:
            config["callers"]["log-shipper"]["integrations"] = ["no-such-integration"]
            config["sever"] = {}
        self.write("aquila.yaml", config)
        return config

    def write(self, name, config):
        path = self.folder / name
        new = path.with_suffix(".new")
        new.write_text(json.dumps(config))
        new.rename(path)
        return path

    def deaf(self):
        """A second instance, whose audit records are lost."""
        config = self.configure(mended=False)
        config["server"]["listen"], config["ops"]["listen"] = f"127.0.0.1:{free_port()}", f"127.0.0.1:{self.deaf_ops}"
        config["audit"]["path"] = "/dev/full"
        config["integrations"] = {"good": config["integrations"]["good"]}
        del config["callers"]["nagger"]
        process = self.start("deaf", "serve", "--config", self.write("deaf.yaml", config))
        process.wait_until_ready(self.deaf_ops)
        Asker.ask(int(config["server"]["listen"].rpartition(":")[2]), self.key, "good")
        return process

    def nag(self):
        """What fires no alert and is on the dashboard: rights to come, reports beyond their limit, a wrong key."""
        key = self.nagging[0]
        token = Asker.ask(self.callers, key, "good")
        for integration in ("good", "refused"):
            Asker.ask(self.callers, key, integration)
        for _ in range(3):
            Asker.ask(self.callers, key, "good", report=token)
        Asker.ask(self.callers, f"{key[:-1]}!", "good")

    # --- the scenes --------------------------------------------------------------

    def live_well(self, checks):
        self.asker.want = ["good", "dying"]
        # Longer than any window or wait of the hastened rules but those of a day.
        seen = f'count_over_time(aquila_build_info{{instance="127.0.0.1:{self.ops}"}}[21s])'
        self.until(checks, "scraped for 21 s", 90, lambda: self.value(seen) >= 21)
        alerts = self.alerts()
        checks.check("no alert while all is well, not even a pending one", not alerts, alerts)
        checks.check("what the service does is shared", self.value("aquila_store_up") == 1, self.query("aquila_store_up"))

    def get_into_it(self, checks):
        self.control({"door": "token", "username": "dying", "answer": {"kind": "row", "row": "server_error"}})
        self.control({"door": "rest", "username": "dying", "answer": {"kind": "raw", "status": 500}})
        self.control({"door": "token", "username": "slow", "delay_ms": 1500, "answer": {"kind": "as_usual"}})
        deaf = self.deaf()
        self.nag()
        # Found by the next flight, which is one of `dying`.
        self.redis.spoil_tokens()
        self.until(checks, "a spoilt token is noticed", 20, lambda: self.query("aquila_store_unreadable_total"))
        self.redis.hold()
        self.asker.want = ["good", "dying", "refused", "away", "spender"]
        self.asker.cold = list(SLOW)
        self.until(checks, "the configuration is in force", 10, lambda: self.value('aquila_config_reloads_total{outcome="applied"}') == 1)
        self.configure(mended=False, broken=True)
        fired = {}

        def all_fired():
            for alert in self.alerts():
                about, name = alert["labels"].get("integration"), alert["labels"]["alertname"]
                if alert["state"] == "firing" and (EXPECTED.get(name) is None or about == EXPECTED[name]):
                    fired[name] = alert
            return fired.keys() >= EXPECTED.keys()

        self.until(checks, "every alert fires in its scene", 45, all_fired, lambda: (sorted(fired), self.alerts()))
        checks.check("and no other", fired.keys() == EXPECTED.keys(), sorted(fired))
        for name, alert in sorted(fired.items()):
            annotations, about = alert["annotations"], alert["labels"].get("integration")
            words = " ".join(annotations.values())
            whole = "<no value>" not in words and "error" not in words.lower() and "{{" not in words
            checks.check(f"{name} is told in whole sentences", whole and len(annotations) == 3, annotations)
            checks.check(f"{name} says what it is about", about is None or about in annotations["description"], annotations)
        well = [alert for alert in self.alerts() if alert["labels"].get("integration") == "good"]
        checks.check("no alert is about the integration that is well", not well, well)
        deaf.stop()

    def get_out_of_it(self, checks):
        self.asker.cold = []
        self.control(None)
        self.redis.go_on()
        self.configure(mended=True)
        self.until(checks, "each alert goes away once its reason is mended", 40, lambda: not self.alerts(), self.alerts)

    def vanish(self, checks, all_alerts):
        self.asker.stop()
        checks.check("SIGTERM ends the service with status 0", self.service.stop() == 0, self.service.tail())
        absent = 'ALERTS{alertname="AquilaAbsent",alertstate="firing"}'
        self.until(checks, "AquilaAbsent fires when the service is gone", 20, lambda: self.value(absent), self.alerts)
        unseen = all_alerts - EXPECTED.keys() - {"AquilaAbsent"}
        checks.check("each alert was seen", not unseen, unseen)

    # --- asking ------------------------------------------------------------------

    def until(self, checks, what, within, holds, seen=lambda: ""):
        began = time.monotonic()
        while not (held := holds()) and time.monotonic() - began < within:
            time.sleep(0.25)
        checks.check(f"{what} ({time.monotonic() - began:.0f} s)", held, "" if held else seen())

    def api(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def alerts(self):
        return self.api("alerts")["alerts"]

    def query(self, expression):
        return self.api("query", query=expression)["result"]

    def value(self, expression):
        """Of the only series; 0 when there is none."""
        return next((float(series["value"][1]) for series in self.query(expression)), 0.0)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def control(self, fault):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.simulator}/__simulator/faults",
            None if fault is None else json.dumps(fault).encode(),
            {"Authorization": f"Bearer {SECRET}"},
            method="DELETE" if fault is None else "POST",
        )
        urllib.request.urlopen(request, timeout=10).close()


class Asker:
    """Callers: some twenty requests a second for what is wanted, and one for a cold integration now and then."""

    def __init__(self, port, key):
        self.port, self.key, self.want, self.cold = port, key, [], []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=act, daemon=True) for act in (self.keep_asking, self.ask_cold)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def ask(port, key, integration, report=None):
        """The token, if there is one; or the report of one that is said to be dead."""
        url = f"http://127.0.0.1:{port}/" + (f"token/{integration}" if report is None else "revoke")
        form = None if report is None else urllib.parse.urlencode({"token": report}).encode()
        request = urllib.request.Request(url, form, {"Authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(request, timeout=12) as answer:
                token = json.loads(answer.read() or b"{}").get("access_token")
        except (urllib.error.HTTPError, OSError):
            # Refusals are what the metrics are about; a door that closes is judged elsewhere.
            return None
        if token:
            canary.note("a token", token)
        return token

    def keep_asking(self):
        while not self.over.is_set():
            for integration in self.want:
                self.ask(self.port, self.key, integration)
            self.over.wait(0.1)

    def ask_cold(self):
        while not self.over.wait(0.3):
            if self.cold:
                self.ask(self.port, self.key, self.cold.pop(0))

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(15)
