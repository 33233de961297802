"""The small market, and the broker's stand-in, that tests of the live loop share."""

from __future__ import annotations

import pytest
from alpaca_stand_in import play
from live_world import World, make_bars


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("market") / "bars.parquet"
    make_bars().write_parquet(path)
    return path


@pytest.fixture
def world(tmp_path, data):
    return World(tmp_path, data)


@pytest.fixture
def side(tmp_path):
    with play(tmp_path) as side:
        yield side
