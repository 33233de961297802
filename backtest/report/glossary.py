"""The definitions behind the numbers shown; those of the gates follow the rules of the run."""

from __future__ import annotations

from pathlib import Path

from ..gates.rules import GateRules

__all__ = ["glossary"]

TEXT = Path(__file__).parent / "templates" / "glossary.txt"


def glossary(rules: GateRules) -> dict[str, str]:
    """Term → definition, in the order of the list; the gates' numbers are those of `rules`."""
    entries = (line.split(": ", 1) for line in TEXT.read_text(encoding="utf-8").splitlines())
    return {term: text.format_map(dict(rules)) for term, text in entries}
