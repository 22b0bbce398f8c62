"""What a thief of Redis has: all keys and values in every form, a file of it, and every command that was ever sent."""

import subprocess
import time

import canary
from replicas_parts import PREFIX, Child, until


def listen(scene):
    """Writes down every command that Redis is given from now on."""
    redis, tls = scene.redis, scene.certificates
    command = ["redis-cli", "--tls", "--cacert", tls.ca, "-h", "localhost", "-p", redis.port, "monitor"]
    scene.monitor = scene.folder / "monitor.txt"
    # A Redis that is killed ends it; what it heard is searched all the same.
    child = Child(command, scene.monitor, stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "REDISCLI_AUTH": redis.owner})
    scene.stack.callback(child.kill)
    until("the monitor listens", lambda: scene.monitor.read_bytes().startswith(b"OK"))


def search(scene):
    """No key, no value, no dump, no file and no command holds a secret."""
    (integration,) = scene.fresh()
    scene.judge("before Redis is searched", scene.ask(scene.survivors, [integration], 30))
    texts = scene.redis.texts()
    kinds = {kind: [key for key in texts if kind in key] for kind in (":token", ":fence", "events", ":logins", "{j:")}
    scene.checks.check("there is something of each kind to search", all(kinds.values()), {kind: len(keys) for kind, keys in kinds.items()})
    scene.checks.check("every key is below the prefix", all(key.startswith(PREFIX) for key in texts), sorted(texts)[:5])
    for key, text in texts.items():
        canary.look_into(f"Redis: {key}", text)
    scene.redis.ask("SAVE")
    file = scene.redis.folder / "dump.rdb"
    canary.look_into("the RDB file", file.read_bytes().decode("latin-1"))
    for where in (scene.monitor, *scene.redis.folder.glob("log")):
        canary.look_into(f"{where.name} of Redis", where.read_text(errors="replace"))
    heard = scene.monitor.read_text(errors="replace")
    scene.checks.check("the monitor heard the replicas", "EVAL" in heard.upper() and PREFIX in heard, len(heard))
    token = scene.survivors[0].ask(integration)[1]["access_token"]
    search_finds = canary.KNOWN.find("xx" + token) is not None
    scene.checks.check("a token in there would be found", search_finds)
    scene.checks.check("no secret in Redis so far", not canary.KNOWN.found, "\n".join(canary.KNOWN.found))
    print(f"      {len(texts)} keys, {file.stat().st_size} bytes of RDB, {len(heard)} of commands searched at {time.strftime('%X')}")
