"""The search for secrets in everything that the services of a stage wrote.

`service.py` says which secrets there are as it makes or reads them, and hands over what each `serve` and `simulate` wrote
when it ends: its output, its audit records, and what its ops door said last. `Checks` fails the stage when one was found,
and says where it stands, not what it is. The Rust suites have the same search in `tests/canary`.
"""

import base64
import re
import urllib.parse

# So many characters in a row of a secret, in any form, are a leak.
WINDOW = 16
# Whatever window a leak is in, a piece of it of this length begins at a multiple of STEP: only there a text is looked at.
PIECE = 8
STEP = WINDOW - PIECE + 1

# What each token of the simulator begins with, and a JWT by the orders in which most libraries write its header.
MARKS = {
    "an access token": "00D5g00000SIMU1!AQ.SIMULATED.",
    "a signed JWT": "eyJhbGciOiJSUzI1NiI",
    "a JWT of another order": "eyJ0eXAiOiJKV1QiLCJh",
}
# A JWT whatever its header says.
COMPACT = re.compile(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.")

# What is written on purpose, by the command that does: the throw-away secret of a simulator that was given none. The
# secret itself is searched for everywhere else.
ON_PURPOSE = {"simulate": re.compile(r"(?m)^SIMULATED  control +\S+ with `Authorization: Bearer` and (?!the secret in )(\S+)$")}


def forms(secret):
    """Every form in which a text may turn up, with its name."""
    raw = secret.encode()
    made = {
        "as it is": secret,
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "URL": urllib.parse.quote_plus(secret, safe="*-._"),
        "percent signs": "".join(f"%{byte:02X}" for byte in raw),
        "numbers": ", ".join(map(str, raw)),
    }
    # Inside a longer text base64 looks different by where the secret begins in it.
    for skipped in range(3):
        made[f"base64 from {skipped}"] = base64.b64encode(raw[skipped:]).decode().rstrip("=")
        made[f"base64url from {skipped}"] = base64.urlsafe_b64encode(raw[skipped:]).decode().rstrip("=")
    return made


class Search:
    """Windows over all forms of all secrets, each with the name of its secret and of the form."""

    def __init__(self):
        self.windows = {}
        self.pieces = set()
        self.known = set()
        self.found = []
        self.searched = 0

    def add(self, name, secret):
        """Has a secret searched for from now on."""
        if secret in self.known:
            return
        self.known.add(secret)
        for form, text in forms(secret).items():
            if len(text) < WINDOW:
                raise ValueError(f"{name} is too short to be searched for")
            for at in range(len(text) - WINDOW + 1):
                self.windows.setdefault(text[at : at + WINDOW], (name, form))
            self.pieces |= {text[at : at + PIECE] for at in range(len(text) - PIECE + 1)}

    def find(self, text):
        """The first secret in a text: its name, its form, and where it begins."""
        pieces = self.pieces
        for piece in range(0, len(text) - PIECE + 1, STEP):
            if text[piece : piece + PIECE] in pieces:
                for at in range(max(piece - STEP + 1, 0), piece + 1):
                    if hit := self.windows.get(text[at : at + WINDOW]):
                        return *hit, at
        if compact := COMPACT.search(text):
            return "a JWT", "as it is", compact.start()
        return None

    def look_into(self, place, text):
        """Searches what was written at a place, and remembers what was found where."""
        self.searched += 1
        if hit := self.find(text):
            name, form, at = hit
            line = text.count("\n", 0, at) + 1
            column = at - (text.rfind("\n", 0, at) + 1) + 1
            self.found.append(f"{place}, line {line}, column {column}: {name} ({form})")


def with_marks():
    search = Search()
    for name, mark in MARKS.items():
        search.add(name, mark)
    return search


KNOWN = with_marks()


def note(name, secret):
    """Has a secret of this stage searched for."""
    KNOWN.add(name, secret)


def note_private_key(pem):
    """Has a private key searched for, line by line."""
    for line in pem.splitlines():
        if len(line) == 64:
            note("a line of a private key", line)


def look_into(place, text, command=None):
    """Searches what a command wrote, but for what it writes on purpose."""
    if command in ON_PURPOSE:
        for told in ON_PURPOSE[command].findall(text):
            note("the control secret of a simulator", told)
        text = ON_PURPOSE[command].sub(lambda line: " " * len(line[0]), text)
    KNOWN.look_into(place, text)


def judge(checks):
    """At the end of a stage: nothing was found, and the search can find."""
    if not KNOWN.searched:
        return
    blind = [form for form in forms(PLANTED) if not finds(form)]
    checks.check("the search for secrets finds a planted one in every form", not blind, blind)
    checks.check(f"no secret is in {KNOWN.searched} texts that the services wrote", not KNOWN.found, "\n".join(KNOWN.found))


# Holds what each form writes in another way.
PLANTED = "aquila_planted/+~secret?4711&of=nobody"


def finds(form):
    """Whether a planted secret is found, whole and by any part of it that is long enough, and not where it is not."""
    search = with_marks()
    search.add("planted", PLANTED)
    text = forms(PLANTED)[form]
    parts = [text, *(text[at : at + WINDOW] for at in range(len(text) - WINDOW + 1))]
    innocent = "a log that holds nothing of the kind"
    return all(search.find(innocent + part + innocent) for part in parts) and search.find(innocent) is None
