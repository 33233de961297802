"""Which strategies remember: signals replay their rebalances, and only theirs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from strategies import build_strategy, strategy_names
from strategies.compose import Composed
from strategies.select import Everyone, TopK
from strategies.weigh import Equal

REMEMBERING = {"top_k_dropout", "buy_and_hold"}


@pytest.mark.parametrize("name", [n for n in strategy_names() if n != "composed"])
def test_shipped_strategies_say_whether_they_remember(name):
    assert build_strategy(name).path_dependent is (name in REMEMBERING)


@pytest.mark.parametrize(
    ("parameters", "remembers"),
    [
        ({"select": {"step": "top_k", "k": 3}, "weigh": "equal"}, False),
        ({"select": {"step": "top_k", "k": 3, "buffer": 0.5}, "weigh": "equal"}, True),
        ({"select": {"step": "tails", "quantile": 0.2, "buffer": 0.2}, "weigh": "equal"}, True),
        ({"select": {"step": "top_k_dropout"}, "weigh": "equal"}, True),
        ({"select": "everyone", "weigh": "equal", "schedule": {"step": "every", "n": 2}}, True),
        ({"select": "everyone", "weigh": "equal", "schedule": "once"}, True),
        ({"select": "everyone", "weigh": "equal", "schedule": "every"}, False),
    ],
)
def test_a_composition_remembers_if_a_step_does(parameters, remembers):
    assert build_strategy("composed", **parameters).path_dependent is remembers


@dataclass(frozen=True)
class Unsaid:
    def __call__(self, frame):
        return frame


@dataclass(frozen=True)
class Said(Unsaid):
    path_dependent: bool = False


def test_a_step_from_elsewhere_may_remember_unless_it_says_no():
    assert Composed(select=Everyone(), weigh=Equal(), score=Unsaid()).path_dependent
    assert not Composed(select=TopK(), weigh=Equal(), score=Said()).path_dependent
