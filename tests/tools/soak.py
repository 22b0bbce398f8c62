"""A storm of random faults over the real binaries, in real time, and the guarantees checked from outside throughout.

    python3 tests/tools/soak.py --binary target/debug/aquila                          about a minute
    python3 tests/tools/soak.py --binary target/release/aquila --seconds 3600 --seed 7

    callers ──> aquila serve ──┬──> simulator "swift": sessions of 24 s, so that promises end all the time
       │                       └──> simulator "slow":  sessions of an hour, so that only a look finds them dead
       └── each token that is handed out is shown to the simulator's introspection at once

The storm draws from the seed that is printed: each kind of fault at each door, sessions killed, users deactivated and
cured, configurations good and broken, callers that hang up or lie. The order of the threads is not drawn, so a seed
brings back the storm and not the very run. Exit status 0 if every guarantee held.
"""

import argparse
import collections
import contextlib
import fnmatch
import http.client
import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import canary
from service import free_port, new_key, private_key, running, self_signed, sha256, simulating

SWIFT, SLOW = 24, 3600
CLIENT_ID = "soak-client-id"
# What Salesforce writes is for operators; no caller ever reads it.
UPSTREAM_CANARY = "CANARY-OF-SALESFORCE"
# Guarantee 7 says 10 s; the rest is for a machine that has more to do than this.
ANSWER_WITHIN = 10.0
SLACK = 1.0
POSTS_PER_MINUTE = 40
SCARCE = 12
# A report is looked into at once, or 30 s after the last look; the look and the next request take their time as well.
DEAD_AFTER_REPORT = 35.0
MEMORY_MIB = 120
INTROSPECTED = 'client_secret_path = "client.secret"\n'


class Integration:
    """An integration, its user, and what is known of its token."""

    def __init__(self, name, org, faults=(), budget=600, settings=""):
        self.name, self.org, self.faults, self.budget, self.settings = name, org, faults, budget, settings
        self.user = f"{name}@soak.example"
        self.lock = threading.Lock()
        # Until when a 200 is owed, by what the broker itself promised; nothing is owed after the storm hurt the session.
        self.owed_until = 0.0
        self.distrusted = None
        self.current = None
        self.hurts = 0
        self.hurt_at = 0.0
        # When each token died, at the latest.
        self.deaths = {}

    def hurt(self):
        """The storm ends the session: from now on no 200 is owed until another token comes.

        Called before and after, so that no answer in between is judged by what was true a moment ago.
        """
        with self.lock:
            self.hurts += 1
            self.hurt_at = time.time()
            self.owed_until = 0.0
            self.distrusted = self.current

    def outlived(self, token, began):
        """For how many seconds more than anybody may err this dead token is handed out; below zero, it is excused.

        Nobody knows that a session was ended before the end of what it was promised the moment before; where that is
        long, callers report what was refused to them.
        """
        blind = DEAD_AFTER_REPORT
        if self.org.timeout != SLOW:
            blind = (self.org.timeout if INTROSPECTED in self.settings else self.org.timeout / 2) + SLACK
        with self.lock:
            return began - self.deaths.setdefault(token, self.hurt_at) - blind

    def handed(self, token, lives, began, expires_in):
        with self.lock:
            self.current = token
            if not lives:
                self.distrusted = token
            elif token != self.distrusted:
                self.distrusted = None
                # In its last second it cannot be handed out: what is left would have to be told as 0.
                self.owed_until = max(self.owed_until, began + expires_in - 1)

    def owed(self):
        """Until when a 200 is owed, and how often the storm has ended the session."""
        with self.lock:
            return self.owed_until, self.hurts


