"""A user's own strategy: found, built, checked, or refused in one line that names its file."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from places import ROOT

from engine.config import load_settings
from engine.decisions.strategies import load_strategy
from engine.decisions.weights import check_strategy
from engine.errors import UsageError

EXAMPLE = '''
from dataclasses import dataclass
import polars as pl

@dataclass(frozen=True)
class BestHalf:
    """Long the names above the date's median score."""
    gross: float = 1.0

    def weights(self, frame: pl.DataFrame) -> pl.DataFrame:
        score = pl.col("score")
        chosen = (score > score.median().over("asof")).cast(pl.Float64)
        size = chosen / chosen.sum().over("asof") * self.gross
        return frame.select("asof", "ticker", weight=size.fill_nan(0.0))
'''

FRAME = pl.DataFrame(
    {
        "asof": [date(2020, 1, 31)] * 4,
        "ticker": list("ABCD"),
        "horizon": pl.Series([20] * 4, dtype=pl.Int32),
        "score": [4.0, 3.0, 2.0, 1.0],
    }
)


def written(tmp_path, body: str) -> str:
    path = tmp_path / "mine.py"
    path.write_text(body)
    return str(path)


def strategy(tmp_path, expression: str) -> str:
    return written(
        tmp_path,
        "import polars as pl\nclass Mine:\n    def weights(self, frame):\n"
        f"        return {expression}\n",
    )


def test_a_file_is_a_strategy_with_its_own_parameters(tmp_path):
    name = written(tmp_path, EXAMPLE)
    weights = load_strategy(f"{name}:BestHalf", {"gross": 0.5}).weights(FRAME)
    assert weights["weight"].to_list() == [0.25, 0.25, 0.0, 0.0]
    assert load_strategy(name, {}).weights(FRAME)["weight"].sum() == 1.0


def test_shipped_names_still_work():
    assert load_strategy("long_top_k", {"k": 1}).weights(FRAME)["weight"].to_list() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("frame.select('asof', 'ticker', weight=pl.lit(None, dtype=pl.Float64))", "finite"),
        ("frame.select('asof', 'ticker', weight=pl.lit(float('nan')))", "finite"),
        ("frame.select('asof', 'ticker', weight=pl.lit(1.0))", r"sum of \|weight\| is 4"),
        ("frame.select('asof', 'ticker', weight=pl.col('label'))", "'label': labels are of the"),
        ("frame.select('asof', 'ticker', weight=pl.col('label_next_open'))", "'label_next_open'"),
        ("frame.select('asof', 'ticker', weight=pl.col('beta'))", "beta.*add factors to"),
        ("frame.select('asof', 'ticker')", "asof, ticker, weight; got"),
        ("42", "got int"),
        ("frame.select('asof', 'ticker', weight=pl.lit('x'))", "must be numbers"),
        ("frame.select('asof', ticker=pl.lit('Z'), weight=pl.lit(0.1)).unique()", "no score there"),
    ],
)
def test_bad_books_are_refused_with_file_and_rule(tmp_path, expression, message):
    name = strategy(tmp_path, expression)
    with pytest.raises(UsageError, match=message) as caught:
        load_strategy(name, {}).weights(FRAME)
    assert "mine.py" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "suffix", "parameters", "message"),
    [
        ("def broken(:", "", {}, "SyntaxError"),
        ("import no_such_module", "", {}, "ModuleNotFoundError"),
        ("x = 1", "", {}, "needs one class with a method weights"),
        (EXAMPLE, ":Other", {}, "no strategy class 'Other'; there are: BestHalf"),
        (EXAMPLE, "", {"grosss": 1}, "grosss.*its parameters: gross"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, body, suffix, parameters, message):
    name = written(tmp_path, body)
    with pytest.raises(UsageError, match=message) as caught:
        load_strategy(name + suffix, parameters)
    assert "\n" not in str(caught.value)


def test_the_example_of_the_documentation_works(tmp_path):
    text = (ROOT / "docs" / "strategies.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) <= 20
    name = written(tmp_path, code)
    weights = load_strategy(f"{name}:AboveMedian", {"gross": 0.8}).weights(FRAME)
    assert weights["weight"].to_list() == [0.4, 0.4, 0.0, 0.0]
    constant = FRAME.with_columns(score=pl.lit(1.0))
    assert load_strategy(name, {}).weights(constant)["weight"].to_list() == [0.0] * 4
    # As the main job tries it before scoring: several horizons, no dispersion.
    settings = load_settings({"model.name": "momentum"}, environment={})
    assert len(settings.scoring.horizons) > 1
    check_strategy(load_strategy(name, {}), settings)


STEPS = "select: {step: top_k, k: 1}\nweigh: equal\nnet: 1.0\n"


def steps(tmp_path, text: str) -> str:
    path = tmp_path / "steps.yaml"
    path.write_text(text)
    return str(path)


def test_a_file_of_steps_is_a_strategy(tmp_path):
    name = steps(tmp_path, STEPS)
    assert load_strategy(name, {}).weights(FRAME)["weight"].to_list() == [1, 0, 0, 0]
    half = load_strategy(name, {"gross": 0.5, "net": 0.5})
    assert half.weights(FRAME)["weight"].to_list() == [0.5, 0, 0, 0]
    scaled = STEPS + (
        "constrain: [{step: volatility_target, target: 9, gross: 2, column: score}]\nhorizon: 20\n"
    )
    leveraged = load_strategy(steps(tmp_path, scaled), {})
    assert leveraged.weights(FRAME)["weight"].sum() > 1  # within the limit of its own step
    assert leveraged.horizon == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weigh: equal", r"strategy\.select: this step is missing; there are: tails"),
        ("select: top_k", r"strategy\.weigh: this step is missing"),
        ("select: {step: top_q}\nweigh: equal", "no step 'top_q'"),
        ("select: {step: top_k, k: 0}\nweigh: equal", "must be a whole number"),
        ("- select", "must hold the steps"),
        ("select: [", "steps.yaml"),
        (STEPS.replace("equal", "{step: inverse_volatility, column: label}"),
         "reads 'label': labels are of the future"),
        (STEPS.replace("equal", "{step: inverse_volatility, column: beta}"), "add it to `features`"),
    ],
)  # fmt: skip
def test_bad_files_of_steps_are_refused_with_file_and_rule(tmp_path, text, message):
    name = steps(tmp_path, text)
    with pytest.raises(UsageError, match=message) as caught:
        load_strategy(name, {}).weights(FRAME)
    assert "steps.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(UsageError, match=r"no file 'nowhere\.py'"):
        load_strategy("nowhere.py", {})
    with pytest.raises(UsageError, match=r"no file 'nowhere\.yaml'"):
        load_strategy("nowhere.yaml", {})
