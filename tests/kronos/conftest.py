from __future__ import annotations

import pytest
from kronos_golden import CHECKPOINTS, Golden, load_golden

from kronos import KronosPredictor


@pytest.fixture(scope="session", params=CHECKPOINTS)
def golden(request: pytest.FixtureRequest) -> Golden:
    return load_golden(request.param)


@pytest.fixture(scope="session")
def learned() -> Golden:
    return load_golden("learned")


@pytest.fixture(scope="session")
def predictor(learned: Golden) -> KronosPredictor:
    return KronosPredictor(learned.model(), learned.tokenizer(), device="cpu")
