"""What the UI remembers: kept whole, private, and lost without harm."""

import json
from pathlib import Path

import pytest

from drama_app.config import Settings
from drama_app.tui.state import MOST_QUERIES, UiState, load_state, save_state


def test_what_is_kept_comes_back(settings: Settings) -> None:
    """Every field survives a restart, odd names included."""
    state = UiState("drama-light", 30, "keywords", ["地震"], ["/x/n\udcff.pdf"], welcomed=True)
    save_state(settings, state)

    assert load_state(settings) == state


def test_the_file_is_for_its_owner_only(settings: Settings) -> None:
    """It holds what was asked; nobody else may read it."""
    save_state(settings, UiState())

    assert (settings.state_folder / "ui.json").stat().st_mode & 0o077 == 0
    assert [path.name for path in settings.state_folder.iterdir()] == ["ui.json"]


@pytest.mark.parametrize("content", [b"", b"not json", b"[1, 2]", b"null", b"\xff\xfe"])
def test_a_broken_file_is_a_fresh_start(settings: Settings, content: bytes) -> None:
    """Whatever the file holds, the app starts."""
    settings.state_folder.mkdir(parents=True)
    (settings.state_folder / "ui.json").write_bytes(content)

    assert load_state(settings) == UiState()


def test_fields_of_another_type_are_left_out(settings: Settings) -> None:
    """One bad field does not lose the others, and an unknown one is passed over."""
    settings.state_folder.mkdir(parents=True)
    kept = {"theme": 7, "mode": "keywords", "welcomed": 1, "history": ["a", 2], "muted": ["x"], "from the future": 1}
    (settings.state_folder / "ui.json").write_text(json.dumps(kept))

    assert load_state(settings) == UiState(mode="keywords", muted=["x"])


def test_the_history_keeps_each_query_once_and_not_for_ever() -> None:
    """A query asked again moves to the end; blanks are no query; the oldest go."""
    state = UiState()
    for query in ("bread", "  train \n station ", "bread", " "):
        state.remember(query)
    assert state.history == ["train station", "bread"]
    for number in range(MOST_QUERIES + 5):
        state.remember(f"q{number}")
    assert len(state.history) == MOST_QUERIES
    assert state.history[-1] == f"q{MOST_QUERIES + 4}"


def test_a_state_that_cannot_be_kept_does_no_harm(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A full or forbidden disk is a line in the log, not an error at the end."""
    path = Path(settings.state_folder) / "ui.part"
    path.mkdir(parents=True)

    save_state(settings, UiState())

    assert "cannot be kept" in caplog.text


def test_two_windows_keep_what_both_did(settings: Settings) -> None:
    """The second to close adds its queries to those of the first, and undoes nothing that it did not touch."""
    save_state(settings, UiState(history=["old", "older"], muted=["a", "b"], theme="drama-light"))
    one, other = load_state(settings), load_state(settings)
    one.remember("bread")
    one.theme, one.muted = "drama-contrast", ["a", "b", "c"]
    other.remember("train")
    other.preview_percent, other.muted = 30, ["b"]
    save_state(settings, one)
    save_state(settings, other)
    save_state(settings, other)

    kept = load_state(settings)
    assert kept.history == ["old", "older", "bread", "train"]
    assert (kept.theme, kept.preview_percent, kept.muted) == ("drama-contrast", 30, ["b", "c"])

    cleared = load_state(settings)
    cleared.history = []
    save_state(settings, cleared)
    assert load_state(settings).history == []
