"""The page of a comparison, and its picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from backtest.report import palette
from backtest.report.formatting import decimal, interval
from engine.backtest.compare.runs import FinishedRun
from engine.backtest.compare.tables import Rows, headings

__all__ = ["overlay", "render_page"]

PAGE_STYLE = Path(palette.__file__).parent / "templates" / "style.css"
COLORS = (palette.BLUE, palette.VERMILLION, "#009E73", "#CC79A7", "#E69F00", palette.GREY)
DASHES = ("-", "--", "-.", ":")


def overlay(runs: Sequence[FinishedRun]) -> bytes:
    """Net equity curves over each other, and the running mean of the longest horizon's RankIC."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    from backtest.report.figures import STYLE

    with rc_context(STYLE):
        figure = Figure(figsize=(8, 6), layout="constrained")
        FigureCanvasAgg(figure)
        top, bottom = figure.subplots(2, 1)
        for place, run in enumerate(runs):
            look: dict[str, Any] = {
                "color": COLORS[place % len(COLORS)],
                "ls": DASHES[place % len(DASHES)],
                "lw": 1.6,
            }
            dates: Any = run.returns["date"].to_list()
            wealth = (1 + run.returns["net"]).cum_prod() - 1
            top.plot(dates, wealth.to_list(), label=run.name, **look)
            longest = run.ic.filter(pl.col("horizon") == pl.col("horizon").max()).sort("asof")
            mean = longest["rank_ic"].cum_sum() / pl.int_range(1, longest.height + 1, eager=True)
            days: Any = longest["asof"].to_list()
            bottom.plot(days, mean.to_list(), **look)
        top.set_title("Cumulative net return")
        top.yaxis.set_major_formatter(PercentFormatter(1.0))
        bottom.set_title("Mean RankIC so far, longest horizon")
        for ax in (top, bottom):
            ax.axhline(0, color=palette.GREY, lw=0.8)
        top.legend(loc="upper left")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def render_page(
    runs: Sequence[FinishedRun],
    tables: Mapping[str, Rows],
    picture: bytes,
    differences: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> str:
    """One file that loads nothing."""
    title = " · ".join(run.name for run in runs)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Comparison: {escape(title)}</title>",
        f"<style>{PAGE_STYLE.read_text(encoding='utf-8')}img{{max-width:100%}}</style></head>",
        f"<body><main><p class='run'>{escape(title)}</p><h1>{escape(_headline(differences))}</h1>",
    ]
    if notes:
        parts.append("<ul class='caveats'>")
        parts += [f"<li>{escape(note)}</li>" for note in notes]
        parts.append("</ul>")
    for heading, rows in tables.items():
        heads = "".join(f"<th scope='col'>{escape(h)}</th>" for h in headings(heading, runs))
        parts.append(f"<section><h2>{escape(heading)}</h2><div class='scroll'>")
        parts.append(f"<table class='numbers'><thead><tr><th></th>{heads}</tr></thead><tbody>")
        for label, cells in rows:
            body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            parts.append(f"<tr><th scope='row'>{escape(label)}</th>{body}</tr>")
        parts.append("</tbody></table></div></section>")
    data = base64.b64encode(picture).decode()
    parts.append(
        "<section><h2>Over time</h2><img alt='Cumulative net return and mean RankIC of each run' "
        f"src='data:image/png;base64,{data}'></section></main></body></html>"
    )
    return "\n".join(parts) + "\n"


def _headline(differences: Sequence[Mapping[str, Any]]) -> str:
    told = [row for row in differences if row["distinct"]]
    if not told:
        return "No run's RankIC can be told apart from the first one's."
    row = max(told, key=lambda item: abs(item["difference"]))
    word = "above" if row["difference"] > 0 else "below"
    return (
        f"{row['run']} ranks {word} {row['against']} at {row['horizon']} sessions: "
        f"{decimal(row['difference'])} {interval(row['bootstrap_ci95'], decimal)}."
    )
