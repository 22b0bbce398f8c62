"""podman over a store of its own, for scripts that run where there is a loopback and nothing else (`.ci/containers.sh`)."""

import json
import pathlib
import subprocess
import time

from hsm_parts import run, until
from service import fetch

CLIENT_ID, USERNAME = "3MVG9.container", "elf@acme.example"
# The usual ports: the namespace is this run's own.
SALESFORCE, CALLERS, OPS = "127.0.0.1:8081", "127.0.0.1:8080", "127.0.0.1:9090"
# podman's own limits on files and processes may be higher than this machine can give. The timer of a HEALTHCHECK would be
# systemd's, which need not run here: the command is run by hand.
PLAIN = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096", "--health-interval", "disable"]
GRACE = 20


class Podman:
    """podman over the store of this run, and the image."""

    def __init__(self, store, image, namespace, outside):
        self.image = image
        storage = ["--root", f"{store}/root", "--runroot", f"{store}/run", "--storage-driver", "overlay"]
        # From outside the namespace: runc takes the one that it is started in for the machine's.
        self.command = ["nsenter", f"--net={outside}", "podman", *storage, "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
        self.network = ["--network", f"ns:/run/netns/{namespace}"]

    def __call__(self, *arguments):
        return run(*self.command, *arguments)

    def status(self, *arguments):
        """The exit status alone."""
        command = [*self.command, *map(str, arguments)]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode

    def said(self, *arguments):
        """The output alone, whatever the exit status."""
        command = [*self.command, *map(str, arguments)]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout.strip()

    def inspect(self, name, kind="container"):
        return json.loads(self("inspect", "--type", kind, name))[0]

    def start(self, name, *arguments, options=()):
        """A container; comes back before what is in it is ready."""
        self("run", "--detach", "--name", name, *PLAIN, *self.network, *options, self.image, *arguments)

    def stop(self, name):
        """Exit status, seconds, and what it wrote."""
        begun = time.monotonic()
        self("stop", "--time", str(GRACE), name)
        lasted = time.monotonic() - begun
        state, said = self.inspect(name)["State"], self.written(name)
        self("rm", name)
        return state, lasted, said

    def written(self, name):
        done = subprocess.run([*self.command, "logs", name], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr


def simulation(certificate):
    """The command line of the simulator."""
    return ["simulate", "--listen", SALESFORCE, "--certificate", certificate, "--client-id", CLIENT_ID, "--username", USERNAME]


def configuration(key, digest):
    """One integration whose key is where `key` says, and one caller; everything else as it is by default."""
    return (
        f'[integrations.elf]\n{key}\nclient_id = "{CLIENT_ID}"\nusername = "{USERNAME}"\nsession_timeout = "2h"\n'
        f'audience_url = "https://login.salesforce.com"\ntoken_url = "http://{SALESFORCE}/services/oauth2/token"\n'
        f'[callers.shipper]\nintegrations = ["elf"]\napi_key_sha256 = ["{digest}"]\n'
    )


def token(api_key):
    """Status and answer of the callers' door."""
    status, body = fetch(f"http://{CALLERS}/token", headers={"authorization": f"Bearer {api_key}"})
    return status, json.loads(body)


def until_ready():
    until("it is ready", lambda: answers(f"http://{OPS}/readyz", 200))


def answers(url, expected=None):
    try:
        status, _ = fetch(url, within=2)
    except OSError:
        return False
    return expected is None or status == expected


def confined(checks, process, user=None):
    """What the kernel says of a process that may do next to nothing; of this user, or of any but root."""
    told = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines() if ":\t" in line)
    ids = set(told["Uid"].split() + told["Gid"].split())
    checks.check("it is of one user and group, and not root", len(ids) == 1 and ids != {"0"}, ids)
    if user:
        checks.check(f"of {user}", ids == {str(user)}, ids)
    caps = {name: int(told[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")}
    checks.check("without a capability", not any(caps.values()), caps)
    checks.check("it gains no privilege, and system calls are filtered", (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2"), told)
    return told
