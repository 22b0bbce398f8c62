"""Tokens that die, refusals, restarts, assertions of callers and keys of the store, over a fleet."""

import json
import signal
import time
import uuid

import jwt

from replicas_crowd import Later, Warm
from replicas_parts import until
from replicas_scene import shared

CALLERS = 3000


def reported(scene, fleet):
    """A token that died early is reported at one replica: none hands it out a second later."""
    slowest = 0.0
    for integration in scene.fresh(3):
        scene.judge("before a token dies", scene.ask(fleet, [integration], 30))
        dead = fleet[0].ask(integration)[1]["access_token"]
        scene.salesforce.control("POST", "sessions/kill", {"username": scene.user(integration)})
        last, errors = {}, []
        with scene.counted() as counted:
            status, body = fleet[0].post("/revoke", {"token": dead})
            told = time.time()
            scene.checks.check("a report is taken", status == 200, body)
            while time.time() < told + 2.5:
                for replica in fleet:
                    status, body = replica.ask(integration)
                    if status != 200:
                        errors.append((status, body))
                    elif body["access_token"] == dead:
                        last[replica.name] = time.time()
        dropped = last.get(fleet[0].name, told)
        others = max([last.get(replica.name, told) for replica in fleet[1:]])
        scene.checks.check("a reported token is dropped by all within a second", others - dropped <= 1.0, others - dropped)
        scene.checks.check("nobody sees an error when a token dies", not errors, errors[:3])
        scene.bounded("a token reported dead", counted.posts, 1, 1)
        tokens = {replica.ask(integration)[1]["access_token"] for replica in fleet}
        scene.checks.check("all have the next one", len(tokens) == 1 and dead not in tokens, len(tokens))
        slowest = max(slowest, others - told)
    scene.row("a token dies early and is reported at one replica", counted.posts, 1, "-", 0, slowest)


