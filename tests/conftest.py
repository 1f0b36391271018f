"""A world of its own for each test: the app's folders in a temporary place, and a retriever that costs nothing."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from drama_app.config import Settings, load_settings
from tests.tiny_retriever import make_tiny_retriever


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps the developer's own index, configuration and colours out of the tests."""
    home = tmp_path / "drama-home"
    monkeypatch.setenv("DRAMA_APP_HOME", str(home))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return home


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Takes back what the program's start does to its loggers, for tests that read the log."""
    logger = logging.getLogger("drama_app")
    before = logger.propagate, logger.level, list(logger.handlers), logging.raiseExceptions
    yield
    logger.propagate, logger.level, logger.handlers[:], logging.raiseExceptions = before
    logging.captureWarnings(False)


@pytest.fixture
def settings(own_home: Path) -> Settings:
    """The settings in force in the test's own home."""
    return load_settings()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small, valid retriever folder, for tests in which quality does not matter."""
    return make_tiny_retriever(tmp_path_factory.mktemp("retriever") / "tiny")
