"""The unit of `examples/`, unedited, run by a systemd that is process 1 of a container (`.ci/unit`).

Started, asked for a token, reloaded, frozen until the watchdog bites, given a bad configuration, stopped.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

import canary
from checks import Checks
from containers import OPS, SALESFORCE, Podman, answers, configuration, confined, simulation, token
from hsm_parts import run, until
from service import fetch, new_key, private_key, self_signed

# The service stands in the container where the unit looks for it.
PROGRAM = "/usr/local/bin/aquila"
HANDED_OVER = 'client_key_path = "/run/credentials/aquila.service/elf-prod.pem"\n'
# For the frozen service: nobody is to wait for half a minute.
SOON = "[Service]\nWatchdogSec=5\nRestartSec=1\n"


class Machine:
    """A container with systemd, and the folder that is its /etc/aquila."""

    def __init__(self, podman, folder):
        self.podman, self.folder = podman, folder

    def start(self, binary, unit, drop_in):
        mounts = {self.folder: "/etc/aquila", binary: PROGRAM, unit: "/etc/systemd/system/aquila.service",
                  drop_in: "/etc/systemd/system/aquila.service.d"}  # fmt: skip
        volumes = [part for here, there in mounts.items() for part in ("--volume", f"{here}:{there}:ro")]
        self.podman.start("machine", options=["--privileged", "--systemd=always", *volumes])
        # Degraded where one of its own units cannot run in a container: what is judged is the service's.
        booted = ("running", "degraded")
        until("systemd runs", lambda: self.podman.said("exec", "machine", "systemctl", "is-system-running", "--wait") in booted)
        # Credentials are mounted by a child of systemd, which it sees where mounts are shared, as they are on a machine.
        self("mount", "--make-rshared", "/")

    def __call__(self, *command):
        return run(*self.podman.command, "exec", "machine", *command)

    def status(self, *command):
        return self.podman.status("exec", "machine", *command)

    def show(self, what):
        return self("systemctl", "show", "--property", what, "--value", "aquila").strip()

    def process(self):
        """The number of the service's process, here and in the container."""
        inside = self.show("MainPID")
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                told = (process / "status").read_text()
            except OSError:
                continue
            if "\nName:\taquila\n" in f"\n{told}" and f"\t{inside}\n" in told.split("NSpid:")[1].split("\n")[0] + "\n":
                return process.name, inside
        raise RuntimeError("the service has no process")


def main():
    arguments = argparse.ArgumentParser()
    for name in ("--store", "--image", "--namespace", "--outside", "--binary", "--unit"):
        arguments.add_argument(name, required=True)
    given = arguments.parse_args()
    podman = Podman(given.store, given.image, given.namespace, given.outside)
    with Checks("unit") as checks, tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        etc, drop_in = folder / "etc", folder / "drop-in"
        (etc / "keys").mkdir(parents=True, mode=0o700)
        drop_in.mkdir()
        for path in (folder, etc, drop_in):
            path.chmod(0o755)
        key = private_key(etc / "keys" / "elf-prod.pem")
        self_signed(etc / "elf.crt", key)
        api_key, digest = new_key(given.binary, "shipper")
        write(etc, digest)
        machine = Machine(podman, etc)
        machine.start(given.binary, pathlib.Path(given.unit).resolve(), drop_in)
        machine("systemd-run", "--quiet", "--unit=salesforce", PROGRAM, *simulation("/etc/aquila/elf.crt"))
        until("the simulator answers", lambda: answers(f"http://{SALESFORCE}/"))
        started(checks, machine, api_key)
        reloaded(checks, machine, digest)
        frozen(checks, machine, drop_in, api_key)
        ended(checks, machine)
        hopeless(checks, machine, digest)
        canary.look_into("the journal of the unit", machine("journalctl", "--no-pager", "--unit=aquila"))


