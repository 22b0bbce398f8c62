"""Proves the simulator with clients that mint by themselves: what they take for Salesforce, the broker may be judged by.

    simple-salesforce ──https──> login.salesforce.com  ┐
                      ──https──> acme.my.salesforce.com ├ aquila simulate (names resolved to loopback in here)
    authlib           ──https──> acme.my.salesforce.com ┘
    sf (official CLI) ──https──> localhost ───────────── aquila simulate

Each signs in with the app's key and reads the same event log file. Nothing leaves the machine.
"""

import contextlib
import csv
import datetime
import http.server
import io
import json
import os
import pathlib
import socket
import tempfile
import threading
import time

import requests
from authlib.integrations.requests_client import AssertionSession
from joserfc.jwk import RSAKey
from simple_salesforce import Salesforce

import official_cli
from checks import Checks
from front import Listening
from service import free_port, private_key, self_signed, simulating

CLIENT_ID = "3MVG9.simulator"
USERNAME = "elastic-log@acme.example"
LOGIN = "login.salesforce.com"
MY_DOMAIN = "acme.my.salesforce.com"
HOSTS = [f"production={LOGIN}", "sandbox=test.salesforce.com", f"my-domain={MY_DOMAIN}"]
# The first file of yesterday is there whatever the hour, and stays the first one over midnight.
YESTERDAY = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")
QUERY = (
    "SELECT Id, EventType, LogDate, LogFile FROM EventLogFile"
    f" WHERE EventType = 'RestApi' AND LogDate >= {YESTERDAY} ORDER BY LogDate, Id"
)
BATCH = 7


def main():
    arguments = official_cli.arguments()
    with Checks("simulator") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        self_signed(folder / "app.pem", private_key(folder / "app.key"))

        hosts = [word for host in HOSTS for word in ("--host", host)]
        named = Simulated(stack, arguments.binary, folder, "named", *hosts, "--switch", "answers_chunked=true")
        external = Simulated(stack, arguments.binary, folder, "external", *hosts, "--external-client-app")
        plain = Simulated(stack, arguments.binary, folder, "plain")
        # requests, and so both Python clients, trust these authorities and no other.
        bundle = folder / "authorities.pem"
        bundle.write_text("".join(simulated.authority.read_text() for simulated in (named, external, plain)))
        os.environ["REQUESTS_CA_BUNDLE"] = str(bundle)

        with resolved_to(named.port):
            rows = simple_salesforce(checks, named, folder)
            same = authlib(checks, named, folder)
            checks.check("authlib reads the same rows as simple-salesforce", same == rows)
        with resolved_to(external.port):
            external_client_app(checks, folder)
        other_forms(checks, plain, folder)
        with OneWay(plain.port) as proxy:
            # Behind a proxy: it would try Salesforce's true hosts, too.
            environment = {
                "NODE_EXTRA_CA_CERTS": str(plain.authority), "HTTPS_PROXY": proxy.url, "HTTP_PROXY": proxy.url,
            }  # fmt: skip
            sf = official_cli.OfficialCli(arguments.node, arguments.sf, folder / "home", environment)
            same = by_the_official_cli(checks, plain, sf, folder)
        checks.check("sf asked nobody but the simulator", proxy.others == [], proxy.others)
        checks.check("sf reads the same rows as simple-salesforce", same == rows)


class Simulated:
    """A simulator behind TLS with a throw-away authority, and its control routes."""

    def __init__(self, stack, binary, folder, name, *more):
        self.authority = folder / f"{name}-ca.pem"
        secret = folder / f"{name}.secret"
        secret.write_text(f"control-of-{name}")
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.control_headers = {"Authorization": f"Bearer control-of-{name}"}
        options = [
            "--tls", "--ca-out", self.authority, "--certificate", folder / "app.pem", "--client-id", CLIENT_ID,
            "--username", USERNAME, "--control-secret-path", secret, "--query-batch", BATCH,
            # By its name, too, where no named host has audiences of its own.
            "--audience", f"https://{LOGIN}", "--audience", self.url, *more,
        ]  # fmt: skip
        stack.enter_context(simulating(binary, folder, self.port, *options, name=name))

    def control(self, method, path, body=None):
        answer = requests.request(
            method, f"{self.url}/__simulator/{path}", json=body, headers=self.control_headers, timeout=10
        )
        answer.raise_for_status()
        return answer.json()

    def last_assertion(self):
        return self.control("GET", "assertions")[-1]


