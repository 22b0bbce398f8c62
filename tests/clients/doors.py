"""The doors that the clients knock at, all over TLS and under one throw-away authority.

    client ──https──> aquila serve ──https──> aquila simulate
    client ──https──> Front ──https──> aquila serve              to see what the client sends
"""

import base64
import contextlib
import http.client
import http.server
import json
import ssl
import threading
import urllib.parse
import urllib.request
from dataclasses import dataclass

from service import free_port, new_key, private_key, running, self_signed

INTEGRATION = "elf-prod"
CLIENT_ID = "3MVG9.clients"
CONTROL_SECRET = "control-of-the-clients"
# What a session lives that is to be over before anybody is tired of waiting: the client is told half of it, and less.
BRIEF = "12s"


@dataclass(frozen=True)
class Seen:
    """One request, as it came in."""

    method: str
    path: str
    headers: dict
    body: bytes

    @property
    def bearer(self):
        scheme, _, credential = self.headers.get("authorization", "").partition(" ")
        return credential if scheme.lower() == "bearer" else None

    def proof(self):
        """How the caller proves itself, and the secret: `("Basic", "aquila_…")`."""
        scheme, _, credential = self.headers.get("authorization", "").partition(" ")
        form = urllib.parse.parse_qs(self.body.decode())
        if scheme.lower() == "basic":
            _, _, secret = base64.b64decode(credential).decode().partition(":")
            decoded = urllib.parse.unquote_plus(secret)
            return "Basic" if decoded == secret else "Basic (form-encoded)", decoded
        if self.bearer:
            return "Bearer", self.bearer
        return "body", form.get("client_secret", [""])[0]

    def manner(self):
        """`proof()` and what else is special about the request, in words for the table."""
        words = [self.proof()[0]]
        if "chunked" in self.headers.get("transfer-encoding", ""):
            words.append("chunked")
        if ";" in self.headers.get("content-type", ""):
            words.append(self.headers["content-type"].split(";")[1].strip())
        return ", ".join(words)


class Front:
    """A TLS door that remembers each request, then answers by `answer` (a function from a `Seen` to status, type and
    body) or passes it on to the TLS door at `to_port`.
    """

    def __init__(self, tls, to_port=None, answer=None):
        self.tls, self.to_port, self.answer = tls, to_port, answer
        self.requests = []
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def serve(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(self.command, self.path, headers, self.read_body(headers))
                front.requests.append(seen)
                status, headers, body = front.pass_on(seen)
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = serve

            def read_body(self, headers):
                if "chunked" not in headers.get("transfer-encoding", ""):
                    return self.rfile.read(int(headers.get("content-length", 0)))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls["certificate"], tls["key"])
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # The handshake is left to the thread of the connection: one that hangs holds up no other.
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.url = f"https://localhost:{self.port}"

    def pass_on(self, seen):
        if self.answer:
            status, kind, body = self.answer(seen)
            return status, [("Content-Type", kind)], body
        context = ssl.create_default_context(cafile=self.tls["ca"])
        behind = http.client.HTTPSConnection("localhost", self.to_port, timeout=20, context=context)
        dropped = ("connection", "content-length", "transfer-encoding", "host", "accept-encoding")
        with contextlib.closing(behind):
            headers = {name: value for name, value in seen.headers.items() if name not in dropped}
            behind.request(seen.method, seen.path, body=seen.body or None, headers=headers)
            answer = behind.getresponse()
            # A client that looks the broker up finds this door again, not the one behind it.
            body = answer.read().replace(f"https://localhost:{self.to_port}".encode(), self.url.encode())
            return answer.status, answer.getheaders(), body

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@dataclass(frozen=True)
class Certified:
    """The caller that has a certificate, what it is called, and whose it is."""

    caller: str
    spiffe_id: str
    authority: object


@dataclass
class Stage:
    """What `open_doors` opened."""

    door: str
    recorder: Front
    salesforce: str
    keys: dict
    stranger: str
    serve: object
    audit: object
    ca: object

    def control(self, method, path, body=None):
        """A control route of the simulator."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.salesforce}/__simulator/{path}", data=data, method=method)
        request.add_header("Authorization", f"Bearer {CONTROL_SECRET}")
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(request, timeout=15, context=context) as answer:
            return json.load(answer)


def user_of(integration):
    """The user of an integration in Salesforce."""
    return f"{integration}@acme.example"


def open_doors(stack, binary, folder, tls, callers, certified, brief=(), more=""):
    """Simulator, broker and recorder, with one caller for each of `callers`: what its section has beside an API key, and the
    lines that `certified` adds to one. Those in `brief` have an integration of their own, of the same name, with brief
    sessions. `more` is for the end of the configuration.
    """
    certificate = self_signed(folder / "app.pem", private_key(folder / "app.key"))
    port = free_port()
    salesforce = f"https://localhost:{port}"
    control_secret = folder / "control.secret"
    control_secret.write_text(CONTROL_SECRET)
    integrations = {INTEGRATION: "2h"} | dict.fromkeys(brief, BRIEF)
    users = [word for name in integrations for word in ("--username", user_of(name))]
    simulator = stack.enter_context(
        running(
            binary, folder, "simulate", "simulate", "--listen", f"127.0.0.1:{port}", "--certificate", certificate,
            "--client-id", CLIENT_ID, "--instance-url", salesforce, *users,
            "--tls-certificate", tls["certificate"], "--tls-key", tls["key"], "--control-secret-path", control_secret,
        )
    )  # fmt: skip
    simulator.wait_for_port(port)

    door, ops = free_port(), free_port()
    made = {caller: new_key(binary, caller) for caller in callers}
    config = folder / "aquila.toml"
    config.write_text(
        f"""
[server]
# Every client fails once, from the same address.
failed_proofs_per_minute = 1000
listen = "127.0.0.1:{door}"
public_url = "https://localhost:{door}"
tls = {{ certificate_path = "{tls["certificate"]}", private_key_path = "{tls["key"]}", client_ca_path = "{certified.authority}" }}

[ops]
listen = "127.0.0.1:{ops}"

[salesforce]
ca_path = "{tls["ca"]}"

[log]
level = "debug"

[audit]
path = "{folder}/audit.jsonl"
"""
        + "".join(
            f"""
[integrations.{name}]
audience_url = "https://login.salesforce.com"
client_key_path = "{folder}/app.key"
client_id = "{CLIENT_ID}"
username = "{user_of(name)}"
instance_url = "{salesforce}"
token_url = "{salesforce}/services/oauth2/token"
session_timeout = "{timeout}"
"""
            for name, timeout in integrations.items()
        )
        + "".join(
            f'\n[callers.{caller}]\nintegrations = ["{caller if caller in brief else "elf-*"}"]\napi_key_sha256 = ["{digest}"]\n'
            + callers[caller]
            + (f'client_certificate = [{{ spiffe_id = "{certified.spiffe_id}" }}]\n' if caller == certified.caller else "")
            for caller, (_, digest) in made.items()
        )
        + more
    )
    serve = stack.enter_context(running(binary, folder, "serve", "serve", "--config", config))
    serve.wait_until_ready(ops)
    return Stage(
        door=f"https://localhost:{door}",
        recorder=stack.enter_context(Front(tls, to_port=door)),
        salesforce=salesforce,
        keys={caller: key for caller, (key, _) in made.items()},
        # A key of the right form that nobody was given.
        stranger=new_key(binary, "stranger")[0],
        serve=serve,
        audit=folder / "audit.jsonl",
        ca=tls["ca"],
    )
