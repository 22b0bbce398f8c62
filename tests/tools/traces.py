"""Traces as a collector gets them: the real service sends OTLP, and the published form of OTLP reads it.

    this script ──> aquila serve ──OTLP──> Collector of this script
                          └──> Front ──> aquila simulate

The collector is strict: a request that is not as OTLP/HTTP has it ends the script, and so do unknown fields, ids of the
wrong length and spans that end before they begin. What it received is searched for secrets.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1 import trace_pb2

import canary
from checks import Checks
from front import Front
from service import free_port, loopback_tls, new_key, private_key, self_signed, serving, simulating

CALLER = "log-shipper"
CLIENT_ID = "3MVG9.traces"
CONTROL = "throw-away-control-secret"
# What the collector wants to be shown: never in a span, and never in the log.
COLLECTOR_KEY = "throw-away-collector-key+/4711"
# By integration, its user.
USERS = {"good": "good@acme.example", "slow": "slow@acme.example", "early": "early@acme.example", "other": "other@acme.example"}
REFUSED = "nobody@acme.example"
WITHIN = 20.0
SERVER, INTERNAL, CLIENT = trace_pb2.Span.SPAN_KIND_SERVER, trace_pb2.Span.SPAN_KIND_INTERNAL, trace_pb2.Span.SPAN_KIND_CLIENT
ERROR = trace_pb2.Status.STATUS_CODE_ERROR


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    binary = arguments.parse_args().binary
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]
    canary.note("the key of the collector", COLLECTOR_KEY)
    with Checks("traces") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stage = Stage(stack, binary, pathlib.Path(folder))
        one_service_in_all_its_moods(checks, stage)
        spans_wait_for_nothing_at_the_end(checks, stage)
        the_collector_is_away(checks, stage)
        what_is_not_wanted_is_not_there(checks, stage)


# --- the scenes ----------------------------------------------------------------


def one_service_in_all_its_moods(checks, stage):
    resource = {"OTEL_SERVICE_NAME": "broker-under-test", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
    with Collector(checks) as collector, stage.serving("moods", collector, OTEL_BSP_SCHEDULE_DELAY="200", **resource) as service:
        early = collector.wait(lambda spans: named(spans, "flight"))
        flight = only(checks, "the token that is fetched at the start has a trace of its own", named(early, "flight"))
        told = attributes(flight)
        checks.check("it says whose it is and what for", (told["aquila.integration"], told["aquila.purpose"]) == ("early", "now"), told)
        checks.check("and nobody asked for it", flight.parent_span_id == b"", flight)
        said = {each.key: each.value.string_value for each in collector.resource.attributes}
        wanted = {"service.name": "broker-under-test", "deployment.environment.name": "test"}
        checks.check("the service is called as the environment says", said.items() >= wanted.items(), said)
        checks.check("with its version", said.get("service.version", "")[:1].isdigit(), said)
        collector.clear()

        a_cold_request(checks, stage, collector, service)
        a_warm_request(checks, stage, collector, service)
        twenty_at_once(checks, stage, collector, service)
        a_refusal(checks, stage, collector, service)
        callers_that_name_their_trace(checks, stage, collector, service)
        checks.check("the service ends with status 0", service.stop() == 0, service.tail())


# What callers send by W3C, and in other systems.
FOREIGN = ("traceparent", "tracestate", "baggage", "b3", "uber-trace-id", "x-b3-traceid")


def a_cold_request(checks, stage, collector, service):
    stage.ask(service, "good")
    spans = collector.wait(lambda spans: named(spans, "GET /token/{integration}"))
    request = only(checks, "a cold request: one span of the request", named(spans, "GET /token/{integration}"))
    cache = only(checks, "one of the look into memory", named(spans, "cache"))
    flight = only(checks, "one of the flight", named(spans, "flight"))
    mint = only(checks, "one of the call to the token endpoint", named(spans, "POST /services/oauth2/token"))
    confirm = only(checks, "one of the confirm call", named(spans, "GET /services/data/v60.0/"))
    checks.check("and no other", len(spans) == 5, [span.name for span in spans])
    checks.check("the request is the root", request.parent_span_id == b"", request)
    for child, parent in ((cache, request), (flight, cache), (mint, flight), (confirm, flight)):
        checks.check(f"`{child.name}` is beneath `{parent.name}`", child.parent_span_id == parent.span_id and child.trace_id == request.trace_id)
    kinds = [span.kind for span in (request, cache, flight, mint, confirm)]
    checks.check("each is of its kind", kinds == [SERVER, INTERNAL, INTERNAL, CLIENT, CLIENT], kinds)
    checks.check("none failed", not any(span.status.code == ERROR for span in spans))
    checks.check("the calls lie within the flight", all(flight.start_time_unix_nano <= call.start_time_unix_nano <= call.end_time_unix_nano <= flight.end_time_unix_nano for call in (mint, confirm)))
    told = attributes(request)
    wanted = {
        "http.request.method": "GET", "http.route": "/token/{integration}", "url.path": "/token/{integration}",
        "url.scheme": "http", "http.response.status_code": 200, "aquila.outcome": "issued", "aquila.caller": CALLER,
        "aquila.integration": "good",
    }  # fmt: skip
    checks.check("the request says what it was", told.items() >= wanted.items(), told)
    checks.check("by the request id of the audit record", told["aquila.request_id"] == service.records()[-1]["request_id"], told)
    checks.check("the look into memory says what it found", attributes(cache) == {"aquila.cache": "miss"}, attributes(cache))
    told = attributes(mint)
    wanted = {
        "http.request.method": "POST", "url.template": "/services/oauth2/token", "url.full": stage.token_url,
        "server.address": "127.0.0.1", "server.port": stage.front.port, "http.response.status_code": 200,
    }  # fmt: skip
    checks.check("the call says where it went", told == wanted, told)
    collector.clear()


def a_warm_request(checks, stage, collector, service):
    stage.ask(service, "good")
    spans = collector.wait(lambda spans: named(spans, "GET /token/{integration}"))
    checks.check("a warm request: the request and the look into memory", sorted(span.name for span in spans) == ["GET /token/{integration}", "cache"], [span.name for span in spans])
    found = attributes(named(spans, "cache")[0])
    checks.check("which is a hit", found == {"aquila.cache": "hit"}, found)
    collector.clear()
    stage.get(service, "/healthz")


def twenty_at_once(checks, stage, collector, service):
    stage.control({"door": "token", "username": USERS["slow"], "delay_ms": 2000, "answer": {"kind": "as_usual"}})
    with concurrent.futures.ThreadPoolExecutor(20) as callers:
        list(callers.map(lambda _: stage.ask(service, "slow"), range(20)))
    spans = collector.wait(lambda spans: len(named(spans, "GET /token/{integration}")) == 20)
    flight = only(checks, "20 cold callers at once: one flight", named(spans, "flight"))
    only(checks, "one call to the token endpoint", named(spans, "POST /services/oauth2/token"))
    caches = named(spans, "cache")
    leaders = [span for span in caches if span.span_id == flight.parent_span_id]
    waiters = [span for span in caches if span.span_id != flight.parent_span_id]
    checks.check("one caller began it", len(leaders) == 1 and not leaders[0].links, leaders)
    links = [(link.trace_id, link.span_id) for span in waiters for link in span.links]
    checks.check("19 waited, and each links to it from a trace of its own", links == [(flight.trace_id, flight.span_id)] * 19, len(links))
    checks.check("the traces are twenty", len({span.trace_id for span in caches}) == 20)
    found = collections.Counter(attributes(span)["aquila.cache"] for span in caches)
    checks.check("and say who waited for whom", found == {"miss": 1, "joined": 19}, found)
    checks.check("a probe has no span", not [span for span in spans if "healthz" in span.name])
    collector.clear()


def a_refusal(checks, stage, collector, service):
    status, body = stage.get(service, "/token/refused", stage.key)
    checks.check("a refused login is a 502", status == 502, (status, body))
    spans = collector.wait(lambda spans: named(spans, "GET /token/{integration}"))
    request, cache, flight = (named(spans, name)[0] for name in ("GET /token/{integration}", "cache", "flight"))
    told = attributes(request)
    checks.check("its request failed, and says of what", request.status.code == ERROR and told["error.type"] == told["aquila.outcome"] == "upstream_refused", told)
    cause = attributes(flight).get("error.type")
    logged = [line for line in service.log() if line.get("cause")]
    checks.check("the flight failed by the cause that the log tells", flight.status.code == ERROR and cause == logged[-1]["cause"], (cause, logged))
    checks.check("so did the look into memory", cache.status.code == ERROR and attributes(cache)["error.type"] == "failed", cache)
    answered = {attributes(span)["http.response.status_code"] for span in spans if span.kind == CLIENT}
    checks.check("Salesforce's answer was a 400", answered == {400}, answered)
    trace = request.trace_id.hex()
    checks.check("the problem tells its trace", json.loads(body).get("trace_id") == trace, body)
    checks.check("so does the log", logged[-1].get("trace_id") == trace, logged[-1])
    collector.clear()
    status, body = stage.get(service, "/token/good", "aquila_" + "0" * 49)
    request = collector.wait(lambda spans: named(spans, "GET /token/{integration}"))[0]
    told = attributes(request)
    checks.check("a wrong key is the caller's fault and no failure", request.status.code != ERROR and told["aquila.outcome"] == "unauthenticated" and "aquila.reason" in told and told["http.response.status_code"] == 401, told)
    checks.check("it names nobody", "aquila.caller" not in told and "aquila.integration" not in told, told)
    collector.clear()
    status, body = stage.get(service, "/token/secret-typed-as-a-name", stage.key)
    told = attributes(collector.wait(lambda spans: named(spans, "GET /token/{integration}"))[0])
    checks.check("what a caller wrote into the path is nowhere", status == 403 and not any("secret" in str(value) for value in told.values()), told)
    collector.clear()


def callers_that_name_their_trace(checks, stage, collector, service):
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    named_by = {"traceparent": f"00-{trace}-{span}-01", "tracestate": "acme=1,other=2", "baggage": "who=acme"}
    before = len(stage.front.requests)
    stage.ask(service, "other", named_by)
    spans = collector.wait(lambda spans: named(spans, "GET /token/{integration}"))
    request = only(checks, "a caller names its trace", named(spans, "GET /token/{integration}"))
    checks.check("and its span: both are taken over", (request.trace_id.hex(), request.parent_span_id.hex()) == (trace, span), request)
    checks.check("with the state", request.trace_state == "acme=1,other=2", request.trace_state)
    checks.check("which came from outside", request.flags & trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK, request.flags)
    checks.check("everything beneath it is in that trace", len(spans) == 5 and all(each.trace_id.hex() == trace for each in spans), spans)
    seen = stage.front.requests[before:]
    foreign = [name for each in seen for name in each.headers if name in FOREIGN]
    checks.check("and nothing of it goes to Salesforce", [each.method for each in seen] == ["POST", "GET"] and not foreign, (seen, foreign))
    record = service.records()[-1]
    checks.check("the audit record tells the trace", record.get("trace_id") == trace, record)
    collector.clear()

    for wrong in (f"00-{trace}-{span}", f"00-{trace.upper()}-{span}-01", f"ff-{trace}-{span}-01", "x" * 5000):
        stage.ask(service, "good", {"traceparent": wrong})
        request = named(collector.wait(lambda spans: named(spans, "GET /token/{integration}")), "GET /token/{integration}")[0]
        checks.check(f"`{wrong[:60]}` names nothing", request.parent_span_id == b"" and request.trace_id.hex() != trace, request)
        collector.clear()

    status, body = stage.get(service, "/token", stage.key, {"traceparent": f"00-{trace}-{span}-00"})
    checks.check("a caller that does not record still finds its trace in a problem", status == 400 and json.loads(body).get("trace_id") == trace, body)
    stage.ask(service, "good")
    spans = collector.wait(lambda spans: named(spans, "GET /token/{integration}"))
    checks.check("and nothing of it is recorded here", all(each.trace_id.hex() != trace for each in spans), spans)
    collector.clear()


def spans_wait_for_nothing_at_the_end(checks, stage):
    tls = loopback_tls(stage.folder)
    slow = {"OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tls["ca"])}
    with Collector(checks, tls) as collector, stage.serving("ending", collector, **slow) as service:
        stage.ask(service, "good")
        checks.check("spans are gathered", collector.spans() == [], collector.spans())
        began = time.monotonic()
        checks.check("SIGTERM ends the service with status 0", service.stop() == 0, service.tail())
        checks.check("at once", time.monotonic() - began < 5, time.monotonic() - began)
        got = [span.name for span in collector.spans()]
        checks.check("and what was gathered has gone out, by TLS of an authority of its own", "GET /token/{integration}" in got, got)
        checks.check("the last one included", "flight" in got, got)


def the_collector_is_away(checks, stage):
    port = free_port()
    hurry = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}
    with stage.serving("away", f"http://127.0.0.1:{port}", log_format="text", **hurry) as service:
        began = time.monotonic()
        for _ in range(50):
            stage.ask(service, "good")
        checks.check("without a collector 50 requests are served as ever", time.monotonic() - began < 5, time.monotonic() - began)
        told = lambda words: [line for line in service.output().splitlines() if words in line]
        service.wait_until("word of it", lambda: told("spans cannot be delivered"))
        for _ in range(20):
            stage.ask(service, "good")
            time.sleep(0.1)
        lines = told("spans cannot be delivered")
        checks.check("it is told once, with a remedy and without the address", len(lines) == 1 and "remedy=" in lines[0] and str(port) not in lines[0], lines)
        with Collector(checks, port=port) as collector:
            stage.ask(service, "good")
            service.wait_until("better news", lambda: told("spans are delivered again"))
            collector.wait(lambda spans: spans)
            checks.check("and once when it is over", len(told("spans are delivered again")) == 1, service.output())
            # A collector that takes what it is given and never answers.
            collector.deaf = True
            began = time.monotonic()
            for _ in range(50):
                stage.ask(service, "good")
            checks.check("a collector that does not answer holds up nobody", time.monotonic() - began < 5, time.monotonic() - began)
            service.wait_until("word of that", lambda: len(told("spans cannot be delivered")) == 2)
            began = time.monotonic()
            checks.check("nor the end of the service", service.stop() == 0 and time.monotonic() - began < 10, service.tail())
        flights = [line for line in service.output().splitlines() if "a new token" in line and "early" not in line]
        checks.check("lines of text tell their trace, too", flights and all(" trace_id=" in line for line in flights), flights)


def what_is_not_wanted_is_not_there(checks, stage):
    with Collector(checks) as collector:
        for name, told, wish in (
            ("unasked", None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}),
            ("disabled", None, {"OTEL_SDK_DISABLED": "true"}),
            ("none", None, {"OTEL_TRACES_EXPORTER": "none"}),
            ("grpc", "OTEL_EXPORTER_OTLP_PROTOCOL", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}),
            ("framing", "OTEL_EXPORTER_OTLP_HEADERS", {"OTEL_EXPORTER_OTLP_HEADERS": "content-length=5"}),
        ):
            with stage.serving(name, collector, OTEL_BSP_SCHEDULE_DELAY="50", **wish) as service:
                stage.ask(service, "good")
                _, body = stage.get(service, "/token")
                checks.check(f"{name}: a problem has no trace", "trace_id" not in json.loads(body), body)
                checks.check(f"{name}: nor has a record", not any("trace_id" in record for record in service.records()))
                checks.check(f"{name}: nothing was started", not [thread for thread in service.threads() if "OpenTele" in thread], service.threads())
                warned = [line for line in service.log() if "OTEL" in str(line.get("variable"))]
                checks.check(f"{name}: what cannot be is told, and nothing else", [line["variable"] for line in warned] == [told] * bool(told), warned)
        off = {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with stage.serving("unsampled", collector, **off) as service:
            stage.ask(service, "good")
            _, body = stage.get(service, "/token")
            checks.check("with the sampler off a problem has no trace", "trace_id" not in json.loads(body), body)
            checks.check("but the batches have their thread", [thread for thread in service.threads() if "OpenTele" in thread], service.threads())
            service.stop()
        checks.check("and the collector was never asked", collector.requests == [], collector.requests)


# --- reading spans ---------------------------------------------------------------


def named(spans, name):
    return [span for span in spans if span.name == name]


def only(checks, what, spans):
    checks.check(what, len(spans) == 1, [span.name for span in spans])
    return spans[0]


def attributes(span):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


class Collector(Front):
    """Takes what OTLP over HTTP allows, and ends the script over anything else."""

    def __init__(self, checks, tls=None, port=None):
        self.checks, self.lock, self.got, self.resource, self.deaf = checks, threading.Condition(), [], None, False
        self.wrong = []
        super().__init__(tls, answer=self.take, port=port)

    def take(self, seen):
        if self.deaf:
            time.sleep(5)
        canary.look_into("what the collector received", seen.body.decode("latin-1"))
        wanted = {"content-type": "application/x-protobuf", "x-collector-key": COLLECTOR_KEY}
        sound = seen.method == "POST" and seen.path == "/v1/traces" and wanted.items() <= seen.headers.items()
        request = ExportTraceServiceRequest.FromString(seen.body)
        with self.lock:
            if not sound or "content-encoding" in seen.headers:
                self.wrong.append((seen.method, seen.path, sorted(seen.headers)))
            self.wrong += unknown(request)
            for group in request.resource_spans:
                self.resource = group.resource
                for scope in group.scope_spans:
                    self.wrong += [str(span) for span in scope.spans if not is_whole(span)]
                    self.got += scope.spans
            self.lock.notify_all()
        return 200, "application/x-protobuf", ExportTraceServiceResponse().SerializeToString()

    def wait(self, holds):
        """The spans, once they are what is waited for."""
        with self.lock:
            came = self.lock.wait_for(lambda: holds(self.got), WITHIN)
            if self.wrong or not came:
                self.checks.check("the collector gets what OTLP allows, and what is waited for", False, (self.wrong, self.got))
            return list(self.got)

    def spans(self):
        with self.lock:
            return list(self.got)

    def clear(self):
        with self.lock:
            self.got = []


def is_whole(span):
    ids = len(span.trace_id) == 16 and any(span.trace_id) and len(span.span_id) == 8 and any(span.span_id)
    lost = span.dropped_attributes_count or span.dropped_links_count or span.dropped_events_count
    return ids and span.name and 0 < span.start_time_unix_nano <= span.end_time_unix_nano and not lost


def unknown(message):
    """Fields that the published form does not know, anywhere in a message."""
    found = [f"field {field.field_number} of {message.DESCRIPTOR.name}" for field in UnknownFieldSet(message)]
    for field, value in message.ListFields():
        if field.message_type:
            for inner in value if field.is_repeated else [value]:
                found += unknown(inner)
    return found


class WayToSalesforce(Front):
    """Sees the confirm calls, too: tokens are good here, and not at the simulator behind it."""

    def pass_on(self, seen):
        status, headers, body = super().pass_on(seen)
        return status, headers, body.replace(f"http://127.0.0.1:{self.to_port}".encode(), self.url.encode())


# --- the services ----------------------------------------------------------------


class Stage:
    """A simulator with a door before it, and brokers that are started and ended one after the other."""

    def __init__(self, stack, binary, folder):
        self.binary, self.folder = binary, folder
        self.key, self.digest = new_key(binary, CALLER)
        certificate = self_signed(folder / "app.pem", private_key(folder / "app.key"))
        (folder / "control.secret").write_text(CONTROL)
        self.simulator = free_port()
        users = [word for user in USERS.values() for word in ("--username", user)]
        options = ["--certificate", certificate, "--client-id", CLIENT_ID, "--control-secret-path", folder / "control.secret"]
        stack.enter_context(simulating(binary, folder, self.simulator, *options, *users))
        self.front = stack.enter_context(WayToSalesforce(None, to_port=self.simulator, plain=True))
        self.token_url = f"{self.front.url}/services/oauth2/token"

    @contextlib.contextmanager
    def serving(self, name, collector, log_format="json", **environment):
        """A broker whose environment asks for traces, unless it says otherwise."""
        endpoint = collector if isinstance(collector, str) else collector.url
        key = urllib.parse.quote(COLLECTOR_KEY, safe="")
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={key}"} | environment
        callers, ops = free_port(), free_port()
        config = f"""
