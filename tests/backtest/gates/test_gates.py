"""The three gates on fabricated figures, and the rules file."""

from __future__ import annotations

import copy
import json
from datetime import date, timedelta

import polars as pl
import pytest
import yaml
from places import ROOT

from backtest.gates import evaluate_gates, ml_threshold, parse_gate_rules
from backtest.judgement import Judgement

RULES = yaml.safe_load((ROOT / "configs" / "gates.yaml").read_text())
SESSIONS = [date(2015, 1, 1) + timedelta(days=i) for i in range(800)]
DATES = SESSIONS[::21][:30]

GOOD = {
    "n_dates": 30,
    "n_names_median": 50.0,
    "rank_ic_mean": 0.08,
    "ci95": [0.05, 0.11],
    "rank_ic_next_open": 0.07,
    "rank_ic_next_open_ci95": [0.04, 0.10],
    "redundancy": 0.1,
    "redundancy_ci95": [0.0, 0.2],
    "cost_survival": 0.6,
    "net_excess_mean": 0.01,
    "net_excess_ci95": [0.005, 0.015],
    "breakeven_bps": 90.0,
}
BULL = {
    "kind": "trend",
    "regime": "bull",
    "horizon": 20,
    "n_dates": 15,
    "n_names_median": 50.0,
    "rank_ic_mean": 0.05,
    "ci95": [0.01, 0.09],
    "thin": False,
}


def judgement(horizons=("5", "10", "20"), *, churn=0.2, regimes=(BULL,), **changes) -> Judgement:
    """Changes are {horizon: {figure: value}} under ``h5``, ``h10`` …, ``all`` for every horizon."""
    figures = {key: copy.deepcopy(GOOD) | changes.get("all", {}) for key in horizons}
    for key in horizons:
        figures[key] |= changes.get(f"h{key}", {})
    ic = pl.DataFrame(
        [
            (asof, int(key), 50, 0.08 + 0.02 * (-1) ** i, None, None, "judged")
            for key in horizons
            for i, asof in enumerate(DATES)
        ],
        schema={
            "asof": pl.Date,
            "horizon": pl.Int32,
            "n": pl.Int64,
            "rank_ic": pl.Float64,
            "rank_ic_next_open": pl.Float64,
            "ic": pl.Float64,
            "status": pl.String,
        },
        orient="row",
    )
    empty = pl.DataFrame()
    return Judgement(
        metrics={
            "horizons": figures,
            "churn": {"rebalance_median": churn, "daily_median": None, "k": 10},
            "regimes": list(regimes),
        },
        ic=ic,
        returns=empty,
        churn=empty,
        net_excess=empty,
        quantiles=empty,
        trades=empty,
        flags=empty,
        sessions=tuple(SESSIONS),
        first_asof=DATES[0],
        last_asof=DATES[-1],
    )


def lightgbm(value: float, horizons=(5, 10, 20)) -> pl.DataFrame:
    return pl.DataFrame(
        [(asof, h, value + 0.02 * (-1) ** i) for h in horizons for i, asof in enumerate(DATES)],
        schema={"asof": pl.Date, "horizon": pl.Int32, "rank_ic": pl.Float64},
        orient="row",
    )


def gate(name: str, judged: Judgement, *, rules=None, training="known", baseline=None) -> dict:
    result = evaluate_gates(
        judged,
        rules=rules or parse_gate_rules(RULES),
        training_period=training,
        baseline=baseline,
    )
    json.dumps(result, allow_nan=False)
    assert [item["name"] for item in result["gates"]] == ["factor", "ml", "practical"]
    return next(item for item in result["gates"] if item["name"] == name)


LOW = {"rank_ic_mean": -0.03, "ci95": [-0.05, 0.01]}
WIDE = {"rank_ic_mean": 0.03, "ci95": [-0.05, 0.11]}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "PASS"),
        ({"h5": LOW}, "PASS"),
        ({"h5": LOW, "h10": LOW}, "FAIL"),
        ({"h5": WIDE, "h10": WIDE}, "INCONCLUSIVE"),
        ({"h5": LOW, "h10": WIDE}, "INCONCLUSIVE"),
        ({"all": {"redundancy_ci95": [0.4, 0.6]}}, "INCONCLUSIVE"),
        ({"h10": {"redundancy": 0.8, "redundancy_ci95": [0.7, 0.9]}}, "FAIL"),
        ({"all": {"redundancy": None, "redundancy_ci95": None}}, "INCONCLUSIVE"),
        # FAIL dominates
        ({"h5": WIDE, "h10": WIDE, "all": {"redundancy_ci95": [-0.9, -0.6]}}, "FAIL"),
    ],
)
def test_factor_gate(changes, verdict):
    assert gate("factor", judgement(**changes))["verdict"] == verdict


