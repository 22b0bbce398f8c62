"""`docs/clients.md` shows what ran: its tables come from the run, its settings from the files that ran.

    <!-- table: NAME -->          the table that follows is one of the run's
    <!-- file: PATH -->           the block that follows is the marked part of that file, or the whole of it
"""

import pathlib
import re
import textwrap
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/clients.md"

TABLE = re.compile(r"(?<=<!-- table: )(?P<name>[a-z]+)(?P<between> -->\n\n)(?P<lines>(?:\|.*\n)*)")
BLOCK = re.compile(r"(?<=<!-- file: )(?P<path>\S+)(?P<between> -->\n\n```[a-z]+\n)(?P<text>.*?)(?=^```$)", re.S | re.M)
MARKED = re.compile(r"^[^\w\n]*docs: begin\n(?P<text>.*?)^[^\w\n]*docs: end$", re.S | re.M)


@dataclass(frozen=True)
class Row:
    """One line of a table. The first cell is the name, the second the version."""

    cells: tuple
    of_the_machine: bool = False
    """Whether the version is whatever the machine has: then another one on the page is no mistake."""


@dataclass(frozen=True)
class Table:
    head: tuple
    rows: list

    def lines(self, shown):
        """As Markdown. `shown` is what the page has now: versions of the machine's own programs stay as they were."""
        versions = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", shown, re.M))
        lines = [self.head, ("---",) * len(self.head)]
        for row in self.rows:
            name, version, *rest = row.cells
            if row.of_the_machine:
                version = versions.get(name, f"{version} (the machine's)")
            lines.append((name, version, *rest))
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def judge(checks, tables, write):
    """Holds the page against the run, or writes the run into the page."""
    old = PAGE.read_text()

    def table(match):
        known = tables.get(match["name"])
        checks.check(f"docs/clients.md: the table {match['name']} was run", known is not None)
        return match["name"] + match["between"] + known.lines(match["lines"])

    def block(match):
        return match["path"] + match["between"] + marked(match["path"])

    new = BLOCK.sub(block, TABLE.sub(table, old))
    if write:
        PAGE.write_text(new)
    stale = [line for line in new.splitlines() if line not in old.splitlines()]
    checks.check("docs/clients.md shows what ran (else: run with --write)", write or new == old, "\n".join(stale))
    shown = {match["name"] for match in TABLE.finditer(new)}
    checks.check("docs/clients.md shows every table", shown == set(tables), shown)
    files = {match["path"] for match in BLOCK.finditer(new)}
    ours = (ROOT / "tests/clients").glob("*/*"), (ROOT / "docs/examples").glob("*")
    unseen = {
        str(path.relative_to(ROOT))
        for paths in ours
        for path in paths
        if path.is_file() and (path.parent.name == "examples" or MARKED.search(path.read_text(errors="replace")))
    } - files
    checks.check("docs/clients.md shows every file with settings", not unseen, unseen)


def marked(path):
    """The part of a file between its marks; all of it when it has none."""
    text = (ROOT / path).read_text()
    found = MARKED.search(text)
    return textwrap.dedent(found["text"]) if found else text
