"""The bill of materials of a binary, as CycloneDX: every crate that it is made of, out of the binary itself.

`cargo auditable` writes a list of crates into the section `.dep-v0` of what it builds. It takes in some that only a
feature would bring that is off, so what `cargo tree` does not know is left out here. What the list does not say
(licences, where the source is, the digest of each crate) comes from `cargo metadata` and Cargo.lock.

    python3 tests/tools/sbom.py --binary target/release/aquila --features jemalloc > aquila.cdx.json
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import tomllib
import uuid
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORMAT = "1.6"
# What the numbers of bills are derived under: the same bill has the same number.
NAMESPACE = uuid.UUID("7f4ed595-9782-4e3c-94e7-33f7f232ee04")


def crates_in(binary):
    """What `cargo auditable` wrote into a binary; an error when it wrote nothing."""
    with tempfile.NamedTemporaryFile() as section, tempfile.NamedTemporaryFile() as copy:
        run("objcopy", f"--dump-section=.dep-v0={section.name}", binary, copy.name)
        return json.loads(zlib.decompress(section.read()))["packages"]


def bill(binary, features):
    """The bill of a binary that was built here with these features: a dictionary, the same for the same binary."""
    crates = sorted_with_links(crates_in(binary), resolved(features))
    said, digests = metadata(), lock_digests()
    own = next(crate for crate in crates if crate.get("root"))
    components = [component(crate, said, digests) for crate in crates if crate is not own]
    body = {
        "metadata": {"component": component(own, said, digests, kind="application"), **built()},
        "components": components,
        "dependencies": [{"ref": purl(crate), "dependsOn": sorted(crate["needs"])} for crate in crates],
    }
    number = uuid.uuid5(NAMESPACE, json.dumps(body, sort_keys=True))
    return {"$schema": f"http://cyclonedx.org/schema/bom-{FORMAT}.schema.json", "bomFormat": "CycloneDX", "specVersion": FORMAT,
            "serialNumber": f"urn:uuid:{number}", "version": 1, **body}  # fmt: skip


def sorted_with_links(crates, known):
    """Those that are known, by name and version, each with the references of what it needs."""
    needs = lambda crate: [purl(crates[at]) for at in crate.get("dependencies", []) if key(crates[at]) in known]  # noqa: E731
    return sorted(({**crate, "needs": needs(crate)} for crate in crates if key(crate) in known), key=key)


def resolved(features):
    """Name and version of every crate that a build for this machine takes."""
    host = next(line for line in run("rustc", "-vV").splitlines() if line.startswith("host: "))[len("host: ") :]
    tree = run("cargo", "tree", "--locked", "--edges=normal,build", f"--features={features}", f"--target={host}",
               "--prefix=none", "--format={p}")  # fmt: skip
    lines = (line.split() for line in tree.splitlines() if line.strip())
    return {(name, version.removeprefix("v")) for name, version, *_ in lines}


def key(crate):
    return crate["name"], crate["version"]


def purl(crate):
    return f"pkg:cargo/{crate['name']}@{crate['version']}"


def component(crate, said, digests, kind="library"):
    """One crate. What only the build needs (proc macros, build scripts) is in no binary: scope `excluded`."""
    name, version = crate["name"], crate["version"]
    package = said[name, version]
    made = {"type": kind, "bom-ref": purl(crate), "name": name, "version": version, "purl": purl(crate)}
    if kind == "library":
        made["scope"] = "excluded" if crate.get("kind") == "build" else "required"
    if package["license"]:
        # Old manifests part alternatives by a slash, which is no SPDX expression.
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if digest := digests.get((name, version)):
        made["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if package["repository"]:
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def metadata():
    listed = json.loads(run("cargo", "metadata", "--locked", "--format-version=1", "--all-features"))
    return {(package["name"], package["version"]): package for package in listed["packages"]}


def lock_digests():
    """By name and version the SHA-256 of each crate's archive; crates of this repository have none."""
    with open(ROOT / "Cargo.lock", "rb") as lock:
        packages = tomllib.load(lock)["package"]
    return {(package["name"], package["version"]): package["checksum"] for package in packages if "checksum" in package}


def built():
    """When the source is of; a source archive without git does not know."""
    asked = subprocess.run(["git", "log", "-1", "--format=%cI"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {"timestamp": asked.stdout.strip()} if asked.returncode == 0 and asked.stdout.strip() else {}


def run(*command):
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True, type=pathlib.Path)
    arguments.add_argument("--features", default="", help="what it was built with beside the default")
    given = arguments.parse_args()
    json.dump(bill(given.binary.resolve(), given.features), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
