"""The assertion as it leaves the broker, judged by code that is not ours: PyJWT, the openssl program, and by hand.

    this script ──> aquila serve ──POST──> capture server of this script

PyJWT is lenient with claims (it takes `exp` as text and `aud` as a list), so it judges the signature and the claims are
read by hand.
"""

import argparse
import base64
import contextlib
import http.server
import json
import pathlib
import tempfile
import time
import urllib.parse
import urllib.request

import jwt

import canary
from checks import Checks
from front import Listening
from service import free_port, new_key, openssl, private_key, serving

CALLER = "log-shipper"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://test.salesforce.com"
# Both forms of PEM, and the smallest and largest key that are allowed.
INTEGRATIONS = {
    "pkcs8-2048": {"bits": 2048, "pkcs1": False},
    "pkcs1-3072": {"bits": 3072, "pkcs1": True},
    "pkcs8-4096": {"bits": 4096, "pkcs1": False},
}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    binary = arguments.parse_args().binary
    with Checks("assertion") as checks, tempfile.TemporaryDirectory() as folder, CaptureServer() as endpoint:
        folder = pathlib.Path(folder)
        for name, shape in INTEGRATIONS.items():
            key = private_key(folder / f"{name}.key", **shape)
            (folder / f"{name}.pub").write_bytes(openssl("pkey", "-in", key, "-pubout"))
        api_key, digest = new_key(binary, CALLER)
        canary.note("the captured token", CaptureServer.TOKEN)

        # Twice from cold, so that every integration signs twice.
        for run in (1, 2):
            with contextlib.ExitStack() as stack:
                door = start_broker(stack, binary, folder, endpoint.port, digest)
                for name in INTEGRATIONS:
                    before = len(endpoint.posts)
                    answer = ask(door, name, api_key)
                    mine = endpoint.posts[before:]
                    what = f"{name}, run {run}"
                    checks.check(f"{what}: the token came from one POST", len(mine) == 1, len(mine))
                    checks.check(f"{what}: it is handed to the caller", answer["access_token"] == CaptureServer.TOKEN)
                    judge(checks, what, mine[0], folder, name)

        ids = [claims_of(assertion_of(post))["jti"] for post in endpoint.posts]
        checks.check("each attempt has its own jti", len(set(ids)) == len(ids) == 2 * len(INTEGRATIONS), ids)


def start_broker(stack, binary, folder, endpoint_port, digest):
    door, ops = free_port(), free_port()
    tables = "".join(
        f"""
[integrations.{name}]
audience_url = "{AUDIENCE}"
client_key_path = "{folder}/{name}.key"
client_id = "client-of-{name}"
username = "{name}@acme.example"
token_url = "http://127.0.0.1:{endpoint_port}/services/oauth2/token"
"""
        for name in INTEGRATIONS
    )
    config = f"""
[server]
listen = "127.0.0.1:{door}"

[ops]
listen = "127.0.0.1:{ops}"
{tables}
[callers.{CALLER}]
integrations = ["*"]
api_key_sha256 = ["{digest}"]
"""
    stack.enter_context(serving(binary, folder, ops, config))
    return f"http://127.0.0.1:{door}"


def ask(door, name, api_key):
    request = urllib.request.Request(f"{door}/token/{name}", headers={"Authorization": f"Bearer {api_key}"})
    with urllib.request.urlopen(request, timeout=15) as answer:
        return json.load(answer)


def judge(checks, what, post, folder, name):
    headers, form = post["headers"], post["form"]
    checks.check(f"{what}: JSON is asked for", headers.get("accept") == "application/json", headers.get("accept"))
    media_type = headers.get("content-type", "").split(";")[0]
    checks.check(f"{what}: it is a form", media_type == "application/x-www-form-urlencoded", media_type)
    fields = sorted(field for field, _ in form)
    checks.check(f"{what}: its fields are grant_type and assertion", fields == ["assertion", "grant_type"], fields)
    checks.check(f"{what}: the grant is jwt-bearer", dict(form)["grant_type"] == GRANT, dict(form)["grant_type"])

    assertion = assertion_of(post)
    public_key = folder / f"{name}.pub"
    jwt.decode(assertion, public_key.read_text(), algorithms=["RS256"], audience=AUDIENCE)
    checks.check(f"{what}: PyJWT accepts the signature", True)
    signed, signature = parts_of(assertion)
    checks.check(f"{what}: openssl accepts the signature", openssl_accepts(folder, public_key, signed, signature))
    by_openssl = openssl("dgst", "-sha256", "-sign", folder / f"{name}.key", stdin=signed)
    checks.check(f"{what}: openssl signs it with the same bytes", by_openssl == signature)
    changed = bytes([signed[0] ^ 1]) + signed[1:]
    checks.check(f"{what}: openssl refuses changed bytes", not openssl_accepts(folder, public_key, changed, signature))

    header = json.loads(decoded(assertion.split(".")[0]))
    checks.check(f"{what}: the header says RS256", header["alg"] == "RS256" and header.get("typ", "JWT") == "JWT", header)
    claims, at = claims_of(assertion), post["at"]
    checks.check(f"{what}: iss is the client id", claims["iss"] == f"client-of-{name}", claims)
    checks.check(f"{what}: sub is the username", claims["sub"] == f"{name}@acme.example", claims)
    checks.check(f"{what}: aud is one string, as configured", claims["aud"] == AUDIENCE, claims)
    checks.check(f"{what}: exp is a number of seconds", type(claims["exp"]) is int, claims)
    checks.check(f"{what}: exp is ahead by at most 180 s", at < claims["exp"] <= at + 180, claims["exp"] - at)
    checks.check(f"{what}: jti is there", isinstance(claims["jti"], str) and len(claims["jti"]) >= 16, claims)


def assertion_of(post):
    return dict(post["form"])["assertion"]


def claims_of(assertion):
    return json.loads(decoded(assertion.split(".")[1]))


def parts_of(assertion):
    signed, _, signature = assertion.rpartition(".")
    return signed.encode(), decoded(signature)


def decoded(segment):
    if "=" in segment or "+" in segment or "/" in segment:
        raise ValueError("not base64url without padding")
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def openssl_accepts(folder, public_key, signed, signature):
    path = folder / "signature"
    path.write_bytes(signature)
    try:
        openssl("dgst", "-sha256", "-verify", public_key, "-signature", path, stdin=signed)
    except RuntimeError:
        return False
    return True


class CaptureServer(Listening):
    """A token endpoint that keeps every POST and always says yes; REST calls with its token succeed."""

    TOKEN = "00D000000000001!SIMULATED.captured"

    def __init__(self):
        self.posts = []
        capture = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                form = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
                canary.note("an assertion of the broker", dict(form)["assertion"])
                capture.posts.append({"at": time.time(), "headers": {k.lower(): v for k, v in self.headers.items()}, "form": form})
                self.answer(
                    {
                        "access_token": capture.TOKEN,
                        "token_type": "Bearer",
                        "instance_url": f"http://127.0.0.1:{capture.port}",
                        "id": "https://test.salesforce.com/id/00D000000000001AAA/005000000000001AAA",
                        "issued_at": str(int(time.time() * 1000)),
                        "scope": "api id",
                    }
                )

            def do_GET(self):
                self.answer({"identity": "https://test.salesforce.com/id/00D000000000001AAA/005000000000001AAA"})

            def answer(self, value):
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json;charset=UTF-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        super().__init__(Handler)


if __name__ == "__main__":
    main()
