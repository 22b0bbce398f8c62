"""The one that holds the lease is killed, or sleeps for longer than it lasts, or the lease is forgotten."""

import signal
import time

from replicas_crowd import Later
from replicas_parts import PREFIX, until
from replicas_scene import shared

CALLERS = 600
LEASE = 3.0


def killed(scene, fleet):
    """`kill -9` of the replica whose POST is on its way."""
    holder, others = fleet[0], fleet[1:]
    (integration,) = scene.fresh()
    scene.salesforce.slow(scene.user(integration), 2500, times=1)
    with scene.counted() as counted:
        lost = Later([(holder, integration, 1)], scene.key)
        until("the holder's POST is on its way", lambda: counted.so_far() == 1)
        waiting = Later([(other, integration, CALLERS // 2) for other in others], scene.key)
        time.sleep(0.5)
        holder.kill()
        begun = time.time()
        answers = waiting.come()
        lost.come()
    errors = scene.judge("lease holder killed mid-mint, callers of the others", answers)
    scene.bounded("lease holder killed mid-mint", counted.posts, 2, 1)
    recovered = max(answer.ended for answer in answers) - begun
    scene.row("kill -9 of the lease holder mid-mint", counted.posts, 2, len(answers), errors, recovered)
    scene.salesforce.calm()
    holder.start().wait_until_ready()
    shared(fleet)
    with scene.counted() as counted:
        again = scene.ask([holder], [integration], 50)
    scene.judge("the killed one, started again", again)
    scene.bounded("the killed one, started again, takes the others' token", counted.posts, 0)
    same = {answer.body["access_token"] for answer in again + answers}
    scene.checks.check("there is one token in the fleet", len(same) == 1, len(same))


def stopped(scene, fleet):
    """SIGSTOP of the replica whose POST is on its way, for longer than its lease; then SIGCONT."""
    holder, others = fleet[0], fleet[1:]
    (integration,) = scene.fresh()
    scene.salesforce.slow(scene.user(integration), 1000, times=1)
    with scene.counted() as counted:
        own = Later([(holder, integration, 20)], scene.key)
        until("the holder's POST is on its way", lambda: counted.so_far() == 1)
        holder.signal(signal.SIGSTOP)
        begun = time.time()
        answers = scene.ask(others, [integration], CALLERS)
        taken_over = time.time() - begun
        # The answer to its own POST waits for it in its socket, and so does the end of its lease.
        time.sleep(max(0.0, LEASE + 1 - taken_over))
        fence = highest_fence(scene, integration)
        holder.signal(signal.SIGCONT)
        woken = time.time()
        own = own.come()
        newer = {answer.body["access_token"] for answer in answers}
        until("the woken one takes over the newer token", lambda: holder.ask(integration)[1].get("access_token") in newer)
        recovered = time.time() - woken
    errors = scene.judge("lease holder stopped, callers of the others", answers)
    errors += scene.judge("lease holder stopped, its own callers", own)
    scene.bounded("lease holder stopped beyond its lease", counted.posts, 2, 1)
    after = highest_fence(scene, integration)
    scene.checks.check("the fence in Redis does not go back", fence and after >= fence, (fence, after))
    tokens = {replica.ask(integration)[1]["access_token"] for replica in fleet}
    scene.checks.check("the newer token stands everywhere", tokens == newer and len(newer) == 1, (len(tokens), len(newer)))
    scene.row("SIGSTOP of the lease holder for more than its lease", counted.posts, 2, len(answers) + len(own), errors, taken_over,
              f"woken: {recovered:.1f} s")  # fmt: skip
    scene.salesforce.calm()


def ended(scene, fleet):
    """SIGTERM of the replica whose POST is on its way: it lands, for the others as well."""
    holder, others = fleet[0], fleet[1:]
    (integration,) = scene.fresh()
    scene.salesforce.slow(scene.user(integration), 2000, times=1)
    with scene.counted() as counted:
        own = Later([(holder, integration, 20)], scene.key)
        until("the holder's POST is on its way", lambda: counted.so_far() == 1)
        waiting = Later([(other, integration, CALLERS // 2) for other in others], scene.key)
        time.sleep(0.3)
        begun = time.time()
        status = holder.stop()
        answers = waiting.come()
    errors = scene.judge("lease holder ended mid-mint", answers + own.come())
    scene.checks.check("it left with exit status 0", status == 0, status)
    scene.bounded("lease holder ended mid-mint: its login lands for the others", counted.posts, 1, 1)
    recovered = max(answer.ended for answer in answers) - begun
    scene.row("SIGTERM of the lease holder mid-mint", counted.posts, 1, len(answers) + 20, errors, recovered)
    scene.salesforce.calm()
    holder.start().wait_until_ready()
    shared(fleet)


def flushed(scene, fleet):
    """Redis forgets everything, the lease as well, while the holder's POST is on its way."""
    (integration,) = scene.fresh()
    scene.salesforce.slow(scene.user(integration), 1500, times=1)
    with scene.counted() as counted:
        waiting = Later([(replica, integration, CALLERS // 3) for replica in fleet], scene.key)
        until("a POST is on its way", lambda: counted.so_far() == 1)
        scene.redis.ask("FLUSHALL")
        begun = time.time()
        answers = waiting.come()
        until("one token stands everywhere", lambda: len({replica.ask(integration)[1]["access_token"] for replica in fleet}) == 1)
        recovered = time.time() - begun
    errors = scene.judge("Redis flushed mid-mint", answers)
    # Whoever asks next finds no lease, until the holder's next heartbeat.
    scene.bounded("Redis flushed mid-mint", counted.posts, 2, 1)
    scene.row("Redis flushed mid-mint", counted.posts, 2, len(answers), errors, recovered)
    scene.salesforce.calm()


def highest_fence(scene, integration):
    """The fence of the token that stands in Redis; 0 when there is none."""
    keys = scene.redis.ask("KEYS", f"{PREFIX}{{i:{integration}:*:token")
    fences = [int(scene.redis.ask("HGET", key, "f") or 0) for key in keys]
    return max(fences, default=0)
