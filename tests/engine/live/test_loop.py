"""The loop over sessions: restarts, missed phases, commands, replays by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from live_desk import Killed
from live_world import SESSION, World, make_bars
from places import ROOT

from engine.errors import UsageError
from engine.live.__main__ import main
from engine.live.monitor import Webhook
from engine.live.state import open_state
from engine.run_folder import RunFolder

PHASES = ["decide", "check", "trade", "finish", "review"]
NEXT = date(2024, 6, 5)


def statuses(world, day=SESSION):
    return {name: mark.status for name, mark in world.state.cycles.marks(day).items()}


def test_every_phase_once_and_in_time(world):
    seen = []
    world.desk.before = lambda name: seen.append(world.clock.now())
    assert world.loop.run(until=NEXT) is False
    for day in (SESSION, NEXT):
        assert statuses(world, day) == dict.fromkeys(PHASES, "done")
        times = [world.state.cycles.marks(day)[phase].at for phase in PHASES]
        assert times == sorted(times)
    assert (world.folder / "runs" / "live" / "daily" / f"{SESSION}.html").is_file()
    marks = world.state.cycles.marks(SESSION)
    assert marks["decide"].at == datetime(2024, 6, 3, 20, 30, tzinfo=UTC)
    assert marks["trade"].at == datetime(2024, 6, 4, 13, 35, tzinfo=UTC)
    assert world.loop.run(until=NEXT) is False
    assert len(world.state.orders.of(SESSION)) == 4


def test_a_loop_killed_anywhere_ends_as_one_that_was_not(tmp_path, data):
    (tmp_path / "whole").mkdir()
    whole = World(tmp_path / "whole", data)
    calls = []
    whole.desk.before = calls.append
    whole.loop.run(until=SESSION)
    for number in range(2, len(calls) + 1, 6):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder, data)
        seen = []

        def kill(name, seen=seen, number=number):
            seen.append(name)
            if len(seen) == number:
                raise Killed

        world.desk.before = kill
        with pytest.raises(Killed):
            world.loop.run(until=SESSION)
        world.loop.run(until=SESSION)
        assert statuses(world) == dict.fromkeys(PHASES, "done")
        assert world.desk.held == whole.desk.held
        assert world.desk.submitted == whole.desk.submitted


def test_once_does_what_is_due_and_ends(world):
    world.loop.run(once=True)
    assert statuses(world) == {"decide": "done"}
    world.clock.wait_until(world.slot("trade").due + timedelta(minutes=3))
    world.loop.run(once=True)
    assert statuses(world) == dict.fromkeys(["decide", "check", "trade"], "done")
    assert len(world.orders()) == 4


def test_a_trade_that_was_missed_is_not_made_up_for(world):
    world.loop.run(once=True)
    world.clock.wait_until(datetime(2024, 6, 5, 12, 0, tzinfo=UTC))
    world.loop.run(once=True)
    assert statuses(world) == {
        "decide": "done",
        "check": "missed",
        "trade": "missed",
        "finish": "done",
        "review": "done",
    }
    assert statuses(world, NEXT) == {"decide": "done"}
    assert world.state.plans.of(NEXT).asof == SESSION
    assert world.orders() == []


def test_a_broker_that_is_away_until_the_close_is_a_missed_trade(world):
    world.loop.run(once=True)
    world.clock.wait_until(world.slot("trade").due)
    world.desk.down = 10**9
    world.loop.run(once=True)
    world.desk.down = 0
    world.loop.run(once=True)
    assert statuses(world)["trade"] == "missed"
    assert "does not answer" in world.state.cycles.marks(SESSION)["trade"].detail
    assert world.orders() == []


def test_a_dry_run_can_be_followed_by_sending(tmp_path, data):
    world = World(tmp_path, data, send=False)
    world.clock.wait_until(world.slot("trade").due)
    world.loop.run(once=True)
    assert statuses(world)["trade"] == "dry_run"
    object.__setattr__(world.context, "send", True)
    world.loop.run(once=True)
    assert statuses(world)["trade"] == "done"
    assert len(world.orders()) == 4


def test_the_switch_cancels_what_an_earlier_phase_left_open(world):
    world.desk.behave = {ticker: ["open"] for ticker in world.desk.prices}
    world.loop.run(once=True)
    world.clock.wait_until(world.slot("trade").due)
    world.loop.run(once=True)
    assert {r.status for r in world.state.orders.of(SESSION)} == {"accepted"}
    world.control.halt("looks odd", "Ada")
    world.loop._wait(world.slot("finish"), once=False)
    assert {r.status for r in world.state.orders.of(SESSION)} == {"canceled"}


def test_the_fallback_is_told_and_recorded(tmp_path, data, caplog):
    world = World(tmp_path, data, **{"model.name": str(tmp_path / "no-model")})
    assert world.do("decide") == "done"
    plan = world.state.plans.of(SESSION)
    assert plan.forecaster == "momentum"
    assert "no-model" in plan.fallback_reason
    assert "momentum decided in place of" in caplog.text


def test_a_page_that_cannot_be_written_is_told_and_no_more(tmp_path, data, caplog):
    world = World(tmp_path, data, **{"live.monitor.backtest": str(tmp_path)})
    world.loop.run(until=SESSION)
    assert statuses(world) == dict.fromkeys(PHASES, "done")
    assert f"no page of {SESSION}" in caplog.text


def test_around_the_clock(tmp_path):
    path = tmp_path / "bars.parquet"
    make_bars("24/7", date(2024, 3, 1), date(2024, 6, 28)).write_parquet(path)
    world = World(tmp_path, path, **{"data.calendar": "24/7"})
    saturday = date(2024, 6, 8)
    world.clock.wait_until(datetime(2024, 6, 8, 0, 10, tzinfo=UTC))
    world.desk.prices = world.opens(saturday)
    world.loop.run(until=saturday)
    assert statuses(world, saturday) == dict.fromkeys(PHASES, "done")
    assert world.state.plans.of(saturday).asof == date(2024, 6, 7)
    assert len(world.orders()) == 4


def test_status_tells_where_the_loop_stands(world):
    world.loop.run(once=True)
    world.control.halt("looks odd", "Ada")
    world.clock.wait_until(world.slot("trade").due)
    assert world.loop.run(once=True) is True
    status = json.loads((world.folder / "status.json").read_text())
    assert status["halted"] == {"reason": "looks odd", "by": "Ada"}
    assert status["phases"]["trade"][0] == "halted"
    assert status["sends_orders"] is True
    assert any("looks odd" in line for line in status["guards"])


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        size = int(self.headers["Content-Length"])
        self.server.got.append(json.loads(self.rfile.read(size)))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hook():
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.answer = [], 200
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}/T0/SECRET-PATH?token=SECRET-TOKEN"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_webhook_hears_of_plans_orders_and_guards(tmp_path, data, hook):
    world = World(tmp_path, data, webhook=Webhook(hook.url))
    world.loop.run(until=SESSION)
    world.control.halt("looks odd", "Ada")
    world.clock.wait_until(world.slot("check", NEXT).due)
    world.loop.run(once=True)
    heard = [entry["event"] for entry in hook.got]
    assert heard == ["plan", "orders", "review", "plan", "guard"]
    assert "looks odd" in hook.got[-1]["message"]


@pytest.mark.parametrize("answer", [500, 404, None])
def test_a_webhook_that_fails_is_never_in_the_way_and_never_named(hook, caplog, answer):
    if answer is None:
        hook.server_close()
    hook.answer = answer
    assert Webhook(hook.url).post({"message": "x"}) is False
    assert "127.0.0.1 could not be told" in caplog.text
    assert "SECRET" not in caplog.text


def test_a_webhook_that_is_no_address_is_refused_without_naming_it():
    with pytest.raises(UsageError, match="webhook") as error:
        Webhook("ftp://SECRET")
    assert "SECRET" not in str(error.value)


def arguments(folder, data, *extra):
    settings = {
        "run.dir": folder / "runs",
        "data.source": "parquet",
        "data.path": data,
        "data.benchmark": "INDEX",
        "model.name": "momentum",
        "scoring.lookback": 32,
        "scoring.horizons": "[5]",
        "scoring.rebalance": "daily",
        "features": "[]",
        "strategy.quantile": 0.25,
    }
    flags = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    return [*extra, *flags]


REPLAY = ("--replay", "2024-06-04:2024-06-05", "--send-orders")


def test_a_replay_by_command_at_the_paper_broker(tmp_path, data, capsys):
    assert main(arguments(tmp_path, data, *REPLAY)) == 0
    folder = tmp_path / "runs" / "live"
    with open_state(folder / "live.duckdb") as state:
        assert {r.status for r in state.orders.of(SESSION)} == {"filled"}
        assert state.cycles.marks(NEXT)["review"].status == "done"
    log = [json.loads(line) for line in (folder / "run.log").read_text().splitlines()]
    assert {"plan", "orders", "review"} <= {line.get("event") for line in log}
    assert main(arguments(tmp_path, data, "status")) == 0
    assert "2024-06-05" in capsys.readouterr().out
    assert main(arguments(tmp_path, data, "halt", "looks odd")) == 0
    assert (
        main(arguments(tmp_path, data, "--replay", "2024-06-04:2024-06-06", "--send-orders")) == 0
    )
    assert main(arguments(tmp_path, data, "status")) == 0
    assert "looks odd" in capsys.readouterr().out
    with open_state(folder / "live.duckdb") as state:
        assert state.orders.of(date(2024, 6, 6)) == []
        assert state.cycles.marks(date(2024, 6, 6))["trade"].status == "halted"
    assert main(arguments(tmp_path, data, "resume")) == 0
    assert main(arguments(tmp_path, data, "--once")) == 2
    assert "is the run of a replay" in capsys.readouterr().err


BAD = {
    "two modes": (["--dry-run", "--send-orders"], "contradict"),
    "no reason": (["halt"], "needs a reason"),
    "half a span": (["--replay", "2024-06-04"], "give two dates"),
    "a span backwards": (["--replay", "2024-06-05:2024-06-04"], "after the last"),
    "a day off": (["--replay", "2024-06-08:2024-06-10"], "not a session"),
    "a replay at the real broker": (["--replay", "2024-06-04:2024-06-05", "--live.broker", "alpaca"], "stand-in"),
    "a backtest without metrics": (["--live.monitor.backtest", "nowhere"], "no metrics.json"),
    "status of nothing": (["status"], "no loop has run here"),
    "an unknown flag": (["--send-order"], "did you mean"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_usage_is_one_line(tmp_path, data, capsys, case):
    extra, said = BAD[case]
    assert main(arguments(tmp_path, data, *extra)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_second_process_is_refused(tmp_path, data, capsys):
    with RunFolder(tmp_path / "runs", "live").open():
        assert main(arguments(tmp_path, data, *REPLAY)) == 2
    err = capsys.readouterr().err
    assert "in use by another process" in err
    assert len(err.splitlines()) == 1


def test_starting_loads_neither_torch_nor_ray():
    code = "import sys, engine.live.start; print(sorted({'torch', 'ray', 'vectorbt', 'lightgbm'} & set(sys.modules)))"
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert said.stdout.strip() == "[]"
