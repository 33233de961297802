"""A user's own strategy: found, built, checked, or refused in one line that names its file."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.errors import UsageError
from engine.strategy import load_strategy

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


def test_a_missing_file_is_named():
    with pytest.raises(UsageError, match=r"no file 'nowhere\.py'"):
        load_strategy("nowhere.py", {})
