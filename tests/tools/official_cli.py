"""Salesforce's own CLI, `sf`, with a home of its own and without telemetry and updates."""

import argparse
import os
import subprocess


def arguments():
    """The command line of a script that runs `sf` beside the binary."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--node", required=True, help="the node program that runs sf")
    parser.add_argument("--sf", required=True, help="the entry of @salesforce/cli")
    return parser.parse_args()


class OfficialCli:
    """`sf` run by the given node; `environment` is what it knows besides PATH, language and temporary folder."""

    def __init__(self, node, sf, home, environment):
        self.command = [node, sf]
        home.mkdir()
        keep = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
        self.environment = keep | {
            "HOME": str(home),
            "SF_AUTOUPDATE_DISABLE": "true",
            "SF_DISABLE_TELEMETRY": "true",
            "SF_SKIP_NEW_VERSION_CHECK": "true",
            "SF_USE_GENERIC_UNIX_KEYCHAIN": "true",
        } | environment  # fmt: skip

    def run(self, *arguments, folder=None, **environment):
        """Its exit status, its standard output, and the end of its standard error."""
        done = subprocess.run(
            [*self.command, *map(str, arguments)], cwd=folder, env=self.environment | environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr[-2000:]
