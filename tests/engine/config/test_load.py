"""Settings from flags, environment, file and defaults."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from engine.config import Settings, find_config, load_settings, read_flags
from engine.config.keys import nearest_key, setting_types
from engine.decisions.strategies import grid_points
from engine.errors import UsageError

OPTIONS = {"config": True, "require-gates": False}


def settings(*argv: str, environment: dict | None = None, config: Path | None = None) -> Settings:
    flags, options = read_flags(argv, OPTIONS)
    return load_settings(
        flags, config=config or options.get("config"), environment=environment or {}
    )


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def test_without_a_config_the_demo_is_run():
    assert settings().run.name == "demo"
    assert settings().scoring.horizons == [5, 10, 20]


def test_precedence_is_flag_environment_file_default(file):
    config = file("scoring: {actors: 2, batch_size: 64}\nrun: {name: mine}\n")
    environment = {"ENGINE_SCORING__ACTORS": "3", "ENGINE_RUN__SEED": "9"}
    loaded = settings("--scoring.actors", "4", environment=environment, config=config)
    assert loaded.scoring.actors == 4  # flag over environment over file
    assert loaded.run.seed == 9  # environment over default
    assert loaded.scoring.batch_size == 64  # file over default
    assert loaded.scoring.max_retries == Settings().scoring.max_retries  # default
    assert settings(environment=environment, config=config).scoring.actors == 3


def test_sections_of_file_and_flags_are_merged_not_replaced(file):
    config = file("scoring: {sampling: {temperature: 0.5, top_p: 0.8}}")
    loaded = settings("--scoring.sampling.paths", "7", config=config)
    sampling = loaded.scoring.sampling
    assert (sampling.temperature, sampling.top_p, sampling.paths) == (0.5, 0.8, 7)


def test_a_strategys_steps_and_grid_are_values_of_their_own(file):
    config = file(
        "strategy:\n  name: composed\n  select: {step: tails, quantile: 0.1}\n"
        "  weigh: equal\n  grid: {gross: [0.5, 1.0]}\n"
    )
    loaded = settings(config=config).strategy
    assert loaded.parameters == {"select": {"step": "tails", "quantile": 0.1}, "weigh": "equal"}
    assert loaded.grid == {"gross": [0.5, 1.0]}
    flags = ("--strategy.select", "{step: top_k, k: 2}", "--strategy.grid", "{net: [0, 1]}")
    loaded = settings(*flags, config=config).strategy
    assert loaded.parameters["select"] == {"step": "top_k", "k": 2}
    assert loaded.grid == {"net": [0, 1]}


FILE = "strategy: {name: long_short_quantile, quantile: 0.1, grid: {gross: [1, 2]}}"


@pytest.mark.parametrize(
    ("text", "variables", "flags", "expected", "dropped"),
    [
        # The file's parameters and grid were given to the file's strategy.
        (FILE, {}, {"name": "equal_weight"}, ({}, {}), "quantile, strategy.grid"),
        (FILE, {}, {"name": "long_top_k", "k": "3"}, ({"k": 3}, {}), "quantile, strategy.grid"),
        (FILE, {"NAME": "equal_weight"}, {"gross": "0.5"}, ({"gross": 0.5}, {}), "quantile"),
        # A file that names none has the default one's.
        ("strategy: {quantile: 0.1}", {}, {"name": "equal_weight"}, ({}, {}), "quantile"),
        # A variable that goes with another name is that one's; one that goes with none is meant.
        ("", {"NAME": "long_top_k", "K": "3"}, {"name": "equal_weight"}, ({}, {}), "strategy.k"),
        ("", {"GROSS": "0.5"}, {"name": "equal_weight"}, ({"gross": 0.5}, {}), None),
        # The same name again changes nothing.
        (FILE, {}, {"name": "long_short_quantile"}, ({"quantile": 0.1}, {"gross": [1, 2]}), None),
        (FILE, {"NAME": "equal_weight"}, {"name": "long_short_quantile"},
         ({"quantile": 0.1}, {"gross": [1, 2]}), None),
    ],
)  # fmt: skip
def test_parameters_belong_to_the_strategy_they_were_given_with(
    file, caplog, text, variables, flags, expected, dropped
):
    environment = {f"ENGINE_STRATEGY__{key}": value for key, value in variables.items()}
    argv = [part for key, value in flags.items() for part in (f"--strategy.{key}", value)]
    strategy = settings(*argv, environment=environment, config=file(text)).strategy
    assert (strategy.parameters, strategy.grid) == expected
    assert bool(caplog.messages) == bool(dropped)
    if dropped:
        assert dropped in caplog.text
        assert f"{strategy.name} replaces" in caplog.text


def test_the_demonstration_takes_another_strategy(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(
        "class Nothing:\n    def weights(self, frame):\n        return frame.with_columns(weight=0.0)"
    )
    for name in (f"{path}:Nothing", "equal_weight", "long_top_k"):
        (point,) = grid_points(settings("--strategy.name", name).strategy)
        assert point.parameters == {}


@pytest.mark.parametrize("grid", ["{gross: []}", "{gross: 1}", "3"])
def test_a_grid_without_values_is_refused(grid):
    with pytest.raises(UsageError, match=r"strategy\.grid"):
        settings("--strategy.grid", grid)


@pytest.mark.parametrize(
    ("flag", "text", "read", "value"),
    [
        ("data.benchmark", "null", lambda s: s.data.benchmark, None),
        ("data.universe", "AAPL,MSFT", lambda s: s.data.universe, ["AAPL", "MSFT"]),
        ("data.universe", "[ON, NO]", lambda s: s.data.universe, ["ON", "NO"]),
        ("data.universe", "null", lambda s: s.data.universe, None),
        ("scoring.horizons", "60,20,90", lambda s: s.scoring.horizons, [20, 60, 90]),
        ("scoring.horizons", "[5]", lambda s: s.scoring.horizons, [5]),
        ("evaluation.start", "2018-01-31", lambda s: s.evaluation.start, date(2018, 1, 31)),
        ("data.benchmark", "1E5", lambda s: s.data.benchmark, "1E5"),
        ("model.name", "NeoQuasar/Kronos-mini", lambda s: s.model.name, "NeoQuasar/Kronos-mini"),
        ("features", "momentum_1m", lambda s: s.features, ["momentum_1m"]),
        ("strategy.quantile", "0.1", lambda s: s.strategy.parameters["quantile"], 0.1),
    ],
)
def test_text_is_read_by_the_type_of_its_setting(flag, text, read, value):
    assert read(settings(f"--{flag}", text)) == value
    assert read(settings(f"--{flag}={text}")) == value
    variable = "ENGINE_" + flag.upper().replace(".", "__")
    assert read(settings(environment={variable: text})) == value


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--scoring.actor", "3"], "unknown key 'scoring.actor' (flag --scoring.actor); did you mean 'scoring.actors'?"),
        (["--lookback", "3"], "unknown key 'lookback' (flag --lookback); did you mean 'scoring.lookback'?"),
        (["--data.benchmrk", "SPY"], "unknown key 'data.benchmrk' (flag --data.benchmrk); did you mean 'data.benchmark'?"),
        (["--confg", "x"], "unknown key 'confg' (flag --confg); did you mean 'config'?"),
        (["--scoring.actors"], "--scoring.actors needs a value"),
        (["--scoring.actors", "--run.name", "x"], "--scoring.actors needs a value"),
        (["demo"], "unexpected argument 'demo': settings are --section.key VALUE"),
        (["--require-gates=1"], "--require-gates takes no value"),
        (["--scoring.actors", "0"], "scoring.actors: Input should be greater than or equal to 1 (given '0', flag)"),
        (["--scoring.actors", "two"], "scoring.actors: Input should be a valid integer"),
        (["--scoring.horizons", "5,5"], "scoring.horizons: names a horizon twice"),
        (["--scoring.horizons", "5,x"], "scoring.horizons: Input should be a valid integer"),
        (["--scoring.horizons", "[]"], "scoring.horizons: needs at least one horizon"),
        (["--scoring.batch_size", "8"], "scoring.batch_size: Input should be greater than or equal to 16"),
        (["--evaluation.start", "2018-13-01"], "evaluation.start: Input should be a valid date"),
        (["--evaluation.start", "2019-01-01", "--evaluation.end", "2018-01-01"], "evaluation.start 2019-01-01 is after evaluation.end 2018-01-01"),
        (["--data.source", "parquet"], "data.path is required with data.source parquet"),
        (["--data.source", "excel"], "data.source: Input should be 'embedded', 'parquet', 'csv', 'duckdb', 'yfinance', 'alpaca' or 'simulated' (given 'excel', flag)"),
        (["--data.timezone", "europe/pari"], "data.timezone: unknown time zone 'europe/pari'; the nearest is 'Europe/Paris'"),
        (["--costs.round_trip_bps", "-1"], "costs.round_trip_bps: Input should be greater than or equal to 0"),
        (["--costs.aum", "nan"], "costs.aum: Input should be"),
        (["--baselines.lightgbm.half_life_sessions", "inf"], "baselines.lightgbm.half_life_sessions: Input should be a finite number"),
        (["--evaluation.trials", "99999999999999999999"], "evaluation.trials: must be at most 2147483647 (given '99999999999999999999', flag)"),
        (["--scoring.horizons", "5,2147483648"], "scoring.horizons: must be at most 2147483647"),
        (["--run.name", "../x"], "run.name: must be a plain folder name"),
        (["--model.device", "tpu"], "model.device: must be auto, cpu, cuda or mps"),
        (["--config", "nowhere.yaml"], "configuration file not found: nowhere.yaml"),
        (["--scoring.sampling.top_p", "0"], "scoring.sampling.top_p: Input should be greater than 0"),
    ],
)  # fmt: skip
def test_bad_flags_are_one_line_naming_the_key(argv, message):
    with pytest.raises(UsageError) as error:
        settings(*argv)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scoring: {actor: 3}", "unknown key 'scoring.actor' (file {file}); did you mean 'scoring.actors'?"),
        ("scorin: {actors: 3}", "unknown key 'scorin.actors' (file {file}); did you mean 'scoring.actors'?"),
        ("scoring: {actors: many}", "scoring.actors: Input should be a valid integer, unable to parse string as an integer (given 'many', file {file})"),
        ("- a\n- b", "{file}: must hold sections with keys, not a list"),
        ("scoring: {", "{file}: not a readable YAML file"),
        ("scoring: 3", "unknown key 'scoring' (file {file})"),
    ],
)  # fmt: skip
def test_bad_files_are_named(file, text, message):
    path = file(text)
    with pytest.raises(UsageError) as error:
        settings(config=path)
    assert message.format(file=path) in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_environment_variable_is_named():
    with pytest.raises(UsageError, match=r"ENGINE_SCORING__ACTOR\b.*'scoring\.actors'"):
        settings(environment={"ENGINE_SCORING__ACTOR": "3"})


def test_other_environment_variables_are_left_alone():
    assert settings(environment={"HOME": "/", "ENGINEER": "x"}).run.name == "demo"


def test_a_ticker_named_like_a_switch_stays_a_ticker(file):
    config = file("data: {universe: [ON, NO, Y, TRUE1], benchmark: OFF}")
    loaded = settings(config=config)
    assert loaded.data.universe == ["ON", "NO", "Y", "TRUE1"]
    assert loaded.data.benchmark == "OFF"


def test_an_empty_section_means_its_defaults(file):
    assert settings(config=file("scoring:\ncosts:\n")).costs == Settings().costs


def test_gates_are_found_beside_the_configuration_or_among_the_shipped(tmp_path, file):
    config = file("run: {name: mine}")
    assert settings(config=config).evaluation.gates == find_config("gates.yaml")
    (tmp_path / "gates.yaml").write_text("{}")
    assert settings(config=config).evaluation.gates == tmp_path / "gates.yaml"


def test_every_setting_is_a_flag_and_a_variable():
    for key in setting_types():
        read_flags([f"--{key}", "x"], OPTIONS)
        with pytest.raises(UsageError, match="did you mean"):
            settings(environment={"ENGINE_" + (key + "q").upper().replace(".", "__"): "x"}) if (
                not key.startswith("strategy")
            ) else settings(environment={"ENGINE_STRATEG": "x"})


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("horizons", "scoring.horizons"), ("cost.aum", "costs.aum"), ("scoring.lokback", "scoring.lookback")],
)  # fmt: skip
def test_nearest(typo, meant):
    assert nearest_key(typo) == meant
