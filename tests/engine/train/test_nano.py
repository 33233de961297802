"""What the shipped checkpoint's card claims, on the embedded bars of its validation span."""

from __future__ import annotations

from datetime import date

import pytest

from engine.config.load import CONFIGS, load_tree
from engine.config.settings import DataSettings
from engine.data.market import load_market
from engine.train.prepare import bar_arrays, cut_windows, split_bars
from engine.train.settings import TrainSettings
from kronos import Kronos, KronosTokenizer
from kronos.training import (
    WindowRules,
    evaluate_model,
    evaluate_tokenizer,
    training_tables,
    validation_batches,
)
from kronos.weights.info import NANO


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, float]]:
    """Four of its stocks; their tables are fitted on 2000-03 to 2009-05."""
    settings = load_tree(TrainSettings, CONFIGS / "train_nano.yaml", {}, {})
    bars = bar_arrays(load_market(DataSettings(end=date(2010, 6, 30))).bars)
    split = split_bars(bars, settings.split, gap=settings.windows.length)
    rules = WindowRules(**settings.windows.arguments())
    held = cut_windows(bars, rules, split, "validation")
    batches = validation_batches(held, rules, 120)
    tokenizer = KronosTokenizer.from_folder(NANO / "tokenizer")
    training = cut_windows(bars, rules, split, "training")
    tables = training_tables(tokenizer, training, rules, count=512)
    model = Kronos.from_folder(NANO / "model")
    return {
        "tokenizer": evaluate_tokenizer(tokenizer, batches),
        "model": evaluate_model(model, tokenizer, batches, tables=tables, rotate=False),
    }


def test_it_reconstructs_bars(measured):
    found = measured["tokenizer"]
    assert found["mse"] <= 0.02
    assert found["variance"] > 1
    assert found["s1_perplexity"] > 50


def test_it_beats_the_token_tables(measured):
    found = measured["model"]
    assert found["s1"] <= found["s1_unigram"] - 1.0
    assert found["s1"] < found["s1_bigram"]
    assert found["s2"] < found["s2_bigram"]