@contextlib.contextmanager
def resolved_to(port):
    """Within the block every name below salesforce.com is this port of loopback, whatever port is asked for."""
    original = socket.getaddrinfo

    def resolve(host, asked_port, *more, **named):
        if str(host).endswith(".salesforce.com"):
            return original("127.0.0.1", port, *more, **named)
        return original(host, asked_port, *more, **named)

    socket.getaddrinfo = resolve
    try:
        yield
    finally:
        socket.getaddrinfo = original


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def whole_table(checks, client, rows):
    checks.check(f"{client} reads a log file with a header and rows", len(rows) > 1, rows[:1])
    checks.check(f"{client}: every row has as many cells as the header", len({len(row) for row in rows}) == 1)


def simple_salesforce(checks, simulated, folder):
    # Its login host is fixed to *.salesforce.com.
    salesforce = sign_in(folder / "app.key")
    checks.check("simple-salesforce logs in at the production host", "SIMULATED" in salesforce.session_id)
    checks.check("and goes on at My Domain", MY_DOMAIN in salesforce.sf_instance, salesforce.sf_instance)
    said = simulated.last_assertion()
    checks.check("its exp is text", type(said["claims"]["exp"]) is str, said)

    found = salesforce.query_all(QUERY)
    count = len(found["records"])
    checks.check("simple-salesforce follows nextRecordsUrl to the end", found["totalSize"] == count > BATCH, count)
    fields = {field["name"] for field in salesforce.EventLogFile.describe()["fields"]}
    checks.check("simple-salesforce describes EventLogFile", {"Id", "LogFile", "LogFileLength", "Interval"} <= fields, fields)
    checks.check("simple-salesforce reads the limits", salesforce.limits()["DailyApiRequests"]["Remaining"] > 0)
    organizations = salesforce.query("SELECT Id, IsSandbox FROM Organization")["records"]
    checks.check("simple-salesforce finds the organization", [one["IsSandbox"] for one in organizations] == [False])
    logins = salesforce.query("SELECT FIELDS(STANDARD) FROM LoginEvent LIMIT 3")["records"]
    checks.check("simple-salesforce reads real-time logins", len(logins) == 3 and "SourceIp" in logins[0], logins)

    url = f"https://{salesforce.sf_instance}{found['records'][0]['LogFile']}"
    answer = salesforce.session.get(url, headers=salesforce.headers, timeout=10)
    checks.check("the log file comes chunked", answer.headers.get("Transfer-Encoding") == "chunked", answer.headers)
    rows = rows_of(answer.text)
    whole_table(checks, "simple-salesforce", rows)

    stranger = private_key(folder / "stranger.key")
    checks.refused(
        "simple-salesforce with a stranger's key is refused", lambda: sign_in(stranger), "invalid_grant", "invalid assertion"
    )
    checks.refused(
        "a production user is unknown at the sandbox host", lambda: sign_in(folder / "app.key", "test"), "hasn't approved"
    )
    return rows


def sign_in(key, domain="login"):
    return Salesforce(username=USERNAME, consumer_key=CLIENT_ID, privatekey_file=str(key), domain=domain)


def assertion_session(folder, endpoint, audience):
    return AssertionSession(
        token_endpoint=endpoint,
        issuer=CLIENT_ID,
        subject=USERNAME,
        audience=audience,
        grant_type=AssertionSession.JWT_BEARER_GRANT_TYPE,
        header={"alg": "RS256"},
        key=RSAKey.import_key((folder / "app.key").read_text()),
        expires_at=int(time.time()) + 180,
    )


def authlib(checks, simulated, folder):
    session = assertion_session(folder, f"https://{MY_DOMAIN}/services/oauth2/token", f"https://{LOGIN}")
    found = session.get(f"https://{MY_DOMAIN}/services/data/v60.0/query", params={"q": QUERY}, timeout=10)
    checks.check("authlib's assertion session mints at My Domain by itself", found.status_code == 200, found.text[:300])
    said = simulated.last_assertion()
    checks.check("its exp is a number", type(said["claims"]["exp"]) is int, said)
    checks.check("it is handed the session that simple-salesforce opened", said["outcome"] == "granted_running", said)
    who = session.get(session.token["id"], timeout=10).json()
    checks.check("the identity URL of the answer says who it is", who["username"] == USERNAME, who)

    record = found.json()["records"][0]
    rows = rows_of(session.get(f"{session.token['instance_url']}{record['LogFile']}", timeout=10).text)
    whole_table(checks, "authlib", rows)

    wrong = assertion_session(folder, f"https://{LOGIN}/services/oauth2/token", f"https://{MY_DOMAIN}")
    checks.refused("the login host does not take My Domain as audience", wrong.refresh_token, "audience is invalid")
    return rows


