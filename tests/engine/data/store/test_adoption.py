from __future__ import annotations

from datetime import date

import polars as pl

from engine.data.__main__ import main
from engine.data.sources.embedded import EmbeddedSource
from engine.data.store import PriceStore

SPLITS = [
    ("AAPL", date(2000, 6, 21), 2.0),
    ("AAPL", date(2005, 2, 28), 2.0),
    ("MSFT", date(2003, 2, 18), 2.0),
]


def test_splits_of_raw_prices_are_adopted_on_request_and_once(tmp_path, path, capsys):
    raw = tmp_path / "raw.parquet"
    EmbeddedSource().fetch().bars.drop("source", "adj_factor").write_parquet(raw)
    command = ["import", str(raw), "--data.store", str(path)]
    assert main(command) == 0
    assert PriceStore.open(path).actions().is_empty()  # never silently
    before = returns(path)
    capsys.readouterr()
    assert main(["import", "--adopt-splits", "--data.store", str(path)]) == 0
    assert "adopted: AAPL 2000-06-21 2 new shares per old" in capsys.readouterr().out
    store = PriceStore.open(path)
    adopted = store.actions().select("ticker", "date", "value").rows()
    assert adopted == SPLITS
    days = pl.DataFrame(SPLITS, schema=["ticker", "date", "ratio"], orient="row")
    assert before.join(days, on=["ticker", "date"], how="semi")["change"].abs().min() > 0.3
    after = returns(path).join(days, on=["ticker", "date"], how="semi")
    assert after.height == 3
    assert after["change"].abs().max() < 0.3
    assert main(["import", "--adopt-splits", "--data.store", str(path)]) == 0
    assert "no split shows in the prices" in capsys.readouterr().out


def returns(path) -> pl.DataFrame:
    return (
        PriceStore.open(path)
        .bars()
        .select(
            "ticker",
            "date",
            change=(pl.col("close") * pl.col("adj_factor")).pct_change().over("ticker"),
        )
    )
