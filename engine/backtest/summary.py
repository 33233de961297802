"""The verdict and the deciding numbers on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.backtest.run import Backtest

__all__ = ["print_summary"]

STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def print_summary(console: Console, done: Backtest) -> None:
    """Gates with their reasons, a line a horizon, the portfolio, and the page to open."""
    console.print(_gates(done.gates))
    console.print(_horizons(done.metrics))
    for line in (*_portfolio(done.metrics), *_drops(done.metrics), *_baseline(done.metrics)):
        console.print(line, highlight=False)
    _sanity(console, done.metrics["sanity"])
    _work(console, done)
    report = (done.folder.path / "report.html").resolve()
    console.print(f"\nopen [bold]{report}[/bold]", highlight=False, soft_wrap=True)


def _gates(gates: dict[str, Any]) -> Table:
    table = Table(title="Gates", title_justify="left", show_lines=True)
    table.add_column("gate")
    table.add_column("verdict")
    table.add_column("why", ratio=1)
    for gate in gates["gates"]:
        verdict = gate["verdict"]
        table.add_row(
            gate["name"],
            f"[{STYLES[verdict]}]{verdict}[/]",
            "\n".join(gate["reasons"]).replace("[", r"\["),
        )
    return table


def _horizons(metrics: dict[str, Any]) -> Table:
    until = metrics["run"]["trained_until"]
    after = f", dates after {until} (the model's training period)" if until else ""
    table = Table(title=f"Out of sample{after}", title_justify="left")
    headings = ("horizon", "dates", "names", "RankIC", "95% interval", "t", "net excess", "churn")
    for heading in headings:
        table.add_column(heading, justify="right")
    for horizon, found in metrics["horizons"].items():
        table.add_row(
            horizon,
            _number(found["n_dates"], "d"),
            _number(found["n_names_median"], ".0f"),
            _number(found["rank_ic_mean"], "+.3f"),
            _interval(found["ci95"], "+.3f"),
            _number(found["hac_t"], "+.1f"),
            _number(found["net_excess_mean"], "+.2%"),
            _number(found["churn_median"], ".2f"),
        )
    return table


def _portfolio(metrics: dict[str, Any]) -> list[str]:
    found = metrics["portfolio"]
    if not found or found.get("sharpe_net") is None:
        return ["portfolio: no trades on these dates"]
    return [
        f"portfolio {found['strategy']}: net {_number(found['return_annual_net'], '+.1%')} a year"
        f" (gross {_number(found['return_annual_gross'], '+.1%')}),"
        f" Sharpe {_number(found['sharpe_net'], '.2f')},"
        f" largest drawdown {_number(found['max_drawdown'], '.1%')},"
        f" turnover {_number(found['turnover_annual'], '.1f')}x a year,"
        f" {found['n_trades']} trades"
    ]


def _drops(metrics: dict[str, Any]) -> list[str]:
    left_out = [f"{count:,} {reason}" for reason, count in metrics["drops"].items()]
    return [f"left out: {'; '.join(left_out)}"] if left_out else []


def _baseline(metrics: dict[str, Any]) -> list[str]:
    skipped = metrics["baseline_training"]["lightgbm"]["skipped"]
    return [f"LightGBM baseline: {count} not fitted, {why}" for why, count in skipped.items()]


def _sanity(console: Console, sanity: dict[str, Any]) -> None:
    for horizon, found in sanity["horizons"].items():
        if found["n_scores"]:
            console.print(
                f"scores, horizon {horizon}: {found['lowest']:+.3f} to {found['highest']:+.3f}, "
                f"dispersion {_number(found['dispersion'], '.4f')}, "
                f"{found['positive_share']:.0%} positive",
                highlight=False,
            )
        for warning in found["warnings"]:
            console.print(f"[bold red]scores look wrong[/], horizon {horizon}: {warning}")


def _work(console: Console, done: Backtest) -> None:
    manifest = done.manifest
    if "windows_planned" in manifest:
        console.print(
            f"windows: {manifest['windows_computed']:,} scored now, "
            f"{manifest['windows_reused']:,} from earlier runs",
            highlight=False,
        )
    if done.quarantined:
        reasons = "; ".join(f"{n} × {why}" for why, n in manifest["failed"].items())
        console.print(f"[bold red]{done.quarantined} windows quarantined[/]: {reasons}")


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "n/a"
    shown = format(value, form)
    # A rounded -0.00 is no loss.
    return shown.replace("-", "+") if set(shown) <= set("-0.%") else shown


def _interval(bounds: Sequence[float] | None, form: str) -> str:
    if bounds is None:
        return "n/a"
    return f"{_number(bounds[0], form)} … {_number(bounds[1], form)}"
