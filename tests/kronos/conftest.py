from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small operations are fastest, and repeat to the bit, on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
