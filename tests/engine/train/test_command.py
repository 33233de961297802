"""`python -m engine.train`: settings, and bad input in one line with exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import DATA

from engine.config.load import CONFIGS, load_tree, read_environment, read_flags
from engine.errors import UsageError
from engine.train.__main__ import main
from engine.train.record import shown_command
from engine.train.settings import TrainSettings

NANO = "kronos-nano"


@pytest.mark.parametrize("name", ["train_tiny", "train_nano", "train_finetune"])
def test_shipped_configurations_are_valid(name):
    settings = load_tree(TrainSettings, CONFIGS / f"{name}.yaml", {}, {})
    assert settings.split.training.end is not None


def test_the_published_recipe_is_a_preset():
    settings = load_tree(TrainSettings, CONFIGS / "train_finetune.yaml", {}, {})
    first, second = settings.tokenizer_stage, settings.model_stage
    assert (settings.windows.longest_context, settings.windows.length) == (90, 100)
    for stage in (first, second):
        assert (stage.beta1, stage.beta2, stage.weight_decay) == (0.9, 0.95, 0.1)
        assert (stage.pct_start, stage.div_factor) == (0.03, 10)
        assert (stage.batch, stage.epoch_windows) == (50, 100_000)
        assert stage.steps == 30 * 100_000 // 50
    assert (first.learning_rate, second.learning_rate) == (2e-4, 4e-5)
    assert (first.max_grad_norm, second.max_grad_norm) == (2, 3)
    assert (second.conditioning, second.dependency_rope) == ("sampled", "trained")


def test_flags_win_over_the_environment_and_that_over_the_file(config):
    environment = read_environment(
        {"ENGINE_RUN__SEED": "5", "ENGINE_MODEL__D_MODEL": "24", "ENGINE_SCORING__ACTORS": "4"},
        TrainSettings,
    )
    flags, _ = read_flags(["--run.seed", "6"], {}, TrainSettings)
    settings = load_tree(TrainSettings, config, environment, flags)
    assert (settings.run.seed, settings.model.d_model, settings.model.ff_dim) == (6, 24, 32)
    with pytest.raises(UsageError, match="ENGINE_MODEL__WIDTH"):
        read_environment({"ENGINE_MODEL__WIDTH": "24"}, TrainSettings)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model.d_modle", "8"], "unknown key 'model.d_modle' (flag --model.d_modle); did you mean 'model.d_model'?"),
        (["--stage", "third"], "--stage: 'third' is not one of tokenizer, model, both"),
        (["--config", "none.yaml"], "configuration file not found: none.yaml"),
        (["--windows.longest_context", "24"], "longest_context 24 < length 24 must hold"),
        (["--workers.count", "3"], "tokenizer_stage.batch 8 must be a multiple of workers.count × accumulate, 3"),
        (["--tokenizer.s1_bits", "5"], "tokenizer: group_size 4 must divide the 9 bits of a code"),
        (["--model.n_heads", "3"], "model: d_model 16 must split into 3 heads of an even width each"),
        (["--windows.length", "400", "--split.training.end", "2017-06-30", "--split.validation.end", "null"], "split.validation: holds no bars"),
        (["--split.training.start", "2018-02-20"], "windows.length: no ticker has a training window of 24 bars in 2018-02-20 to 2018-02-28; the longest history there has 7 bars"),
        (["--split.validation.start", "2018-01-10"], "split.validation.start 2018-01-10 lies inside training, which ends 2018-02-28"),
        (["--split.validation.start", "2018-03-05"], "24 bar times (a window) must lie between them"),
        (["--split.training.end", "null"], "split.training.end: needed"),
        (["--tokenizer.base", NANO], "tokenizer.d_model: 16, but kronos-nano has 64"),
        (["--tokenizer.base", "/nowhere/at/all"], "tokenizer.base: /nowhere/at/all: no such folder"),
        (["--stage", "model"], "holds no tokenizer; train it first (--stage tokenizer) or name one (--tokenizer.base)"),
        (["--data.path", "/nowhere.parquet"], "no such file or folder: /nowhere.parquet"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(config, tmp_path, capsys, flags, said):
    place = ["--run.dir", str(tmp_path), "--run.name", "run"]
    config_flag = [] if "--config" in flags else ["--config", str(config)]
    assert main([*config_flag, *place, *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(Path(tmp_path).rglob("*.pt"))


def test_a_model_base_needs_its_own_tokenizer(config, tmp_path, capsys, learned_model):
    flags = [
        "--config",
        str(config),
        "--run.dir",
        str(tmp_path),
        "--model.base",
        str(learned_model),
    ]
    for key in ("d_model", "n_heads", "ff_dim", "n_layers", "ffn_dropout_p", "resid_dropout_p"):
        flags += [f"--model.{key}", str(config_of(learned_model)[key])]
    assert main(flags) == 2
    assert "they do not belong together (set tokenizer.base)" in capsys.readouterr().err


@pytest.fixture
def learned_model() -> Path:
    return DATA / "kronos" / "learned" / "model"


def config_of(folder: Path) -> dict:
    import json

    return json.loads((folder / "config.json").read_text())


def test_help_lists_every_setting(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for key in ("--split.training.end", "--model_stage.conditioning", "--workers.count"):
        assert key in said


def test_a_recorded_command_holds_no_path_of_the_machine(tmp_path):
    """In neither spelling, of no setting that is a path, and wherever else one may stand."""
    given = str(tmp_path / "mine")
    paths = ("data.path", "data.store", "data.sectors", "run.dir", "tokenizer.base", "model.base")
    words = [word for key in paths for word in (f"--{key}", given, f"--{key}={given}")]
    said = shown_command([*words, "--config", given, f"--config={given}", given])
    assert given not in said
    assert "--data.path FILE --data.path=FILE" in said
    assert "--run.dir DIR --run.dir=DIR" in said
    assert "FILE" in shown_command(["--data.path", "bars.parquet"])


def test_a_recorded_command_keeps_what_is_no_path():
    kept = ["--config", "train_nano.yaml", "--model.base", "NeoQuasar/Kronos-small", "--run.seed=5"]
    assert shown_command(kept) == " ".join(("python -m engine.train", *kept))
    assert shown_command(["--config", str(CONFIGS / "train_nano.yaml")]).endswith(
        " train_nano.yaml"
    )
    assert shown_command(["--card.name", "my model"]).endswith("--card.name 'my model'")