class Verdicts:
    """What was seen, and each guarantee that did not hold."""

    def __init__(self):
        self.lock = threading.Lock()
        self.held = collections.Counter()
        self.broken = []
        self.answers = collections.Counter()
        self.slowest = 0.0
        self.tokens = set()
        self.texts = {}

    def hold(self, guarantee, holds, seen):
        with self.lock:
            if holds:
                self.held[guarantee] += 1
            else:
                self.broken.append((guarantee, seen()))
                if len(self.broken) <= 20:
                    print(f"FAIL  {guarantee}: {self.broken[-1][1]}", flush=True)

    def answered(self, who, integration, status, took):
        with self.lock:
            self.answers[(integration, status)] += 1
            self.slowest = max(self.slowest, took)
        in_time = took <= ANSWER_WITHIN + SLACK
        self.hold("7 within 10 s", in_time, lambda: f"{who} waited {took:.1f} s for {integration}: {status}")

    def read(self, where, text):
        """Keeps what was shown to somebody, for the search for secrets; the same text once."""
        with self.lock:
            self.texts.setdefault(text, where)


class Org:
    """One simulator and its control routes."""

    def __init__(self, stack, binary, folder, name, timeout, users):
        self.name, self.timeout = name, timeout
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.control_secret = f"control-of-the-{name}-org"
        secret = folder / f"{name}.secret"
        secret.write_text(self.control_secret)
        named = [word for user in users for word in ("--username", user)]
        options = [
            "--certificate", folder / "app.pem", "--client-id", CLIENT_ID, "--client-secret-path", folder / "client.secret",
            "--session-timeout", f"{timeout}s", "--control-secret-path", secret, *named,
        ]  # fmt: skip
        self.process = stack.enter_context(simulating(binary, folder, self.port, *options, name=name))
        self.client_secret = (folder / "client.secret").read_text()

    def control(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.url}/__simulator/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.control_secret}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def lives_until(self, token):
        """By introspection, which counts as no activity: when the session ends, and 0 when it has."""
        form = urllib.parse.urlencode({"token": token, "client_id": CLIENT_ID, "client_secret": self.client_secret})
        with urllib.request.urlopen(f"{self.url}/services/oauth2/introspect", form.encode(), timeout=20) as answer:
            said = json.load(answer)
        return float(said["exp"]) if said["active"] else 0.0


