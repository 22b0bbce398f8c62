"""`aquila setup` as a person meets it, and what it makes as other people's programs see it.

    a pseudo-terminal ── answers ──> aquila setup ──> key, certificate ──> openssl
                                                  └─> DX project ────────> an XML parser, and sf (Salesforce's own CLI)

sf needs an org to deploy; without one it says whether it knows every folder, file and type, and turns the project into
what it would send. Every element is held against the types of the Metadata API that Salesforce publishes with sf.
"""

import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import xml.etree.ElementTree as xml

import official_cli
from checks import Checks
from service import openssl

PATIENCE = 30.0
NAMESPACE = "{http://soap.sforce.com/2006/04/metadata}"
# Letters that mean something to XML.
LABEL = "Logs <of> \"Acme\" & 'friends' ]]> \u2713"
FACTS = ["--my-domain", "acme.my.salesforce.com", "--username", "elf@acme.example", "--email", "o'brien@acme.example"]


def main():
    arguments = official_cli.arguments()
    binary = os.path.abspath(arguments.binary)
    with Checks("setup") as checks, tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tour(checks, binary, folder)
        breaks_off(checks, binary, folder)
        never_asks(checks, binary, folder)
        for bits in (2048, 3072, 4096):
            pair(checks, binary, folder, bits)
        types = MetadataTypes(pathlib.Path(arguments.sf).parents[2] / "types" / "lib" / "metadata.d.ts")
        # No network: a proxy that nobody is.
        nobody = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        sf = official_cli.OfficialCli(os.path.abspath(arguments.node), os.path.abspath(arguments.sf), folder / "home", nobody)
        for kind, more in [("external", []), ("connected", ["--connected-app", "--view-all-data"])]:
            made = folder / kind
            done = run(binary, "--dir", made, "--label", LABEL, *FACTS, *more)
            checks.check(f"{kind}: setup ends with 0", done.returncode == 0, done.stderr)
            documents(checks, kind, made)
            typed(checks, kind, made, types)
            project(checks, sf, kind, made / "salesforce")
        unknown_file(checks, sf, folder / "external" / "salesforce")


def run(binary, *arguments, **streams):
    streams = {"stdin": subprocess.DEVNULL, "capture_output": True} | streams
    return subprocess.run([binary, "setup", *map(str, arguments)], text=True, timeout=PATIENCE * 4, check=False, **streams)


