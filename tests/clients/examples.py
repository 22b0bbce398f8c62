"""The programs below `docs/examples/`, run as they are printed: each must list the same log files."""

import json
import shutil
import subprocess
import sys

from page import ROOT, Row

CALLER = "examples"
# Language, file, program that it needs, command. A language that the machine does not have is named in the output.
EXAMPLES = [
    ("shell (curl)", "token.sh", "curl", ["sh"]),
    ("Python", "token.py", None, [sys.executable]),
    ("Node", "token.mjs", "node", ["node"]),
    ("Java", "Token.java", "java", ["java"]),
    ("Go", "token.go", "go", ["go", "run"]),
]
MAY_BE_ABSENT = {"Java", "Go"}


def judge(run, tls):
    """Runs what the machine can run."""
    check = run.checks.check
    first = None
    for language, file, program, command in EXAMPLES:
        if program and not shutil.which(program):
            check(f"the example in {language} can run (program {program})", language in MAY_BE_ABSENT, "it is missing")
            print(f"--    not run: the example in {language}, for this machine has no {program}", flush=True)
            continue
        command = [*command, str(ROOT / "docs/examples" / file)]
        more = {"within": 90.0, **trust(run, tls, language)}
        records = listed(run, language, command, more)
        check(f"the example in {language} lists log files", len(records) > 0)
        if first is None:
            first, again = records, (language, command, more)
        elif records != first:
            # A new hour has a new file, whoever asks next.
            first = listed(run, *again)
        check(f"the example in {language} lists the same as the first", records == first, f"{records}, and the first: {first}")
        done, _ = run.execute(command, CALLER, key=run.stage.stranger, **more)
        check(f"the example in {language} fails with a wrong key", done.returncode != 0, done.stdout)
        check(f"the example in {language} says 401", "401" in done.stdout + done.stderr, done.stdout + done.stderr)


def listed(run, language, command, more):
    """The log files that an example lists."""
    done, _ = run.execute(command, CALLER, **more)
    run.checks.check(f"the example in {language} runs as it is printed", done.returncode == 0, done.stdout + done.stderr)
    return json.loads(done.stdout)["records"]


def trust(run, tls, language):
    """Java alone reads no file of certificates; it wants a store."""
    if language != "Java":
        return {"GOFLAGS": "-mod=mod", "GOCACHE": str(run.folder / "go-cache")} if language == "Go" else {}
    store = run.folder / "trust.p12"
    if not store.exists():
        subprocess.run(
            ["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", str(tls["ca"]), "-keystore", str(store),
             "-storetype", "PKCS12", "-storepass", "throw-away"],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    options = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=throw-away"
    return {"JAVA_TOOL_OPTIONS": options}
