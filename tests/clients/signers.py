"""Published clients that sign with a key of their own (RFC 7523): to prove who they are, or for the whole request."""

import json
import re
from dataclasses import dataclass

from clients import Client
from page import Row
from service import openssl, private_key

HEAD = ("Client", "Version", "What is signed", "Result", "Another's key reads as", "Worth knowing")

PROOF = "who it is (`private_key_jwt`)"
GRANT = "the whole request"


@dataclass(frozen=True)
class Signer(Client):
    """A client, and what it signs."""

    signs: str = PROOF

    @property
    def caller(self):
        return "signer-" + self.script.split("/")[1].rsplit(".", 1)[0]

    @property
    def language(self):
        return "python" if self.script.endswith(".py") else "node"


SIGNERS = [
    Signer(
        "authlib",
        "signers/authlib-proof.py",
        r"OAuthError: invalid_client: ",
        "Its assertions last an hour unless it is told otherwise, and at most 300 s are taken.",
    ),
    Signer(
        "requests_oauth2client",
        "signers/requests-oauth2client-proof.py",
        r"InvalidClient",
        "Works as it is.",
    ),
    Signer(
        "openid-client",
        "signers/openid-client-proof.mjs",
        r"WWWAuthenticateChallengeError: ",
        "Its `aud` is the issuer, which is `public_url`.",
    ),
    Signer(
        "oauth4webapi",
        "signers/oauth4webapi-proof.mjs",
        r"WWWAuthenticateChallengeError: ",
        "The same.",
    ),
    Signer(
        "authlib",
        "signers/authlib-grant.py",
        r"OAuth2Error: invalid_grant: ",
        "As for the proof; it sends a `jti`, which counts once.",
        signs=GRANT,
    ),
]


def make_keys(folder):
    """A key pair for each, and one that is nobody's. What the section of each caller needs."""
    lines = {}
    for signer in SIGNERS:
        key = private_key(folder / f"{signer.caller}.key")
        public = folder / f"{signer.caller}.pub"
        openssl("pkey", "-in", key, "-pubout", "-out", public)
        lines[signer.caller] = f'public_keys = [{{ path = "{public}" }}]\njwt_bearer_grant = true\n'
    private_key(folder / "stranger.key")
    return lines


def judge(run):
    """Each signs with its own key, then with one that is nobody's. The rows of the table."""
    return [one(run, signer) for signer in SIGNERS]


def one(run, signer):
    check, stage = run.checks.check, run.stage
    name = f"{signer.name} ({signer.signs})"
    command = run.tools.command(signer.script)

    def sign(key, url):
        return run.execute(command, signer.caller, url=url, AQUILA_PRIVATE_KEY=str(run.folder / f"{key}.key"))

    for _ in range(2):
        done, _ = sign(signer.caller, stage.door)
        check(f"{name} ends well", done.returncode == 0, done.stdout + done.stderr)
        got = json.loads(done.stdout)
        held = run.current(signer.caller)
        check(f"{name} has the token that the broker holds", got["access_token"] == held["access_token"])

    done, lasted = sign("stranger", stage.door)
    said = done.stdout + done.stderr
    check(f"{name} fails with another's key, at once", done.returncode != 0 and lasted < 15, f"{lasted:.1f} s: {said}")
    words = re.search(signer.refusal, said)
    check(f"{name} says so in its own words", words is not None, said)
    version = run.tools.version(signer)
    return Row((signer.name, version, signer.signs, "the token", f"`{words[0].strip(' :')}`", signer.note))
