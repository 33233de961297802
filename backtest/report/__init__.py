"""The report of a run: one page for people, the same in Markdown, and figures."""

from __future__ import annotations

from .data import ReportData
from .write import write_report

__all__ = ["ReportData", "write_report"]
