"""Keys in an HSM, through the real service: SoftHSM2, bare, behind a daemon, and behind a module that takes orders.

Salesforce is the simulator, which verifies every assertion against the certificate of the app; signatures are compared
with those that openssl makes with the same key.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import tempfile
import threading

import canary
from checks import Checks
from hsm_parts import CLIENT_ID, PIN, Broker, Obedient, Relay, Tokens, daemon, key_setting, signed_by, until
from service import fetch, free_port, new_key, openssl, private_key, running, self_signed

USERS = 60
PIN_INCORRECT = 0xA0
# What a library says when a session, a login, an object, a token or a daemon is gone.
LOST = {
    "CKR_SESSION_HANDLE_INVALID": 0xB3, "CKR_SESSION_CLOSED": 0xB0, "CKR_DEVICE_REMOVED": 0x32,
    "CKR_DEVICE_ERROR": 0x30, "CKR_TOKEN_NOT_PRESENT": 0xE0, "CKR_USER_NOT_LOGGED_IN": 0x101,
    "CKR_KEY_HANDLE_INVALID": 0x60, "CKR_OBJECT_HANDLE_INVALID": 0x82, "CKR_GENERAL_ERROR": 0x5,
    "CKR_FUNCTION_FAILED": 0x6, "CKR_CRYPTOKI_NOT_INITIALIZED": 0x190,
}  # fmt: skip


class Scene:
    """A token with the key of the app, a simulator that knows its certificate, a relay before it."""

    def __init__(self, binary, folder, stack):
        self.binary, self.folder = binary, folder
        self.tokens = Tokens(folder)
        self.key = private_key(folder / "elf.pem")
        self.tokens.make("aquila")
        self.tokens.put("aquila", "elf", self.key)
        self.obedient = Obedient(folder, self.tokens.module)
        self.users = [f"elf-{number:02}@acme.example" for number in range(USERS)]
        self.salesforce = self.simulated(stack, "simulate", self_signed(folder / "elf.crt", self.key))
        self.relay = stack.enter_context(Relay(self.salesforce).open())
        key, digest = new_key(binary, "shipper")
        self.broker = Broker(binary, folder, digest, key)
        self.used = 0

    def simulated(self, stack, name, certificate, *more):
        port = free_port()
        users = [part for user in self.users for part in ("--username", user)]
        options = ["--listen", f"127.0.0.1:{port}", "--certificate", certificate, "--client-id", CLIENT_ID, *users, *more]
        stack.enter_context(running(self.binary, self.folder, name, "simulate", *options)).wait_for_port(port)
        return f"http://127.0.0.1:{port}/services/oauth2/token"

    def integrations(self, key, url=None):
        """Many of them, all with this key: each mints once, so each is good for one check."""
        return {f"elf-{at:02}": (key, url or self.relay.url, user) for at, user in enumerate(self.users)}

    def next(self):
        """An integration that nobody asked for yet."""
        self.used += 1
        return f"elf-{self.used - 1:02}"

    def fresh(self):
        self.used = 0
        self.obedient.order()
        self.obedient.forget()
        self.broker.pin(PIN)

    def ask(self):
        return self.broker.ask(self.next())


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    binary = str(pathlib.Path(arguments.parse_args().binary).resolve())
    with Checks("hsm") as checks, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        scene = Scene(binary, pathlib.Path(folder), stack)
        for part in (signatures, generated, moved, mistakes, pins_at_start, lost_sessions, pulled, slow, wrong_pin, changed_pin,
                     restarted_daemon, made_anew):  # fmt: skip
            scene.fresh()
            print(f"-- {part.__name__.replace('_', ' ')}", flush=True)
            part(checks, scene)


def signatures(checks, scene):
    """The same bytes as from the key in a file, whichever mechanism the token has; one login for all."""
    setting = key_setting(scene.obedient.path)
    for name, orders in (("CKM_SHA256_RSA_PKCS", {}), ("CKM_RSA_PKCS alone", {"only_raw_rsa": 1})):
        scene.fresh()
        scene.obedient.order(**orders)
        software = (f'client_key_path = "{scene.key}"', scene.relay.url, scene.users[0])
        scene.broker.write(scene.integrations(setting) | {"software": software})
        with scene.broker.serving("signatures") as process:
            scene.relay.assertions.clear()
            answers = [scene.ask()[0] for _ in range(5)] + [scene.broker.ask("software")[0]]
            checks.check(f"{name}: Salesforce takes the assertions", answers == [200] * 6, answers)
            for assertion in scene.relay.assertions:
                canary.note("an assertion signed in the HSM", assertion)
                signed, signature = signed_by(assertion)
                expected = openssl("dgst", "-sha256", "-sign", scene.key, stdin=signed.encode())
                checks.check(f"{name}: a signature is that of openssl, byte for byte", signature == expected)
            logins = scene.obedient.calls("login")
            checks.check(f"{name}: {USERS} integrations of one token log in once", logins == [0], logins)
            checks.check(f"{name}: the PIN is in no output", PIN not in process.output(), process.tail())
            pages = [fetch(f"http://127.0.0.1:{scene.broker.ops}{page}")[1].decode() for page in ("/metrics", "/status.json")]
            checks.check(f"{name}: nor on a page of the ops door", not any(PIN in page for page in pages))


def generated(checks, scene):
    """A key that was made inside and never was anywhere else."""
    scene.tokens.generate("aquila", "inside", "rsa:2048", "--usage-sign", number="07")
    public = scene.tokens.public_key("aquila", "inside", scene.folder / "inside.pub")
    request, certificate = scene.folder / "inside.csr", scene.folder / "inside.crt"
    openssl("req", "-new", "-key", scene.key, "-subj", "/CN=inside", "-out", request)
    openssl("x509", "-req", "-in", request, "-force_pubkey", public, "-signkey", scene.key, "-out", certificate)
    with contextlib.ExitStack() as stack:
        url = scene.simulated(stack, "simulate-inside", certificate)
        scene.broker.write(scene.integrations(key_setting(scene.tokens.module, key="inside"), url))
        with scene.broker.serving("generated"):
            status, body, _ = scene.ask()
            checks.check("a key that was made in the token mints", status == 200, body)


def moved(checks, scene):
    """A key moves from a file into the HSM, by way of the next key."""
    secret = scene.folder / "control"
    secret.write_text("throw-away-control-secret-of-this-stage")
    certificate = scene.folder / "inside.crt"
    with contextlib.ExitStack() as stack:
        options = ["--control-secret-path", secret]
        url = scene.simulated(stack, "simulate-moved", scene.folder / "elf.crt", *options)
        file, token = f'client_key_path = "{scene.key}"', key_setting(scene.tokens.module, key="inside")
        scene.broker.write(scene.integrations(f"{file}\n{token.replace('client_key', 'next_key')}", url))
        process = stack.enter_context(scene.broker.serving("moved"))
        old, new = scene.next(), scene.next()
        checks.check("a token by the key in the file", scene.broker.ask(old)[0] == 200)
        body = json.dumps({"certificate": certificate.read_text()}).encode()
        app = f"{url.split('/services')[0]}/__simulator/apps/{CLIENT_ID}"
        headers = {"authorization": f"Bearer {secret.read_text()}"}
        checks.check("the other certificate is applied", fetch(app, body, headers, "PATCH")[0] == 200)
        status, answer, _ = scene.broker.ask(new)
        checks.check("a token by the key in the HSM, in the same request", status == 200, answer)
        in_use = [(key["setting"], key["in_use"]) for key in scene.broker.status(new)["keys"]]
        checks.check("told as such", in_use == [("client_key", False), ("next_key", True)], in_use)
        warm = scene.broker.ask(old)[1]["access_token"]
        told = scene.broker.reloaded(process, lambda: scene.broker.write(scene.integrations(token, url)))
        same = scene.broker.ask(old)[1].get("access_token") == warm
        checks.check("promoted: the token that the file made serves on", told["outcome"] == "applied" and same, told)
        checks.check("promoted: the HSM signs alone", scene.ask()[0] == 200)


def mistakes(checks, scene):
    """Each told by `check` at its setting, with a remedy, soon."""
    tokens, folder = scene.tokens, scene.folder
    for label in ("twin", "twin", "empty"):
        tokens.make(label)
    tokens.generate("aquila", "curve", "EC:prime256v1", "--usage-sign", number="02")
    tokens.generate("aquila", "small", "rsa:1024", "--usage-sign", number="03")
    for number in ("05", "06"):
        tokens.generate("aquila", "pair", "rsa:2048", "--usage-sign", number=number)
    text = folder / "text.so"
    text.write_text("no library")
    libm = next(line for line in os.popen("/sbin/ldconfig -p").read().split() if line.endswith("/libm.so.6"))
    module = tokens.module
    cases = [
        ("no module", key_setting("/nowhere/hsm.so"), "module_path", ["no such file"]),
        ("a module that is no library", key_setting(text), "module_path", ["cannot be loaded"]),
        ("a library that is no module", key_setting(libm), "module_path", ["no PKCS#11 module"]),
        ("no such token", key_setting(module, token="aquilla"), "token_label", ["no token", "`aquila`", "`empty`"]),
        ("two tokens of one label", key_setting(module, token="twin"), "token_label", ["2 tokens"]),
        ("no such key", key_setting(module, key="elv"), "key_label", ["no private key", "`elf`", "`curve`"]),
        ("no key at all", key_setting(module, token="empty"), "key_label", ["none at all"]),
        ("two keys of one label", key_setting(module, key="pair"), "key_label", ["2 private keys"]),
        ("a key on a curve", key_setting(module, key="curve"), "key_label", ["no RSA key"]),
        ("a key of 1024 bits", key_setting(module, key="small"), "key_label", ["1024 bits"]),
        ("a key that may not sign", {"may_not_sign": 1}, "key_label", ["may not sign"]),
        ("a key that wants the PIN each time", {"asks_each_time": 1}, "key_label", ["PIN before each"]),
    ]
    for name, setting, place, words in cases:
        if isinstance(setting, dict):
            scene.obedient.order(**setting)
            setting = key_setting(scene.obedient.path)
        scene.broker.write({"elf": (setting, scene.relay.url, scene.users[0])})
        status, errors, took = scene.broker.check()
        told = [error for error in errors if error["setting"] == f"integrations.elf.client_key_pkcs11.{place}"]
        holds = status != 0 and len(errors) == 1 and len(told) == 1 and all(word in told[0]["message"] for word in words)
        checks.check(f"{name}: told at {place}, with a remedy", holds and told[0]["remedy"] and told[0]["line"], errors)
        if took >= 2:
            # The machine may have been busy with something else just then.
            took = min(took, scene.broker.check()[2])
        checks.check(f"{name}: within 2 s", took < 2, took)
    settings = [
        ("a key in two places", key_setting(module) + f'\nclient_key_path = "{scene.key}"', "configured twice"),
        ("a key in no place", "", "this setting is missing"),
        ("no PIN", key_setting(module).replace(', pin_path = "pin.txt"', ""), "nothing says the PIN"),
    ]
    for name, setting, words in settings:
        scene.broker.write({"elf": (setting, scene.relay.url, scene.users[0])})
        status, errors, _ = scene.broker.check()
        checks.check(f"{name}: refused", status != 0 and words in errors[0]["message"], errors)
    scene.broker.write({"elf": (key_setting(scene.obedient.path), scene.relay.url, scene.users[0])})
    scene.obedient.order(tells_no_number=1)
    status, errors, _ = scene.broker.check()
    checks.check("a private key that keeps its numbers: the public key of its id tells them", status == 0, (status, errors))
    scene.obedient.order(initialize_hangs=1)
    status, errors, took = scene.broker.check()
    told = status != 0 and "does not answer" in errors[0]["message"]
    checks.check("an HSM that never answers: told, and nobody waits for ever", told and took < 15, (errors, took))
    scene.obedient.order()
    status, errors, _ = scene.broker.check()
    checks.check("the right settings are good", status == 0, errors)


def pins_at_start(checks, scene):
    """A wrong PIN is tried once for each start, and not when that could lock the token."""
    scene.broker.write(scene.integrations(key_setting(scene.obedient.path)))
    scene.broker.pin("111111")
    status, errors, _ = scene.broker.check()
    told = all(error["setting"].endswith(".pin_path") and "does not take this PIN" in error["message"] for error in errors)
    checks.check("a wrong PIN: told at pin_path of each integration", status != 0 and told and len(errors) == USERS, errors[:2])
    checks.check("a wrong PIN: tried once for all of them", scene.obedient.calls("login") == [PIN_INCORRECT])
    for order, words in (("final_try", "one more wrong PIN"), ("locked", "is locked")):
        scene.obedient.forget()
        scene.obedient.order(**{order: 1})
        status, errors, _ = scene.broker.check()
        holds = status != 0 and words in errors[0]["message"] and scene.obedient.calls("login") == []
        checks.check(f"{order}: told, and no PIN is tried", holds, errors[:1])


def lost_sessions(checks, scene):
    """Whatever the library says when it lost something: one more signature over a new session, and nobody notices."""
    scene.broker.write(scene.integrations(key_setting(scene.obedient.path)))
    with scene.broker.serving("lost") as process:
        for number, (name, code) in enumerate(LOST.items()):
            scene.obedient.forget()
            scene.obedient.order(sign_fails=f"{number}:{code:x}")
            status, body, _ = scene.ask()
            signed = scene.obedient.calls("sign")
            checks.check(f"{name}: a token all the same, by a second signature", (status, signed) == (200, [code, 0]), (body, signed))
        checks.check("the operator reads of it", "the session with the HSM broke off" in process.output(), process.tail())


def pulled(checks, scene):
    """Without a token in its slot: 503 with a cause; with it again: tokens, by themselves."""
    scene.broker.write(scene.integrations(key_setting(scene.obedient.path)))
    with scene.broker.serving("pulled") as process:
        warm = scene.next()
        checks.check("a token before", scene.broker.ask(warm)[0] == 200)
        scene.obedient.order(token_gone=1)
        cold = scene.next()
        status, body, took = scene.broker.ask(cold)
        checks.check("pulled: 503, soon", status == 503 and took < 3, (status, body, took))
        checks.check("pulled: the cause is key_unavailable", scene.broker.cause(cold)[0] == "key_unavailable", scene.broker.cause(cold))
        checks.check("pulled: a warm token is handed out", scene.broker.ask(warm)[0] == 200)
        # Rights can be taken away while the HSM is down.
        integrations = scene.integrations(key_setting(scene.obedient.path))
        told = scene.broker.reloaded(process, lambda: scene.broker.write(integrations, rights=cold))
        checks.check("pulled: a new configuration is put in force all the same", told["outcome"] == "applied", told)
        checks.check("pulled: and takes a right away", scene.broker.ask(warm)[0] == 403)
        scene.obedient.order()
        until("a token after", lambda: scene.broker.ask(cold)[0] == 200)
        checks.check("put in again: tokens, by themselves", True)


def slow(checks, scene):
    """A signature that is stuck holds up nobody else, and few threads."""
    integrations = scene.integrations(key_setting(scene.obedient.path))
    software = [f"soft-{number}" for number in range(3)]
    for name in software:
        integrations[name] = (f'client_key_path = "{scene.key}"', scene.relay.url, scene.users[0])
    scene.broker.write(integrations)
    with scene.broker.serving("slow") as process:
        scene.obedient.order(sign_takes_ms=700)
        status, body, took = scene.ask()
        checks.check("a signature of 0.7 s: a token after it", status == 200 and 0.7 <= took < 5, (status, body, took))
        threads = lambda: len(os.listdir(f"/proc/{process.process.pid}/task"))  # noqa: E731
        before = threads()
        scene.obedient.order(sign_hangs=1)
        answers = {}
        askers = [threading.Thread(target=lambda name=scene.next(): answers.update({name: scene.broker.ask(name)})) for _ in range(30)]
        for asker in askers:
            asker.start()
        until("signatures are stuck", lambda: len(scene.obedient.calls("stuck")) == 4)
        for name in software:
            status, _, took = scene.broker.ask(name)
            checks.check(f"{name}, whose key is in a file, mints meanwhile", status == 200 and took < 3, (status, took))
        most = 0
        while any(asker.is_alive() for asker in askers):
            most = max(most, threads())
            askers[0].join(0.2)
            askers[-1].join(0.2)
        slowest = max(took for _, _, took in answers.values())
        statuses = sorted({status for status, _, _ in answers.values()})
        checks.check(f"30 callers of a stuck HSM are answered within 10 s: {slowest:.1f} s", slowest < 10.5 and statuses == [503], statuses)
        # Four of its seats; the rest are threads that serve software keys.
        stuck = len(scene.obedient.calls("stuck"))
        checks.check("four of them wait inside it", stuck == 4, stuck)
        checks.check(f"and hold {most - before} threads", most - before <= 4 + len(software) + 2, (before, most))
        asked = next(iter(answers))
        checks.check("the operator reads why", scene.broker.cause(asked)[0] == "key_unavailable", scene.broker.cause(asked))
        scene.obedient.order()
        until("tokens again", lambda: scene.broker.ask(asked)[0] == 200)
        checks.check("when it moves again there are tokens", True)


def wrong_pin(checks, scene):
    """While it runs: a PIN that the token takes no more is tried once, until it is another one or somebody says so."""
    scene.broker.write(scene.integrations(key_setting(scene.obedient.path)))
    with scene.broker.serving("wrong-pin") as process:
        checks.check("a token before", scene.ask()[0] == 200)
        scene.tokens.tool("aquila", "--change-pin", "--new-pin", "4444")
        try:
            # SoftHSM2 looks at the PIN again only when it is initialized anew, as it is when its token was missed.
            scene.obedient.order(token_gone=1)
            checks.check("pulled: 503", scene.ask()[0] == 503)
            scene.obedient.forget()
            scene.obedient.order()
            asked = [scene.ask()[0] for _ in range(8)]
            checks.check("eight callers: 502", asked == [502] * 8, asked)
            failed = [code for code in scene.obedient.calls("login") if code]
            checks.check("eight callers: the PIN was tried once", failed == [PIN_INCORRECT], failed)
            cause = scene.broker.cause("elf-04")
            checks.check("the operator reads why", cause[0] == "key_failed" and "PIN" in cause[1], cause)
            integrations = scene.integrations(key_setting(scene.obedient.path))
            told = scene.broker.reloaded(process, lambda: scene.broker.write(integrations, rights="elf-*"))
            failed = [code for code in scene.obedient.calls("login") if code]
            checks.check("a change of something else does not try it again", failed == [PIN_INCORRECT], (told, failed))
            told = scene.broker.reloaded(process, lambda: scene.broker.pin("4444"))
            checks.check("with the new PIN the configuration is good", told["outcome"] == "applied", told)
            checks.check("and there are tokens", scene.ask()[0] == 200)
        finally:
            scene.tokens.tool("aquila", "--pin", "4444", "--change-pin", "--new-pin", PIN)
    lines = [line for line in process.output().splitlines() if "does not let us in" in line]
    checks.check("told once in the log", len(lines) == 1, lines)


def changed_pin(checks, scene):
    """A new PIN is tried when it is configured, not only when the next link breaks."""
    scene.broker.write(scene.integrations(key_setting(scene.obedient.path)))
    with scene.broker.serving("changed-pin") as process:
        checks.check("a token before", scene.ask()[0] == 200)
        scene.obedient.forget()
        told = scene.broker.reloaded(process, lambda: scene.broker.pin("222222"))
        checks.check("a wrong one is refused at once", told["outcome"] == "refused" and "PIN" in told["findings"][0], told)
        logins = scene.obedient.calls("login")
        checks.check("tried once, then the good one again", logins == [PIN_INCORRECT, 0], logins)
        status, body, _ = scene.ask()
        checks.check("and the old one serves on", status == 200, body)
        told = scene.broker.reloaded(process, lambda: None, hangup=True)
        failed = [code for code in scene.obedient.calls("login") if code]
        checks.check("SIGHUP has it tried again", failed == [PIN_INCORRECT] * 2, (told, failed))
        told = scene.broker.reloaded(process, lambda: scene.broker.pin(PIN), hangup=True)
        checks.check("the right one is good", told["outcome"] == "applied" and scene.ask()[0] == 200, told)


def restarted_daemon(checks, scene):
    """Behind a real daemon that is killed and started again."""
    client = next(pathlib.Path("/usr/lib").glob("*/pkcs11/p11-kit-client.so"))
    socket = scene.folder / "daemon.socket"
    os.environ["P11_KIT_SERVER_ADDRESS"] = f"unix:path={socket}"
    scene.broker.write(scene.integrations(key_setting(client)))
    with contextlib.ExitStack() as stack:
        kill = stack.enter_context(daemon(scene.folder, scene.tokens.module, socket))
        stack.enter_context(scene.broker.serving("daemon"))
        checks.check("a token by way of the daemon", scene.ask()[0] == 200)
        kill()
        asked = scene.next()
        status, body, took = scene.broker.ask(asked)
        checks.check("without it: 503, soon", status == 503 and took < 5, (status, body, took))
        checks.check("the cause is key_unavailable", scene.broker.cause(asked)[0] == "key_unavailable", scene.broker.cause(asked))
        stack.enter_context(daemon(scene.folder, scene.tokens.module, socket))
        until("a token by way of the new daemon", lambda: scene.broker.ask(asked)[0] == 200)
        checks.check("with it again: tokens, by themselves", True)
        checks.check("for the others, too", scene.ask()[0] == 200)


def made_anew(checks, scene):
    """The token is deleted, made again, and given its key again."""
    scene.tokens.make("second")
    scene.tokens.put("second", "elf", scene.key)
    scene.broker.write(scene.integrations(key_setting(scene.tokens.module, token="second")))
    with scene.broker.serving("anew"):
        checks.check("a token before", scene.ask()[0] == 200)
        scene.tokens.delete("second")
        asked = scene.next()
        until("the token is missed", lambda: scene.broker.ask(asked)[0] in (502, 503))
        checks.check("deleted: 502 or 503 with a cause", scene.broker.cause(asked)[0] in ("key_unavailable", "key_failed"))
        scene.tokens.make("second")
        scene.tokens.put("second", "elf", scene.key)
        until("a token after", lambda: scene.broker.ask(asked)[0] == 200)
        checks.check("made again with its key: tokens, by themselves", True)
        scene.tokens.delete("second")
        scene.tokens.make("second")
        scene.tokens.put("second", "elf", private_key(scene.folder / "other.pem"))
        asked = scene.next()
        until("another key is noticed", lambda: "another key" in scene.broker.cause(asked)[1] or not scene.broker.ask(asked))
        checks.check("another key under its label: refused by name, and signs nothing", scene.broker.cause(asked)[0] == "key_failed")


if __name__ == "__main__":
    sys.exit(main())
