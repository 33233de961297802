"""What a finished training run says on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from engine.train.run import Trained

__all__ = ["print_training"]


def print_training(console: Console, done: Trained) -> None:
    """Losses against their baselines, RankIC, and where the checkpoint lies."""
    metrics, ranks = done.manifest["metrics"], done.manifest["rank_ic"]
    table = Table(title="On the validation span", title_justify="left")
    for heading in ("", "this run", "to compare with"):
        table.add_column(heading)
    if tokenizer := metrics.get("tokenizer"):
        table.add_row(
            "reconstruction MSE", f"{tokenizer['mse']:.4f}", f"variance {tokenizer['variance']:.2f}"
        )
        used = f"{tokenizer['s1_used']:.0%} and {tokenizer['s2_used']:.0%}"
        table.add_row("s1 and s2 codes in use", used, "")
    if model := metrics.get("model"):
        for part in ("s1", "s2"):
            tables = f"unigram {model[part + '_unigram']:.3f}, bigram {model[part + '_bigram']:.3f}"
            table.add_row(f"{part} loss, nats", f"{model[part]:.3f}", tables)
    if isinstance(ranks, dict):
        for horizon, row in ranks["by_forecaster"]["model"].items():
            other = ranks["by_forecaster"]["momentum"][horizon]["rank_ic_mean"]
            table.add_row(
                f"RankIC, {horizon} sessions",
                _signed(row["rank_ic_mean"]),
                f"momentum {_signed(other)}",
            )
    console.print(table)
    console.print(f"checkpoint: {done.folder.path}", highlight=False)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"
