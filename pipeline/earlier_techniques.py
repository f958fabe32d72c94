"""What an earlier docs/techniques.md says, kept where a recipe or a benchmark was not run here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

# What a kept part says of itself, once.
EARLIER = "Measured earlier"
_MADE = re.compile(r"Made on (\S+) by")
_DATE = re.compile(r" \(of \d{4}-\d\d-\d\d\)$")
_MACHINE = re.compile(r"Machine: (.*)\.$")


@dataclass
class EarlierDocument:
    """Parts of the document as it stands.

    Attributes:
        date, machines: of what it was made; "" and none if there is no document.
        sections: the lines of each cell table, by its title line.
        rows: the cells of each technique, by its name.
    """

    date: str = ""
    machines: list[str] = field(default_factory=list)
    sections: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> EarlierDocument:
        """Read a document that ``edgestep techniques`` made; one that is missing has no parts."""
        found, title = cls(), ""
        for line in path.read_text().splitlines() if path.exists() else ():
            if made := _MADE.match(line):
                found.date = made[1]
            elif machine := _MACHINE.match(line):
                found.machines.append(machine[1])
            elif line.startswith("## "):
                title = line
                found.sections[title] = []
            elif line.startswith("| ") and "`edgestep run" not in title:
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                found.rows[cells[0]] = cells
            elif title:
                found.sections[title].append(line)
        return found

    def section(self, title: str) -> str | None:
        """Return a cell table with the words of when it was made; None if there was none."""
        lines = self.sections.get(title)
        if not lines or not any(line.startswith("|") for line in lines):
            return None
        if not any(line.startswith(EARLIER) for line in lines):
            lines = ["", f"{EARLIER}, on {self.date}: {'; '.join(self.machines)}.", *lines]
        return "\n".join([title, *lines])

    def row(self, name: str, columns: int, nothing: str) -> str | None:
        """Return a technique's row, with its date; None if it was never measured.

        Args:
            columns: how many cells a row has now; an earlier one may lack those before the last.
            nothing: what the second cell says of a technique that was not measured.
        """
        cells = next(
            (one for known, one in self.rows.items() if _DATE.sub("", known) == name), None
        )
        if cells is None or cells[1] == nothing:
            return None
        lacking = [""] * (columns - len(cells))
        dated = cells[0] if _DATE.search(cells[0]) else f"{name} (of {self.date})"
        return f"| {' | '.join([dated, *cells[1:-1], *lacking, cells[-1]])} |"
