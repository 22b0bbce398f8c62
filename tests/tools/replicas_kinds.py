"""The same over a Redis that Sentinels watch, and over a Cluster: its master is killed."""

import threading
import time

from replicas_crowd import Warm
from replicas_parts import Sentinel, free_port, until
from replicas_scene import shared

CALLERS = 240
SLOTS = 16384


def sentinel(scene):
    """Sentinels say who the master is; it is killed, and its replica takes its place."""
    master, second = (scene.new_redis(name).start() for name in ("redis-master", "redis-standby"))
    # Whoever takes over has to know the service's password, and the owner's.
    second.ask("ACL", "SETUSER", "aquila", "resetpass", ">" + master.password)
    second.ask("CONFIG", "SET", "masterauth", master.owner)
    second.ask("CONFIG", "SET", "requirepass", master.owner)
    second.owner = master.owner
    second.ask("REPLICAOF", "127.0.0.1", master.port)
    watch = scene.known(Sentinel(scene.stack, scene.folder, scene.certificates, master)).start()
    until("the Sentinel knows the replica", watch.knows_a_replica)
    password = scene.folder / "sentinel-owner.password"
    password.touch(mode=0o600)
    password.write_text(watch.owner)
    where = (
        f'urls = ["rediss://localhost:{watch.port}"]\nmode = "sentinel"\nmaster_name = "aquila"\n'
        f'sentinel_password_path = "{password}"'
    )
    fleet = scene.fleet("sentinel", 3, scene.config(scene.store(redis=master, where=where)))
    shared(fleet)

    def fail_over():
        master.kill()
        until("the Sentinel names another master", lambda: watch.master() == second.port)

    lose(scene, fleet, "the master under Sentinel killed", fail_over)


def cluster(scene):
    """Three masters with a part of the names each; one is killed, and started again."""
    nodes = []
    for number in range(3):
        more = f"cluster-enabled yes\ncluster-port {free_port()}\ntls-cluster yes\ncluster-node-timeout 1000\ncluster-require-full-coverage no\n"
        nodes.append(scene.new_redis(f"redis-node-{number}", more=more, rights="+cluster|slots").start())
    for number, node in enumerate(nodes):
        node.ask("CONFIG", "SET", "masterauth", node.owner)
        node.ask("ACL", "SETUSER", "aquila", "resetpass", ">" + nodes[0].password)
        node.ask("CLUSTER", "ADDSLOTSRANGE", SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1)
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.ask("CONFIG", "GET", "cluster-port")[1])
    until("the Cluster is whole", lambda: all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") and b"cluster_known_nodes:3" in
                                              node.ask("CLUSTER", "INFO") for node in nodes))  # fmt: skip
    where = f'urls = ["rediss://localhost:{nodes[0].port}", "rediss://localhost:{nodes[1].port}"]\nmode = "cluster"'
    fleet = scene.fleet("cluster", 3, scene.config(scene.store(redis=nodes[0], where=where)))
    shared(fleet)

    def restart():
        nodes[2].kill()
        time.sleep(1.5)
        nodes[2].start()
        # Its user was made by hand and is gone with it.
        nodes[2].ask("ACL", "SETUSER", "aquila", "resetpass", ">" + nodes[0].password)
        until("the Cluster is whole", lambda: all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes))

    lose(scene, fleet, "a master of a Cluster killed and started again", restart)


def lose(scene, fleet, name, strike):
    """Cold callers while it happens and afterwards; warm ones all the time."""
    before, warm_one = scene.fresh(2)
    with scene.counted() as counted:
        answers = scene.ask(fleet, [before, warm_one], CALLERS)
    scene.judge(f"{name}, before", answers)
    scene.bounded(f"{name}, before", counted.posts, 2, 2)
    warm = Warm(scene.stack, scene.folder, fleet, warm_one, scene.key)
    begun, posts, answers, rounds, struck = time.time(), [], [], 0, []
    thread = threading.Thread(target=lambda: (strike(), struck.append(time.time())))
    thread.start()
    while not struck and rounds < 10:
        (cold,) = scene.fresh()
        with scene.counted() as counted:
            answers += scene.ask(fleet, [cold], 60)
        posts.append(counted.posts)
        rounds += 1
        time.sleep(0.3)
    thread.join()
    scene.checks.check(f"{name}: it was struck and is back", struck)
    errors = scene.judge(f"{name}, cold callers meanwhile", answers)
    scene.checks.check(f"{name}: at most one POST for each replica each time", max(posts) <= len(fleet), posts)
    shared(fleet)
    recovered = time.time() - struck[0]
    (after,) = scene.fresh()
    with scene.counted() as counted:
        errors += scene.judge(f"{name}, afterwards", scene.ask(fleet, [after], CALLERS))
    scene.bounded(f"{name}, afterwards", counted.posts, 1, 1)
    many, warm_errors, p99 = warm.seen(begun, time.time())
    warm.end()
    scene.checks.check(f"{name}: {many} warm callers see nothing, p99 {p99:.1f} ms", many and not warm_errors, warm_errors[:5])
    scene.row(name, f"{max(posts)} at most of {len(posts)}", len(fleet), len(answers), errors, recovered,
              f"{many}, {len(warm_errors)} errors, p99 {p99:.0f} ms")  # fmt: skip
    for replica in fleet:
        replica.stop()
