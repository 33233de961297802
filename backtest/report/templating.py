"""How every page is made from its template: escaped, and nothing missing goes unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["page_style", "page_templates"]

STYLE = Path(__file__).parent / "templates" / "style.css"


def page_templates(folder: Path) -> Environment:
    """The templates of a folder: values are escaped, an undefined one raises."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_style(*further: Path) -> str:
    """The style that all pages share, so that they look alike, and then that of `further` files."""
    return "".join(path.read_text(encoding="utf-8") for path in (STYLE, *further))
