"""One line per check, and stop at the first that fails."""

import sys
import traceback

import canary


class Checks:
    """Counts what holds, for the length of a `with` block. Its last line is always `NAME: N passed, M failed`."""

    def __init__(self, name):
        self.name = name
        self.passed = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None:
            canary.judge(self)
            self.end()
        if not isinstance(error, SystemExit):
            traceback.print_exception(kind, error, trace, file=sys.stdout)
            print("FAIL  the script ended by an error", flush=True)
            self.end(failed=1)

    def check(self, what, holds, seen=""):
        """Says whether `what` holds; if not, shows what was `seen` and ends the script."""
        if holds:
            self.passed += 1
            print(f"ok    {what}", flush=True)
            return
        print(f"FAIL  {what}" + (f"\n      seen: {seen}" if seen != "" else ""), flush=True)
        self.end(failed=1)

    def refused(self, what, action, *words):
        """Says whether `action` raises an error that holds each of `words`."""
        try:
            result = action()
        except Exception as error:  # whichever way it refuses, its words are judged
            text = str(error)
            self.check(what, all(word in text for word in words), text)
        else:
            self.check(what, False, f"it was accepted: {str(result)[:200]}")

    def end(self, failed=0):
        print(f"{self.name}: {self.passed} passed, {failed} failed", flush=True)
        sys.exit(1 if failed else 0)
