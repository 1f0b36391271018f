"""A small world to train in, for the tests of the training loop."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Groups, passages and tokenizer."""
    from tests.trainer.tiny_training import make_world  # needs torch, which not every test of the trainer does

    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder
