"""Replicas that act as one, from outside: the real service many times, a real Redis over TLS, Salesforce simulated.

    callers ──> aquila serve × 1, 3, 10 ──> aquila simulate (counts the POSTs at its token endpoint)
                     └──> redis-server (TLS, a password, a user of its own), sometimes by way of a relay

Each check breaks something and counts: POSTs at Salesforce, errors that callers see, how long it takes until all is as
before. The bounds are those of docs/replicas.md. The last lines are the table of it all. Needs root, or at least the
right to make network namespaces; what is missing fails a check.
"""

import argparse
import contextlib
import pathlib
import resource
import tempfile
import time

import replicas_alone
import replicas_clock
import replicas_faults
import replicas_holder
import replicas_kinds
import replicas_life
import replicas_net
import replicas_secrets
from checks import Checks
from replicas_scene import Scene, shared
from service import openssl

CALLERS = 3000
SIZES = (1, 3, 10)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--only", default="", help="parts of names of checks, with commas, for whoever works on one")
    arguments = arguments.parse_args()
    # Thousands of connections, on both sides.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    binary = pathlib.Path(arguments.binary).resolve()
    with Checks("replicas") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        scene = Scene(stack, checks, binary, pathlib.Path(folder))
        scene.only = [word for word in arguments.only.split(",") if word]
        openssl("pkey", "-in", scene.caller_key, "-pubout", "-out", scene.folder / "signer.pub")
        try:
            run(scene)
        finally:
            scene.table()
        # Before `Checks` judges what was found: only what has ended has been searched.
        stack.close()


def run(scene):
    begun = time.monotonic()

    def step(action, *arguments):
        if not scene.only or any(word in f"{action.__module__}.{action.__name__}" for word in scene.only):
            before = time.monotonic()
            action(scene, *arguments)
            print(f"      {action.__name__} took {time.monotonic() - before:.1f} s", flush=True)

    step(apart)
    scene.seal = scene.seal_key("seal")
    replicas_secrets.listen(scene)
    fleet = scene.survivors = together(scene)
    step(replicas_holder.killed, fleet)
    step(replicas_holder.stopped, fleet)
    step(replicas_holder.ended, fleet)
    step(replicas_holder.flushed, fleet)
    step(replicas_life.reported, fleet)
    step(replicas_life.refused, fleet)
    step(replicas_life.used_once, fleet)
    step(replicas_life.rotated, fleet)
    step(replicas_life.two_generations, fleet)
    step(replicas_life.warm_start, fleet)
    # The store has been through much by now: all of it is looked at, before it is flushed.
    step(replicas_secrets.search)
    step(replicas_faults.direct, fleet)
    step(replicas_faults.relayed)
    step(replicas_kinds.sentinel)
    step(replicas_kinds.cluster)
    step(replicas_alone.budget)
    step(replicas_clock.skewed)
    step(replicas_clock.set_back)
    step(replicas_net.partitioned)
    print(f"      all of it took {time.monotonic() - begun:.0f} s", flush=True)


def apart(scene):
    """The control experiment: without a store each replica logs in for itself, and the counting sees that."""
    fleet = scene.fleet("apart", max(SIZES), scene.config())
    for size in SIZES:
        integrations = scene.fresh(2)
        for integration in integrations:
            scene.salesforce.slow(scene.user(integration), 300)
        with scene.counted() as counted:
            answers = scene.ask(fleet[:size], integrations, CALLERS // 5)
        errors = scene.judge(f"no store, {size} replicas", answers)
        scene.bounded(f"no store, {size} replicas", counted.posts, 2 * size, 2 * size)
        scene.row(f"none, no store, {size} replicas (control)", counted.posts, 2 * size, len(answers), errors, None)
    scene.salesforce.calm()
    for replica in fleet:
        replica.stop()


def together(scene):
    """One POST for each integration, however many replicas there are; three of them stay for what comes next."""
    fleet, config = [], scene.config(scene.store())
    for size in SIZES:
        added = [scene.replica(f"together-{number}", config).start() for number in range(len(fleet) + 1, size + 1)]
        fleet += [replica.wait_until_ready() for replica in added]
        shared(fleet)
        if scene.only and size == 3:
            return fleet
        integrations = scene.fresh(2)
        for integration in integrations:
            scene.salesforce.slow(scene.user(integration), 300)
        with scene.counted() as counted:
            answers = scene.ask(fleet, integrations, CALLERS)
        errors = scene.judge(f"{size} replicas", answers)
        scene.bounded(f"{size} replicas, {CALLERS} cold callers, 2 integrations", counted.posts, 2, 2)
        slowest = max(answer.ended - answer.began for answer in answers)
        scene.row(f"none, {size} replicas", counted.posts, 2, len(answers), errors, None, f"slowest {slowest:.1f} s")
    scene.salesforce.calm()
    for replica in fleet[3:]:
        replica.stop()
    return fleet[:3]


if __name__ == "__main__":
    main()
