"""Clocks that are an hour apart: of replicas, and of Redis."""

import datetime
import pathlib
import time

from replicas_parts import run
from replicas_scene import alone, shared

CALLERS = 300


def shifted(scene, by):
    """The words before a program that shift its clock by seconds; clocks that never jump are left alone, none is wrong."""
    library = scene.folder / "shift.so"
    if not library.exists():
        source = pathlib.Path(__file__).parent / "clock" / "shift.c"
        run("cc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", library, source)
    return ("env", f"LD_PRELOAD={library}", f"CLOCK_SHIFT={by}")


def skewed(scene):
    """One replica is an hour ahead, one an hour behind: what one promises the others do not stretch."""
    config = scene.config(scene.store())
    fleet = []
    for name, shift in (("ahead", 3600), ("behind", -3600), ("right", 0)):
        fleet.append(scene.replica(name, config, before=shifted(scene, shift) if shift else ()).start())
    for replica in fleet:
        replica.wait_until_ready()
    shared(fleet)
    ahead, behind, right = (logged(replica) for replica in fleet)
    apart = [round((one - right).total_seconds()) for one in (ahead, behind)]
    scene.checks.check("their clocks are an hour apart", abs(apart[0] - 3600) <= 60 and abs(apart[1] + 3600) <= 60, apart)
    posts, asked, errors = 0, 0, 0
    for first in fleet:
        for integration in scene.fresh(2):
            # A clock that is behind signs what Salesforce finds expired; the answer tells the time, and the next one is good.
            allowed = 2 if first.name == "behind" else 1
            with scene.counted() as counted:
                answers = scene.ask([first], [integration], 20)
                answers += scene.ask(fleet, [integration], CALLERS // 6)
            errors += scene.judge(f"minted by the replica {first.name}", answers)
            scene.bounded(f"minted by the replica {first.name}", counted.posts, allowed, 1)
            posts, asked = posts + counted.posts, asked + len(answers)
            own = first.ask(integration)[1]
            for other in fleet:
                theirs = other.ask(integration)[1]
                fair = own["expires_in"] - 30 <= theirs["expires_in"] <= own["expires_in"]
                seen = (own["expires_in"], theirs["expires_in"])
                scene.checks.check(f"{other.name} promises no more than {first.name}, and hardly less", fair, seen)
                scene.checks.check(f"{other.name} has the token of {first.name}", own["access_token"] == theirs["access_token"])
    scene.row("clocks an hour ahead and an hour behind, 6 integrations", posts, 8, asked, errors, None)
    for replica in fleet:
        replica.stop()


def logged(replica):
    """When it last wrote a line, by its own clock."""
    return datetime.datetime.fromisoformat(replica.log()[-1]["timestamp"][:19])


def set_back(scene):
    """Redis is lost, and the one that takes its place is an hour behind: fences begin below those that were seen."""
    redis = scene.new_redis("redis-set-back").start()
    fleet = scene.fleet("set-back", 3, scene.config(scene.store(redis=redis)))
    shared(fleet)
    known, doomed, cold = scene.fresh(3)
    before = scene.ask(fleet, [known, doomed], 60)
    scene.judge("before Redis is set back", before)
    redis.kill()
    alone(fleet)
    redis.start(*shifted(scene, -3600))
    mended = time.time()
    behind = mended - int(redis.ask("TIME")[0])
    scene.checks.check("Redis is an hour behind", 3500 < behind < 3700, behind)
    shared(fleet)
    recovered = time.time() - mended
    with scene.counted() as counted:
        answers = scene.ask(fleet, [known, cold], CALLERS)
    errors = scene.judge("Redis set back", answers)
    scene.bounded("Redis set back: one login for what is cold, none for what is warm", counted.posts, 1, 1)
    # Nobody asks twice before: whoever comes back soon is a reason to look, and the next look is 30 s later.
    dead = next(answer.body["access_token"] for answer in before if answer.integration == doomed)
    scene.salesforce.control("POST", "sessions/kill", {"username": scene.user(doomed)})
    with scene.counted() as counted_again:
        status, body = fleet[0].post("/revoke", {"token": dead})
        scene.checks.check("a report is taken", status == 200, body)
        time.sleep(1.5)
        answers += scene.ask(fleet, [doomed], CALLERS)
    errors += scene.judge("Redis set back, and a token dies", answers[-CALLERS:])
    scene.bounded("Redis set back, and a token dies", counted_again.posts, len(fleet), 1)
    posts = counted.posts + counted_again.posts
    scene.row("Redis lost, the next one is an hour behind; a token dies", posts, 1 + len(fleet), len(answers), errors, recovered)
    for replica in fleet:
        replica.stop()
