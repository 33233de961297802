"""Numbers and verdicts as text."""

from __future__ import annotations

import pytest

from backtest.report.formatting import bps, count, decimal, interval, percent, share, told_apart
from backtest.report.tables import flatten
from backtest.report.verdict import basis, finding, gates, headline

NAN = float("nan")


@pytest.mark.parametrize(
    ("formatter", "value", "text"),
    [
        (decimal, 0.03149, "0.031"),
        (decimal, -0.0001, "0.000"),
        (decimal, None, "n/a"),
        (decimal, NAN, "n/a"),
        (decimal, "x", "n/a"),
        (percent, 0.0123, "1.23%"),
        (percent, -0.183, "-18.3%"),
        (percent, 12.5, "1,250.0%"),
        (share, 0.555, "56%"),
        (bps, 23.44, "23.4 bps"),
        (bps, -4000, "-4,000 bps"),
        (count, 96.5, "96.5"),
        (count, 4310, "4,310"),
    ],
)
def test_numbers(formatter, value, text):
    assert formatter(value) == text


@pytest.mark.parametrize(
    ("bounds", "text"),
    [([0.1, 0.2], "[0.100, 0.200]"), ([None, 0.2], ""), (None, ""), ([NAN, 1.0], ""), ([1.0], "")],
)
def test_intervals(bounds, text):
    assert interval(bounds, decimal) == text


def test_a_value_just_off_its_threshold_does_not_look_equal_to_it():
    assert told_apart(0.01996, 0.02, digits=3) == "0.01996"
    assert told_apart(0.02, 0.02, digits=3) == "0.020"


def verdicts(data, replaced, *words):
    entries = [{"name": "factor", "verdict": word, "reasons": []} for word in words]
    return headline(replaced(data, gates={"gates": entries}))


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["PASS"] * 3, "All 3 gates passed"),
        (["PASS", "FAIL", "FAIL"], "1 of 3 gates passed (2 failed): the evidence speaks against"),
        (["PASS", "PASS", "INCONCLUSIVE"], "2 of 3 gates passed (1 inconclusive): the evidence settles"),
        (["FAIL", "INCONCLUSIVE", "FAIL"], "No gate passed (2 failed, 1 inconclusive)"),
    ],
)  # fmt: skip
def test_headline(samples, replaced, words, start):
    assert verdicts(samples["full"], replaced, *words).startswith(start)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ([0.01, 0.05], "above zero"),
        ([-0.05, -0.01], "below zero"),
        ([-0.01, 0.05], "not distinguishable from zero"),
        (None, "RankIC is 0.020."),
    ],
)
def test_finding_says_on_which_side_of_zero_the_interval_lies(samples, replaced, bounds, words):
    metrics = {"horizons": {"5": {"n_dates": 40, "rank_ic_mean": 0.02, "ci95": bounds}}}
    assert words in finding(replaced(samples["full"], metrics=metrics))


@pytest.mark.parametrize(
    ("name", "words"),
    [("full", "trained up to 2009-12-31"), ("thin", "training period is unknown"), ("empty", "no trained model")],
)  # fmt: skip
def test_basis_names_the_training_period(samples, name, words):
    assert words in basis(samples[name])


def test_conditions_without_a_number_or_a_verdict_are_left_out(samples, replaced):
    whole, part = "RankIC on at least 1 horizon", "RankIC at 5 sessions"
    entry = {
        "name": "ml", "verdict": "INCONCLUSIVE", "reasons": ["No baseline."], "conditions": [
            {"name": whole, "verdict": "INCONCLUSIVE", "value": 0.0, "part_of": None},
            {"name": part, "verdict": "INCONCLUSIVE", "value": None, "part_of": whole},
        ],
    }  # fmt: skip
    (card,) = gates(replaced(samples["full"], gates={"gates": [entry]}))
    assert card.conditions == []
    entry["conditions"][1]["value"] = 0.03
    (card,) = gates(replaced(samples["full"], gates={"gates": [entry]}))
    assert [(c.name, c.value, c.part) for c in card.conditions] == [
        (whole, "0", False),
        (part, "0.030", True),
    ]


def test_settings_are_flattened_to_command_line_keys():
    tree = {"a": {"b": 1, "c": None, "d": True}, "e": [1, 2], "f": [{"g": "x"}], "h": {}}
    assert list(flatten(tree)) == [
        ("a.b", "1"), ("a.c", "null"), ("a.d", "true"), ("e", "[1, 2]"), ("f[0].g", "x"), ("h", "{}"),
    ]  # fmt: skip
