"""Checkpoints by name and by folder, and what is said when one cannot be had."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from kronos_golden import Golden, daily_stamps, random_bars
from safetensors.torch import load_file, save_file

from kronos import (
    CheckpointError,
    Kronos,
    KronosPredictor,
    KronosTokenizer,
    checkpoint_info,
    load_predictor,
)


@pytest.fixture
def checkpoint(learned: Golden, tmp_path: Path) -> Path:
    """A folder with model/ and tokenizer/ that a test may damage."""
    for part in ("model", "tokenizer"):
        shutil.copytree(learned.folder / part, tmp_path / "ckpt" / part)
    return tmp_path / "ckpt"


def greedy(predictor: KronosPredictor) -> np.ndarray:
    past, future = daily_stamps(2, 30), daily_stamps(2, 5, "2011-01-03")
    return predictor.forecast(random_bars(2, 30), past, future, T=0).paths


def test_save_and_load_round_trip(golden: Golden, tmp_path: Path) -> None:
    for part, module in (("model", golden.model()), ("tokenizer", golden.tokenizer())):
        module.save_pretrained(tmp_path / part)
        again = type(module).from_pretrained(tmp_path / part)
        assert not again.training
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, again.state_dict()[name]), name
        saved, original = (
            json.loads((folder / part / "config.json").read_text())
            for folder in (tmp_path, golden.folder)
        )
        assert saved == original


def test_a_new_module_can_be_saved(tmp_path: Path) -> None:
    model = Kronos(4, 4, 1, 16, 2, 32, 0.0, 0.0, 0.0, 0.0, False)
    model.save_pretrained(tmp_path)
    again = Kronos.from_pretrained(str(tmp_path))
    assert again.n_layers == 1
    assert (tmp_path / "README.md").is_file()


def test_folder_forms_give_the_same_predictor(checkpoint: Path) -> None:
    whole = load_predictor(checkpoint, device="cpu")
    parts = load_predictor(checkpoint / "model", checkpoint / "tokenizer", device="cpu")
    mixed = load_predictor(str(checkpoint / "model"), str(checkpoint), device="cpu")
    assert np.array_equal(greedy(whole), greedy(parts))
    assert np.array_equal(greedy(whole), greedy(mixed))
    assert whole.max_context == 512


@pytest.mark.parametrize(
    ("card", "until", "context"),
    [
        (None, None, 512),
        ("no front matter", None, 512),
        ("---\nlicense: mit\n---\n", None, 512),
        ("---\ntrained_until: 2019-06-28\nmax_context: 96\n---\n", date(2019, 6, 28), 96),
        ('---\ntrained_until: "2019-06-28"\n---\n', date(2019, 6, 28), 512),
        ("---\ntrained_until: 2019-06-28 12:00:00\n---\n", date(2019, 6, 28), 512),
    ],
)
def test_model_card(checkpoint: Path, card: str | None, until: date | None, context: int) -> None:
    if card is not None:
        (checkpoint / "model" / "README.md").write_text(card)
    info = checkpoint_info(checkpoint)
    assert (info.trained_until, info.max_context) == (until, context)
    assert checkpoint_info(checkpoint, max_context=33).max_context == 33


@pytest.mark.parametrize(
    ("card", "rule"),
    [
        ("---\ntrained_until: last summer\n---\n", "trained_until is 'last summer'"),
        ("---\nmax_context: many\n---\n", "max_context is 'many'"),
        ("---\n[: {\n---\n", "front matter is not valid YAML"),
    ],
)
def test_unreadable_card(checkpoint: Path, card: str, rule: str) -> None:
    (checkpoint / "model" / "README.md").write_text(card)
    with pytest.raises(CheckpointError, match=rule):
        checkpoint_info(checkpoint)


def test_hash_follows_weights_and_arguments_only(checkpoint: Path) -> None:
    before = checkpoint_info(checkpoint)
    (checkpoint / "model" / "README.md").write_text("# another card\n")
    assert checkpoint_info(checkpoint).model_sha256 == before.model_sha256
    weights = checkpoint / "model" / "model.safetensors"
    state = load_file(weights)
    state["norm.weight"][0] += 1
    save_file(state, weights)
    after = checkpoint_info(checkpoint)
    assert after.model_sha256 != before.model_sha256
    assert after.tokenizer_sha256 == before.tokenizer_sha256


def damage(folder: Path, how: str) -> None:
    weights, config = folder / "model.safetensors", folder / "config.json"
    if how == "no weights":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "bad json":
        config.write_text("{")
    elif how == "argument missing":
        config.write_text(json.dumps({"d_model": 32}))
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "wrong shape":
        arguments = json.loads(config.read_text())
        config.write_text(json.dumps(arguments | {"ff_dim": 128}))
    elif how == "tensor missing":
        arguments = json.loads(config.read_text())
        config.write_text(json.dumps(arguments | {"n_layers": 4, "n_enc_layers": 5}))
    elif how == "impossible":
        arguments = json.loads(config.read_text())
        config.write_text(json.dumps(arguments | {"n_heads": 5}))


@pytest.mark.parametrize("part", ["model", "tokenizer"])
@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ("no weights", "no model.safetensors"),
        ("no config", "no config.json"),
        ("bad json", "not valid JSON"),
        ("argument missing", "ff_dim.* missing"),
        ("truncated", "model|tokenizer"),
        ("wrong shape", r"has shape \[64, 32\], config.json asks for \[128, 32\]"),
        ("tensor missing", "missing; the weights are of another kind"),
        ("impossible", "must split into 5 heads"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(
    checkpoint: Path, part: str, how: str, rule: str
) -> None:
    damage(checkpoint / part, how)
    with pytest.raises(CheckpointError, match=rule) as error:
        load_predictor(checkpoint, device="cpu")
    assert str(checkpoint / part) in str(error.value)
    assert "\n" not in str(error.value)
    cls = Kronos if part == "model" else KronosTokenizer
    with pytest.raises(CheckpointError, match=rule):
        cls.from_pretrained(checkpoint / part)


@pytest.mark.parametrize("name", ["kronos-nan", "./nowhere", "/no/such/folder", "a/b/c"])
def test_unknown_name(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"no such folder, and not a checkpoint name"):
        load_predictor(name)


def test_model_without_a_known_tokenizer(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer is known"):
        load_predictor(checkpoint / "model")


def test_model_and_tokenizer_must_agree(learned: Golden, golden: Golden) -> None:
    if golden.folder == learned.folder:
        load_predictor(learned.folder / "model", golden.folder / "tokenizer", device="cpu")
        return
    with pytest.raises(ValueError, match=r"5\+5 bits, the tokenizer 6\+6"):
        load_predictor(learned.folder / "model", golden.folder / "tokenizer", device="cpu")
