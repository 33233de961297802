"""Secrets: every command with all of them set, then a search of all that it leaves and says."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from places import ROOT

from engine.config import Settings, load_settings
from engine.config.keys import describe_settings, secret_settings, variable
from engine.errors import UsageError

CANARY = "canary5c9e"
HOOK = f"https://hooks.example/services/{CANARY}"
KEYS = {"APCA_API_KEY_ID": f"key-{CANARY}", "APCA_API_SECRET_KEY": f"secret-{CANARY}"}
CHEAP = (
    "--model.name", "momentum", "--scoring.lookback", "60", "--data.max_tickers", "6",
    "--scoring.horizons", "20", "--baselines.lightgbm.enabled", "false",
)  # fmt: skip
LOOP = ("--replay", "2012-05-30:2012-05-31", *CHEAP, "--data.source", "embedded")


@pytest.fixture
def place():
    """A folder with a short path: sockets of Ray lie in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def say(place: Path, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command with the keys set, and the webhook by environment and by file."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ENGINE_")} | KEYS
    environment |= {"PYTHONPATH": str(ROOT), "KRONOS_ENGINE_TRACEBACK": "1", "TMPDIR": str(place)}
    environment |= {"XDG_CACHE_HOME": str(place / "cache"), **more}
    environment[variable("live.monitor.webhook")] = HOOK
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(f"live: {{monitor: {{webhook: '{HOOK}/file'}}}}\n")
        file.flush()
        return subprocess.run(
            [sys.executable, "-m", "engine", *argv, "--config", file.name],
            cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


def assert_silent(place: Path, *said: subprocess.CompletedProcess[str]) -> None:
    for one in said:
        assert CANARY not in one.stdout + one.stderr
    left = [path for path in place.rglob("*") if path.is_file()]
    assert [path for path in left if CANARY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("code", "argv"),
    [
        (0, ("backtest", *CHEAP, "--data.source", "embedded")),
        (2, ("backtest", "--scoring.lookback", "no number")),
        (0, ("signals", "--as-of", "2012-05-31", *CHEAP, "--data.source", "embedded")),
        (0, ("data", "check", "--data.source", "embedded")),
        (0, ("data", "info", "--data.source", "embedded")),
        (2, ("data", "import", "--data.source", "csv", "--data.path", "nowhere.csv")),
        (0, ("audit", "lookahead", *CHEAP, "--data.source", "embedded")),
        (2, ("live", "status")),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else str(value),
)
def test_no_command_shows_a_secret(place, code, argv):
    said = say(place, *argv)
    assert said.returncode == code, said.stderr
    assert_silent(place, said)


def test_what_the_loop_leaves_is_for_its_owner_alone(place):
    said = say(place, "live", *LOOP, "--send-orders")
    assert said.returncode == 0, said.stderr
    assert_silent(place, said)
    folder = place / "runs"
    left = {path: path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    names = {path.name for path in left}
    assert {"live.duckdb", "paper.sqlite", "status.json", "run.log"} <= names
    assert {path: oct(mode) for path, mode in left.items() if mode != 0o600} == {}
    assert list(folder.rglob("daily/*.html"))


def test_a_server_that_sends_the_keys_back_is_not_quoted(place):
    from engine_data_standin import serve

    echo = {"message": f"no such key: {KEYS['APCA_API_KEY_ID']} {KEYS['APCA_API_SECRET_KEY']}"}
    with serve(lambda path, query: (403, echo)) as side:
        said = say(
            place, "data", "check", "--data.source", "alpaca", "--data.universe", "AAPL",
            APCA_API_DATA_URL=side.url,
        )  # fmt: skip
    assert said.returncode == 2
    assert "refused" in said.stderr
    assert_silent(place, said)


@pytest.mark.parametrize(
    "text",
    [
        f"live: {{monitor: {{webhook: ['{HOOK}']}}}}",
        f"live: {{monitor: {{webhook: {{a: '{HOOK}'}}}}}}",
        f"live:\n  monitor:\n    webhook: '{HOOK}\n",
        f"live:\n  monitor:\n    webhook: {HOOK}\n   x: [",
    ],
)
def test_an_error_about_a_secret_does_not_show_it(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_settings(config=path, environment={})
    assert CANARY not in str(error.value)
    assert str(path) in str(error.value)


def test_a_secret_is_no_flag():
    assert "live.monitor.webhook" in secret_settings()
    with pytest.raises(UsageError, match="ENGINE_LIVE__MONITOR__WEBHOOK") as error:
        load_settings({"live.monitor.webhook": HOOK}, environment={})
    assert CANARY not in str(error.value)
    (line,) = (line for line in describe_settings() if "WEBHOOK" in line or "webhook" in line)
    assert line == "ENGINE_LIVE__MONITOR__WEBHOOK secret|null (default: null)"


def test_settings_with_a_secret_do_not_print_it():
    settings = load_settings(environment={"ENGINE_LIVE__MONITOR__WEBHOOK": HOOK})
    assert isinstance(settings, Settings)
    assert settings.live.monitor.webhook.get_secret_value() == HOOK
    for shown in (repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert CANARY not in shown
