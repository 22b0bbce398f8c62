"""Clients that ask again by themselves when their token is over: what they do when its session dies before that.

Each has an integration whose sessions are brief. The session is ended as soon as the client has used it, and the client
goes on using what it has: refused until the end that it was told, and answered from then on.
"""

import concurrent.futures
import json
import re

from clients import CLIENTS
from doors import user_of
from front import Front
from page import Row

HEAD = ("Client", "Version", "A dead token reads as", "Asks again", "Then")
WITHIN = 60.0
# The machine may have other things to do between the end of a token and the try that finds it.
LATE = 8.0
WORDS = {
    "airbyte-cdk": r"AirbyteTracedException: .*?HTTP Status Code: 401\. Error: Unauthorized",
    "dlt": r"HTTPError: 401 Client Error: Unauthorized for url: ",
    "singer-sdk": r"HTTPError: 401 Client Error: Unauthorized for url: ",
}


def caller_of(client):
    return f"renews-{client.caller}"


def judge(run, tls):
    """The rows of the table of renewals. They wait side by side."""
    chosen = [client for client in CLIENTS if client.renews]
    with concurrent.futures.ThreadPoolExecutor(len(chosen)) as pool:
        told = dict(zip(chosen, pool.map(lambda client: live_on(run, tls, client), chosen), strict=True))
    return [row(run, client, *seen) for client, seen in told.items()]


def live_on(run, tls, client):
    """What the client told, what it wrote, and how often it and its user asked whom."""
    stage, caller, user = run.stage, caller_of(client), user_of(caller_of(client))
    killed = []

    def between(_):
        killed.append(stage.control("POST", "sessions/kill", {"username": user})["killed"])
        return 200, "text/plain", b"done"

    with Front(tls, answer=between) as pause:
        done, _ = run.execute(
            run.tools.command(client.script), caller, url=stage.recorder.url, within=WITHIN, BETWEEN_URL=pause.url
        )
    asked = [seen for seen in stage.recorder.requests if seen.proof()[1] == stage.keys[caller]]
    logins = stage.control("GET", "counts")["by_user"][user]["token_posts"]
    return done, killed, len(asked), logins


def row(run, client, done, killed, asked, logins):
    check, name = run.checks.check, client.name
    said = done.stdout + done.stderr
    check(f"{name}: it lives through the end of its session", done.returncode == 0, said)
    got = json.loads(done.stdout.splitlines()[-1])
    check(f"{name}: the session was over", killed == [1], killed)
    words = [re.search(WORDS[name], refusal) for refusal in got["refusals"]]
    check(f"{name}: until it asks again it is refused, and says so", words and all(words), got["refusals"][:2])
    check(f"{name}: by itself it has another token then", got.get("after", got["access_token"]) != got["access_token"], said)
    late = got["renewed_after_end"]
    check(f"{name}: it asks at the end that it was told, not before", 0 <= late <= LATE, late)
    check(f"{name}: it asked twice in all", asked == 2, asked)
    check(f"{name}: two logins in all", logins == 2, logins)
    words = re.sub(r".*: (?=HTTP Status)", "", words[0][0]).removesuffix(" for url: ")
    return Row((name, run.tools.version(client), f"`{words}`", "at the end of `expires_in`", "another token, answers"))
