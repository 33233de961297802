"""The signals of a session as one page for a phone: nothing in it is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backtest.report.formatting import decimal, is_number, percent, share
from backtest.report.page import page_style, page_templates

__all__ = ["render_signals", "signals_style"]

TEMPLATES = Path(__file__).parent / "templates"


def render_signals(content: Mapping[str, Any]) -> str:
    """The page of what `write.signals_content` holds. Everything from data is escaped."""
    from markupsafe import Markup

    environment = page_templates(TEMPLATES)
    ranked = [row for row in content["table"] if row["rank"] is not None]
    rows = _rows(ranked)
    return environment.get_template("signals.html.j2").render(
        content=content,
        headline=_headline(content, ranked),
        style=Markup(signals_style()),
        longs=[row for row in rows if row["weight"] > 0],
        shorts=[row for row in reversed(rows) if row["weight"] < 0],
        rest=[row for row in rows if row["weight"] == 0],
        has_interval=any(is_number(row["q05"]) for row in ranked),
        left_out=[row for row in content["table"] if row["rank"] is None],
        leaving=[row for row in content["table"] if row["rank"] is None and row["change"]],
        figures=_figures(content),
        facts=_facts(content),
    )


def _headline(content: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]]) -> str:
    if not content["rebalance"]:
        return "Nothing to trade: the strategy keeps its book today"
    longs = sum(row["target_weight"] > 0 for row in ranked)
    shorts = sum(row["target_weight"] < 0 for row in ranked)
    sides = [f"{n} {side}" for n, side in ((longs, "long"), (shorts, "short")) if n]
    return " and ".join(sides) or "Nothing is held"


def _rows(ranked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    widest = max((abs(row["target_weight"]) for row in ranked), default=0.0) or 1.0
    reach = [abs(row[k]) for row in ranked for k in ("q05", "q95", "score") if is_number(row[k])]
    scale = max(reach, default=0.0) or 1.0
    return [
        {
            "rank": row["rank"],
            "ticker": row["ticker"],
            "score": percent(row["score"]),
            "p_up": share(row["p_up"]) if is_number(row["p_up"]) else "–",
            "interval": _interval(row),
            "band": _band(row, scale),
            "weight": row["target_weight"],
            "weight_text": percent(row["target_weight"]),
            "change": _signed(row["change"]),
            "bar": round(100 * abs(row["target_weight"]) / widest, 1),
        }
        for row in ranked
    ]


def _interval(row: Mapping[str, Any]) -> str:
    if not is_number(row["q05"]):
        return "–"
    return f"{percent(row['q05'])} … {percent(row['q95'])}"


def _band(row: Mapping[str, Any], scale: float) -> dict[str, float] | None:
    """Places in percent of a strip from −scale to +scale: the quantiles' ends and the score."""
    if not is_number(row["q05"]) or not is_number(row["q95"]):
        return None
    low, high, middle = (50 + 49 * row[name] / scale for name in ("q05", "q95", "score"))
    return {"low": round(low, 1), "width": round(high - low, 1), "middle": round(middle, 1)}


def _signed(value: float) -> str:
    text = percent(value)
    return f"+{text}" if value > 0 and text.strip("0.%") else text if value else "0"


def _figures(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("names scored", str(content["scored"])),
        ("gross", percent(content["gross"])),
        ("net", percent(content["net"])),
        ("turnover, one way", percent(content["turnover"])),
        ("horizon, sessions", str(content["horizon"])),
        ("forecaster", content["forecaster"]["name"]),
    ]


def _facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    mode = "eager" if "compile" in content["identity"] else "no torch model"
    facts = [
        ("made", content["created"]),
        ("change is counted from", content["previous"] or "no earlier signals"),
        ("rebalances replayed", str(content["replayed"])),
        ("strategy", _parameters(content["strategy"])),
        ("mode", mode),
        *((name, content[name]) for name in ("code_version", "fingerprint")),
        *((name, content[name]) for name in ("config_hash", "model_hash", "data_hash")),
        *((f"left out: {reason}", str(n)) for reason, n in content["drops"].items()),
    ]
    return [(name.replace("_", " "), value) for name, value in facts]


def _parameters(strategy: Mapping[str, Any]) -> str:
    shown = [f"{k} {decimal(v) if isinstance(v, float) else v}" for k, v in strategy.items()]
    return ", ".join(shown)


def signals_style() -> str:
    """The style that all pages share, and what is this page's own; the page of the day has both."""
    return page_style(TEMPLATES / "signals.css")
