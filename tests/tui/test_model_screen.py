"""The model screen: what is in use, what else is there, what switching costs, and every key."""

import json
from pathlib import Path

import pytest
from textual.widgets import DataTable, Markdown, Static

from drama_app.config import Settings
from drama_app.library import Library
from drama_app.tui.app import DramaApp
from drama_app.tui.retrievers import list_scores, read_models
from drama_app.tui.screens.confirm import ConfirmScreen
from drama_app.tui.screens.install_model import InstallModelScreen
from drama_app.tui.screens.model import ModelScreen
from drama_app.tui.state import UiState, save_state
from drama_app.tui.widgets.path_input import PathInput
from tests.tiny_retriever import make_tiny_retriever
from tests.tui.conftest import until

SIZE = (120, 34)


@pytest.fixture(autouse=True)
def only_small_ones(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped retriever takes 0.4 s to verify each time; a tiny one stands for it."""
    monkeypatch.setattr("drama_app.retriever.default_retriever_folder", lambda: tiny)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A second retriever, with a card and scores."""
    folder = make_tiny_retriever(tmp_path / "other", name="other", seed=7)
    (folder / "card.md").write_text("# Other\n\nA [link](https://example.org) and ![a picture](x.png).\n\x1b[31mred\n")
    (folder / "metrics.json").write_text(json.dumps({"mean": 0.5, "sets": {"xquad-de": 0.875}}))
    return folder


async def show(pilot) -> ModelScreen:  # type: ignore[no-untyped-def]
    """Goes to the model screen and waits for its table."""
    await until(pilot, lambda: pilot.app.opened)
    await pilot.press("f5")
    await until(pilot, lambda: isinstance(pilot.app.screen, ModelScreen))
    await until(pilot, lambda: table_of(pilot.app.screen).row_count)
    return pilot.app.screen


def table_of(screen: ModelScreen) -> "DataTable[object]":
    """The retrievers."""
    return screen.query_one("#models", DataTable)


def facts_of(screen: ModelScreen) -> dict[str, str]:
    """What is told of the chosen one."""
    model = screen._chosen
    assert model is not None
    return dict(model.facts)


def text_of(screen, part: str) -> str:  # type: ignore[no-untyped-def]
    """What a part of the screen shows."""
    return str(screen.query_one(part, Static).visual)


async def install(pilot, folder: Path) -> None:  # type: ignore[no-untyped-def]
    """Types a folder into the dialog."""
    await pilot.press("i")
    await until(pilot, lambda: isinstance(pilot.app.screen, InstallModelScreen))
    pilot.app.screen.query_one(PathInput).value = str(folder)
    await pilot.press("enter")


async def test_the_retriever_in_use_is_described(app: DramaApp) -> None:
    """Name, version, widths, licence and a short fingerprint of the one in use."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        assert [str(cell) for cell in table_of(screen).get_row_at(0)] == [
            "in use",
            "tiny",
            "1",
            "none needed",
            "32*, 16",
        ]
        assert len(facts_of(screen)["Fingerprint"]) == 12
        assert facts_of(screen)["Languages"] == "not stated"
        assert "No scores are stated" in text_of(screen, "#scores")
        assert not screen.check_action("use", ())
        assert not screen.check_action("back", ())


async def test_one_can_be_installed_and_shows_card_and_scores(app: DramaApp, other: Path) -> None:
    """i copies a folder; its card is text without links, pictures or escapes, its scores a table."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await install(pilot, other)
        await until(pilot, lambda: table_of(screen).row_count == 2)
        table_of(screen).move_cursor(row=1)
        await until(pilot, lambda: "xquad-de    0.8750" in text_of(screen, "#scores"))
        await until(pilot, lambda: screen._card.startswith("# Other"))
        assert "␛[31mred" in screen._card.replace("\x1b", "␛") and "\x1b" not in screen._card
        await pilot.pause()
        shown = "\n".join(str(block._content) for block in screen.query_one(Markdown).query("MarkdownBlock"))  # type: ignore[attr-defined]
        assert "[link](https://example.org)" in shown
        assert "![a picture](x.png)" in shown


async def test_what_is_no_retriever_is_refused_with_the_reason(app: DramaApp, tmp_path: Path) -> None:
    """The dialog stays open and names the file that is missing; Esc leaves."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await install(pilot, tmp_path)
        await until(pilot, lambda: "retriever.json" in text_of(app.screen, "#said").replace("\n", ""))
        await until(pilot, lambda: "Checking" not in text_of(app.screen, "#said"))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert table_of(screen).row_count == 1


async def test_switching_says_what_it_costs_and_goes_back(app: DramaApp, other: Path) -> None:
    """u tells passages and time and switches after yes; b goes one step back."""
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await install(pilot, other)
        await until(pilot, lambda: table_of(screen).row_count == 2)
        table_of(screen).move_cursor(row=1)
        await until(pilot, lambda: screen.check_action("use", ()) and app.status)
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert app.status is not None
        said = text_of(app.screen, "#said").replace("\n", " ")
        assert f"{app.status.passages:,} passages are embedded again" in said
        assert "b goes one step back" in said
        await pilot.press("escape")
        await pilot.pause()
        assert app.library is not None
        assert app.library.recall("retriever_name") == "tiny 1"

        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: app.library.recall("retriever_name") == "other 1", 10)
        await until(pilot, lambda: str(table_of(screen).get_row_at(0)[1]) == "other", 10)
        await until(pilot, lambda: screen.check_action("back", ()))
        assert app.library.search("train", limit=1).hits

        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: app.library.recall("retriever_name") == "tiny 1", 10)
        await until(pilot, lambda: any("uses tiny 1 now" in line for line in app.log_lines), 10)


async def test_verify_tells_whole_from_damaged(app: DramaApp, other: Path) -> None:
    """v says that a folder is whole, or which file is not; a damaged one hides no other."""
    said: list[str] = []
    app.say = lambda sentence, **_: said.append(sentence)  # type: ignore[method-assign]
    async with app.run_test(size=SIZE) as pilot:
        screen = await show(pilot)
        await pilot.press("v")
        await until(pilot, lambda: "tiny 1 is whole: hash, words and network fit" in said)

        await install(pilot, other)
        await until(pilot, lambda: table_of(screen).row_count == 2)
        copy = next((app.settings.data_folder / "retrievers").glob("other*"))
        (copy / "tokenizer.json").write_text("{}")
        table_of(screen).move_cursor(row=1)
        await pilot.press("v")
        await until(pilot, lambda: any("fingerprint does not match" in each for each in said))
    with Library.open(app.settings) as library:
        models = read_models(library, app.settings)
    assert [each.name for each in models.models] == ["tiny"]
    assert len(models.errors) == 1


async def test_without_an_index_the_shipped_one_is_shown(settings: Settings) -> None:
    """There is a card to read before there is an index; using another is not offered."""
    save_state(settings, UiState(welcomed=True))
    app = DramaApp(settings)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await show(pilot)
        assert facts_of(screen)["Retriever"] == "tiny 1"
        assert not screen.check_action("use", ())


def test_scores_are_flattened_with_headings() -> None:
    """Plain numbers come first, groups follow below their names; foreign words are cleaned."""
    metrics = {"sets": {"a\x1b": 0.5}, "mean": 1, "note": "words"}
    assert list(list_scores(metrics)) == [("mean", "1.0000"), ("sets", ""), ("a␛", "0.5000")]
