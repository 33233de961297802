"""What the documents name is there."""

from __future__ import annotations

import ast
import re

import pytest
from places import ROOT

NAMED = re.compile(r"`((?:engine|backtest|kronos|strategies|tests|configs)/[\w/.]+?)(?::(\w+))?`")
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", [*PAGES, "README.md", "CONTRIBUTING.md"])
def test_every_file_and_function_that_is_named_exists(page):
    for path, name in NAMED.findall((ROOT / page).read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), f"{page} names {path}"
        if name:
            body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
            imported = {
                a.asname or a.name for n in body if isinstance(n, ast.ImportFrom) for a in n.names
            }
            defined = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
            assert name in imported | defined, f"{page} names {path}:{name}"


def test_every_page_of_the_documentation_is_reached():
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in [*PAGES, "README.md"])
    for page in PAGES:
        assert page.removeprefix("docs/") in text, f"nothing links to {page}"


@pytest.mark.parametrize("page", [*PAGES, "README.md", "CONTRIBUTING.md"])
def test_every_block_names_its_language(page):
    """Shell commands are run by a slow test, which knows them by it."""
    blocks = re.findall(
        r"^```(.*)\n.*?^```$", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S
    )
    assert all(blocks), page
