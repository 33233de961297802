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
        **_context(data),
        style=Markup(page_style()),
        charts=draw_charts(data) if charts is None else charts,
    )


def _context(data: ReportData) -> dict[str, Any]:
    training = data.metrics.get("in_training") or {}
    return {
        "run": data.run,
        "headline": verdict.headline(data),
        "basis": verdict.basis(data),
        "finding": verdict.finding(data),
        "caveats": verdict.caveats(data),
        "gates": verdict.gates(data),
        "symbols": verdict.SYMBOLS,
        "horizons": data.horizons,
        "headline_table": tables.headline_table(data),
        "unjudged": tables.unjudged(data),
        "portfolio": tables.portfolio_table(data.metrics.get("portfolio")),
        "signal_rows": judging_tables.signal_rows(data),
        "redundancy_rows": judging_tables.redundancy_rows(data),
        "forecast_rows": judging_tables.forecast_rows(data),
        "decay_summary": judging_tables.decay_summary(data),
        "decay_rows": judging_tables.decay_rows(data),
        "cost_levels": judging_tables.cost_levels(data),
        "importance_rows": judging_tables.importance_rows(data),
        "start_rows": judging_tables.start_rows(data),
        "trial_rows": judging_tables.trial_rows(data),
        "attribution_tables": strategy_tables.attribution_tables(data),
        "selection_tables": strategy_tables.selection_tables(data),
        "entry_tables": strategy_tables.entry_tables(data),
        "regimes": tables.regimes(data),
        "baselines": tables.baselines(data),
        "weights": tables.weights_table(data),
        "drops": tables.drops(data),
        "flags": tables.flags(data),
        "quarantine": tables.quarantine(data),
        "training": training,
        "training_table": tables.headline_table(data, in_training=True) if training else [],
        "training_portfolio": tables.portfolio_table(training.get("portfolio")),
        "config": list(tables.flatten(data.config)) if data.config else [],
        "manifest": list(tables.flatten(data.manifest)) if data.manifest else [],
        "gate_numbers": tables.gate_numbers(data),
        "glossary": glossary(data.rules),
        "titles": TITLES,
        "churn_medians": _churn_medians(data),
    }


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