[server]
listen = "127.0.0.1:{callers}"

[ops]
listen = "127.0.0.1:{ops}"

[log]
format = "{log_format}"

[audit]
path = "{self.folder}/{name}.jsonl"

[callers.{CALLER}]
integrations = ["*"]
api_key_sha256 = ["{self.digest}"]
""" + "".join(self.integration(integration, user) for integration, user in (USERS | {"refused": REFUSED}).items())
        os.environ.update(environment)
        try:
            with serving(self.binary, self.folder, ops, config, name=name) as process:
                for variable in environment:
                    del os.environ[variable]
                yield Service(process, callers, self.folder / f"{name}.jsonl")
        finally:
            for variable in environment:
                os.environ.pop(variable, None)

    def integration(self, name, user):
        return f"""
[integrations.{name}]
audience_url = "https://login.salesforce.com"
client_key_path = "{self.folder}/app.key"
client_id = "{CLIENT_ID}"
username = "{user}"
token_url = "{self.token_url}"
prefetch = {str(name == "early").lower()}
"""

    def ask(self, service, integration, headers=()):
        status, body = self.get(service, f"/token/{integration}", self.key, headers)
        if status != 200:
            raise RuntimeError(f"no token of {integration}: {status} {body}")
        canary.note("a token", json.loads(body)["access_token"])

    def get(self, service, path, key=None, headers=()):
        request = urllib.request.Request(f"http://127.0.0.1:{service.port}{path}", headers=dict(headers))
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def control(self, fault):
        url = f"http://127.0.0.1:{self.simulator}/__simulator/faults"
        request = urllib.request.Request(url, json.dumps(fault).encode(), {"Authorization": f"Bearer {CONTROL}"}, method="POST")
        urllib.request.urlopen(request, timeout=10).close()


class Service:
    """A broker that runs: what it says, and where."""

    def __init__(self, process, port, audit):
        self.process, self.port, self.audit = process, port, audit
        self.stop, self.tail, self.output, self.wait_until = process.stop, process.tail, process.output, process.wait_until

    def log(self):
        return [json.loads(line) for line in self.process.stderr_path.read_text().splitlines()]

    def records(self):
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    def threads(self):
        tasks = pathlib.Path(f"/proc/{self.process.process.pid}/task").iterdir()
        return sorted({(task / "comm").read_text().strip() for task in tasks})


if __name__ == "__main__":
    main()
