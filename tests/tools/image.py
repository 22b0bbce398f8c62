"""The image that `.ci/image` built: what is in it, and how it behaves where it may do next to nothing.

Runs inside a network namespace that has a loopback and nothing else, so whatever is asked here is asked there. The
figures are printed, not judged, but for those that the project promises.
"""

import argparse
import datetime
import gzip
import http.client
import json
import os
import pathlib
import re
import shutil
import sys
import tarfile
import tempfile
import time

import canary
import sbom
from checks import Checks
from containers import (
    CALLERS, GRACE, PLAIN, SALESFORCE, Podman, answers, configuration, confined, simulation, token, until_ready,
)  # fmt: skip
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hsm_parts import PIN, Tokens, key_setting, run, until
from service import new_key, private_key, self_signed

MIB = 1024 * 1024
# What the project promises of its own layers, compressed.
MOST_COMPRESSED = 25 * MIB
MEMORY = 64 * MIB
USER = 65532
# Beside the default ones, by the Dockerfile.
FEATURES = "jemalloc"
BINARY = "usr/local/bin/aquila"
# Nothing but what the service needs to answer.
BARE = [
    "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges",
    "--memory", "64m", "--memory-swap", "64m", "--log-driver", "k8s-file",
]  # fmt: skip


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--store", required=True, type=pathlib.Path)
    arguments.add_argument("--image", required=True)
    arguments.add_argument("--namespace", required=True)
    arguments.add_argument("--outside", required=True, help="the machine's network namespace, as a path")
    arguments.add_argument("--build-log", required=True, type=pathlib.Path)
    arguments.add_argument("--bill", required=True, type=pathlib.Path, help="where the bill of materials is left")
    given = arguments.parse_args()
    podman = Podman(given.store, given.image, given.namespace, given.outside)
    with Checks("image") as checks, tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        log = given.build_log.read_text()
        cached(checks, log)
        described(checks, podman.inspect(given.image, "image"))
        binary = layers(checks, podman, folder)
        bill_of_materials(checks, binary, log, given.bill)
        scene = Scene(podman, folder)
        no_shell(checks, podman)
        served(checks, scene)
        from_an_hsm(checks, scene)


def cached(checks, log):
    """The last build of the crate found every dependency built."""
    first, _, last = log.rpartition("RUN touch src/main.rs")
    first, last = (re.findall(r"^ +Compiling (\S+) v", part, re.MULTILINE) for part in (first, last))
    checks.check("the dependencies are built in a layer of their own", len(first) > 100, len(first))
    checks.check("and the source alone after them", last == ["aquila"], last)


def described(checks, image):
    """What a registry and an orchestrator read."""
    config = image["Config"]
    checks.check("the user is a number, and not root's", config["User"] == f"{USER}:{USER}", config["User"])
    checks.check("the entry point is the binary", config["Entrypoint"] == [f"/{BINARY}"], config["Entrypoint"])
    checks.check("it serves", config["Cmd"] == ["serve", "--config", "/etc/aquila/aquila.toml"], config["Cmd"])
    health = image.get("HealthCheck") or image.get("Healthcheck") or {}
    checks.check("HEALTHCHECK asks the binary", health.get("Test") == ["CMD", f"/{BINARY}", "healthcheck"], health)
    checks.check("it is ended by SIGTERM", config.get("StopSignal") in ("SIGTERM", "15"), config.get("StopSignal"))
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in (config["Labels"] or {}).items()}
    checks.check("the labels name version, licence and title", labels.get("version") == version()
                 and labels.get("licenses") == "Apache-2.0" and labels.get("title") == "aquila", labels)  # fmt: skip
    told = {"revision", "description"} <= labels.keys()
    checks.check("and revision and description", told, labels)


