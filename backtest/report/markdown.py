"""The report in Markdown: the same numbers, compact, with links to the PNG figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from . import judging_tables, strategy_tables, tables, verdict
from .charts import TITLES
from .data import ReportData
from .glossary import glossary

__all__ = ["render_markdown"]


def render_markdown(data: ReportData, *, figures: Sequence[str] = ()) -> str:
    """The report as text; `figures` names the files of ``figures/`` that exist.

    Names that come from data are escaped, so that no ticker is read as markup.
    """
    sections = [
        _verdict(data),
        _headline(data),
        _portfolio(data),
        _tables("Walk-forward selection", strategy_tables.selection_tables(data)),
        _tables("Attribution", strategy_tables.attribution_tables(data)),
        _tables("Trading the forecast bar", strategy_tables.entry_tables(data)),
        _signal(data),
        _costs(data),
        _regimes(data),
        _baselines(data),
        _figures(figures),
        _training(data),
        _weights(data),
        _data_issues(data),
        _settings(data),
        _definitions(data),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _plain(text: object) -> str:
    """`text` with every character that Markdown or HTML could read as markup escaped."""
    line = re.sub(r"\s+", " ", str(text))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    ruler = "|".join(["---"] + ["---:"] * (len(header) - 1))
    body = ["| " + " | ".join(map(_plain, row)) + " |" for row in rows]
    return ["", "| " + " | ".join(map(_plain, header)) + " |", f"|{ruler}|", *body, ""]


def _cell(cell: tables.Cell) -> str:
    extra = cell.interval or (f"({cell.reason})" if cell.reason else "")
    return f"{cell.text} {extra}".strip()


def _by_horizon(data: ReportData, rows: Iterable[tables.Row]) -> list[str]:
    header = ["Horizon, sessions", *data.horizons]
    return _table(header, ([row.label, *map(_cell, row.cells)] for row in rows))


def _verdict(data: ReportData) -> list[str]:
    lines = [
        f"# {_plain(data.run.get('name') or 'run')}: {_plain(verdict.headline(data))}",
        "",
        _plain(verdict.finding(data)),
        "",
        _plain(verdict.basis(data)),
        "",
    ]
    for gate in verdict.gates(data):
        lines.append(f"- {gate.symbol} **{gate.title}: {gate.verdict}.** {_plain(gate.reason)}")
        lines += [f"  - {_plain(reason)}" for reason in gate.more]
        lines += [
            f"  {'  ' * c.part}- {c.symbol} {_plain(': '.join(filter(None, (c.name, c.value))))}"
            f" {_plain(c.interval)}".rstrip()
            for c in gate.conditions
        ]
    limits = _bullets(map(_plain, verdict.caveats(data)))
    return [*lines, "", "Read it with this in mind:", "", *limits] if limits else lines


def _headline(data: ReportData) -> list[str]:
    note = "Out-of-sample dates only. In brackets: 95% intervals. Returns per horizon."
    if not data.horizons:
        return ["## Headline numbers", "", "No horizon was judged."]
    return ["## Headline numbers", "", note, *_by_horizon(data, tables.headline_table(data))]


def _portfolio(data: ReportData) -> list[str]:
    rows = [
        *tables.portfolio_table(data.metrics.get("portfolio")),
        *judging_tables.trial_rows(data),
    ]
    if not rows:
        return ["## Portfolio", "", "No portfolio was simulated on out-of-sample dates."]
    return ["## Portfolio", *_table(["", "Value"], ([r.label, _cell(r.cells[0])] for r in rows))]


def _tables(heading: str, found: Sequence[strategy_tables.Table]) -> list[str]:
    lines = [f"## {heading}"] if found else []
    for table in found:
        lines += [
            "",
            f"### {_plain(table.title)}",
            *(["", _plain(table.note)] if table.note else []),
        ]
        lines += _table(table.header, table.rows)
    return lines


def _signal(data: ReportData) -> list[str]:
    parts = [
        ("What is left of the score, and how it sorts:", judging_tables.signal_rows(data)),
        ("Decay inside folds:", judging_tables.decay_summary(data)),
        ("Mean RankIC when judging begins later:", judging_tables.start_rows(data)),
        ("Median rank correlation with each factor:", judging_tables.redundancy_rows(data)),
        ("Forecast quality:", judging_tables.forecast_rows(data)),
    ]
    lines = ["## Signal"]
    for title, rows in parts:
        lines += ["", title, *_by_horizon(data, rows)] if rows else []
    return lines if len(lines) > 1 else []


def _costs(data: ReportData) -> list[str]:
    rows = judging_tables.cost_levels(data)
    return ["## Costs", *_by_horizon(data, rows)] if rows else []


def _regimes(data: ReportData) -> list[str]:
    rows = tables.regimes(data)
    if not rows:
        return ["## Regimes", "", "No regime slice."]
    keys = ["slice", "horizon", "n_dates", "n_names", "rank_ic", "interval", "note"]
    header = ["Slice", "Horizon", "Dates", "Names", "RankIC", "95% interval", "Note"]
    return ["## Regimes", *_table(header, ([row[key] for key in keys] for row in rows))]


def _baselines(data: ReportData) -> list[str]:
    rows = tables.baselines(data)
    if not rows:
        return ["## Baselines", "", "No baseline in this run."]
    lines = ["## Baselines", "", "Mean RankIC.", *_by_horizon(data, rows)]
    used = judging_tables.importance_rows(data)
    return [*lines, "Share of LightGBM's gain:", *_by_horizon(data, used)] if used else lines


def _figures(figures: Sequence[str]) -> list[str]:
    if not figures:
        return ["## Figures", "", "Nothing to draw: no date could be judged."]
    return ["## Figures", *(f"\n![{TITLES[name]}](figures/{name}.png)" for name in figures)]


def _training(data: ReportData) -> list[str]:
    training = data.metrics.get("in_training")
    if not training:
        return []
    between = f"{training.get('first_asof')} to {training.get('last_asof')}"
    rows = tables.portfolio_table(training.get("portfolio"))
    table = _table(["Portfolio", "Value"], ([r.label, _cell(r.cells[0])] for r in rows))
    return [
        "## In the model's training period",
        "",
        "Nothing in this section counts: the model was trained or selected on these dates "
        f"({between}).",
        *_by_horizon(data, tables.headline_table(data, in_training=True)),
        *(table if rows else []),
    ]


def _weights(data: ReportData) -> list[str]:
    weights = tables.weights_table(data)
    if weights is None:
        return ["## Weights of the last rebalance", "", "Nothing was held."]
    hidden = f" The {weights.hidden} smallest are not listed." if weights.hidden else ""
    return [
        "## Weights of the last rebalance",
        "",
        f"{weights.asof}: {weights.n_long} long ({weights.long}), {weights.n_short} short "
        f"({weights.short}).{hidden}",
        *_table(["Ticker", "Weight"], ([w.ticker, w.weight] for w in weights.rows)),
    ]


def _data_issues(data: ReportData) -> list[str]:
    lines = ["## Data issues and drops"]
    drops = tables.drops(data)
    lines += _table(["Reason", "Count"], drops) if drops else ["", "Nothing was dropped.", ""]
    flags = tables.flags(data)
    if flags:
        lines += ["Kept, but flagged:", *_table(["What", "Count"], flags)]
    if data.horizons:
        lines += ["Scored dates that were not judged:", *_by_horizon(data, tables.unjudged(data))]
    removed = tables.quarantine(data)
    if removed:
        header = ["Ticker", "Date", "Rule", "Message", "Source"]
        lines += ["Bars removed, the first of them:", *_table(header, removed)]
    return lines


def _definitions(data: ReportData) -> list[str]:
    terms = (f"**{_plain(term)}**: {_plain(text)}" for term, text in glossary(data.rules).items())
    return ["## Definitions", *_bullets(terms)]


def _settings(data: ReportData) -> list[str]:
    lines = ["## Configuration and hashes"]
    for title, tree in (("Setting", data.config), ("Manifest", data.manifest)):
        lines += _table([title, "Value"], tables.flatten(tree)) if tree else []
    return lines if len(lines) > 1 else [*lines, "", "Not recorded."]
