"""A small training run: two networks of a few thousand numbers on random bars.

Without dropout, so that one worker and two must agree; s2 conditioned on sampled siblings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.load import load_tree
from engine.scoring.cluster import ray_cluster
from engine.train.settings import TrainSettings

SPAN = (date(2017, 1, 3), date(2018, 12, 31))
SMALL = """\
run: {seed: 3}
split:
  training: {end: 2018-02-28}
  validation: {end: 2018-12-31}
windows: {length: 24, shortest_context: 8, longest_context: 16}
tokenizer: {d_model: 16, n_heads: 2, ff_dim: 32, n_enc_layers: 2, n_dec_layers: 2, s1_bits: 4, s2_bits: 4}
model: {n_layers: 1, d_model: 16, n_heads: 2, ff_dim: 32, ffn_dropout_p: 0, resid_dropout_p: 0}
tokenizer_stage: {steps: 30, batch: 8, learning_rate: 0.003, epoch_windows: 64, evaluate_every: 12}
model_stage: {steps: 20, batch: 8, learning_rate: 0.003, epoch_windows: 64, evaluate_every: 8, conditioning: sampled}
checkpoint: {every: 5}
validation: {windows: 24, rank_ic: false}
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small operations are fastest, and repeat to the bit, on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def prices(make_bars, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "prices.parquet"
    make_bars({f"T{n}": SPAN for n in range(4)}, seed=5).write_parquet(path)
    return path


@pytest.fixture(scope="session")
def config(prices, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("configs") / "small.yaml"
    path.write_text(f"data: {{source: parquet, path: {prices}}}\n{SMALL}")
    return path


@pytest.fixture(scope="session")
def settings(config) -> Callable[..., TrainSettings]:
    """settings(folder, **{"model.d_model": 32}): the small run, its folder, what differs."""

    def build(folder: Path, **changes: Any) -> TrainSettings:
        flags = {"run.dir": str(folder.parent), "run.name": folder.name}
        flags |= {key: str(value) for key, value in changes.items()}
        return load_tree(TrainSettings, config, {}, flags)

    return build


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One Ray for the runs of a module, with room for two workers."""
    with ray_cluster(None, cpus=2, object_bytes=2**20):
        yield
