"""Model cards: YAML front matter that :func:`kronos.checkpoint_info` reads, then sections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["model_card", "model_table", "tokenizer_table"]

MODEL_ROWS = (("bars after the context", ""), ("all bars of a window", "_all"))


def model_card(front: Mapping[str, Any], title: str, sections: Mapping[str, str]) -> str:
    """The text of ``README.md``. Keys of ``front`` that are None are left out."""
    # JSON scalars are YAML scalars; a date is written bare, or it would be read as text.
    lines = [
        f"{key}: {value if key == 'trained_until' else json.dumps(value)}"
        for key, value in front.items()
        if value is not None
    ]
    body = [f"## {name}\n\n{text}" if name else text for name, text in sections.items() if text]
    return "\n".join(("---", *lines, "---", "", f"# {title}", "")) + "\n" + "\n\n".join(body) + "\n"


def tokenizer_table(metrics: Mapping[str, float]) -> str:
    """What :func:`kronos.training.evaluate_tokenizer` found, as a table."""
    m = metrics
    columns = ("open", "high", "low", "close", "volume", "amount")
    by_column = ", ".join(f"{name} {m[f'mse_{name}']:.4f}" for name in columns)
    return (
        "| | |\n|---|---|\n"
        f"| reconstruction MSE, normalised units | {m['mse']:.4f} |\n"
        f"| the same by column | {by_column} |\n"
        f"| within the context, where the variance is 1 | {m['mse_context']:.4f} |\n"
        f"| on the bars after it | {m['mse_ahead']:.4f} |\n"
        f"| mean square of the bars themselves | {m['variance']:.2f} |\n"
        f"| reconstruction MSE from s1 alone | {m['mse_s1']:.4f} |\n"
        f"| s1 codes in use, perplexity | {m['s1_used']:.0%}, {m['s1_perplexity']:.0f} |\n"
        f"| s2 codes in use, perplexity | {m['s2_used']:.0%}, {m['s2_perplexity']:.0f} |"
    )


def model_table(metrics: Mapping[str, float]) -> str:
    """What :func:`kronos.training.evaluate_model` found with token tables, as a table."""
    names = ("s1", "s1_unigram", "s1_bigram", "s2", "s2_unigram", "s2_bigram")
    lines = [
        "Next-token losses in nats, causal, s2 given the true s1. The tables are fitted on the "
        "training span; the bigram is s1 given the s1 before it, and s2 given its own s1.\n",
        "| | s1 | unigram | bigram | s2 | unigram | bigram |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, suffix in MODEL_ROWS:
        cells = (f"{metrics[name + suffix]:.3f}" for name in names)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    better = {base: metrics[f"s1_{base}"] - metrics["s1"] for base in ("unigram", "bigram")}
    lines.append(
        f"\nAfter the context s1 is {better['unigram']:.2f} nats better than the unigram and "
        f"{better['bigram']:.2f} better than the bigram."
    )
    return "\n".join(lines)
