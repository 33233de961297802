"""Files appear whole or not at all."""

from __future__ import annotations

import json
import math

import polars as pl
import pytest

from engine.files import replace_file, write_frame, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def broken(part):
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_file(path, broken)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_folders_are_made_and_content_comes_back(tmp_path):
    frame = pl.DataFrame({"a": [1, 2]})
    write_frame(tmp_path / "x" / "y" / "f.parquet", frame)
    assert pl.read_parquet(tmp_path / "x" / "y" / "f.parquet").equals(frame)


def test_equal_frames_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_frame(tmp_path / name, pl.DataFrame({"a": [1.5, None], "b": ["x", "y"]}))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_json_is_strict(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, None, "ü"]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, None, "ü"]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": math.nan})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, None, "ü"]}
