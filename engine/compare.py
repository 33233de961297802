"""Finished runs side by side: `python -m engine.backtest compare RUN RUN… [--out FOLDER]`.

1. `load_run` reads a run folder: metrics, gates, daily returns, and the RankIC of each date
2. `paired_differences` bootstraps the difference to the first run on the dates both judged
3. `write_comparison` leaves `comparison.html` (self-contained), `comparison.png` and
   `comparison.json`
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from rich.console import Console
from rich.table import Table

from backtest.ic import information_coefficient
from backtest.report import palette
from backtest.report.formatting import bps, count, decimal, interval, number, percent, share
from backtest.significance import bootstrap_interval, mean_interval, session_spacing
from engine.calendar import TradingCalendar
from engine.errors import UsageError
from engine.files import replace_file, write_json, write_text

__all__ = ["FinishedRun", "compare_runs", "load_run", "paired_differences"]

STYLE = Path(palette.__file__).parent / "templates" / "style.css"
COLORS = (palette.BLUE, palette.VERMILLION, "#009E73", "#CC79A7", "#E69F00", palette.GREY)
DASHES = ("-", "--", "-.", ":")
DRAWS = 1000
Rows = list[tuple[str, list[str]]]


@dataclass(frozen=True)
class FinishedRun:
    """What a comparison reads of a run folder.

    Attributes:
        name: the folder's name.
        metrics, gates, config, manifest: contents of its files.
        ic: asof, horizon, rank_ic of the judged dates after the model's training period.
        returns: date, net, benchmark of the judged dates.
    """

    name: str
    metrics: dict[str, Any]
    gates: dict[str, Any]
    config: dict[str, Any]
    manifest: dict[str, Any]
    ic: pl.DataFrame
    returns: pl.DataFrame


def compare_runs(arguments: Sequence[str], console: Console) -> dict[str, Any]:
    """The command: prints the tables, writes the files, returns `comparison.json`'s content."""
    folders, out = _arguments(arguments)
    runs = _distinct([load_run(folder) for folder in folders])
    differences = paired_differences(runs)
    warnings = _warnings(runs)
    tables = {"Verdicts and figures": _figures(runs), "Paired RankIC": _paired_rows(differences)}
    for title, rows in tables.items():
        _print(console, title, _headings(title, runs), rows)
    for line in warnings:
        console.print(f"note: {line}", highlight=False)
    content = {
        "version": 1,
        "runs": [run.name for run in runs],
        "differences": differences,
        "notes": warnings,
    }
    out = out or folders[0].resolve().parent / "comparison"
    picture = _picture(runs)
    write_json(out / "comparison.json", content)
    write_text(out / "comparison.html", _page(runs, tables, picture, differences, warnings))
    replace_file(out / "comparison.png", lambda part: _write(part, picture))
    console.print(f"\nopen {(out / 'comparison.html').resolve()}", highlight=False, soft_wrap=True)
    return content


