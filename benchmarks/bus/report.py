"""Sections of the bus's report: what each row of the benchmark found, and beside what was promised."""

import json
from pathlib import Path
from typing import Any, NamedTuple

MARKS = {True: "✓", False: "✗", None: "?"}


class Size(NamedTuple):
    """How much is measured: rounds, seconds of load in each, and whether this is only a try."""

    rounds: int
    seconds: int
    is_quick: bool = False

    def few(self, count: int, quick: int) -> int:
        """Return `count`, or `quick` of them for a try."""
        return quick if self.is_quick else count


class Promise(NamedTuple):
    """What was promised, what was found, and whether it is kept."""

    text: str
    found: str
    is_kept: bool


class Section(NamedTuple):
    """One part of the report. The first row of the table is its head; `figures` is for programs."""

    title: str
    table: list[list[str]]
    promises: list[Promise]
    notes: list[str]
    figures: dict[str, Any]


def at_least(text: str, found: float, limit: float, unit: str = "") -> Promise:
    """Promise something that should be large."""
    return Promise(text, f"{found:,.4g}{unit}" if found < 100 else f"{found:,.0f}{unit}", found >= limit)


def at_most(text: str, found: float, limit: float, unit: str = "") -> Promise:
    """Promise something that should be small."""
    return Promise(text, f"{found:,.4g}{unit}", found <= limit)


def merged(out: Path, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Put what was found beside the parts of the last report that were not measured this time."""
    path = out / "bus.json"
    before = json.loads(path.read_text()).get("sections", {}) if path.exists() else {}
    return before | found


def told(section: Section, machine: str) -> dict[str, Any]:
    """Return a section as it is kept."""
    return {"measured": machine, **section._asdict()}


def markdown(sections: dict[str, dict[str, Any]]) -> str:
    """Return the report as people read it."""
    lines = ["# The bus", ""]
    for section in sections.values():
        lines += [f"## {section['title']}", "", section["measured"], "", *_shown(section["table"]), ""]
        lines += [f"- {MARKS[kept]} {text}: {found}" for text, found, kept in section["promises"]]
        lines += [f"- {note}" for note in section["notes"]]
        lines += [""]
    return "\n".join(lines)


def _shown(table: list[list[str]]) -> list[str]:
    rows = [f"| {' | '.join(row)} |" for row in table]
    return [rows[0], "|---" * len(table[0]) + "|", *rows[1:]]
