"""A forecast of the model begins with the same bits however far it goes on."""

from __future__ import annotations

from datetime import date

import pytest
from rich.console import Console

from engine.config.settings import ModelSettings, SamplingSettings, ScoringSettings
from engine.data.market import Market
from engine.forecasters.named import forecaster_spec
from engine.scoring.score import Scored, score_market

ASOFS = [date(2020, 6, 30), date(2020, 9, 30)]


@pytest.mark.parametrize("threads", [1, 2])
def test_shorter_horizons_come_from_longer_forecasts_to_the_last_bit(
    bars, calendar, tmp_path, threads
):
    """Sampled paths, and rows of dummy windows beside them; nothing is scored a second time."""
    import torch

    model = ModelSettings(name="kronos-nano", device="cpu")

    def score(folder: str, horizons: list[int]) -> Scored:
        scoring = ScoringSettings(
            lookback=64,
            horizons=horizons,
            cpus_per_actor=threads,
            batch_size=16,
            sampling=SamplingSettings(paths=3),
            cache="off",
        )
        return score_market(
            Market.from_bars(bars, calendar),
            ASOFS,
            spec=forecaster_spec(model, scoring),
            scoring=scoring,
            seed=1,
            shards=tmp_path / folder,
            console=Console(quiet=True),
            inline_shards=100,
        )

    before = torch.get_num_threads()
    try:
        alone = {h: score(f"alone {h}", [h]) for h in (1, 7)}
        assert alone[7].counts["windows_computed"] == 6
        score("long", [23])
        for horizon, own in alone.items():
            read = score("long", [horizon])
            assert read.counts["windows_from_longer"] == 6
            assert read.counts["windows_computed"] == 0
            assert read.fingerprint == own.fingerprint
            assert read.scores.equals(own.scores)
    finally:
        torch.set_num_threads(before)