class Terminal:
    """A program on a pseudo-terminal of 100 columns, and what it has shown."""

    def __init__(self, folder, *command):
        controller, terminal = pty.openpty()
        self.controller, self.shown = controller, ""
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            preexec_fn=controlling(terminal),
        )  # fmt: skip
        os.close(terminal)

    def until(self, text):
        """What is shown up to and with the text; it has to come."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            if not self.read(deadline):
                raise RuntimeError(f"{text!r} was not shown, but:\n{self.shown}")
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def read(self, deadline):
        ready, _, _ = select.select([self.controller], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self.controller, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)

    def type(self, text):
        os.write(self.controller, text.encode())

    def ended(self):
        """The exit status, and the rest of what is shown."""
        deadline = time.monotonic() + PATIENCE
        while self.read(deadline):
            pass
        status = self.process.wait(PATIENCE)
        os.close(self.controller)
        return status, self.shown


def controlling(terminal):
    import fcntl
    import termios

    def control():
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        # Whoever runs the tests in the background of a script has Ctrl-C ignored, and so has all that comes from there.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return control


ANSWERS = [
    ("Name of the integration here [elf-prod]: ", "elf-tour"),
    ("Folder for the files [elf-tour]: ", ""),
    ("My Domain of the org (Setup > My Domain): ", "https://acme.my.salesforce.com/"),
    ("Username of the integration user: ", "elastic-log@acme.example"),
    ("E-mail of whoever answers for the app: ", "admin@acme.example"),
    ("Session timeout [2h]: ", "15m"),
    ("Bits of the RSA key [2048]: ", ""),
    ("Days of the certificate [730]: ", "30"),
]


def tour(checks, binary, folder):
    terminal = Terminal(folder, binary, "setup")
    seen = ""
    for question, answer in ANSWERS:
        seen += terminal.until(question)
        if question.startswith("My Domain"):
            for wrong, told in [(b"acme.lightning.force.com\n", "is it acme.my.salesforce.com?"), (b"\xff\n", "not UTF-8")]:
                os.write(terminal.controller, wrong)
                seen += terminal.until(told)
                checks.check(f"a wrong answer is told why ({told}), and asked for again", True)
                seen += terminal.until(question)
        terminal.type(f"{answer}\n")
    summary = terminal.until("Make this? [Y/n]: ")
    checks.check("nothing is written before the last yes", not (folder / "elf-tour").exists())
    for told in ("https://acme.my.salesforce.com\n", "elastic-log@acme.example", "15m", "RSA, 2048 bits", "30 days"):
        checks.check(f"the summary says {told.strip()}", told in summary, summary)
    terminal.type("\n")
    status, rest = terminal.ended()
    checks.check("the tour ends with 0", status == 0, rest)
    for told in ("Made in elf-tour:", "elf-tour.pem", "mode 0600", "sf project deploy start", "consumer key", "2 to 10 minutes"):
        checks.check(f"it tells {told}", told in rest, rest)
    made = folder / "elf-tour"
    key = made / "elf-tour.pem"
    checks.check("the key is its owner's alone", key.stat().st_mode & 0o7777 == 0o600, oct(key.stat().st_mode))
    # The first lines hold the public half.
    secrets = key.read_text().splitlines()[8:-1]
    shown = [line for line in secrets if line in seen + summary + rest]
    checks.check("nothing of the private key is shown", len(secrets) > 10 and not shown, shown)
    policy = next(made.rglob("*.ecaOauthPlcy-meta.xml"))
    checks.check("the answer is in the policy", "<sessionTimeoutInMinutes>15<" in policy.read_text(), policy.read_text())
    checks.check("and in the configuration", 'session_timeout  = "15m"' in (made / "aquila.toml").read_text())

    # What is there already is told before anybody answers for nothing.
    again = Terminal(folder, binary, "setup", "--integration", "elf-tour")
    again.until("Folder for the files [elf-tour]: ")
    again.type("\n")
    status, rest = again.ended()
    checks.check("an existing key is refused", status == 1 and "is there already" in rest and "My Domain" not in rest, rest)
    status, rest = Terminal(folder, binary, "setup", "--dir", "elf-tour", "--integration", "other").ended()
    checks.check("and so is a folder that a flag names, before any question", status == 1 and "]: " not in rest, rest)


def breaks_off(checks, binary, folder):
    def at_the_third_question(name):
        terminal = Terminal(folder, binary, "setup", "--dir", name, "--integration", "elf-tour")
        for question, answer in ANSWERS[2:4]:
            terminal.until(question)
            terminal.type(f"{answer}\n")
        terminal.until(ANSWERS[4][0])
        return terminal

    terminal = at_the_third_question("ctrl-c")
    terminal.type("\x03")
    status, _ = terminal.ended()
    checks.check("Ctrl-C ends it", status == -signal.SIGINT, status)
    terminal = at_the_third_question("ctrl-d")
    terminal.type("\x04")
    status, rest = terminal.ended()
    checks.check("Ctrl-D ends it, and it says so", status == 1 and "nothing was written" in rest, rest)
    # What is said is not asked.
    given = ("--integration", "no", "--key-bits", "2048", "--days", "1", "--session-timeout", "2h")
    terminal = Terminal(folder, binary, "setup", *FACTS, *given)
    terminal.until("Folder for the files [no]: ")
    terminal.type("\n")
    terminal.until("Make this? [Y/n]: ")
    terminal.type("n\n")
    status, rest = terminal.ended()
    checks.check("a no ends it", status == 1 and "nothing was made" in rest, rest)
    left = [name for name in ("ctrl-c", "ctrl-d", "no") if (folder / name).exists()]
    checks.check("and nothing is left behind", left == [], left)
    terminal = Terminal(folder, binary, "setup", "--dir", "told", *FACTS)
    status, rest = terminal.ended()
    checks.check("who says all that is needed is asked nothing", status == 0 and "]: " not in rest, rest)


def never_asks(checks, binary, folder):
    """Two of the three are a terminal, the other is not."""
    for what in ("stdin", "stdout", "stderr"):
        controller, terminal = pty.openpty()
        elsewhere = subprocess.DEVNULL if what == "stdin" else subprocess.PIPE
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal) | {what: elsewhere}
        done = run(binary, "--dir", folder / "never", capture_output=False, **streams)
        os.close(terminal)
        checks.check(f"where {what} is no terminal it asks nobody and ends with 2", done.returncode == 2, done)
        seen = done.stderr if what == "stderr" else os.read(controller, 65536).decode()
        checks.check("and says what is missing", "--my-domain <HOST>" in seen and "no terminal" in seen, seen)
        os.close(controller)


def pair(checks, binary, folder, bits):
    made = folder / f"pair-{bits}"
    subject = "CN=aquila \u2713,O=Acme\\, Inc.,C=DE"
    done = run(binary, "--dir", made, *FACTS, "--key-bits", bits, "--days", "400", "--subject", subject)
    checks.check(f"{bits} bits: setup ends with 0", done.returncode == 0, done.stderr)
    key, pem, der = (made / f"elf-prod.{ending}" for ending in ("pem", "crt", "der"))
    checks.check(f"{bits} bits: the certificate is within 4 KB", pem.stat().st_size <= 4096, pem.stat().st_size)
    told = f"{pem.stat().st_size} bytes of at most 4096" in done.stdout and f"{der.stat().st_size} bytes" in done.stdout
    checks.check(f"{bits} bits: its size is told", told, done.stdout)
    openssl("pkey", "-in", key, "-check", "-noout")
    checks.check(f"{bits} bits: openssl finds the key whole", True)
    text = openssl("x509", "-in", pem, "-noout", "-text").decode()
    sound = f"Public-Key: ({bits} bit)" in text and "sha256WithRSAEncryption" in text
    checks.check(f"{bits} bits: openssl reads the certificate", sound, text)
    openssl("verify", "-CAfile", pem, pem)
    checks.check(f"{bits} bits: it is signed by itself", True)
    public = openssl("pkey", "-in", key, "-pubout")
    checks.check(f"{bits} bits: it holds the key's public half", openssl("x509", "-in", pem, "-noout", "-pubkey") == public)
    checks.check(f"{bits} bits: DER and PEM are one", openssl("x509", "-in", pem, "-outform", "DER") == der.read_bytes())
    said = openssl("x509", "-in", der, "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb").decode()
    checks.check(f"{bits} bits: its subject is the one asked for", "CN=aquila \u2713" in said and "Acme\\, Inc." in said, said)
    # It was made moments ago.
    openssl("x509", "-in", pem, "-noout", "-checkend", 400 * 86400 - 600)
    checks.refused(
        f"{bits} bits: it ends after 400 days",
        lambda: openssl("x509", "-in", pem, "-noout", "-checkend", 400 * 86400),
        "openssl x509",
    )


def documents(checks, kind, made):
    """Every document is well-formed, and what people said comes out as they said it."""
    certificate = (made / "elf-prod.crt").read_text().strip()
    certificates = []
    for path in sorted(made.rglob("*.xml")):
        root = xml.parse(path).getroot()
        checks.check(f"{kind}: {path.name} is a document of its namespace", root.tag.startswith(NAMESPACE), root.tag)
        labels = [label.text for label in root.iter(f"{NAMESPACE}label")]
        checks.check(f"{kind}: its label is as it was said", all(label.startswith(LABEL) for label in labels), labels)
        certificates += [element.text for element in root.iter(f"{NAMESPACE}certificate")]
    checks.check(f"{kind}: one document carries the certificate", certificates == [certificate], certificates)
    mails = [mail.text for path in made.rglob("*.xml") for mail in xml.parse(path).getroot().iter(f"{NAMESPACE}contactEmail")]
    checks.check(f"{kind}: one has the address", mails == ["o'brien@acme.example"], mails)


class MetadataTypes:
    """The fields of every type of the Metadata API, out of the TypeScript of `@salesforce/types`."""

    def __init__(self, path):
        text = path.read_text()
        self.fields = {
            name: {field: (optional == "", kind) for field, optional, kind in re.findall(r"^    (\w+)(\??): (.+);$", body, re.M)}
            for name, body in re.findall(r"^export type (\w+) = (?:Metadata & )?\{\n(.*?)^\};$", text, re.M | re.S)
        }
        self.words = {
            name: set(re.findall(r"'([^']+)'", words)) for name, words in re.findall(r"^export type (\w+) = ('.*);$", text, re.M)
        }

    def wrong(self, kind, element):
        """What in the element the type does not know or does not allow."""
        if kind not in self.fields:
            text = element.text or ""
            fits = {
                "string": len(element) == 0, "boolean": text in ("true", "false"), "number": text.isdecimal(),
            }.get(kind, text in self.words.get(kind, ()))  # fmt: skip
            return [] if fits else [f"{element.tag}: {text!r} is no {kind}"]
        fields, found = self.fields[kind], []
        for inner in element:
            name = inner.tag.removeprefix(NAMESPACE)
            if name not in fields:
                found.append(f"{kind} has no {name}")
            else:
                found += self.wrong(fields[name][1].removesuffix("[]"), inner)
        names = [inner.tag.removeprefix(NAMESPACE) for inner in element]
        for name, (required, of) in fields.items():
            if of.endswith("[]"):
                continue
            if names.count(name) > 1 or (required and name not in names):
                found.append(f"{kind} has {names.count(name)} times {name}")
        return found


def typed(checks, kind, made, types):
    for path in sorted(made.rglob("*-meta.xml")):
        root = xml.parse(path).getroot()
        wrong = types.wrong(root.tag.removeprefix(NAMESPACE), root)
        checks.check(f"{kind}: {path.name} is what Salesforce's types allow", len(root) > 0 and wrong == [], wrong)
        for scopes in root.iter(f"{NAMESPACE}commaSeparatedOauthScopes"):
            unknown = set(scopes.text.split(", ")) - types.words["ConnectedAppOauthAccessScope"]
            checks.check(f"{kind}: its scopes are known", unknown == set(), unknown)
    # This judge can say no, too.
    strange = xml.fromstring(
        f'<ExtlClntAppConfigurablePolicies xmlns="{NAMESPACE[1:-1]}"><isEnabled>yes</isEnabled><isOn>true</isOn>'
        "<label>a</label><label>b</label><startPage>Home</startPage></ExtlClntAppConfigurablePolicies>"
    )
    wrong = types.wrong("ExtlClntAppConfigurablePolicies", strange)
    checks.check("what the types do not allow is found", len(wrong) == 5, wrong)


def members(manifest):
    """What a package.xml lists: every component with its type, and the version."""
    root = xml.parse(manifest).getroot()
    listed = {
        (types.findtext(f"{NAMESPACE}name"), member.text)
        for types in root.iter(f"{NAMESPACE}types")
        for member in types.iter(f"{NAMESPACE}members")
    }
    return listed, root.findtext(f"{NAMESPACE}version")


def project(checks, sf, kind, folder):
    ours, version = members(folder / "manifest" / "package.xml")
    sources = list((folder / "force-app").rglob("*-meta.xml"))
    checks.check(f"{kind}: the manifest lists as many components as there are files", len(ours) == len(sources), ours)

    status, out, err = sf.run("project", "generate", "manifest", "--source-dir", "force-app", "--output-dir", "theirs", folder=folder)
    checks.check(f"{kind}: sf knows the project", status == 0, out + err)
    theirs = members(folder / "theirs" / "package.xml")
    checks.check(f"{kind}: sf's manifest of the folder is ours", theirs == (ours, version), f"{theirs}\n{ours}")

    for what, arguments in [("the folder", []), ("our manifest", ["--manifest", "manifest/package.xml"])]:
        to = f"converted-{len(arguments)}"
        status, out, err = sf.run("project", "convert", "source", *arguments, "--output-dir", to, "--json", folder=folder)
        checks.check(f"{kind}: sf converts {what}", status == 0 and json.loads(out)["status"] == 0, out + err)
        checks.check(f"{kind}: all of it", members(folder / to / "package.xml") == (ours, version))
        for source in sources:
            # As it would be sent: the same folder and text, without the ending of the source form.
            sent = folder / to / source.parent.name / source.name.removesuffix("-meta.xml")
            same = sent.is_file() and canonical(sent) == canonical(source)
            checks.check(f"{kind}: {sent.name} is sent as it is", same, sent)


def canonical(path):
    return xml.canonicalize(from_file=path, strip_text=True)


def unknown_file(checks, sf, folder):
    """The judge can say no: a file whose ending Salesforce does not know."""
    strange = folder.with_name("strange")
    shutil.copytree(folder, strange)
    policy = next(strange.rglob("*.ecaPlcy-meta.xml"))
    policy.rename(policy.with_name(policy.name.replace(".ecaPlcy", ".ecaPolicies")))
    status, out, err = sf.run("project", "convert", "source", "--output-dir", "out", "--json", folder=strange)
    checks.check("sf refuses a file that it does not know", status != 0, out + err)
    checks.check("and says which", "ecaPolicies" in out + err, out + err)


if __name__ == "__main__":
    main()