def test_one_horizon_cannot_meet_two():
    found = gate("factor", judgement(horizons=("20",)))
    assert found["verdict"] == "FAIL"
    assert found["reasons"][0] == "RankIC ≥ 0.02 must pass on 2 horizons and the run has 1."


def test_next_open_is_remarked_only_where_it_changes_the_gate():
    calm = " ".join(gate("factor", judgement())["reasons"])
    assert "next open" not in calm
    late = judgement(all={"rank_ic_next_open": 0.0, "rank_ic_next_open_ci95": [-0.03, 0.01]})
    found = gate("factor", late)
    assert found["verdict"] == "PASS"
    assert (
        "Bought at the next open instead of the close, this gate would be FAIL: mean RankIC 0.0000"
        " at 5 sessions" in " ".join(found["reasons"])
    )


@pytest.mark.parametrize(
    ("baseline", "threshold"),
    [(-0.2, 0.02), (0.0, 0.02), (0.05, 0.02), (0.06, 0.03), (0.08, 0.05), (0.3, 0.05)],
)
def test_ml_threshold_never_falls_below_the_floor(baseline, threshold):
    assert ml_threshold(baseline, parse_gate_rules(RULES)) == pytest.approx(threshold)


@pytest.mark.parametrize(
    ("baseline", "verdict", "threshold"),
    [
        (lightgbm(0.01), "PASS", 0.02),
        (lightgbm(0.06), "PASS", 0.03),
        (lightgbm(0.2), "PASS", 0.05),
        (None, "INCONCLUSIVE", None),
        (lightgbm(0.06).clear(), "INCONCLUSIVE", None),
    ],
)
def test_ml_gate(baseline, verdict, threshold):
    found = gate("ml", judgement(), baseline=baseline)
    assert found["verdict"] == verdict
    if threshold is None:
        assert found["reasons"][0] == "no baseline in this run"
    else:
        assert found["numbers"]["threshold"]["20"] == pytest.approx(threshold)
        assert found["numbers"]["difference"]["20"] == pytest.approx(0.08 - threshold)
    assert found["numbers"]["reference_unaudited"]["60"] == 0.1275


def test_ml_gate_judges_the_paired_difference():
    """Score and baseline move together: paired, their difference does not move at all."""
    found = gate("ml", judgement(), baseline=lightgbm(0.06))
    part = next(item for item in found["conditions"] if item["part_of"])
    assert part["ci95"] == pytest.approx([0.05, 0.05])
    apart = gate("ml", judgement(), baseline=lightgbm(0.0))
    low, high = next(item for item in apart["conditions"] if item["part_of"])["ci95"]
    assert high - low > 1e-3


def test_ml_gate_uses_only_dates_that_both_have():
    short = lightgbm(0.06).filter(pl.col("asof").is_in(DATES[:8]))
    found = gate("ml", judgement(), baseline=short)
    assert found["verdict"] == "INCONCLUSIVE"
    assert "8 judged dates at 5 sessions, 12 are needed." in found["reasons"]


def test_ml_gate_fails_only_when_every_horizon_fails():
    poor = judgement()
    poor = Judgement(**{**poor.__dict__, "ic": poor.ic.with_columns(pl.col("rank_ic") - 0.2)})
    assert gate("ml", poor, baseline=lightgbm(0.06))["verdict"] == "FAIL"
    one = poor.ic.with_columns(
        rank_ic=pl.when(pl.col("horizon") == 20).then(0.2).otherwise("rank_ic")
    )
    mixed = Judgement(**{**poor.__dict__, "ic": one})
    assert gate("ml", mixed, baseline=lightgbm(0.06))["verdict"] == "PASS"


