"""Clients that prove themselves by a certificate: each must get the token that the broker holds, and without the
certificate none.
"""

import json
import pathlib

from service import openssl, private_key

CALLER = "certificate"
SPIFFE_ID = "spiffe://prod.example/ns/logs/sa/log-shipper"
SCRIPTS = {
    "curl": "certificates/curl.sh",
    "requests": "certificates/requests.py",
    "httpx": "certificates/httpx.py",
    "openid-client": "certificates/openid-client-certificate.mjs",
}


def client_identity(folder):
    """An authority for callers and a certificate of it: paths of `ca`, `certificate`, `key`."""
    folder = pathlib.Path(folder)
    ca_key, ca = private_key(folder / "clients-ca.key"), folder / "clients-ca.pem"
    openssl(
        "req", "-new", "-x509", "-key", ca_key, "-subj", "/CN=throw-away CA of clients", "-days", "2", "-out", ca,
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    key, request, certificate = private_key(folder / "client.key"), folder / "client.csr", folder / "client.pem"
    openssl("req", "-new", "-key", key, "-subj", "/CN=log-shipper", "-out", request)
    extensions = folder / "client.ext"
    extensions.write_text(
        f"subjectAltName=URI:{SPIFFE_ID}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n"
    )
    openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-out", certificate,
        "-extfile", extensions,
    )  # fmt: skip
    return {"ca": ca, "certificate": certificate, "key": key}


def judge(run, identity):
    """Each client with its certificate, and with one that no caller's rule names."""
    check = run.checks.check
    mine = {"AQUILA_CERTIFICATE": str(identity["certificate"]), "AQUILA_CERTIFICATE_KEY": str(identity["key"])}
    stranger = {"AQUILA_CERTIFICATE": str(stranger_of(run.folder, identity)), "AQUILA_CERTIFICATE_KEY": str(identity["key"])}
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


def stranger_of(folder, identity):
    """Of the same authority and the same key, with another name."""
    certificate, request = folder / "stranger.pem", folder / "client.csr"
    extensions = folder / "stranger.ext"
    extensions.write_text(f"subjectAltName=URI:{SPIFFE_ID}/other\nbasicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")
    openssl(
        "x509", "-req", "-in", request, "-CA", identity["ca"], "-CAkey", folder / "clients-ca.key", "-CAcreateserial",
        "-days", "2", "-out", certificate, "-extfile", extensions,
    )  # fmt: skip
    return certificate
