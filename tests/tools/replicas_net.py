"""Replicas in network namespaces of their own: one loses Redis, another loses Salesforce."""

import os
import time

from replicas_crowd import Later
from replicas_parts import HOST_OF_REDIS, HOST_OF_SALESFORCE, Certificates, Namespace, Salesforce
from replicas_scene import alone, shared

CALLERS = 300
REMEDY = "run it as root, or give the container CAP_NET_ADMIN and CAP_SYS_ADMIN; Debian packages iproute2 and iptables"


def partitioned(scene):
    """The one without Redis goes alone; the one without Salesforce lives on what the others log in."""
    block = os.getpid() % 250
    try:
        spaces = [Namespace(scene.stack, f"aq{os.getpid()}-{number}", number, block) for number in range(3)]
    except (OSError, RuntimeError) as error:
        scene.checks.check("network namespaces can be made here", False, f"{error}; {REMEDY}")
        return
    middle = spaces[0].here
    for space in spaces:
        space.resolve(middle, HOST_OF_SALESFORCE, HOST_OF_REDIS)
    folder = scene.folder / "net"
    folder.mkdir()
    for name in ("app.pem", "client.secret"):
        (folder / name).write_text((scene.folder / name).read_text())
    certificates = Certificates(folder, middle)
    names = [f"net-{number}" for number in range(8)]
    salesforce = Salesforce(
        scene.stack, scene.binary, folder, [scene.user(name) for name in names], "--allow-remote",
        "--tls-certificate", certificates.certificate, "--tls-key", certificates.key,
        "--switch", "running_session_handed_back=false",
        listen=middle, url=f"https://{HOST_OF_SALESFORCE}:{{port}}", name="salesforce-net",
    )  # fmt: skip
    redis = scene.new_redis("redis-net", bind=middle, certificates=certificates).start()
    settings = f'[salesforce]\nallowed_hosts = ["{HOST_OF_SALESFORCE}"]\nca_path = "{certificates.ca}"\nrequest_timeout = "2s"\n'
    config = scene.config(
        scene.store(redis=redis, host=HOST_OF_REDIS), salesforce=salesforce, integrations=names, settings=settings
    )
    fleet = []
    for number, space in enumerate(spaces):
        before = ("ip", "netns", "exec", space.name)
        fleet.append(scene.replica(f"net-{number}", config, before=before, namespace=space).start())
    for replica in fleet:
        replica.wait_until_ready()
    shared(fleet)
    judge = lambda what, answers: scene.judge(what, answers, salesforce)  # noqa: E731
    with scene.counted(salesforce) as counted:
        errors = judge("in three namespaces", scene.ask(fleet, names[:1], CALLERS))
    scene.bounded("in three namespaces", counted.posts, 1, 1)

    whole, no_redis, no_salesforce = fleet
    spaces[1].cut(redis.port)
    spaces[2].cut(salesforce.port)
    begun = time.time()
    with scene.counted(salesforce) as counted:
        # Its own next flight finds out that Redis is away, and goes on.
        answers = scene.ask([no_redis], names[1:2], CALLERS // 3)
        answers += scene.ask([whole], names[1:2], CALLERS // 3)
        answers += scene.ask([no_salesforce], names[1:2], CALLERS // 3)
    found_out = time.time() - begun
    errors = judge("partitioned: one without Redis, one without Salesforce", answers)
    scene.bounded("partitioned: one login of the lone one, one for the rest", counted.posts, 2, 1)
    alone([no_redis])
    scene.row("partition: one replica without Redis, one without Salesforce", counted.posts, 2, len(answers), errors, found_out)

    with scene.counted(salesforce) as counted:
        # The one that reaches nobody tries first; the others are not stopped by what it finds.
        answers = scene.ask([no_salesforce, whole, no_redis], names[2:3], CALLERS)
    told = [answer for answer in answers if answer.replica is not no_salesforce]
    errors = judge("partitioned, all ask at once, callers of those who reach Salesforce", told)
    helped = [answer.status for answer in answers if answer.replica is no_salesforce and answer.status == 200]
    scene.bounded("partitioned, all ask at once", counted.posts, 2, 1)
    cut_off = len(answers) - len(told) - len(helped)
    later = scene.ask([no_salesforce], names[2:3], 30)
    judge("the one without Salesforce has the others' token", later)
    scene.row("the same, all ask at once", counted.posts, 2, len(told), errors, None, f"cut off from Salesforce: {cut_off} of {len(answers) - len(told)} without a token")

    with scene.counted(salesforce) as counted:
        # It has the lease, and nobody to log in at.
        own = Later([(no_salesforce, names[4], 30)], scene.key)
        time.sleep(0.5)
        answers = scene.ask([whole], names[4:5], CALLERS // 3)
        helped = own.come()
    errors = judge("a replica without Salesforce has the lease, callers of another one", answers)
    scene.bounded("a replica without Salesforce has the lease", counted.posts, 1, 1)
    judge("the one without Salesforce has the others' token again", scene.ask([no_salesforce], names[4:5], 30))
    slowest = max(answer.ended - answer.began for answer in answers)
    without = sum(answer.status != 200 for answer in helped)
    scene.row("a replica without Salesforce has the lease", counted.posts, 1, len(answers), errors, slowest, f"its own: {without} of 30 without a token")

    spaces[1].mend(redis.port)
    spaces[2].mend(salesforce.port)
    recovered = shared(fleet)
    with scene.counted(salesforce) as counted:
        answers = scene.ask(fleet, names[3:4], CALLERS)
    errors = judge("mended", answers)
    scene.bounded("mended", counted.posts, 1, 1)
    scene.row("the partition is mended", counted.posts, 1, len(answers), errors, recovered)
    for replica in fleet:
        replica.stop()
