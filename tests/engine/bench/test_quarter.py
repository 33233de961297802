"""A short replay at the faulty broker, killed: the same positions and cash, nothing twice."""

from __future__ import annotations

from datetime import date

import pytest

from engine.bench.private.fake_faults import Faults
from engine.bench.private.killer import Killer
from engine.bench.private.replay import Replay, World
from engine.config.settings import DataSettings
from engine.data.market import load_market


@pytest.mark.slow
def test_a_killed_and_disturbed_replay_ends_as_one_left_alone(tmp_path):
    bars = load_market(DataSettings(start=date(2012, 1, 3), end=date(2012, 9, 28))).bars
    world = World.make(tmp_path / "bars.parquet", bars, 4)
    whole = Replay(world, tmp_path / "whole", "alpaca").run()
    faults = Faults(seed=2, share=0.1)
    killer = Killer(2, len(world.sessions), seed=3, session_s=0.5)
    killed = Replay(world, tmp_path / "killed", "alpaca", faults).run(killer)
    assert killed.kills == 2
    assert sum(killed.faults.values()) > 0
    assert killed.positions == whole.positions == killed.state_positions
    assert killed.cash == whole.cash
    assert killed.orders == whole.orders
    assert len(whole.broker_orders) >= 4
    assert whole.halted == killed.halted
    assert world.missing in whole.halted
    for outcome in (whole, killed):
        assert outcome.doubled == []
        assert outcome.while_halted == []
        assert outcome.secrets == []
