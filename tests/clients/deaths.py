"""jsforce when its session dies: with the two `refreshFn` of `docs/clients.md`, how many requests that costs whom.

A dead session, and one that is alive for the broker and refused to the client alone.
"""

import json

from clients import HERE
from front import Front
from page import Row

# The broker keeps a token that it found alive from whoever insists, and from nobody else.
CALLERS = ["asks-again", "reports", "insists"]
HEAD = ("`refreshFn`", "Version", "Salesforce", "Requests at the broker", "Logins", "What jsforce sees")
REFUSED = json.dumps([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]).encode()
# The broker keeps 30 s between two looks at one token, and has looked a moment ago when each of these begins: nobody is
# helped before that time is over, which is the worst that a client meets.
WITHIN = 60.0


def judge(run, tls, version):
    """The rows of the table of deaths."""
    # First, while no session has died early: after that the broker has its tokens confirmed more often by itself.
    words = alive(run, tls)
    reported = dead(run, tls, "reports", "jsforce-reports.mjs", most=7)
    asked = dead(run, tls, "asks-again", "jsforce-asks.mjs", most=8)
    lost = "ended the session"
    return [
        Row(("asks again", version, lost, f"{asked} at most", "1", "answers")),
        Row(("reports, then asks", version, lost, f"{reported} at most", "1", "answers")),
        Row(("reports, then asks", version, "refuses this client alone", "7 at most", "0", f"`{words}`")),
    ]


def script(run, name):
    # Packages are looked for from where the script lies.
    for file in (name, "through-a-death.mjs"):
        (run.tools.node / file).write_text((HERE / "refresh" / file).read_text())
    return ["node", str(run.tools.node / name)]


def dead(run, tls, caller, name, most):
    """The session ends between two calls, and ten calls at once find that."""
    check, stage = run.checks.check, run.stage
    killed = []

    def between(_):
        killed.append(stage.control("POST", "sessions/kill", {}))
        killed.append(stage.control("POST", "reset-counts"))
        stage.recorder.requests.clear()
        return 200, "text/plain", b"done"

    with Front(tls, answer=between) as pause:
        done, lasted = run.execute(
            script(run, name), caller, url=stage.recorder.url, within=WITHIN, BETWEEN_URL=pause.url
        )
    said = done.stdout + done.stderr
    check(f"jsforce that {caller}: its calls are answered after its session died", done.returncode == 0, said)
    got = json.loads(done.stdout)
    check(f"jsforce that {caller}: the session was over", killed[0]["killed"] > 0, killed)
    check(f"jsforce that {caller}: it has another token", got["before"] != got["after"] and got["answers"] == 10, got)
    counts, asked = stage.control("GET", "counts"), len(stage.recorder.requests)
    print(f"--    jsforce that {caller}: {asked} requests at the broker, {counts['token_posts']} logins, "
          f"{counts['rest_calls']} REST calls in {lasted:.1f} s", flush=True)  # fmt: skip
    check(f"jsforce that {caller}: at most {most} requests at the broker", 1 <= asked <= most, asked)
    check(f"jsforce that {caller}: one login", counts["token_posts"] == 1, counts)
    # Ten refused, ten answered, and each try of a client in between; the broker's own are at most a few.
    check(f"jsforce that {caller}: at most 30 REST calls", counts["rest_calls"] <= 30, counts)
    return most


class Elsewhere(Front):
    """The broker, but for the address at which the token is said to be good."""

    def __init__(self, tls, to_port, here, there):
        super().__init__(tls, to_port=to_port)
        self.here, self.there = here.encode(), there.encode()

    def pass_on(self, seen):
        status, headers, body = super().pass_on(seen)
        return status, headers, body.replace(self.here, self.there)


def alive(run, tls):
    """Salesforce refuses this client from its second call on, and nobody else. What the client says in the end."""
    check, stage = run.checks.check, run.stage
    refusing, refused = [], []

    def salesforce(seen):
        if not refusing:
            return 200, "application/json", b"{}"
        refused.append(seen)
        return 401, "application/json", REFUSED

    def between(_):
        refusing.append(True)
        stage.control("POST", "reset-counts")
        return 200, "text/plain", b"done"

    door = int(stage.door.rsplit(":", 1)[1])
    with (
        Front(tls, answer=salesforce) as instance,
        Front(tls, answer=between) as pause,
        Elsewhere(tls, door, stage.salesforce, instance.url) as broker,
    ):
        done, lasted = run.execute(
            script(run, "jsforce-reports.mjs"), "insists", url=broker.url, within=WITHIN, BETWEEN_URL=pause.url
        )
        asked = [seen.path for seen in broker.requests]
    said = done.stdout + done.stderr
    words = "the broker answers /token with status 502"
    check("jsforce that reports a living token fails, and says why", done.returncode != 0 and words in said, said)
    check("it reports three times", asked.count("/revoke") == 3, asked)
    check("at most 7 requests at the broker", len(asked) <= 7, asked)
    check("and 10 at Salesforce", len(refused) == 10, len(refused))
    counts = stage.control("GET", "counts")
    # One look at once, and another in every 30 s: the script waits for 35, and a busy machine adds to that.
    looks = 1 + int(lasted / 30)
    check(f"no login, and {looks} REST calls at most", counts["token_posts"] == 0 and counts["rest_calls"] <= looks, counts)
    return words
