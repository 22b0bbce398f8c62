"""Prometheus scrapes, with `oauth2:` in its configuration, a target that wants the token."""

import contextlib
import json
import re
import time
import urllib.request

from clients import HERE, first_version
from doors import INTEGRATION
from front import Front
from page import Row
from service import free_port, running

NAME = "Prometheus"
CALLER = "prometheus"
TEMPLATE = HERE / "prometheus/prometheus.yml"
SCRAPES = 3
WITHIN = 40.0


def judge(run, tls):
    """One server with three targets: straight to the broker, by the recorder, and with a wrong secret."""
    check, stage = run.checks.check, run.stage
    program = run.tools.prometheus
    check(f"{NAME} is installed", program.is_file(), program)
    held = run.current(CALLER)["access_token"]

    def metrics(seen):
        if seen.bearer != held:
            return 401, "text/plain", b"no\n"
        return 200, "text/plain; version=0.0.4", b"# TYPE reached gauge\nreached 1\n"

    folder = run.folder / "prometheus"
    folder.mkdir()
    port = free_port()
    with Front(tls, answer=metrics) as target, contextlib.ExitStack() as stack:
        jobs = [
            job(folder, "straight", f"{stage.door}/token", stage.keys[CALLER], target, tls),
            job(folder, "recorded", f"{stage.recorder.url}/token", stage.keys[CALLER], target, tls),
            # Under another path: for one it had success with, Go remembers the place of the secret and tries no other.
            job(folder, "wrong", f"{stage.recorder.url}/token/{INTEGRATION}", stage.stranger, target, tls),
        ]
        config = folder / "prometheus.yml"
        config.write_text("global: {scrape_interval: 1s}\nscrape_configs:\n" + "".join(jobs))
        stage.recorder.requests.clear()
        server = stack.enter_context(
            running(
                program, folder, "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            )
        )  # fmt: skip
        # It listens before it answers.
        server.wait_until("readiness", lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1))
        scrapes = lambda: sum(seen.bearer == held for seen in target.requests)  # noqa: E731
        health = wait_for(port, lambda: scrapes() >= 2 * SCRAPES)
        check(f"{NAME} has scraped often enough within {WITHIN:.0f} s", scrapes() >= 2 * SCRAPES, health)
        check(f"{NAME} scrapes a target that wants the token", health["straight"]["health"] == "up", health["straight"])
        check(f"{NAME} does so by the recorder too", health["recorded"]["health"] == "up", health["recorded"])
        check(f"{NAME} scrapes nothing with a wrong secret", health["wrong"]["health"] == "down", health["wrong"])

        asked = [seen for seen in stage.recorder.requests if seen.proof()[1] == stage.keys[CALLER]]
        manner = asked[0].manner()
        check(f"{NAME} sends its secret as the table says", manner == "Basic", manner)
        check(f"{NAME} takes expires_in: it asks once for {SCRAPES} scrapes", len(asked) == 1, len(asked))
        said = health["wrong"]["lastError"]
        words = re.search(r"oauth2: cannot fetch token: 401 Unauthorized", said)
        check(f"{NAME} says in its own words that the secret is wrong", words is not None, said)
        wrong = [seen.proof()[0] for seen in stage.recorder.requests if seen.proof()[1] == stage.stranger]
        check(f"{NAME} tries a wrong secret in the header, then in the body", wrong[:2] == ["Basic", "body"], wrong)
        check(f"{NAME} ends when it is told to", server.stop() == 0, server.tail())
    note = "As all on Go's `x/oauth2`: each failing request comes twice, once for each place of the secret."
    result = "the token, with its `expires_in`"
    return Row((NAME, first_version(str(program)), manner, result, f"`{words[0]}`", note), of_the_machine=True)


def job(folder, name, url, key, target, tls):
    """The job of the page, with addresses and files of this run."""
    secret = folder / f"{name}.key"
    secret.write_text(key)
    own = {
        "behind-the-broker": name,
        "/etc/prometheus/aquila.key": str(secret),
        "/etc/prometheus/ca.pem": str(tls["ca"]),
        "https://aquila.example/token": url,
        "exporter.example:443": f"localhost:{target.port}",
    }
    text = TEMPLATE.read_text().partition("scrape_configs:\n")[2].partition("# docs: end")[0]
    for general, ours in own.items():
        assert general in text, general
        text = text.replace(general, ours)
    return text


def wait_for(port, enough):
    """The targets by job, once enough scrapes were made and each of them shows how it ended; or as they are when time is up."""
    ends = {"straight": "up", "recorded": "up", "wrong": "down"}
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/targets", timeout=5) as answer:
            active = json.load(answer)["data"]["activeTargets"]
        targets = {entry["labels"]["job"]: entry for entry in active}
        if enough() and {name: entry["health"] for name, entry in targets.items()} == ends:
            break
        time.sleep(0.2)
    return targets