def version():
    return re.search(r'^version = "(.+)"', (sbom.ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]


def layers(checks, podman, folder):
    """Our layers hold the binary and nothing else. Comes back with the binary."""
    archive = folder / "image.tar"
    podman("save", "--format", "docker-archive", "--output", archive, podman.image)
    with tarfile.open(archive) as saved:
        names = json.load(saved.extractfile("manifest.json"))[0]["Layers"]
        for name in names:
            saved.extract(name, folder)
    base, *own = [folder / name for name in names]
    files = {}
    for layer in own:
        with tarfile.open(layer) as tar:
            files |= {member.name: member for member in tar if not member.isdir()}
            if BINARY in files:
                tar.extract(BINARY, folder)
    found = {name: (oct(member.mode & 0o7777), member.uid) for name, member in files.items()}
    checks.check("our layers hold the binary alone, root's and for everybody to run", found == {BINARY: ("0o755", 0)}, found)
    sizes = [len(gzip.compress(layer.read_bytes(), 6)) for layer in own]
    checks.check(f"they have at most {MOST_COMPRESSED // MIB} MB compressed", sum(sizes) <= MOST_COMPRESSED, sizes)
    binary, base_size = folder / BINARY, len(gzip.compress(base.read_bytes(), 6))
    figure("binary", f"{binary.stat().st_size / MIB:.1f} MiB")
    figure("our layers, compressed by gzip", f"{sum(sizes) / MIB:.1f} MiB")
    figure("the stand-in for the base, likewise", f"{base_size / MIB:.1f} MiB (the published base was not measured)")
    figure("together", f"{(sum(sizes) + base_size) / MIB:.1f} MiB")
    return binary


def bill_of_materials(checks, binary, log, path):
    """The bill has the crates that cargo compiled, and the binary names them too."""
    built = set(re.findall(r"^ +Compiling (\S+) v(\S+)", log, re.MULTILINE))
    inside = {(crate["name"], crate["version"]) for crate in sbom.crates_in(binary)}
    checks.check(f"the binary names the {len(built)} crates that were compiled for it", built <= inside, built - inside)
    locked = set(sbom.lock_digests()) | {("aquila", version())}
    checks.check("and none that Cargo.lock does not know", inside <= locked, inside - locked)
    made = sbom.bill(binary, FEATURES)
    text = json.dumps(made, indent=2)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    checks.check("the bill of materials is CycloneDX 1.6 by its schema", fault is None, fault)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace('"library"', '"librarian"', 1))
    checks.check("a bill with a fault is refused by it", wrong is not None)
    parts = [made["metadata"]["component"], *made["components"]]
    told = {(part["name"], part["version"]) for part in parts}
    checks.check("it has the crates that were compiled, each once", told == built and len(parts) == len(built), told ^ built)
    unlicensed = [part["name"] for part in parts if not part.get("licenses")]
    checks.check("each with its licence", not unlicensed, unlicensed)
    undigested = [part["name"] for part in made["components"] if not part.get("hashes")]
    checks.check("and the digest that Cargo.lock holds", not undigested, undigested)
    known = {part["bom-ref"] for part in parts}
    links = [link for entry in made["dependencies"] for link in (entry["ref"], *entry["dependsOn"])]
    checks.check("its links lead to its parts", set(links) == known, set(links) ^ known)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    required = sum(part.get("scope") == "required" for part in made["components"])
    builders = len(made["components"]) - required
    figure("bill of materials", f"{os.path.relpath(path)}: {required} crates in the binary, {builders} that built it")


class Scene:
    """A folder that is mounted as the configuration: a key, its certificate, a caller."""

    def __init__(self, podman, folder):
        self.podman, self.folder = podman, folder / "etc"
        self.folder.mkdir()
        program = folder / "aquila"
        command = [*podman.command, "run", "--rm", "--network", "none", *PLAIN, podman.image]
        program.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
        program.chmod(0o755)
        self.api_key, self.digest = new_key(str(program), "shipper")
        self.key = private_key(self.folder / "elf.pem")
        self_signed(self.folder / "elf.crt", self.key)

    def write(self, key):
        (self.folder / "aquila.toml").write_text(configuration(key, self.digest))
        self.hand_over()

    def hand_over(self):
        """The image's user owns what is mounted, as an orchestrator would have it."""
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, USER, USER)
        self.folder.chmod(0o755)

    def start(self, name, *arguments, options=()):
        mount = ["--volume", f"{self.folder}:/etc/aquila:ro"]
        self.podman.start(name, *arguments, options=[*BARE, *mount, *options])

    def simulate(self):
        self.start("salesforce", *simulation("/etc/aquila/elf.crt"))
        until("the simulator answers", lambda: answers(f"http://{SALESFORCE}/"))

    def end(self, checks, *names):
        for name in names:
            state, lasted, said = self.podman.stop(name)
            canary.look_into(f"output of the container {name}", said, "simulate" if name == "salesforce" else None)
            ended = state["ExitCode"] == 0 and not state.get("OOMKilled") and lasted < GRACE
            checks.check(f"{name}: SIGTERM to process 1 ends it with 0 in {lasted:.1f} s, of {GRACE}", ended, f"{state}\n{said}")
            if name != "salesforce":
                checks.check(f"{name}: and everything in progress came to its end", "everything in progress came to its end" in said, said)


def no_shell(checks, podman):
    for shell in ("/bin/sh", "/bin/bash", "/busybox/sh"):
        status = podman.status("run", "--rm", "--network", "none", *PLAIN, "--entrypoint", shell, podman.image, "-c", "true")
        checks.check(f"there is no {shell} to run", status == 127, status)


def served(checks, scene):
    """A token, where the service may do next to nothing; and what it takes."""
    podman = scene.podman
    scene.write('client_key_path = "elf.pem"')
    scene.simulate()
    begun = time.monotonic()
    scene.start("aquila")
    until_ready()
    figure("`podman run` to ready", f"{(time.monotonic() - begun) * 1000:.0f} ms, the container's own making included")
    process = podman.inspect("aquila")["State"]["Pid"]
    bare(checks, process)
    figure("memory when ready", memory(process))
    status, body = token(scene.api_key)
    checks.check("it hands out a token", status == 200 and body.get("token_type") == "Bearer", status)
    warm(checks, scene, 2000)
    figure("memory after a login and 2,000 warm answers", memory(process))
    checks.check("HEALTHCHECK says healthy", podman.status("healthcheck", "run", "aquila") == 0)
    ill = podman.status("exec", "salesforce", f"/{BINARY}", "healthcheck", "--url", f"http://{SALESFORCE}/readyz")
    checks.check("the same command says unhealthy where nobody is ready", ill == 1, ill)
    start_times(checks, scene)
    scene.end(checks, "aquila", "salesforce")