def load_run(folder: Path) -> FinishedRun:
    """Raises UsageError naming the file that is missing or cannot be read."""
    try:
        metrics, gates, manifest = (
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("metrics", "gates", "manifest")
        )
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        panel = pl.read_parquet(
            folder / "panel.parquet",
            columns=["asof", "ticker", "horizon", "score", "status", "label", "mature",
                     "in_training"],
        )  # fmt: skip
        returns = pl.read_parquet(folder / "returns.parquet")
    except (OSError, ValueError, pl.exceptions.PolarsError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{folder} is no finished run of this version: {reason}") from None
    ic = information_coefficient(
        panel.filter(~pl.col("in_training")),
        min_cross_section=config["evaluation"]["min_cross_section"],
    ).filter(pl.col("status") == "judged")
    return FinishedRun(
        name=folder.resolve().name,
        metrics=metrics,
        gates=gates,
        config=config,
        manifest=manifest,
        ic=ic.select("asof", "horizon", "rank_ic"),
        returns=returns.filter(~pl.col("in_training")),
    )


def paired_differences(
    runs: Sequence[FinishedRun], *, draws: int = DRAWS, seed: int = 0
) -> list[dict[str, Any]]:
    """Mean RankIC of each later run minus the first one's, on the dates that both judged.

    Rows hold run, against, horizon, n_dates, difference, bootstrap_ci95 (stationary bootstrap of
    the paired differences, Politis and Romano, 1994), ci95 (the interval of the gates) and
    ``distinct``: neither interval holds 0.
    """
    first = runs[0]
    rows = []
    for other in runs[1:]:
        both = other.ic.join(first.ic, on=["asof", "horizon"], suffix="_first").sort("asof")
        calendar = TradingCalendar(other.config["data"]["calendar"])
        for horizon in sorted(both["horizon"].unique().to_list()):
            part = both.filter(pl.col("horizon") == horizon)
            change = part["rank_ic"] - part["rank_ic_first"]
            dates = part["asof"].to_list()
            spacing = session_spacing(dates, calendar.sessions(dates[0], dates[-1]))
            found = mean_interval(change, horizon=horizon, spacing=spacing)
            drawn = bootstrap_interval(
                change, horizon=horizon, spacing=spacing, draws=draws, seed=seed
            )
            bounds = [b for b in (found.bounds, drawn) if b is not None]
            rows.append(
                {
                    "run": other.name,
                    "against": first.name,
                    "horizon": horizon,
                    "n_dates": part.height,
                    "difference": found.mean,
                    "bootstrap_ci95": drawn,
                    "ci95": found.bounds,
                    "distinct": bool(bounds) and all(low > 0 or high < 0 for low, high in bounds),
                }
            )
    return rows


def _arguments(arguments: Sequence[str]) -> tuple[list[Path], Path | None]:
    names, out = list(arguments), None
    if "--out" in names:
        at = names.index("--out")
        if at + 1 >= len(names):
            raise UsageError("compare: --out needs a folder")
        out = Path(names[at + 1])
        del names[at : at + 2]
    strange = [name for name in names if name.startswith("--")]
    if strange:
        raise UsageError(f"compare: unknown option {strange[0]}; there is --out FOLDER")
    if len(names) < 2:
        raise UsageError("compare: name at least two run folders, as in: compare runs/a runs/b")
    return [Path(name) for name in names], out


def _distinct(runs: list[FinishedRun]) -> list[FinishedRun]:
    names = [run.name for run in runs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"compare: two runs are named {doubled[0]!r}")
    return runs


def _warnings(runs: Sequence[FinishedRun]) -> list[str]:
    """What makes the columns differ besides the score."""
    checks = {
        "data": [run.manifest.get("data_hash") for run in runs],
        "benchmark": [run.config["data"]["benchmark"] for run in runs],
        "rebalance schedules": [run.config["scoring"]["rebalance"] for run in runs],
        "costs": [run.config["costs"] for run in runs],
        "judged dates": [
            (run.ic["asof"].min(), run.ic["asof"].max(), run.ic["asof"].n_unique()) for run in runs
        ],
    }
    return [
        f"the runs differ in their {what}"
        for what, values in checks.items()
        if any(value != values[0] for value in values)
    ]


def _figures(runs: Sequence[FinishedRun]) -> Rows:
    rows: Rows = [("model", [str(run.metrics["run"]["model"]) for run in runs])]
    for place, gate in enumerate(("factor", "ml", "practical")):
        rows.append((f"gate: {gate}", [run.gates["gates"][place]["verdict"] for run in runs]))
    horizons = sorted({int(h) for run in runs for h in run.metrics["horizons"]})
    for horizon in horizons:
        blocks = [run.metrics["horizons"].get(str(horizon)) or {} for run in runs]
        for label, key, form, bounds in (
            ("RankIC", "rank_ic_mean", decimal, "ci95"),
            ("net excess", "net_excess_mean", percent, "net_excess_ci95"),
            ("churn", "churn_median", share, ""),
            ("break-even cost", "breakeven_bps", bps, ""),
        ):
            cells = [f"{form(b.get(key))} {interval(b.get(bounds), form)}".strip() for b in blocks]
            rows.append((f"{label}, {horizon} sessions", cells))
        rows.append((f"dates, {horizon} sessions", [count(b.get("n_dates")) for b in blocks]))
    books: list[Mapping[str, Any]] = [run.metrics.get("portfolio") or {} for run in runs]
    for label, key, form in (
        ("return a year, net", "return_annual_net", percent),
        ("Sharpe, net", "sharpe_net", number(2)),
        ("deflated Sharpe", "deflated_sharpe", number(2)),
        ("largest drawdown", "max_drawdown", percent),
        ("turnover a year", "turnover_annual", number(1)),
    ):
        rows.append((label, [form(book.get(key)) for book in books]))
    return rows


def _paired_rows(differences: Sequence[Mapping[str, Any]]) -> Rows:
    return [
        (
            f"{row['run']} − {row['against']}, {row['horizon']} sessions",
            [
                decimal(row["difference"]),
                interval(row["bootstrap_ci95"], decimal),
                interval(row["ci95"], decimal),
                count(row["n_dates"]),
                "yes" if row["distinct"] else "no",
            ],
        )
        for row in differences
    ]


def _headings(title: str, runs: Sequence[FinishedRun]) -> list[str]:
    if title.startswith("Paired"):
        return ["difference", "bootstrap 95 %", "HAC 95 %", "dates", "told apart"]
    return [run.name for run in runs]


def _print(console: Console, title: str, headings: Sequence[str], rows: Rows) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in headings:
        table.add_column(heading.replace("[", r"\["), justify="right")
    for label, cells in rows:
        table.add_row(label, *(cell.replace("[", r"\[") for cell in cells))
    console.print(table)


def _picture(runs: Sequence[FinishedRun]) -> bytes:
    """Net equity curves over each other, and the running mean of the longest horizon's RankIC."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    from backtest.report.figures import STYLE as LOOK

    with rc_context(LOOK):
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


def _page(
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
        f"<style>{STYLE.read_text(encoding='utf-8')}img{{max-width:100%}}</style></head>",
        f"<body><main><p class='run'>{escape(title)}</p><h1>{escape(_headline(differences))}</h1>",
    ]
    if notes:
        parts.append("<ul class='caveats'>")
        parts += [f"<li>{escape(note)}</li>" for note in notes]
        parts.append("</ul>")
    for heading, rows in tables.items():
        heads = "".join(f"<th scope='col'>{escape(h)}</th>" for h in _headings(heading, runs))
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


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
