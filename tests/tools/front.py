"""HTTP servers of the judges' own, and a door that sees what a client sends before it passes it on."""

import base64
import contextlib
import http.client
import http.server
import ssl
import threading
import urllib.parse
from dataclasses import dataclass

import canary
from service import free_port


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

    def note(self):
        """Has what proves the caller searched for, wherever the services write."""
        form = urllib.parse.parse_qs(self.body.decode(errors="replace"))
        for name in ("client_secret", "assertion", "client_assertion", "token"):
            for secret in form.get(name, []):
                canary.note(f"a {name}", secret)
        if self.bearer:
            canary.note("a bearer token", self.bearer)

    def manner(self):
        """`proof()` and what else is special about the request, in words for the table."""
        words = [self.proof()[0]]
        if "chunked" in self.headers.get("transfer-encoding", ""):
            words.append("chunked")
        if ";" in self.headers.get("content-type", ""):
            words.append(self.headers["content-type"].split(";")[1].strip())
        return ", ".join(words)


class Listening:
    """An HTTP server on a free port of loopback (or on `port`, which was free a moment ago), for the length of a `with` block; with `tls` over TLS."""

    def __init__(self, handler, tls=None, port=None):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port or free_port()), handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls["certificate"], tls["key"])
            # The handshake is left to the thread of the connection: one that hangs holds up no other.
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.url = f"https://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Front(Listening):
    """A TLS door that remembers each request, then answers by `answer` (a function from a `Seen` to status, type and
    body) or passes it on to the door at `to_port`, which has TLS too unless it is `plain`.
    """

    def __init__(self, tls, to_port=None, answer=None, plain=False, port=None):
        self.tls, self.to_port, self.answer, self.plain = tls, to_port, answer, plain
        self.requests = []
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def serve(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(self.command, self.path, headers, self.read_body(headers))
                front.requests.append(seen)
                seen.note()
                status, headers, body = front.pass_on(seen)
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                # Who asked may have given up meanwhile.
                with contextlib.suppress(BrokenPipeError):
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

        super().__init__(Handler, tls, port)

    def pass_on(self, seen):
        if self.answer:
            status, kind, body = self.answer(seen)
            return status, [("Content-Type", kind)], body
        if self.plain:
            behind = http.client.HTTPConnection("127.0.0.1", self.to_port, timeout=20)
        else:
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