LOSS = {"net_excess_mean": -0.01, "net_excess_ci95": [-0.02, -0.001]}


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        ({}, "PASS"),
        ({"churn": 0.30}, "PASS"),
        ({"churn": 0.31}, "FAIL"),
        ({"churn": None}, "INCONCLUSIVE"),
        # three horizons: the two longest decide
        ({"h5": LOSS}, "PASS"),
        ({"h10": LOSS}, "FAIL"),
        ({"h20": {"cost_survival": 0.29}}, "FAIL"),
        ({"h5": {"cost_survival": 0.0}}, "PASS"),
        ({"h20": {"net_excess_ci95": [-0.01, 0.03]}}, "INCONCLUSIVE"),
        ({"regimes": (BULL | {"ci95": [-0.2, -0.01]},)}, "FAIL"),
        ({"regimes": (BULL | {"ci95": [-0.2, 0.01]},)}, "PASS"),
        ({"regimes": (BULL, BULL | {"ci95": [-0.2, -0.01], "thin": True})}, "PASS"),
        ({"regimes": ()}, "PASS"),
    ],
)
def test_practical_gate(arguments, verdict):
    assert gate("practical", judgement(**arguments))["verdict"] == verdict


@pytest.mark.parametrize(("n", "longer"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_the_longer_half_is_rounded_up(n, longer):
    horizons = ("5", "10", "20", "60", "90")[:n]
    numbers = gate("practical", judgement(horizons))["numbers"]
    assert list(numbers["cost_survival"]) == list(horizons[n - longer :])


@pytest.mark.parametrize("name", ["factor", "ml", "practical"])
def test_unknown_training_period_decides_nothing(name):
    for judged in (judgement(), judgement(churn=0.9, all=LOW)):
        found = gate(name, judged, training="unknown", baseline=lightgbm(0.06))
        assert found["verdict"] == "INCONCLUSIVE"
        assert {item["verdict"] for item in found["conditions"]} == {"INCONCLUSIVE"}
        assert found["reasons"][0].startswith("training period unknown")
    assert gate(name, judgement(), training="none", baseline=lightgbm(0.06))["verdict"] == "PASS"


@pytest.mark.parametrize("name", ["factor", "ml", "practical"])
@pytest.mark.parametrize(
    ("shortage", "reason"),
    [
        ({"n_names_median": 9.0}, "9 names a date, 10 are needed."),
        ({"n_dates": 11}, "11 judged dates, 12 are needed."),
        ({"n_dates": 0, "n_names_median": None}, "0 judged dates, 12 are needed."),
    ],
)
def test_too_small_a_sample_decides_nothing(name, shortage, reason):
    found = gate(name, judgement(churn=0.9, all=shortage | LOW), baseline=lightgbm(0.06))
    assert found["verdict"] == "INCONCLUSIVE"
    assert reason in found["reasons"][0]


def test_a_thin_horizon_alone_is_inconclusive():
    found = gate("factor", judgement(h5={"n_dates": 5}))
    verdicts = {item["name"]: item["verdict"] for item in found["conditions"]}
    assert verdicts["RankIC ≥ 0.02 at 5 sessions"] == "INCONCLUSIVE"
    assert verdicts["RankIC ≥ 0.02 on at least 2 horizons"] == "PASS"


def test_no_dates_at_all():
    found = gate("practical", judgement(horizons=()))
    assert found["verdict"] == "INCONCLUSIVE"
    assert found["reasons"] == ["There is no date outside the model's training period to judge."]


def test_thresholds_come_from_the_rules():
    strict = copy.deepcopy(RULES)
    strict["factor"]["rank_ic"] = 0.2
    found = gate("factor", judgement(), rules=parse_gate_rules(strict))
    assert found["verdict"] == "FAIL"
    assert found["conditions"][1]["threshold"] == 0.2


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("factor", "redundency", 0.3, "unknown key factor.redundency; did you mean factor.red"),
        ("factor", "rank_ic", "high", r"factor\.rank_ic: .*found 'high'"),
        ("practical", "churn", 1.2, r"practical\.churn: .*less than or equal to 1"),
        ("sample", "names", 0, r"sample\.names: .*greater than or equal to 1"),
    ],
)
def test_bad_rules_name_the_file_and_the_key(section, key, value, message):
    rules = copy.deepcopy(RULES)
    rules[section][key] = value
    with pytest.raises(ValueError, match=message) as caught:
        parse_gate_rules(rules, source="my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    assert "\n" not in str(caught.value)


def test_missing_rules_are_named():
    rules = copy.deepcopy(RULES)
    del rules["ml"]["floor"]
    with pytest.raises(ValueError, match=r"configs/gates\.yaml: ml\.floor is missing"):
        parse_gate_rules(rules)


@pytest.mark.parametrize("content", [None, [], "factor"])
def test_a_file_that_holds_no_rules(content):
    with pytest.raises(ValueError, match=r"gates\.yaml: must hold the sections sample, regimes"):
        parse_gate_rules(content)
