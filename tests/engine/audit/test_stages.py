"""What the audit runs is what the run runs."""

from __future__ import annotations

from datetime import date

from intraday_bars import five_minute_bars
from places import DATA
from polars.testing import assert_frame_equal
from rich.console import Console

from engine.audit import stages_of
from engine.config import load_settings
from engine.data.market import load_market
from engine.decisions.scores import score_decisions
from engine.run_folder import RunFolder

NOVEMBER = (date(2024, 11, 4), date(2024, 12, 6))


def test_scores_of_five_minute_bars_are_the_runs(calendar, tmp_path):
    """Half a day and the change to winter time lie between the windows."""
    path = tmp_path / "bars.parquet"
    five_minute_bars(calendar, *NOVEMBER, tickers=("AAA", "BBB", "CCC")).write_parquet(path)
    settings = load_settings(
        {
            "data.source": "parquet",
            "data.path": str(path),
            "data.benchmark": "null",
            "model.name": str(DATA / "kronos" / "learned"),
            "model.device": "cpu",
            "scoring.lookback": "60",
            "scoring.horizons": "[1]",
            "scoring.rebalance": "weekly",
            "scoring.batch_size": "16",
            "scoring.cache": "off",
        },
        environment={},
    )
    market = load_market(settings.data)
    quiet = Console(quiet=True)
    run = score_decisions(market, settings, None, folder=RunFolder(tmp_path, "run"), console=quiet)
    asofs = run.scores["asof"].unique().sort().to_list()
    assert len(asofs) >= 4
    assert set(run.scores["status"]) == {"ok"}
    assert_frame_equal(stages_of(settings).scores(market, asofs), run.scores, check_exact=True)