class Broker:
    """The service under test: its configuration, its signals, its two doors."""

    def __init__(self, stack, binary, folder, integrations, callers):
        self.folder, self.integrations, self.callers = folder, integrations, callers
        self.port, self.ops = free_port(), free_port()
        self.path = folder / "aquila.toml"
        self.write(flip=True)
        self.process = stack.enter_context(running(binary, folder, "broker", "serve", "--config", self.path))
        self.process.wait_until_ready(self.ops)

    def write(self, flip):
        lines = [
            f'[server]\nlisten = "127.0.0.1:{self.port}"\n[ops]\nlisten = "127.0.0.1:{self.ops}"\n',
            '[log]\nlevel = "debug"\nformat = "json"\n[audit]\npath = "audit.jsonl"\n',
        ]
        for one in self.integrations:
            lines += [
                f'[integrations.{one.name}]\nclient_key_path = "app.key"\nusername = "{one.user}"\n',
                f'client_id = "{CLIENT_ID}"\ntoken_url = "{one.org.url}"\nsession_timeout = "{one.org.timeout}s"\n',
                f"login_budget_per_hour = {one.budget}\n{one.settings}",
            ]
        for caller in self.callers:
            granted = caller.granted if flip or not caller.flips else caller.granted[:1]
            lines.append(f"[callers.{caller.name}]\nintegrations = {json.dumps(granted)}\n")
            lines.append(f'api_key_sha256 = ["{caller.digest}"]\n')
        if flip:
            # By the number of callers one sees from outside which of the two configurations is in force.
            lines.append(f'[callers.marker]\nintegrations = ["slow-3"]\napi_key_sha256 = ["{sha256("marker")}"]\n')
        self.replace("".join(lines))

    def replace(self, text):
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.rename(self.path)

    def reload(self):
        self.process.process.send_signal(signal.SIGHUP)

    def page(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}{path}", timeout=10) as answer:
            return answer.read().decode()

    def flips(self):
        """Which of the two good configurations is in force."""
        return json.loads(self.page("/status.json"))["callers"] > len(self.callers)

    def refusals(self):
        """How many configurations were refused."""
        found = re.search(r'^aquila_config_reloads_total\{outcome="refused"\} (\d+)', self.page("/metrics"), re.MULTILINE)
        return int(found[1]) if found else 0

    def resident(self):
        text = pathlib.Path(f"/proc/{self.process.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) / 1024


class Caller:
    """One who may have some integrations, over a connection of its own."""

    def __init__(self, binary, name, granted, flips=False):
        self.name, self.granted, self.flips = name, granted, flips
        self.key, self.digest = new_key(binary, name)

    def may(self, integration):
        return any(fnmatch.fnmatchcase(integration, pattern) for pattern in self.granted)


class Line:
    """A kept connection to the callers' door."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def ask(self, method, path, key, form=None):
        """Status, body, and when it began and ended."""
        body = None if form is None else urllib.parse.urlencode(form)
        headers = {"Authorization": f"Bearer {key}"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        for attempt in (1, 2):
            fresh = self.connection is None
            if fresh:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            began = time.time()
            try:
                self.connection.request(method, path, body, headers)
                answer = self.connection.getresponse()
                return answer.status, answer.read().decode(), began, time.time()
            except (http.client.HTTPException, OSError):
                self.connection.close()
                self.connection = None
                # An idle connection may have been closed just then; a new one has no such excuse.
                if fresh or attempt == 2:
                    raise


class Soak:
    """The actors, each a thread, until the time is up."""

    def __init__(self, arguments, broker, orgs, verdicts, trap):
        self.trap = trap
        self.broker, self.orgs, self.verdicts = broker, orgs, verdicts
        self.integrations = broker.integrations
        self.seed = arguments.seed
        self.over = threading.Event()
        # What the flipping caller may have: True, False, or None while that changes; with the number of the change.
        self.flip = (0, True)
        self.done = collections.Counter()
        self.resident = []
        self.posts = collections.defaultdict(list)

    def run(self, seconds):
        actors = [(self.work, caller) for caller in self.broker.callers for _ in range(2)]
        actors += [(self.hang_up, 1), (self.intrude, 1), (self.lie, 1), (self.watch, 1), (self.count, 1), (self.reconfigure, 1)]
        actors += [(self.storm, org) for org in self.orgs]
        threads = [
            threading.Thread(target=self.guarded, args=(act, about, random.Random(f"{self.seed} {number}")), daemon=True)
            for number, (act, about) in enumerate(actors)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.over.set()
        for thread in threads:
            thread.join(40)
            self.verdicts.hold("7 within 10 s", not thread.is_alive(), lambda: "an actor still waits for its answer")

    def guarded(self, act, about, drawn):
        try:
            while not self.over.is_set():
                act(about, drawn)
        except Exception as error:  # any of them would end the checks that the actor makes
            self.verdicts.hold("the checks themselves", False, lambda: f"{act.__name__}: {type(error).__name__}: {error}")

    # --- callers -----------------------------------------------------------------

    def work(self, caller, drawn):
        """Asks for a token in one of the usual ways, and judges the answer."""
        line = Line(self.broker.port)
        for _ in range(50):
            if self.over.is_set():
                return
            one = drawn.choice(self.integrations)
            self.one_request(caller, drawn, line, one)
            time.sleep(drawn.uniform(0, 0.12))

    def one_request(self, caller, drawn, line, one):
        (owed, hurts), before = one.owed(), self.flip
        way = drawn.randrange(4)
        if way == 0:
            form = {"grant_type": "client_credentials", "scope": one.name}
            status, text, began, ended = line.ask("POST", "/token", caller.key, form)
        else:
            query = f"?min_ttl={drawn.choice([5, 60, 1200])}" if way == 1 else ""
            status, text, began, ended = line.ask("GET", f"/token/{one.name}{query}", caller.key)
        self.verdicts.answered(caller.name, one.name, status, ended - began)
        granted = caller.may(one.name)
        if caller.flips and one.name != caller.granted[0]:
            # Only what was settled before and after says what the answer must be.
            granted = granted and (before[1] if before == self.flip else None)
        if granted is not None:
            denied = status in (400, 403)
            self.verdicts.hold(
                "1 right on that very request", denied != granted,
                lambda: f"{caller.name} and {one.name}: {status}, granted: {granted}",
            )  # fmt: skip
        if status == 200:
            self.judge_token(caller, one, json.loads(text), began, ended)
        else:
            self.verdicts.read(f"answer {status} to {caller.name}", re.sub(r'"request_id":"[^"]*"', "", text))
            known = status in (400, 403, 502, 503)
            self.verdicts.hold("2 no other answers", known, lambda: f"{status} to {caller.name}: {text[:200]}")
            # The liar is told that its reports do not fit, and only the liar.
            if granted and ended < owed and one.owed()[1] == hurts and caller.name != "liar":
                self.verdicts.hold(
                    "4 good token from memory", False,
                    lambda: f"{one.name}: {status}, {owed - ended:.1f} s before its end; {text[:200]}",
                )  # fmt: skip

    def judge_token(self, caller, one, answer, began, ended):
        token, expires_in = answer["access_token"], answer["expires_in"]
        with self.verdicts.lock:
            self.verdicts.tokens.add(token)
        ends = one.org.lives_until(token)
        shown = time.time()
        # Where no confirm call could be made nothing is proved, a mint may hand back an old session, and the answer
        # says so (guarantee 12): such a life can be too long, and the token dead.
        estimate = answer["lifetime_source"] == "estimate"
        self.done["estimates"] += estimate
        one.handed(token, bool(ends), began, 0 if estimate else expires_in)
        whole = type(expires_in) is int and expires_in > 0
        self.verdicts.hold("2 expires_in is positive", whole, lambda: f"{one.name}: {expires_in!r}")
        here = answer["instance_url"] == one.org.url and answer["token_type"] == "Bearer"
        self.verdicts.hold("8 instance_url is checked", here, lambda: f"{one.name}: {answer['instance_url']!r}")
        if ends:
            # `exp` is cut to whole seconds.
            left = ends + 1 - began
            honest = estimate or expires_in <= left
            seen = f"{one.name}: {expires_in} of {left:.2f}, {answer['lifetime_source']}"
            self.verdicts.hold("2 never above what is left", honest, lambda: seen)
            self.verdicts.hold("4 good token from memory", True, None)
            return
        outlived = one.outlived(token, began)
        excused = outlived < 0 or shown > began + expires_in or estimate
        self.verdicts.hold(
            "2 the token lives", excused,
            lambda: f"{one.name}: {outlived:.1f} s after everybody could know that it is dead, expires_in {expires_in}",
        )  # fmt: skip
        if one.org.timeout == SLOW and caller.name != "narrow":
            # As a client would after a 401.
            line = Line(self.broker.port)
            status, text, began, ended = line.ask("POST", "/revoke", caller.key, {"token": token})
            self.verdicts.answered(caller.name, "revoke", status, ended - began)
            self.done["true reports"] += 1

    def hang_up(self, _, drawn):
        """Sends a request and is gone before the answer, or in the middle of it."""
        caller, one = drawn.choice(self.broker.callers), drawn.choice(self.integrations)
        head = f"GET /token/{one.name} HTTP/1.1\r\nHost: soak\r\nAuthorization: Bearer {caller.key}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.broker.port), timeout=10) as connection:
            connection.sendall(head[: drawn.choice([7, len(head), len(head), len(head)])])
            time.sleep(drawn.choice([0, 0.002, 0.1]))
        self.done["hang-ups"] += 1
        time.sleep(drawn.uniform(0, 0.3))

    def intrude(self, _, drawn):
        """Offers no proof, a wrong one, or somebody else's token; asks about tokens that it may not have."""
        line, one = Line(self.broker.port), drawn.choice(self.integrations)
        key = drawn.choice([c.key for c in self.broker.callers])
        nearly = key[:-1] + ("a" if key[-1] != "a" else "b")
        wrong = drawn.choice(["", "x", nearly, one.current or "none", key.swapcase()])
        status, text, began, ended = line.ask("GET", f"/token/{one.name}", wrong)
        self.verdicts.answered("intruder", one.name, status, ended - began)
        # 429: so many from one address that they are told to wait.
        self.verdicts.hold("1 no token without proof", status in (400, 401, 429), lambda: f"{status} for {wrong[:12]!r}")
        self.verdicts.read("answer to an intruder", re.sub(r'"request_id":"[^"]*"', "", text))
        narrow = next(caller for caller in self.broker.callers if caller.name == "narrow")
        if one.current and not narrow.may(one.name):
            status, text, began, ended = line.ask("POST", "/introspect", narrow.key, {"token": one.current})
            self.verdicts.answered("narrow", "introspect", status, ended - began)
            silent = (status, json.loads(text)) == (200, {"active": False})
            self.verdicts.hold("1 nothing about others' tokens", silent, lambda: text[:200])
        time.sleep(drawn.uniform(0.1, 0.6))

    def lie(self, _, drawn):
        """Reports a token that lives, again and again; the others must not notice. Looks its own tokens up, too."""
        liar = next(caller for caller in self.broker.callers if caller.name == "liar")
        one = next(one for one in self.integrations if one.name == liar.granted[0])
        line = Line(self.broker.port)
        if one.current:
            status, _, began, ended = line.ask("POST", "/revoke", liar.key, {"token": one.current})
            self.verdicts.answered("liar", "revoke", status, ended - began)
            self.done["false reports"] += 1
            status, text, began, ended = line.ask("POST", "/introspect", liar.key, {"token": one.current})
            self.verdicts.answered("liar", "introspect", status, ended - began)
            said = json.loads(text)
            if said["active"]:
                ends = one.org.lives_until(one.current)
                if ends:
                    honest = said["exp"] <= ends + 1 or said["lifetime_source"] == "estimate"
                    self.verdicts.hold("2 never above what is left", honest, lambda: f"introspection: {said['exp']} of {ends}")
        time.sleep(drawn.uniform(0.5, 4))

    # --- operators ---------------------------------------------------------------

    def watch(self, _, drawn):
        for path in ("/readyz", "/livez", "/status.json", "/metrics"):
            try:
                text, status = self.broker.page(path), 200
            except urllib.error.HTTPError as error:
                text, status = "", error.code
            self.verdicts.hold("ready and alive throughout", status == 200, lambda: f"{path}: {status}")
            if drawn.random() < 0.1:
                self.verdicts.read(path, text)
        self.resident.append(self.broker.resident())
        self.verdicts.hold("memory is bounded", self.resident[-1] < MEMORY_MIB, lambda: f"{self.resident[-1]:.0f} MiB")
        time.sleep(0.5)

    def count(self, _, drawn):
        """Guarantees 3 and 5: what a user's logins come to at Salesforce, in a minute and in an hour."""
        for org in self.orgs:
            by_user, now = org.control("GET", "counts")["by_user"], time.time()
            for one in (one for one in self.integrations if one.org is org):
                posts = by_user.get(one.user, {}).get("token_posts", 0)
                line = self.posts[one.name]
                # The first look comes when there may have been some already.
                line += [(now, posts)] if line else [(now, 0), (now, posts)]
                bounds = ((60, POSTS_PER_MINUTE, "3 few POSTs a minute"), (3590, one.budget, "5 login budget"))
                for span, most, guarantee in bounds:
                    made = posts - next(posts for at, posts in line if at >= now - span)
                    self.verdicts.hold(guarantee, made <= most, lambda: f"{one.name}: {made} POSTs in {span} s")
        time.sleep(1)

    def reconfigure(self, _, drawn):
        """Good and broken configurations in turn; the right of one caller changes with each good one."""
        time.sleep(drawn.uniform(2, 8))
        if drawn.random() < 0.4:
            before, good = self.broker.refusals(), self.broker.path.read_text()
            no_key = good.replace('client_key_path = "app.key"', 'client_key_path = "no.key"', 1)
            self.broker.replace(drawn.choice([good[: len(good) // 2] + "[", no_key, "listen = 3\n" + good]))
            self.broker.reload()
            self.expect("a broken configuration is refused", lambda: self.broker.refusals() > before)
            self.done["broken configurations"] += 1
            time.sleep(drawn.uniform(0, 3))
            self.broker.replace(good)
            self.broker.reload()
            return
        number, flip = self.flip
        self.flip = (number + 1, None)
        self.broker.write(flip=not flip)
        self.broker.reload()
        self.expect("a good configuration is taken", lambda: self.broker.flips() != flip)
        self.flip = (number + 2, not flip)
        self.done["good configurations"] += 1

    def expect(self, what, holds):
        deadline = time.monotonic() + 15
        while not (held := holds()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.verdicts.hold("10 reload", held, lambda: f"not within 15 s: {what}")

    # --- Salesforce --------------------------------------------------------------

    def storm(self, org, drawn):
        hit = [one for one in self.integrations if one.org is org and one.faults]
        one = drawn.choice(hit)
        what = drawn.choice(one.faults)
        if what == "kill":
            one.hurt()
            org.control("POST", "sessions/kill", {"username": one.user})
            one.hurt()
            self.done["sessions killed"] += 1
        elif what == "deactivate":
            one.hurt()
            standing = drawn.choice(["inactive", "inactive", "locked", "ip_restricted"])
            org.control("POST", "users", {"username": one.user, "standing": standing})
            time.sleep(drawn.uniform(0, 5))
            org.control("POST", "users", {"username": one.user})
            one.hurt()
            self.done["users deactivated"] += 1
        elif what == "outage":
            for door in ("token", "rest"):
                fault = {"door": door, "username": one.user, "answer": answer(door, drawn, self.trap.url)}
                org.control("POST", "faults", fault)
            time.sleep(drawn.uniform(2, 9))
            org.control("DELETE", "faults")
            self.done["outages"] += 1
        else:
            times = drawn.choice([1, 2, 5, None])
            fault = {"door": what, "username": one.user, "times": times, "answer": answer(what, drawn, self.trap.url)}
            if drawn.random() < 0.3:
                fault["delay_ms"] = drawn.choice([50, 700, 3000, 7000])
            org.control("POST", "faults", fault)
            self.done[f"faults at {what}"] += 1
            self.done[fault["answer"]["kind"]] += 1
        time.sleep(drawn.uniform(0.1, 1.5))
        if drawn.random() < 0.2:
            org.control("DELETE", "faults")
            time.sleep(drawn.uniform(0, 4))

    def calm(self):
        """All is cured and the operator says so: everybody has a token again."""
        for org in self.orgs:
            org.control("DELETE", "faults")
        for one in self.integrations:
            one.org.control("POST", "users", {"username": one.user})
        self.broker.reload()
        everything = next(caller for caller in self.broker.callers if caller.name == "everything")
        for one in self.integrations:
            if one.budget == SCARCE:
                continue
            deadline, status, line = time.monotonic() + 45, 0, Line(self.broker.port)
            while time.monotonic() < deadline and status != 200:
                status, text, began, ended = line.ask("GET", f"/token/{one.name}", everything.key)
                if status != 200:
                    time.sleep(0.25)
            self.verdicts.hold("it recovers", status == 200, lambda: f"{one.name}: {status} {text[:300]}")


def answer(door, drawn, trap):
    """One of all the answers that the simulator can be made to give."""
    rows = {
        "token": ["app_not_found", "audience_is_invalid", "authentication_failure", "expired_authorization_code", "inactive_org",
                  "inactive_user", "invalid_assertion", "ip_restricted", "login_rate_exceeded", "not_admin_approved",
                  "rate_limit_exceeded", "server_error", "unknown_error", "user_has_not_approved"],
        # None that says "dead" of a session that lives: what follows is then the simulator's doing.
        "rest": ["API_DISABLED_FOR_ORG", "INSUFFICIENT_ACCESS", "QUERY_TIMEOUT", "REQUEST_LIMIT_EXCEEDED", "SERVER_UNAVAILABLE",
                 "SESSION_NOT_VALID_FOR_REST", "UNKNOWN_EXCEPTION", "INVALID_AUTH_HEADER"],
    }  # fmt: skip
    body = json.dumps({"error": UPSTREAM_CANARY, "error_description": UPSTREAM_CANARY})
    kind = drawn.choice(["application/json", "text/html", None])
    page = {"kind": "raw", "content_type": kind, "body": drawn.choice([body, UPSTREAM_CANARY, ""])}
    pause = drawn.choice(["1", "4", "99999999", "-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
    altered = [
        {"access_token": None}, {"access_token": 7}, {"access_token": ""}, {"access_token": "bad\r\nX-Header: 1"},
        {"instance_url": "https://evil.example"}, {"instance_url": "http://acme.my.salesforce.com"}, {"instance_url": None},
        {"token_type": "MAC"}, {"error": UPSTREAM_CANARY}, {"access_token": None, "error": "invalid_grant"},
    ]  # fmt: skip
    return drawn.choice(
        [
            {"kind": "as_usual"},
            {"kind": "row", "row": drawn.choice(rows[door])},
            {"kind": "row", "row": drawn.choice(rows[door])},
            {**page, "status": drawn.choice([200, 204, 400, 403, 404, 500, 502, 504])},
            {**page, "status": drawn.choice([429, 503]), "headers": {"retry-after": pause}},
            {**page, "status": drawn.choice([301, 302, 307, 308]), "headers": {"location": trap}},
            {"kind": "maintenance", "status": drawn.choice([200, 503])},
            {"kind": "altered", "members": drawn.choice(altered)} if door == "token" else {"kind": "cut"},
            {"kind": "cut"},
            {"kind": "trickle", "pause_ms": drawn.choice([1, 30, 300])},
            {"kind": "huge", "bytes": drawn.choice([2_000_000, 1_000_000_000])},
            {"kind": "endless_body"},
            {"kind": "endless_head"},
            {"kind": "gzip_bomb", "mebibytes": drawn.choice([2, 100])},
            {"kind": "lose_answer"},
            {"kind": "hang_up"},
            {"kind": "reset"},
            {"kind": "never_answer"},
        ]
    )


class Trap:
    """Where redirects lead to: nobody ever comes here."""

    def __init__(self, stack):
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/elsewhere"

    def caught(self):
        with contextlib.suppress(BlockingIOError):
            self.listener.accept()[0].close()
            return True
        return False


def note_tokens(verdicts):
    """Has tokens searched for. What they begin with is searched for anyway; a hundred stand for how they end."""
    for token in sorted(verdicts.tokens)[:100]:
        canary.note("a token", token)


def search(verdicts, folder):
    """Guarantee 9: nothing secret in what anybody was shown, and nothing of Salesforce's in what callers were."""
    for text, where in verdicts.texts.items():
        canary.look_into(where, text)
        if where.startswith("answer"):
            verdicts.hold("nothing of Salesforce's", UPSTREAM_CANARY not in text, lambda: f"{where}: {text[:200]}")
    verdicts.hold("9 no secret is shown", not canary.KNOWN.found, lambda: "\n".join(canary.KNOWN.found))
    verdicts.held["9 no secret is shown"] += canary.KNOWN.searched
    verdicts.hold("the checks themselves", all(map(canary.finds, canary.forms(canary.PLANTED))), lambda: "a blind search")
    for name in ("broker.stdout", "broker.stderr", "audit.jsonl"):
        done = subprocess.run(["grep", "--text", "panicked", folder / name], capture_output=True, text=True, check=False)
        verdicts.hold("no panic", done.returncode == 1, lambda: f"{name}: {done.stdout[:600]}")


def cast(orgs, binary):
    swift, slow = orgs
    integrations = [
        Integration("swift-1", swift, ("token", "rest", "outage", "outage", "kill")),
        Integration("swift-2", swift, ("token", "rest", "outage", "kill", "deactivate"), settings="keep_warm = true\n"),
        Integration("swift-3", swift, ("rest", "outage", "kill"), settings=INTROSPECTED),
        Integration("swift-4", swift, ("token", "kill"), budget=SCARCE),
        Integration("slow-1", slow, ("kill", "token", "token")),
        Integration("slow-2", slow, ("token", "rest", "outage")),
        # Nothing ever happens to this one.
        Integration("slow-3", slow),
    ]
    callers = [
        Caller(binary, "everything", ["swift-*", "slow-*"]),
        Caller(binary, "narrow", ["slow-3"]),
        Caller(binary, "flipping", ["swift-1", "slow-3"], flips=True),
        Caller(binary, "liar", ["slow-2"]),
    ]
    return integrations, callers


def table(soak, verdicts, seconds, written):
    print(f"\n{'integration':<12} {'answers by status':<44} {'POSTs':>6} {'budget':>7}")
    for one in soak.integrations:
        statuses = ", ".join(f"{status}: {count}" for (name, status), count in sorted(verdicts.answers.items()) if name == one.name)
        posts = soak.posts[one.name][-1][1] if soak.posts[one.name] else 0
        print(f"{one.name:<12} {statuses:<44} {posts:>6} {one.budget:>7}")
    print(f"\nstorm: {', '.join(f'{what} {count}' for what, count in sorted(soak.done.items()))}")
    resident = soak.resident
    print(f"resident: {resident[0]:.0f} MiB at first, {max(resident):.0f} at most, {resident[-1]:.0f} at last")
    print(f"slowest answer: {verdicts.slowest:.2f} s; different tokens: {len(verdicts.tokens)}; log and audit: {written:.1f} MiB")
    broken = collections.Counter(guarantee for guarantee, _ in verdicts.broken)
    print(f"\n{'guarantee':<34} {'held':>8} {'broken':>7}")
    for guarantee in sorted(set(verdicts.held) | set(broken)):
        print(f"{guarantee:<34} {verdicts.held[guarantee]:>8} {broken[guarantee]:>7}")
    print(f"soak: {sum(verdicts.held.values())} passed, {sum(broken.values())} failed ({seconds} s, seed {soak.seed})", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--seconds", type=int, default=75, help="how long the storm lasts")
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    arguments = arguments.parse_args()
    print(f"soak: {arguments.seconds} s, seed {arguments.seed}", flush=True)
    verdicts = Verdicts()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        self_signed(folder / "app.pem", private_key(folder / "app.key"))
        (folder / "client.secret").write_text("soak-consumer-secret-5309")
        (folder / "client.secret").chmod(0o600)
        users = {name: [f"{name}-{number}@soak.example" for number in range(1, 5)] for name in ("swift", "slow")}
        timeouts = {"swift": SWIFT, "slow": SLOW}
        orgs = [Org(stack, arguments.binary, folder, name, timeouts[name], users[name]) for name in timeouts]
        integrations, callers = cast(orgs, arguments.binary)
        broker = Broker(stack, arguments.binary, folder, integrations, callers)
        soak = Soak(arguments, broker, orgs, verdicts, Trap(stack))
        soak.run(arguments.seconds)
        soak.calm()
        verdicts.hold("8 no redirect is followed", not soak.trap.caught(), lambda: "somebody came to where it led")
        calm = [what for what in ("sessions killed", "good configurations", "faults at token", "hang-ups") if not soak.done[what]]
        verdicts.hold("the checks themselves", not calm, lambda: f"there were no {calm}")
        note_tokens(verdicts)
        begun = time.monotonic()
        status = broker.process.stop()
        verdicts.hold("11 SIGTERM ends with 0", status == 0, lambda: f"status {status}:\n{broker.process.tail()}")
        print(f"stopped within {time.monotonic() - begun:.1f} s")
        for org in orgs:
            org.process.stop()
        search(verdicts, folder)
        written = sum((folder / name).stat().st_size for name in ("broker.stdout", "broker.stderr", "audit.jsonl"))
        table(soak, verdicts, arguments.seconds, written / 2**20)
    sys.exit(1 if verdicts.broken else 0)


if __name__ == "__main__":
    main()
