"""Thousands of callers at once, and a few that ask all the time.

    replicas_crowd.py PORT…      asks each door for the integration on the first line of stdin, with the key on the second,
                                 over and over, and writes a line for each answer: when, port, status, milliseconds

The second is a process of its own, so that nothing which the harness does looks like a slow answer.
"""

import asyncio
import collections
import http.client
import json
import subprocess
import sys
import threading
import time

Answer = collections.namedtuple("Answer", "replica integration status body began ended")
# Guarantee 7 says 10 s; the rest is for a machine that has more to do than this.
ANSWER_WITHIN = 12.0
PAUSE = 0.01


def crowd(asked, key, gate=None):
    """Asks many times at once. `asked`: replica, integration and how many, each. All connections are open before the first
    of them asks. In `status` 0 stands for no answer, `body` then says why."""
    by_place = collections.defaultdict(list)
    for replica, integration, count in asked:
        by_place[replica.namespace].append((replica, integration, count))
    answers, threads = [], []
    for namespace, part in by_place.items():

        def work(namespace=namespace, part=part):
            action = lambda: answers.extend(asyncio.run(ask_all(part, key, gate)))  # noqa: E731
            namespace.inside(action) if namespace else action()

        threads.append(threading.Thread(target=work))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class Later:
    """A crowd that asks while the harness does something else."""

    def __init__(self, asked, key):
        self.answers = []
        self.thread = threading.Thread(target=lambda: self.answers.extend(crowd(asked, key)))
        self.thread.start()

    def come(self):
        self.thread.join()
        return self.answers


async def ask_all(asked, key, gate):
    start, room = asyncio.Event(), asyncio.Semaphore(200)
    tasks = [
        asyncio.create_task(ask(replica, integration, key, room, start)) for replica, integration, count in asked for _ in range(count)
    ]
    await asyncio.sleep(0)
    # Whoever has room to connect is connected, then everybody asks.
    while any(task.get_name() != "connected" for task in tasks if not task.done()):
        await asyncio.sleep(0.01)
    if gate:
        gate()
    start.set()
    return await asyncio.gather(*tasks)


async def ask(replica, integration, key, room, start):
    began, writer = time.time(), None
    try:
        async with room:
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", replica.port), ANSWER_WITHIN)
        asyncio.current_task().set_name("connected")
        await start.wait()
        began = time.time()
        head = f"GET /token/{integration} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        raw = await asyncio.wait_for(reader.read(-1), ANSWER_WITHIN)
        head, _, body = raw.partition(b"\r\n\r\n")
        return Answer(replica, integration, int(head.split(b" ", 2)[1]), json.loads(body), began, time.time())
    except (OSError, ValueError, IndexError, asyncio.TimeoutError) as error:
        return Answer(replica, integration, 0, f"{type(error).__name__}: {error}", began, time.time())
    finally:
        if writer:
            writer.transport.abort()


class Warm:
    """Callers who ask the replicas all the time for a token that all of them have."""

    def __init__(self, stack, folder, replicas, integration, key):
        self.path = folder / "warm.txt"
        self.ports = [replica.port for replica in replicas]
        with open(self.path, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, __file__, *map(str, self.ports)], stdin=subprocess.PIPE, stdout=output, text=True
            )
        self.process.stdin.write(f"{integration}\n{key}\n")
        self.process.stdin.flush()
        stack.callback(self.end)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def seen(self, since, till):
        """How many answers there were in that time, those that were no token, and the 99th percentile in ms."""
        lines = [line.split() for line in self.path.read_text().splitlines() if line.count(" ") == 3]
        part = [(status, float(took)) for when, _, status, took in lines if since <= float(when) <= till]
        times = sorted(took for _, took in part)
        errors = [status for status, _ in part if status != "200"]
        return len(part), errors, times[int(len(times) * 0.99)] if times else 0.0


def ask_forever():
    integration, key = (sys.stdin.readline().strip() for _ in range(2))
    lock = threading.Lock()
    threads = [threading.Thread(target=ask_one, args=(int(port), integration, key, lock)) for port in sys.argv[1:]]
    for thread in threads:
        thread.start()


def ask_one(port, integration, key, lock):
    line = None
    while True:
        began = time.time()
        try:
            line = line or http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN)
            line.request("GET", f"/token/{integration}", headers={"Authorization": f"Bearer {key}"})
            answer = line.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            line, status = None, type(error).__name__
        with lock:
            print(f"{began:.3f} {port} {status} {(time.time() - began) * 1000:.2f}", flush=True)
        time.sleep(PAUSE)


if __name__ == "__main__":
    ask_forever()
