"""The report of a run: one page for people, the same in Markdown, and figures."""

from __future__ import annotations

import os
from pathlib import Path

from .charts import TITLES, draw_charts
from .data import ReportData
from .html import render_html
from .markdown import render_markdown

__all__ = ["ReportData", "write_report"]


def write_report(folder: Path, data: ReportData) -> None:
    """Write ``report.html``, ``report.md`` and ``figures/*.png`` into `folder`.

    A figure without data is not drawn, and one left by an earlier report of the same folder is
    removed. Nothing but `data` enters the files: the same data give the same bytes.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder = Path(folder)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    charts = draw_charts(data)
    for name, title in TITLES.items():
        path = folder / "figures" / f"{name}.png"
        if name in charts:
            _write_whole(path, charts[name].png(title))
        else:
            path.unlink(missing_ok=True)
    _write_whole(folder / "report.md", render_markdown(data, figures=list(charts)).encode())
    _write_whole(folder / "report.html", render_html(data, charts).encode())


def _write_whole(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
