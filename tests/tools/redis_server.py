"""A Redis of the Debian package on loopback, which can be held still, and the seal key of those who share it."""

import re
import signal
import socket
import subprocess

import canary
from service import free_port, running


class Redis:
    def __init__(self, stack, folder):
        self.port = free_port()
        options = ["--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        self.server = stack.enter_context(running("redis-server", folder, "redis", *options))
        # One that is held does not hear that it should end.
        stack.callback(self.go_on)
        self.server.wait_for_port(self.port)

    def spoil_tokens(self):
        """Writes something else into every token, as somebody who should not be here."""
        script = "for _, key in ipairs(redis.call('KEYS', '*}:token')) do redis.call('HSET', key, 'v', 'spoilt') end"
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f'EVAL "{script}" 0\r\n'.encode())
            answer = connection.recv(100)
        if not answer.startswith(b"$-1"):
            raise RuntimeError(f"Redis did not spoil anything: {answer!r}")

    def hold(self):
        """From now on it takes connections and answers nothing, as a machine that is stuck."""
        self.server.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.server.process.send_signal(signal.SIGCONT)


def seal_key_file(binary, path):
    """What `aquila new-seal-key` prints, in a file for its owner alone."""
    done = subprocess.run([binary, "new-seal-key"], capture_output=True, text=True, timeout=30, check=False)
    key = re.fullmatch(r"aquila-seal-1:([\w-]{43})\n", done.stdout)
    if done.returncode != 0 or not key:
        raise RuntimeError(f"new-seal-key ended with {done.returncode} and no line of the documented form: {done.stderr}")
    canary.note(f"the seal key in {path.name}", key[1])
    path.touch(mode=0o600)
    path.write_text(done.stdout)
    return path