def bare(checks, process):
    """What the kernel says of the service."""
    told = confined(checks, process, USER)
    checks.check("it is process 1", told["NSpid"].split()[-1] == "1", told["NSpid"])
    root = next(line.split() for line in pathlib.Path(f"/proc/{process}/mountinfo").read_text().splitlines() if line.split()[4] == "/")
    checks.check("its root is read-only", "ro" in root[5].split(","), root)
    checks.check("its memory ends at 64 MiB", cgroup(process)[1] == MEMORY, cgroup(process))


def cgroup(process):
    """What its control group counts and allows, in bytes, by either version of them."""
    for line in pathlib.Path(f"/proc/{process}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            group = pathlib.Path(f"/sys/fs/cgroup/memory{path}")
            return tuple(int((group / name).read_text()) for name in ("memory.usage_in_bytes", "memory.limit_in_bytes"))
    group = pathlib.Path(f"/sys/fs/cgroup{path}")
    return tuple(int((group / name).read_text()) for name in ("memory.current", "memory.max"))


def memory(process):
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    resident, most = (int(re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1024 for name in ("VmRSS", "VmHWM"))
    return f"{resident:.1f} MiB resident, at most {most:.1f}; the control group counts {cgroup(process)[0] / MIB:.1f}"


def warm(checks, scene, count):
    connection = http.client.HTTPConnection(CALLERS)
    statuses = set()
    for _ in range(count):
        connection.request("GET", "/token", headers={"Authorization": f"Bearer {scene.api_key}"})
        answer = connection.getresponse()
        answer.read()
        statuses.add(answer.status)
    connection.close()
    checks.check(f"and {count} more from memory", statuses == {200}, statuses)


def start_times(checks, scene):
    """Restarts, timed from the kernel's note of when the process began to its own log line."""
    podman, taken = scene.podman, []
    for _ in range(3):
        state, _, said = podman.stop("aquila")
        canary.look_into("output of the container aquila", said)
        checks.check("it ends with 0 when it is restarted", state["ExitCode"] == 0, said)
        scene.start("aquila")
        until_ready()
        process = podman.inspect("aquila")["State"]["Pid"]
        began = int(pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
        offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        line = next(line for line in podman.written("aquila").splitlines() if '"serving"' in line)
        serving = datetime.datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
        taken.append((serving - offset - began) * 1000)
    told = ", ".join(f"{one:.0f}" for one in sorted(taken))
    figure("process 1 begins to `serving` in its log", f"{told} ms (by ticks of 10 ms, runc's own work included)")


def from_an_hsm(checks, scene):
    """The module of an HSM, mounted, is loaded by the binary of the image: SoftHSM2 with the same key inside."""
    podman = scene.podman
    tokens = Tokens(scene.folder)
    tokens.make("aquila")
    tokens.put("aquila", "elf", scene.key)
    libraries = scene.folder / "lib"
    libraries.mkdir()
    shutil.copy(tokens.module, libraries / "softhsm.so")
    inside = pathlib.Path(podman("image", "mount", podman.image).strip())
    for name, path in re.findall(r"^\s+(\S+) => (/\S+)", run("ldd", tokens.module), re.MULTILINE):
        if not any(inside.rglob(name)):
            shutil.copy(path, libraries / name)
    podman("image", "umount", podman.image)
    (scene.folder / "pin.txt").write_text(f"{PIN}\n")
    (scene.folder / "pin.txt").chmod(0o600)
    (scene.folder / "softhsm2.conf").write_text("directories.tokendir = /tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    scene.write(key_setting("/etc/aquila/lib/softhsm.so"))
    scene.simulate()
    options = ["--volume", f"{tokens.folder}:/tokens:rw", "--env", "SOFTHSM2_CONF=/etc/aquila/softhsm2.conf",
               "--env", "LD_LIBRARY_PATH=/etc/aquila/lib"]  # fmt: skip
    scene.start("aquila-hsm", options=options)
    until_ready()
    status, body = token(scene.api_key)
    checks.check("a PKCS#11 module that is mounted is loaded, and its key logs in", status == 200, body if status != 200 else "")
    brought = sorted(path.name for path in libraries.iterdir() if path.name != "softhsm.so")
    figure("libraries that the module needed beside the base's", ", ".join(brought) or "none")
    scene.end(checks, "aquila-hsm", "salesforce")


def figure(what, value):
    print(f"      {what}: {value}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