def write(folder, digest, before="", after=""):
    """Whole, in one step, and readable by everybody."""
    fresh = folder / "next.toml"
    fresh.write_text(f'{before}[audit]\npath = "/var/log/aquila/audit.jsonl"\n{configuration(HANDED_OVER, digest)}{after}')
    fresh.chmod(0o644)
    os.rename(fresh, folder / "aquila.toml")


def started(checks, machine, api_key):
    machine("systemctl", "start", "aquila")
    # At once, without waiting for anything: that is what READY=1 promises.
    checks.check("it is ready when systemd says that it is started", answers(f"http://{OPS}/readyz", 200))
    checks.check("systemd shows what it says of itself", machine.show("StatusText") == "serving", machine.show("StatusText"))
    status, body = token(api_key)
    checks.check("the key that systemd hands over logs in", status == 200, body if status != 200 else "")
    process, _ = machine.process()
    confined(checks, process)
    written = machine("journalctl", "--no-pager", "--output=cat", "--unit=aquila")
    levels = [json.loads(line)["level"] for line in written.splitlines() if line.startswith("{")]
    checks.check("it has nothing to warn of", levels and set(levels) == {"INFO"}, written)
    records = machine("cat", "/var/log/aquila/audit.jsonl")
    canary.look_into("the audit records", records)
    checks.check("the one folder that it may write to has the record", '"elf"' in records, records)
    metrics = fetch(f"http://{OPS}/metrics")[1].decode()
    checks.check("its metrics know when it started", "process_start_time_seconds 1" in metrics, metrics)


def reloaded(checks, machine, digest):
    told = lambda: json.loads(fetch(f"http://{OPS}/status.json")[1])["configuration"]  # noqa: E731
    write(machine.folder, digest, after='[callers.other]\nintegrations = ["elf"]\napi_key_sha256 = ["' + "0" * 64 + '"]\n')
    machine("systemctl", "reload", "aquila")
    until("the new configuration is in force", lambda: told()["generation"] >= 2)
    checks.check("systemctl reload puts a new configuration in force", machine.show("StatusText") == "serving")
    write(machine.folder, digest, before="oops = 1\n")
    machine("systemctl", "reload", "aquila")
    refused = "serving as before; the new configuration was refused, and the log tells why"
    until("systemd shows that a bad one was refused", lambda: machine.show("StatusText") == refused)
    checks.check("and the service goes on", machine.show("ActiveState") in ("active", "reloading") and answers(f"http://{OPS}/readyz", 200))
    write(machine.folder, digest)
    machine("systemctl", "reload", "aquila")
    until("it is mended", lambda: machine.show("StatusText") == "serving")
    checks.check("it was never restarted for that", machine.show("NRestarts") == "0")


def frozen(checks, machine, drop_in, api_key):
    (drop_in / "soon.conf").write_text(SOON)
    machine("systemctl", "daemon-reload")
    machine("systemctl", "restart", "aquila")
    _, process = machine.process()
    machine("kill", "-STOP", process)
    until("it is restarted", lambda: machine.show("NRestarts") == "1" and machine.show("ActiveState") == "active")
    checks.check("a service that is frozen is restarted by the watchdog", machine.process()[1] != process)
    checks.check("and serves", token(api_key)[0] == 200)


def ended(checks, machine):
    machine("systemctl", "stop", "aquila")
    result = machine.show("Result"), machine.show("ExecMainStatus")
    checks.check("systemctl stop ends it with 0", result == ("success", "0"), result)


def hopeless(checks, machine, digest):
    write(machine.folder, digest, before="oops = 1\n")
    checks.check("a bad configuration fails the start", machine.status("systemctl", "start", "aquila") != 0)
    result = machine.show("ActiveState"), machine.show("ExecMainStatus"), machine.show("NRestarts")
    checks.check("with 78, and is not tried again", result == ("failed", "78", "0"), result)


if __name__ == "__main__":
    sys.exit(main())