def refused(scene, fleet):
    """A definite refusal counts for the fleet: one POST in each pause; cured, SIGHUP at one of them is enough."""
    (integration,) = scene.fresh()
    user = {"username": scene.user(integration), "standing": "inactive"}
    scene.salesforce.control("POST", "users", user)
    # Long enough that all of them have looked when the refusal comes: those who waited must not try for themselves.
    scene.salesforce.slow(scene.user(integration), 400)
    posts, asked = [], []
    for round_number in range(3):
        with scene.counted() as counted:
            # Few in the second round, which has to be over before the pause is.
            answers = scene.ask(fleet, [integration], CALLERS // (30 if round_number == 1 else 3))
        posts.append(counted.posts)
        asked += answers
        wrong = [(answer.status, answer.body) for answer in answers if answer.status != 502]
        scene.checks.check("a refusal is told as such", not wrong, wrong[:3])
        if round_number == 0:
            time.sleep(0.3)
        elif round_number == 1:
            until("the pause is over", lambda: time.time() > answers[0].ended + 5.5)
    scene.checks.check("one POST in each pause, over all replicas", posts == [1, 0, 1], posts)
    scene.salesforce.calm()
    scene.salesforce.control("POST", "users", user | {"standing": "active"})
    with scene.counted() as counted:
        fleet[1].signal(signal.SIGHUP)
        begun = time.time()
        until("SIGHUP is read", lambda: fleet[1].ask(integration)[0] == 200)
        until("all serve", lambda: all(replica.ask(integration)[0] == 200 for replica in fleet))
        recovered = time.time() - begun
    scene.bounded("cured, and SIGHUP at one replica", counted.posts, 1, 1)
    scene.judge("cured, and SIGHUP at one replica", scene.ask(fleet, [integration], 90))
    scene.row("a definite refusal, cured, SIGHUP at one replica", sum(posts) + counted.posts, 3, len(asked),
              f"{len(asked)} (502, as they must)", recovered)  # fmt: skip


def used_once(scene, fleet):
    """A caller's assertion is good at one replica, and then nowhere."""
    (integration,) = scene.fresh()

    def form(number):
        now = int(time.time())
        claims = {"iss": "signer", "sub": "signer", "aud": "https://aquila.example", "exp": now + 60, "jti": f"{number}-{uuid.uuid4()}"}
        return {
            "grant_type": "client_credentials", "scope": integration,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode(claims, scene.caller_key.read_text(), "RS256"),
        }  # fmt: skip

    for number in range(3):
        first, proof = fleet[number], form(number)
        status, body = first.post("/token", proof, headers={})
        scene.checks.check(f"an assertion of a caller is good at {first.name}", status == 200, body)
        for replica in fleet:
            status, body = replica.post("/token", proof, headers={})
            refused = status == 401 and json.loads(body)["error"] == "invalid_client"
            scene.checks.check(f"used there, it is refused at {replica.name}", refused, (status, body))


def rotated(scene, fleet):
    """The seal key is changed in the documented steps while callers ask: nobody logs in for it."""
    (integration,) = scene.fresh()
    scene.judge("before the seal key changes", scene.ask(fleet, [integration], 30))
    old, new = scene.seal.read_text(), scene.seal_key("seal-next").read_text()
    warm = Warm(scene.stack, scene.folder, fleet, integration, scene.key)
    until("callers ask", lambda: warm.seen(0, time.time())[0] > 10)
    begun = time.time()
    for step, text in (("the new one second", old + new), ("the new one first", new + old), ("the old one gone", new)):
        scene.seal.write_text(text)
        with scene.counted() as counted:
            for replica in fleet:
                before = reloads(replica)
                replica.signal(signal.SIGHUP)
                until("the change is read", lambda: reloads(replica) > before)  # noqa: B023 asked at once
                # Half of a step: one has it, others have not; what it writes they can read.
                (mixed,) = scene.fresh()
                scene.judge(f"{step}, in the middle", scene.ask([replica], [mixed], 5))
                scene.judge(f"{step}, in the middle, elsewhere", scene.ask(fleet, [mixed], 15))
            seen = {replica.ask(integration)[1]["access_token"] for replica in fleet}
        scene.bounded(f"{step}: a login for each of 3 new integrations, and none for the change", counted.posts, 3, 3)
        scene.checks.check(f"{step}: one token", len(seen) == 1, len(seen))
    many, errors, p99 = warm.seen(begun, time.time())
    warm.end()
    scene.checks.check("callers see nothing of a change of the seal key", many and not errors, errors[:3])
    # What the old key sealed is sealed anew or minted anew, but a replica that is started reads what stands there.
    fleet[2].stop()
    fleet[2].start().wait_until_ready()
    shared(fleet)
    with scene.counted() as counted:
        scene.judge("started after the change", scene.ask([fleet[2]], [mixed], 10))
    scene.bounded("started after the change, it reads what the others sealed", counted.posts, 0)
    scene.row("seal key rotated in three steps", 0, 0, many, len(errors), None, f"p99 {p99:.0f} ms")


def reloads(replica):
    return replica.metric("aquila_config_reloads_total", outcome="applied") + replica.metric("aquila_config_reloads_total", outcome="unchanged")


def two_generations(scene, fleet):
    """Half of the replicas have a new configuration of an integration: neither half takes the other's token."""
    (integration,) = scene.fresh()
    changed = scene.config(scene.store(), lines={integration: 'session_timeout = "1h"\n'})
    config, other = fleet[0].config, fleet[0]
    with scene.counted() as counted:
        older = scene.ask(fleet[1:], [integration], 100)
        other.write(changed)
        before = reloads(other)
        other.signal(signal.SIGHUP)
        until("the change is read", lambda: reloads(other) > before)
        newer = scene.ask([other], [integration], 100)
        older += scene.ask(fleet[1:], [integration], 100)
    errors = scene.judge("two generations", older + newer)
    scene.bounded("two generations: one login for each", counted.posts, 2, 2)
    kept = [{answer.body["access_token"] for answer in part} for part in (older, newer)]
    scene.checks.check("two generations share no token", not kept[0] & kept[1] and len(kept[0] | kept[1]) == 2, [len(one) for one in kept])
    with scene.counted() as back:
        before = reloads(other)
        other.write(config)
        other.signal(signal.SIGHUP)
        until("the change is read", lambda: reloads(other) > before)
        again = scene.ask([other], [integration], 20)
    scene.judge("back in the old generation", again)
    scene.bounded("back in the old generation, it takes the others' token", back.posts, 0)
    scene.row("two generations of a configuration at once", counted.posts, 2, len(older + newer), errors, None)


def warm_start(scene, fleet):
    """All replicas end, Salesforce is down, one is started: it answers from the store."""
    integrations = scene.fresh(2)
    answers = scene.ask(fleet, integrations, 60)
    scene.judge("before all replicas end", answers)
    known = {answer.integration: answer.body["access_token"] for answer in answers}
    for replica in fleet:
        replica.stop()
    for door in ("token", "rest", "introspect"):
        scene.salesforce.fault(door=door, answer={"kind": "hang_up"})
    with scene.counted() as counted:
        begun = time.time()
        fleet[0].start().wait_until_ready()
        later = Later([(fleet[0], integration, 100) for integration in integrations], scene.key).come()
        recovered = max(answer.ended for answer in later) - begun
    scene.salesforce.calm()
    errors = scene.judge("started while Salesforce is down", later)
    same = all(known[answer.integration] == answer.body.get("access_token") for answer in later)
    scene.checks.check("started while Salesforce is down: the tokens of before", same)
    scene.bounded("started while Salesforce is down", counted.posts, 0)
    scene.row("all replicas restarted while Salesforce is down", counted.posts, 0, len(later), errors, recovered)
    for replica in fleet[1:]:
        replica.start().wait_until_ready()
    shared(fleet)
