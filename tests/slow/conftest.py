"""What slow tests need of the machine."""

from __future__ import annotations

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; CHROMIUM names another than the PATH has."""
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or set CHROMIUM")
    return found
