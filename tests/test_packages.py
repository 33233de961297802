"""What the wheel is made of, seen from the checkout; building and running it is a slow test."""

from __future__ import annotations

import pytest
from places import ROOT

from engine.config.load import CONFIGS, find_config

OURS = ("kronos", "strategies", "backtest", "engine")


@pytest.mark.parametrize("package", OURS)
def test_every_folder_with_code_is_a_typed_package(package):
    """The wheel would leave out a folder without `__init__.py`, and a reader its types."""
    assert (ROOT / package / "py.typed").is_file()
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [f for f in folders if not (f / "__init__.py").is_file()] == []


def test_configurations_of_a_checkout_are_those_of_its_root():
    assert find_config("demo.yaml") == ROOT / "configs" / "demo.yaml"
    assert (CONFIGS / "cluster" / "kuberay.yaml").is_file()
