"""A relay before Redis that does as it is told, a process of its own so that it is not slow by accident.

    replicas_relay.py PORT UPSTREAM CERTIFICATE KEY CA     orders are lines of JSON on stdin: {"mode": …, "upstream": PORT}

It ends TLS and begins it anew, since some faults have to be inside. Modes: `pass`; `slow`, each reply comes 2 s later;
`garbage`, replies are bytes that mean nothing; `mute`, there are none; `refuse`, whoever connects is sent away.
"""

import asyncio
import json
import ssl
import sys

SLOW = 2.0
GARBAGE = (b"+WAT\r\n", b"$-7\r\nxx\r\n", b"*3\r\n:1\r\n", b"\x00\xff\x16\x03", b"HTTP/1.1 400 Bad Request\r\n\r\n")


class Relay:
    def __init__(self, upstream, trust):
        self.mode, self.upstream, self.trust = "pass", upstream, trust
        self.writers, self.garbage = set(), 0

    def order(self, line):
        told = json.loads(line)
        self.mode = told["mode"]
        if told["upstream"] and told["upstream"] != self.upstream:
            self.upstream = told["upstream"]
            # Who fails over hangs up on everybody.
            self.hang_up()
        if self.mode == "refuse":
            self.hang_up()

    def hang_up(self):
        for writer in tuple(self.writers):
            writer.transport.abort()

    async def serve(self, reader, writer):
        if self.mode == "refuse":
            writer.transport.abort()
            return
        self.writers.add(writer)
        onward = None
        try:
            behind, onward = await asyncio.open_connection("127.0.0.1", self.upstream, ssl=self.trust, server_hostname="localhost")
            ways = [asyncio.create_task(way) for way in (self.ask(reader, onward, writer), self.answer(behind, writer))]
            _, open_ways = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in open_ways:
                way.cancel()
        except OSError:
            pass
        finally:
            self.writers.discard(writer)
            for end in (writer, onward):
                if end is not None:
                    end.transport.abort()

    async def ask(self, reader, onward, writer):
        while data := await reader.read(65536):
            if self.mode == "garbage":
                self.garbage += 1
                writer.write(GARBAGE[self.garbage % len(GARBAGE)])
                continue
            onward.write(data)
            await onward.drain()

    async def answer(self, behind, writer):
        while data := await behind.read(65536):
            if self.mode == "slow":
                await asyncio.sleep(SLOW)
            if self.mode in ("pass", "slow"):
                writer.write(data)
                await writer.drain()


async def main():
    port, upstream, certificate, key, ca = sys.argv[1:]
    door = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    door.load_cert_chain(certificate, key)
    relay = Relay(int(upstream), ssl.create_default_context(cafile=ca))
    await asyncio.start_server(relay.serve, "127.0.0.1", int(port), ssl=door)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        relay.order(line)


asyncio.run(main())
