"""Clients that prove themselves by a certificate: each must get the token that the broker holds, and without the
certificate none.
"""

import json
import pathlib

from service import authority, issued, private_key

CALLER = "certificate"
SPIFFE_ID = "spiffe://prod.example/ns/logs/sa/log-shipper"
SCRIPTS = {
    "curl": "certificates/curl.sh",
    "requests": "certificates/requests.py",
    "httpx": "certificates/httpx.py",
    "openid-client": "certificates/openid-client-certificate.mjs",
}


def client_identity(folder):
    """An authority for callers and two certificates of it for one key, the second with another name: paths of `ca`,
    `certificate`, `stranger`, `key`.
    """
    folder = pathlib.Path(folder)
    ca, key = authority(folder, "clients-ca"), private_key(folder / "client.key")

    def named(name, uri):
        return issued(folder, ca, name, key, "log-shipper", f"subjectAltName=URI:{uri}", "extendedKeyUsage=clientAuth")

    stranger = named("stranger", f"{SPIFFE_ID}/other")
    return {"ca": ca["certificate"], "certificate": named("client", SPIFFE_ID), "stranger": stranger, "key": key}


def judge(run, identity):
    """Each client with its certificate, and with one that no caller's rule names."""
    check = run.checks.check
    mine = {"AQUILA_CERTIFICATE": str(identity["certificate"]), "AQUILA_CERTIFICATE_KEY": str(identity["key"])}
    stranger = mine | {"AQUILA_CERTIFICATE": str(identity["stranger"])}
    for name, script in SCRIPTS.items():
        command = run.tools.command(script)
        done, _ = run.execute(command, CALLER, key="none", **mine)
        check(f"{name} ends well with a certificate and no key", done.returncode == 0, done.stdout + done.stderr)
        got = json.loads(done.stdout)["access_token"] if done.returncode == 0 else None
        check(f"{name} has the token that the broker holds", got == run.current(CALLER)["access_token"])
        done, _ = run.execute(command, CALLER, key="none", **stranger)
        said = done.stdout + done.stderr
        check(f"{name} gets none with the certificate of nobody", done.returncode != 0 and "access_token" not in said, said)
        check(f"{name} says so in its own words", "401" in said or "invalid_client" in said or "Unauthorized" in said, said)
    kinds = [json.loads(line).get("proof") for line in run.stage.audit.read_text().splitlines()]
    check("the audit trail names the proof", kinds.count("client_certificate") == len(SCRIPTS), kinds)

