"""What a scoring run shows while it works."""

from __future__ import annotations

import io
import json
import logging

import pytest
from rich.console import Console

from engine.run_folder import RunFolder
from engine.scoring.status import ActorStatus, ScoringProgress, Status

ACTORS = (
    ActorStatus(1, "scoring", "node-a", 11, 120, 12.5, 3_000_000_000, 64, 1),
    ActorStatus(2, "loading", "node-b", 12, starts=3),
    ActorStatus(3, "waiting"),
)
STATUS = Status(windows=30, shards=3, retries=2, quarantined=1, actors=ACTORS)


@pytest.fixture
def shown(request):
    def show(**kind) -> str:
        out = io.StringIO()
        with ScoringProgress(Console(file=out, width=110, **kind), 40) as progress:
            progress.hear(STATUS)
        return out.getvalue()

    return show


def test_a_terminal_gets_a_table_of_all_actors(shown):
    lines = shown(force_terminal=True, color_system=None).splitlines()
    table = [" ".join(line.split()) for line in lines]
    assert any("30/40" in line and "2 retries 1 quarantined" in line for line in table)
    assert "actor state host windows windows/s memory batch starts" in table
    assert "1 scoring node-a 120 12.5 3.0 GB 64 1" in table
    assert "2 loading node-b 0 – – – 3" in table
    assert "3 waiting – 0 – – – 1" in table


def test_a_log_gets_a_plain_line(shown):
    (line,) = shown().splitlines()
    assert line.startswith("scoring: 30/40  ")
    for part in ("windows/s", "left", "2 retries", "1 quarantined", "1 of 3 actors scoring"):
        assert part in line


def test_the_run_log_gets_json_with_every_actor(tmp_path):
    folder = RunFolder(tmp_path, "run")
    with folder.open(), ScoringProgress(Console(quiet=True), 40) as progress:
        progress.hear(STATUS)
    entries = [json.loads(line) for line in (folder.path / "run.log").read_text().splitlines()]
    (entry,) = [entry for entry in entries if "windows" in entry]
    assert (entry["windows"], entry["planned"], entry["retries"]) == (30, 40, 2)
    assert entry["quarantined"] == 1
    assert entry["windows_per_s"] > 0
    assert [actor["state"] for actor in entry["actors"]] == ["scoring", "loading", "waiting"]
    assert entry["actors"][0]["memory"] == 3_000_000_000


def test_many_actors_do_not_flood_the_screen(caplog):
    out = io.StringIO()
    crowd = tuple(ActorStatus(n, "idle") for n in range(1, 200))
    with (
        caplog.at_level(logging.CRITICAL),
        ScoringProgress(Console(file=out, force_terminal=True, width=110), 40) as progress,
    ):
        progress.hear(Status(1, 1, 0, 0, crowd))
    assert "and 167 more actors" in out.getvalue()


def test_a_failure_inside_says_nothing_of_being_done():
    out = io.StringIO()
    with pytest.raises(ValueError, match="broken"), ScoringProgress(Console(file=out), 40):
        raise ValueError("broken")
    assert out.getvalue() == ""