def external_client_app(checks, folder):
    key = folder / "app.key"
    checks.refused("the login host does not find an External Client App", lambda: sign_in(key), "app_not_found")
    endpoint = f"https://{MY_DOMAIN}/services/oauth2/token"
    session = assertion_session(folder, endpoint, f"https://{MY_DOMAIN}")
    token = session.refresh_token()
    checks.check("its org's My Domain does, and is the audience", bool(token["access_token"]), sorted(token))


def other_forms(checks, simulated, folder):
    """What the clients leave alone: other forms of an answer, and the end of a session."""
    session = assertion_session(folder, f"{simulated.url}/services/oauth2/token", f"https://{LOGIN}")
    token = session.refresh_token()["access_token"]
    versions = requests.get(f"{simulated.url}/services/data", timeout=10).json()
    checks.check("the versions need no token", versions[-1]["url"].startswith("/services/data/v"), versions[-1:])
    for accept, begins in [("application/xml", "<?xml"), ("application/x-www-form-urlencoded", "error=")]:
        refused = requests.post(session.token_endpoint, headers={"Accept": accept}, timeout=10)
        checks.check(f"a refusal comes as {accept}", refused.text.startswith(begins), refused.text)
    revoked = requests.post(f"{simulated.url}/services/oauth2/revoke", data={"token": token}, timeout=10)
    checks.check("revoke ends the session", revoked.status_code == 200 and revoked.text == "", revoked.text)
    dead = session.get(f"{simulated.url}/services/data/v60.0/limits", timeout=10)
    checks.check("a revoked token is refused", (dead.status_code, dead.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID"))


class OneWay(Listening):
    """A proxy that lets tunnels through to one port of loopback and remembers what else was asked for."""

    def __init__(self, port):
        self.others = others = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_CONNECT(self):
                if self.path not in (f"localhost:{port}", f"127.0.0.1:{port}"):
                    others.append(self.path)
                    self.send_error(403)
                    return
                with socket.create_connection(("127.0.0.1", port), timeout=60) as behind:
                    self.send_response(200)
                    self.end_headers()
                    back = threading.Thread(target=pass_on, args=(behind, self.connection), daemon=True)
                    back.start()
                    pass_on(self.connection, behind)
                    back.join(timeout=60)

            def log_message(self, *_):
                pass

        super().__init__(Handler)


def pass_on(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def by_the_official_cli(checks, simulated, sf, folder):
    login = (
        "org", "login", "jwt", "--client-id", CLIENT_ID, "--jwt-key-file", folder / "app.key", "--username", USERNAME,
        "--instance-url", simulated.url, "--json",
    )  # fmt: skip
    # Left alone it writes the login URL with a slash at its end, and takes the other hosts when that is refused.
    for what, slash, environment, audience in [
        ("with SF_AUDIENCE_URL", False, {"SF_AUDIENCE_URL": simulated.url}, simulated.url),
        ("left to itself", True, {}, f"{simulated.url}/"),
    ]:
        simulated.control("PATCH", "switches", {"aud_trailing_slash_accepted": slash})
        simulated.control("POST", "reset-counts")
        status, out, err = sf.run(*login, **environment)
        checks.check(f"sf logs in {what}", status == 0 and json.loads(out)["status"] == 0, out + err)
        said = simulated.last_assertion()
        checks.check("with that audience", said["claims"]["aud"] == audience, said)
        checks.check("at its first try", simulated.control("GET", "counts")["token_posts"] == 1)
        checks.check("with an exp in milliseconds", said["claims"]["exp"] > 10**12, said)
    org = json.loads(out)["result"]
    checks.check("sf found the organization", (org["name"], org["isDevHub"]) == ("SIMULATED Org", False), org)

    status, out, err = sf.run("data", "query", "--query", QUERY, "--target-org", USERNAME, "--result-format", "csv")
    records = list(csv.DictReader(io.StringIO(out)))
    checks.check("sf queries with column metadata and follows the batches", status == 0 and len(records) > BATCH, out + err)
    checks.check("in the columns asked for", list(records[0]) == ["Id", "EventType", "LogDate", "LogFile"], records[0])
    status, out, err = sf.run("api", "request", "rest", records[0]["LogFile"], "--target-org", USERNAME)
    checks.check("sf fetches the log file", status == 0, out + err)
    rows = rows_of(out.strip("\n") + "\n")
    whole_table(checks, "sf", rows)
    return rows


if __name__ == "__main__":
    main()
