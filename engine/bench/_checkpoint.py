"""Checkpoints of the published sizes with seeded random weights: as slow as the real ones."""

from __future__ import annotations

from pathlib import Path

__all__ = ["random_checkpoint"]


def random_checkpoint(folder: Path, size: str) -> Path:
    """Write model/ and tokenizer/ of a published size ("mini", "small", "base") into `folder`."""
    from kronos.bench.setup import build

    predictor = build(size, device="cpu")
    predictor.model.save_pretrained(folder / "model")
    predictor.tokenizer.save_pretrained(folder / "tokenizer")
    card = f"---\nmax_context: {predictor.max_context}\n---\n\n# Random weights, for benchmarks\n"
    (folder / "model" / "README.md").write_text(card, encoding="utf-8")
    return folder
