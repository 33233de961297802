"""One self-contained page: styles, data and Plotly inlined, nothing loaded from anywhere."""

from __future__ import annotations

import json
import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from . import judging_tables, lists, strategy_tables, tables, verdict
from .caveats import caveats
from .charts import TITLES, Chart, build_charts
from .data import ReportData
from .formatting import count, is_number, share
from .gate_cards import SYMBOLS, gates
from .glossary import glossary
from .templating import page_templates

__all__ = ["render_html"]

TEMPLATES = Path(__file__).parent / "templates"


def render_html(data: ReportData, charts: dict[str, Chart] | None = None) -> str:
    """The page as text, about 5 MB of which 4.8 MB are Plotly's script.

    Everything that comes from data is escaped. The same data give the same bytes.
    """
    from markupsafe import Markup

    environment = page_templates(TEMPLATES)
    environment.filters["dates"] = _whole_dates
    charts = build_charts(data) if charts is None else charts
    return environment.get_template("report.html.j2").render(
        **_context(data, charts),
        style=Markup(_text("style.css")),
        script=Markup(_text("charts.js")),
        plotly=Markup(_plotly_script()) if charts else "",
        figures=Markup(_figures_json(charts)),
    )


def _context(data: ReportData, charts: dict[str, Chart]) -> dict[str, Any]:
    training = data.metrics.get("in_training") or {}
    return {
        "run": data.run,
        "headline": verdict.headline(data),
        "basis": verdict.basis(data),
        "finding": verdict.finding(data),
        "caveats": caveats(data),
        "gates": gates(data),
        "symbols": SYMBOLS,
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
        "weights": lists.weights_table(data),
        "drops": lists.drops(data),
        "flags": lists.flags(data),
        "quarantine": lists.quarantine(data),
        "training": training,
        "training_table": tables.headline_table(data, in_training=True) if training else [],
        "training_portfolio": tables.portfolio_table(training.get("portfolio")),
        "config": list(lists.flatten(data.config)) if data.config else [],
        "manifest": list(lists.flatten(data.manifest)) if data.manifest else [],
        "gate_numbers": lists.gate_numbers(data),
        "glossary": glossary(data.rules),
        "charts": charts,
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


@cache
def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _whole_dates(text: str) -> Any:
    """Escaped text whose ISO dates do not break at the end of a line."""
    from markupsafe import Markup, escape

    # str(): joining pieces of a Markup would escape the span itself.
    escaped = str(escape(text))
    return Markup(re.sub(r"\b\d{4}-\d\d-\d\d\b", r'<span class="date">\g<0></span>', escaped))


def _figures_json(charts: dict[str, Chart]) -> str:
    figures = {name: _rounded(chart.figure) for name, chart in charts.items()}
    text = json.dumps(figures, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    # A script element ends at the first "</": nothing in the data may write one.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _rounded(value: Any) -> Any:
    """Six significant digits for drawing, ISO dates, null for what is not finite."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if value - value == 0 else None
    return value.isoformat() if isinstance(value, date) else value
