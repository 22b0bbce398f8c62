"""Replicas whose clocks are an hour apart."""

import pathlib

from replicas_scene import shared

CALLERS = 300


def skewed(scene):
    """One replica is an hour ahead, one an hour behind: what one promises the others do not stretch."""
    found = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    scene.checks.check("libfaketime is there (Debian package faketime)", found, "install it: apt-get install faketime")
    config = scene.config(scene.store())
    fleet = []
    for name, shift in (("ahead", "+1h"), ("behind", "-1h"), ("right", "+0")):
        # The clocks that do not jump are left alone: no machine is wrong there.
        before = ("env", f"LD_PRELOAD={found[0]}", f"FAKETIME={shift}", "FAKETIME_DONT_FAKE_MONOTONIC=1")
        fleet.append(scene.replica(name, config, before=before if shift != "+0" else ()).start())
    for replica in fleet:
        replica.wait_until_ready()
    shared(fleet)
    seen = [replica.log()[-1]["timestamp"][:13] for replica in fleet]
    scene.checks.check("their clocks are an hour apart", len(set(seen)) == 3, seen)
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
