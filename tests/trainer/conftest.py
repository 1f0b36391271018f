"""A small world to train in, and one thread for small networks."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Groups, passages and tokenizer."""
    from tests.trainer.tiny_training import make_world  # needs torch, which not every test of the trainer does

    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order, and no fight for cores: small products are slower on two threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
