"""Three Salesforce clients read the same Event Log File with a token from the broker; their rows must be the same."""

import csv
import importlib.metadata
import json
import os
import pathlib
import shutil

from clients import HERE
from page import Row

CALLERS = ["read-simple-salesforce", "read-jsforce", "read-sf"]
HEAD = ("Client", "Version", "How the token goes in", "Read")
QUERY = (
    "SELECT Id, EventType, LogDate, LogFile FROM EventLogFile "
    "WHERE EventType = 'Login' AND Interval = 'Daily' ORDER BY LogDate DESC, Id ASC LIMIT 1"
)


def judge(run):
    """The rows of the table of readers."""
    check = run.checks.check
    first_id, first_rows = simple_salesforce(run)
    check("the log file has rows", len(first_rows) > 1, first_rows)
    check("the rows are of logins", {row["EVENT_TYPE"] for row in first_rows} == {"Login"}, first_rows[:1])
    for name, read in (("jsforce", jsforce), ("sf CLI", sf)):
        file_id, rows = read(run)
        if file_id != first_id:
            # A new day has a new file, whoever asks next.
            first_id, first_rows = simple_salesforce(run)
        check(f"{name} reads the same file", file_id == first_id, (file_id, first_id))
        check(f"{name} reads the same {len(first_rows)} rows", rows == first_rows, (rows[:1], first_rows[:1]))
    ways = {
        "simple-salesforce": "`Salesforce(instance_url=…, session_id=…)`",
        "jsforce": "`authorize({ grant_type: 'client_credentials' })` against the broker",
        "sf CLI": "`sf org login access-token`",
    }
    return [Row((name, version(run, name), way, "token, query, log file")) for name, way in ways.items()]


def version(run, name):
    if name == "simple-salesforce":
        return importlib.metadata.version(name)
    packages = {"jsforce": run.tools.node / "node_modules/jsforce", "sf CLI": run.tools.sf / "@salesforce/cli"}
    return json.loads((packages[name] / "package.json").read_text())["version"]


def simple_salesforce(run):
    return as_printed(run, "simple-salesforce", run.tools.command("readers/simple-salesforce.py"), CALLERS[0])


def jsforce(run):
    # Not under the name of the other jsforce script.
    script = run.tools.node / "read-jsforce.mjs"
    script.write_text((HERE / "readers/jsforce.mjs").read_text())
    return as_printed(run, "jsforce", ["node", str(script)], CALLERS[1])


def as_printed(run, name, command, caller):
    done, _ = run.execute(command, caller, QUERY=QUERY)
    said = done.stdout + done.stderr
    run.checks.check(f"{name} reads an Event Log File with a brokered token", done.returncode == 0, said)
    got = json.loads(done.stdout)
    return got["id"], got["rows"]


def sf(run):
    """The program wants a newer Node than many machines have, and a home where it keeps what it is told."""
    home = run.folder / "sf-home"
    home.mkdir()
    node = next(run.tools.sf.glob("node-linux-*/bin/node"), None) or pathlib.Path(shutil.which("node"))
    done, _ = run.execute(
        ["sh", str(HERE / "readers/sf.sh")],
        CALLERS[2],
        within=120.0,
        QUERY=QUERY,
        HOME=str(home),
        PATH=f"{run.tools.sf}/.bin:{node.parent}:{os.environ['PATH']}",
        # Nothing is asked of, or told to, anybody else.
        SF_DISABLE_TELEMETRY="true",
        SF_AUTOUPDATE_DISABLE="true",
        SF_SKIP_NEW_VERSION_CHECK="true",
        SF_USE_GENERIC_UNIX_KEYCHAIN="true",
    )
    files = run.folder / "files.json"
    answer = files.read_text() if files.exists() else ""
    said = done.stdout + done.stderr + answer
    run.checks.check("sf reads an Event Log File with a brokered token", done.returncode == 0, said)
    records = json.loads(answer)["result"]["records"]
    with open(run.folder / "log.csv", newline="") as log:
        return records[0]["Id"], list(csv.DictReader(log))
