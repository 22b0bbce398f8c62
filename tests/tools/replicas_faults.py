"""Redis in every kind of trouble, while warm callers ask all the time and cold ones come."""

import collections
import time

from replicas_crowd import Warm
from replicas_parts import Relay, until
from replicas_scene import alone, settle, shared

CALLERS = 240

# What breaks, what mends it, whether the replicas then are alone.
Fault = collections.namedtuple("Fault", "name strike mend away")


def direct(scene, fleet):
    """Redis itself: killed, stopped, flushed, empty, full, read-only, with another password."""
    redis = scene.redis
    primary = scene.new_redis("nobody")

    def anew():
        redis.kill()
        redis.start()

    def another_password():
        redis.ask("ACL", "SETUSER", "aquila", "resetpass", ">somebody-elses-password")
        redis.ask("CLIENT", "KILL", "USER", "aquila")

    def the_password():
        redis.ask("ACL", "SETUSER", "aquila", "resetpass", ">" + redis.password)

    faults = [
        Fault("Redis killed", redis.kill, redis.start, True),
        Fault("Redis stopped (SIGSTOP)", redis.freeze, redis.thaw, True),
        Fault("Redis flushed", lambda: redis.ask("FLUSHALL"), lambda: None, False),
        Fault("Redis restarted, empty", anew, lambda: None, None),
        Fault("Redis full (maxmemory)", lambda: redis.ask("CONFIG", "SET", "maxmemory", "1"),
              lambda: redis.ask("CONFIG", "SET", "maxmemory", "0"), True),
        Fault("Redis takes no writes (min-replicas-to-write)", lambda: redis.ask("CONFIG", "SET", "min-replicas-to-write", "1"),
              lambda: redis.ask("CONFIG", "SET", "min-replicas-to-write", "0"), True),
        Fault("Redis demoted to a read-only replica", lambda: redis.ask("REPLICAOF", "127.0.0.1", primary.port),
              lambda: redis.ask("REPLICAOF", "NO", "ONE"), True),
        Fault("Redis has another password", another_password, the_password, True),
    ]  # fmt: skip
    suffer(scene, fleet, faults)


def relayed(scene):
    """On the way to Redis: slow, garbage, silence, refused; and a failover to another server behind the same address."""
    relay = Relay(scene.stack, scene.folder, scene.redis)
    fleet = scene.fleet("relayed", 3, scene.config(scene.store(port=relay.port)))
    shared(fleet)
    second = scene.new_redis("redis-second").start()
    # Whoever takes over has to know the service's password, and the owner's of the other to follow it.
    second.ask("ACL", "SETUSER", "aquila", "resetpass", ">" + scene.redis.password)
    second.ask("CONFIG", "SET", "masterauth", scene.redis.owner)
    second.ask("REPLICAOF", "127.0.0.1", scene.redis.port)
    until("the second one follows", lambda: b"master_link_status:up" in second.ask("INFO", "replication"))

    def fail_over():
        second.ask("REPLICAOF", "NO", "ONE")
        relay.order("pass", second.port)

    passing = lambda: relay.order("pass")  # noqa: E731
    faults = [
        Fault("Redis slow by 2 s", lambda: relay.order("slow"), passing, True),
        Fault("Redis answers garbage", lambda: relay.order("garbage"), passing, True),
        Fault("Redis takes all and says nothing", lambda: relay.order("mute"), passing, True),
        Fault("Redis refuses connections", lambda: relay.order("refuse"), passing, True),
        Fault("Redis fails over to its replica", fail_over, lambda: None, None),
    ]
    suffer(scene, fleet, faults)
    for replica in fleet:
        replica.stop()


def suffer(scene, fleet, faults):
    (warm_one,) = scene.fresh()
    scene.judge("before Redis is in trouble", scene.ask(fleet, [warm_one], 30))
    warm = Warm(scene.stack, scene.folder, fleet, warm_one, scene.key)
    for fault in faults:
        endure(scene, fleet, fault, warm)
    warm.end()


def endure(scene, fleet, fault, warm):
    checks, name = scene.checks, fault.name
    during, after = scene.fresh(2)
    lines = {replica.name: len(replica.log()) for replica in fleet}
    begun = time.time()
    fault.strike()
    with scene.counted() as counted:
        answers = scene.ask(fleet, [during], CALLERS)
    errors = scene.judge(f"{name}, cold callers", answers)
    # Whether a replica that is alone has to be seen depends on how soon it looks.
    scene.bounded(name, counted.posts, 1 if fault.away is False else len(fleet), 1)
    if fault.away:
        alone(fleet)
        for replica in fleet:
            store = replica.store()
            checks.check(f"{name}: /status.json of {replica.name} says why and what to do", store["cause"] and store["remedy"], store)
            checks.check(f"{name}: the metric of {replica.name} says so", replica.metric("aquila_store_up") == 0)
        settle(max(0.0, begun + 1.5 - time.time()))
    fault.mend()
    mended = time.time()
    shared(fleet)
    recovered = time.time() - mended
    up = [replica.metric("aquila_store_up") for replica in fleet]
    checks.check(f"{name}, mended: the metric says so", up == [1] * len(fleet), up)
    with scene.counted() as counted_after:
        answers_after = scene.ask(fleet, [after], CALLERS // 2)
    errors += scene.judge(f"{name}, mended", answers_after)
    scene.bounded(f"{name}, mended: they share again", counted_after.posts, 1, 1)
    many, warm_errors, p99 = warm.seen(begun, time.time())
    checks.check(f"{name}: {many} warm callers see nothing, p99 {p99:.1f} ms", many and not warm_errors, warm_errors[:5])
    told = [of_the_store(replica.log()[lines[replica.name]:]) for replica in fleet]
    if fault.away:
        checks.check(f"{name}: one line in the log when it goes, one when it comes back", all(len(one) == 2 for one in told), told)
    elif fault.away is False:
        checks.check(f"{name}: nothing to tell", not any(told), told)
    slowest = max(answer.ended - answer.began for answer in answers)
    scene.row(name, counted.posts, 1 if fault.away is False else len(fleet), len(answers), errors, recovered,
              f"{many}, {len(warm_errors)} errors, p99 {p99:.0f} ms; slowest cold {slowest:.1f} s")  # fmt: skip


def of_the_store(records):
    """What a log says of the way to the store."""
    return [record["message"] for record in records if record["message"].startswith("the store is ")]
