"""An index of a test's own folder: a test file says what is in `folder`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from drama_app.config import Settings
from drama_app.library import Library


@pytest.fixture
def library(settings: Settings, tiny: Path, folder: Path) -> Iterator[Library]:
    """An index of `folder`, up to date."""
    with Library.open(settings, create=True, retriever=tiny) as library:
        library.add_root(folder)
        library.sync()
        yield library
