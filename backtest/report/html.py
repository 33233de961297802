"""One self-contained page: styles and charts are inside, nothing is loaded and no script runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import judging_tables, strategy_tables, tables, verdict
from .charts import TITLES, draw_charts
from .data import ReportData
from .drawing import Sheet
from .formatting import count, is_number, share
from .glossary import glossary
from .page import page_style, page_templates

__all__ = ["render_html"]

TEMPLATES = Path(__file__).parent / "templates"


def render_html(data: ReportData, charts: Mapping[str, Sheet] | None = None) -> str:
    """The page as text.

    Everything that comes from data is escaped. The same data give the same bytes.
    """
    from markupsafe import Markup

    environment = page_templates(TEMPLATES)
    environment.filters["dates"] = _whole_dates
    return environment.get_template("report.html.j2").render(
        data=data,
        verdict=verdict,
        tables=tables,
        judging=judging_tables,
        strategies=strategy_tables,
        churn_medians=_churn_medians(data),
        glossary=glossary(data.rules),
        style=Markup(page_style()),
        charts=draw_charts(data) if charts is None else charts,
        titles=TITLES,
    )


def _churn_medians(data: ReportData) -> str:
    churn = data.metrics.get("churn") or {}
    known = [
        f"{share(churn[key])} {word}"
        for key, word in (("rebalance_median", "between rebalances"), ("daily_median", "daily"))
        if is_number(churn.get(key))
    ]
    return f" Median, K = {count(churn.get('k'))}: {', '.join(known)}." if known else ""


def _whole_dates(text: str) -> Any:
    """Escaped text whose ISO dates do not break at the end of a line."""
    from markupsafe import Markup, escape

    # str(): joining pieces of a Markup would escape the span itself.
    escaped = str(escape(text))
    return Markup(re.sub(r"\b\d{4}-\d\d-\d\d\b", r'<span class="date">\g<0></span>', escaped))
