"""The search screen as a person uses it: every key, and what must not get lost while answers come and go."""

import contextlib
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from drama_app.conditions import Chip
from drama_app.config import load_settings
from drama_app.errors import UsageError
from drama_app.records import Hit, PassageHit, Results, Score, SyncReport
from drama_app.tui.app import DramaApp
from drama_app.tui.history import Walk
from drama_app.tui.messages import SearchInside, SyncEnded
from drama_app.tui.screens.actions import ActionsScreen
from drama_app.tui.screens.asking import DEBOUNCE
from drama_app.tui.screens.export import ExportScreen
from drama_app.tui.screens.search import SearchScreen
from drama_app.tui.screens.why import WhyScreen, explain
from drama_app.tui.state import UiState, save_state
from drama_app.tui.widgets.hit_row import cut_left
from drama_app.tui.widgets.preview import Preview
from drama_app.tui.widgets.result_list import ResultList
from drama_app.tui.widgets.search_bar import QueryInput
from tests.tui.conftest import HOSTILE, until


async def begin(app: DramaApp, pilot: Pilot[None], query: str = "") -> SearchScreen:
    """Waits for the index, types a query at once, and waits for its answer."""
    await until(pilot, lambda: app.status is not None)
    screen = app.screen
    assert isinstance(screen, SearchScreen)
    if query:
        screen.bar.input.value = query
        await settle(pilot, screen, query)
    return screen


async def settle(pilot: Pilot[None], screen: SearchScreen, query: str) -> None:
    """Waits until what is asked is answered."""
    await until(pilot, lambda: screen.asked is None and screen.answered.query == query and screen.results is not None)
    await until(pilot, lambda: not screen.results.hits or screen.result_list.region.width)
    await pilot.pause()


async def layer(pilot: Pilot[None], kind: type[object]) -> None:
    """Waits until a layer of this kind can be used."""
    await until(pilot, lambda: isinstance(pilot.app.screen, kind) and pilot.app.screen.focused is not None)
    await pilot.pause()


def shown(screen: SearchScreen, selector: str) -> str:
    return str(screen.query_one(selector).render())


async def test_a_hit_says_that_it_was_found_by_its_name(app: DramaApp) -> None:
    """A file whose text does not hold the query tells in the list why it is there; the others say nothing."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "song07")
        hits, said = screen.result_list, "found by its name"
        rows = [hits.render_line(y).text for y in range(3 * hits.row_height)]
        assert "song07.txt" in rows[0] and said in rows[1]
        assert not any(said in row for row in rows[hits.row_height :])


def lines_of(result_list: ResultList) -> list[str]:
    return [result_list.render_line(y).text for y in range(result_list.size.height)]


# --- asking --------------------------------------------------------------------------------------------------


async def test_results_come_while_typing_and_once_for_fast_keys(app: DramaApp) -> None:
    """The query has the focus at start; keys within the debounce lead to one search; count and time are said."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot)
        asked = record_searches(app)
        assert isinstance(app.focused, QueryInput)
        await pilot.press(*"bread")
        await settle(pilot, screen, "bread")

        assert asked[-1] == "bread" and len(asked) < len("bread")
        assert "documents in" in shown(screen, "#state")
        assert screen.has_class("-found")


def record_searches(app: DramaApp) -> list[str]:
    """Notes the queries that reach the library."""
    asked: list[str] = []
    search = app.library.search

    def note(query: str, **options: object) -> Results:
        asked.append(query)
        return search(query, **options)

    app.library.search = note
    return asked


async def test_stale_answers_are_dropped_and_old_ones_stay(app: DramaApp) -> None:
    """While a search takes long the old hits stay; what was overtaken is never shown, and never begun if it waited."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        before, search, go = screen.results, app.library.search, threading.Event()
        asked: list[str] = []

        def wait(query: str, **options: object) -> Results:
            asked.append(query)
            assert go.wait(10)
            return search(query, **options)

        app.library.search = wait
        for query in ("train", "train st", "train station"):
            screen.bar.input.value = query
            await pilot.press("enter")
            await until(pilot, lambda query=query: screen.asked is not None and screen.asked.query == query)
        await until(pilot, lambda: asked)
        assert screen.results is before and "searching" in shown(screen, "#state")
        go.set()
        await settle(pilot, screen, "train station")

        assert asked == ["train", "train station"]
        assert screen.results.query == "train station"


async def test_a_refusal_is_a_line_and_the_next_search_works(app: DramaApp) -> None:
    """What the library refuses, or an unexpected error in its thread, is told; hits stay and the app goes on."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        search = app.library.search
        for error, said in ((UsageError("the index is being moved"), "being moved"), (RuntimeError("torn"), "torn")):
            app.library.search = failing(error)
            await pilot.press("ctrl+r")
            await until(pilot, lambda said=said: said in shown(screen, "#state"))
            assert screen.result_list.hits
        app.library.search = search
        await pilot.press("enter")
        await until(pilot, lambda: "documents in" in shown(screen, "#state"))


def failing(error: Exception) -> Callable[..., Results]:
    def fail(*_: object, **__: object) -> Results:
        raise error

    return fail


async def test_enter_searches_at_once_then_opens(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter does not wait for the debounce, and opens nothing that belongs to the query before."""
    opened = open_nothing(monkeypatch)
    monkeypatch.setattr("drama_app.tui.screens.search.DEBOUNCE", 60.0)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot)
        screen.bar.input.value = "bread"
        await until(pilot, lambda: screen.is_waiting)
        await pilot.press("enter")
        await settle(pilot, screen, "bread")
        assert not opened
        await pilot.press("enter")
        await until(pilot, lambda: opened)
        assert opened == [(screen.hit.path, screen.passage.page)]


def open_nothing(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int | None]]:
    opened: list[tuple[Path, int | None]] = []

    def note(path: Path, page: int | None) -> str:
        opened.append((path, page))
        return "Opened"

    monkeypatch.setattr("drama_app.tui.opening.open_file", note)
    return opened


async def test_the_mode_changes_and_the_chosen_document_stays(app: DramaApp) -> None:
    """F6 searches the same query in the next mode; query, hits and the cursor's document stay; the mode is kept."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread river")
        await pilot.press("down", "down")
        chosen = screen.hit.path
        await pilot.press("f6")
        assert screen.result_list.hits
        await until(pilot, lambda: screen.asked is None and screen.results.mode == "meaning")
        assert screen.hit.path == chosen and screen.bar.input.value == "bread river"
        await pilot.press("tab", "m")
        await until(pilot, lambda: screen.asked is None and screen.results.mode == "keywords")
        assert screen.hit.path == chosen
        await pilot.click("ModeBadge")
        await until(pilot, lambda: screen.asked is None and screen.results.mode == "fused")
        assert app.ui.mode == "fused"


async def test_the_end_of_the_list_brings_more(app: DramaApp) -> None:
    """Going to the last hit fetches the next twenty below it, and the cursor stays."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "song of the music library")
        assert len(screen.result_list.hits) == 20
        await pilot.press("end")
        await until(pilot, lambda: len(screen.result_list.hits) > 20)
        assert screen.result_list.cursor == 19


async def test_a_changed_index_refreshes_quietly(app: DramaApp, tmp_path: Path) -> None:
    """When a sync has changed something the hits are asked for again; cursor, scroll and what was selected stay."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "song of the music library")
        await pilot.press(*["down"] * 9, "f10")
        chosen, place = screen.hit.path, screen.result_list.cursor * screen.result_list.row_height
        line = place - screen.result_list.scroll_offset.y
        new = tmp_path / "new"
        new.mkdir()
        (new / "new.txt").write_text("The song of the music library.\n")
        app.library.add_root(new)
        app.post_message(SyncEnded(app.library.sync()))
        await until(pilot, lambda: any(hit.path.name == "new.txt" for hit in screen.result_list.hits))

        assert screen.hit.path == chosen and chosen in screen.result_list.chosen
        assert screen.result_list.cursor * screen.result_list.row_height - screen.result_list.scroll_offset.y == line


async def test_a_better_hit_comes_to_the_top_of_who_has_not_moved(app: DramaApp, tmp_path: Path) -> None:
    """While nobody has moved, a new best hit is the first in sight and the one at the cursor."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await begin(app, pilot, "a blue elephant lives in the old town hall")
        new = tmp_path / "new"
        new.mkdir()
        (new / "elephant.txt").write_text("A blue elephant lives in the old town hall.\n")
        app.library.add_root(new)
        app.post_message(SyncEnded(app.library.sync()))
        await until(pilot, lambda: screen.hit is not None and screen.hit.path.name == "elephant.txt")

        assert screen.result_list.cursor == 0 and screen.result_list.scroll_offset.y == 0


async def test_a_click_leaves_the_focus_in_the_query(app: DramaApp) -> None:
    """Who clicks a hit and types on goes on with the query; no letter becomes an action."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        await pilot.click("ResultList", offset=(10, screen.result_list.row_height + 1))
        await until(pilot, lambda: screen.result_list.cursor == 1)
        await pilot.press("x", "e")
        assert app.screen is screen and screen.bar.input.value == "breadxe"


async def test_a_phrase_that_stands_nowhere_is_told(app: DramaApp) -> None:
    """Quotes insist on words: where no hit holds them the screen says so, above what is near."""
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await begin(app, pilot, '"bread of the moon"')
        assert 'No hit holds "bread of the moon"' in shown(screen, "#notice")
        assert screen.query_one("#notice").display
        screen.bar.input.value = "bread"
        await settle(pilot, screen, "bread")
        assert not screen.query_one("#notice").display


async def test_a_sync_that_changed_nothing_asks_nothing(app: DramaApp) -> None:
    """An index at rest is not searched again and again."""
    async with app.run_test(size=(120, 36)) as pilot:
        await begin(app, pilot, "bread")
        asked = record_searches(app)
        app.post_message(SyncEnded(SyncReport(1, 1, 0, 0, 0, 0, (), 0, 0.1)))
        await until(pilot, lambda: app.last_report is not None and app.last_report.documents == 1)
        await pilot.pause(DEBOUNCE)
        assert not asked


# --- the list ------------------------------------------------------------------------------------------------


async def test_keys_move_the_hits_while_the_query_keeps_the_focus(app: DramaApp) -> None:
    """Up, Down, Home and End beyond the line's edge, and Ctrl+Home move; Left and Right stay the line's."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread river")
        screen.bar.input.cursor_position = len("bread river")
        await pilot.press("down", "down", "up")
        assert screen.result_list.cursor == 1
        await pilot.press("end")
        assert screen.result_list.cursor == 19
        await pilot.press("home")
        assert screen.bar.input.cursor_position == 0 and screen.result_list.cursor != 0
        await pilot.press("home")
        assert screen.result_list.cursor == 0
        await pilot.press("ctrl+end", "ctrl+home")
        assert screen.result_list.cursor == 0 and app.focused is screen.bar.input


async def test_the_mouse_selects_opens_and_chooses(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A click moves the cursor, two open, one beside the number chooses."""
    opened = open_nothing(monkeypatch)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread river")
        height = screen.result_list.row_height
        await pilot.click(ResultList, offset=(12, height + 1))
        assert screen.result_list.cursor == 1
        await pilot.click(ResultList, offset=(0, 2 * height))
        assert list(screen.result_list.chosen) == [screen.result_list.hits[2].path]
        await pilot.click(ResultList, offset=(12, 1), times=2)
        await until(pilot, lambda: opened)
        assert opened[0][0] == screen.result_list.hits[0].path


async def test_copies_are_folded_and_parts_of_a_hit_are_told(app: DramaApp) -> None:
    """A document with a copy is one hit that says so, with heading, type and more passages."""
    async with app.run_test(size=(160, 40)) as pilot:
        screen = await begin(app, pilot, '"flour and the yeast"')
        text = "\n".join(lines_of(screen.result_list))
        assert text.count("Baking") >= 1
        assert "2 copies" in text and "markdown" in text and "Dough" in text and "line" in text


async def test_matching_words_and_sentences_are_marked(app: DramaApp) -> None:
    """The word that matches is bold, its sentence underlined; this can be told without colour."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "harbour")
        styles = [
            segment.style
            for y in range(screen.result_list.row_height)
            for segment in screen.result_list.render_line(y)
            if segment.text.strip() == "harbour"
        ]
        assert styles and styles[0].bold and styles[0].underline


async def test_hostile_names_and_texts_stay_text(app: DramaApp) -> None:
    """Escape sequences are shown as pictures, markup as it is written, and a click on it does nothing."""
    async with app.run_test(size=(160, 40)) as pilot:
        screen = await begin(app, pilot, "river library harbour")
        place = next(index for index, hit in enumerate(screen.result_list.hits) if hit.path.name == HOSTILE)
        screen.result_list.cursor = place
        await pilot.pause()
        text = "\n".join(lines_of(screen.result_list))
        assert "\x1b" not in text and "\x07" not in text
        assert "[red]bread[@click=app.quit].md" in text and "[@click=app.quit]library[/]" in text
        assert not any(
            segment.style.meta.get("@click")
            for y in range(screen.result_list.size.height)
            for segment in screen.result_list.render_line(y)
            if segment.style
        )
        await pilot.press("f8", "w")
        await layer(pilot, WhyScreen)
        assert "\x1b" not in "".join(line.text for line in app.screen._compositor.render_strips())


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (40, 12)])
async def test_every_script_keeps_the_lines_as_wide_as_the_list(app: DramaApp, size: tuple[int, int]) -> None:
    """Double width, right to left and combining marks neither tear nor shift a line, at any size."""
    async with app.run_test(size=size) as pilot:
        screen = await begin(app, pilot, "bread river")
        text = "".join([line for index in range(4) for line in await at(screen, pilot, index)])
        widths = {screen.result_list.render_line(y).cell_length for y in range(screen.result_list.size.height)}
        assert widths == {screen.result_list.scrollable_content_region.width}
        assert "绿茶" in text and "الماء" in text and "q\u0301" in text


async def at(screen: SearchScreen, pilot: Pilot[None], index: int) -> list[str]:
    screen.result_list.cursor = index
    await pilot.pause()
    return lines_of(screen.result_list)


async def test_nothing_good_enough_is_said_above_faded_hits(app: DramaApp) -> None:
    """Nearest misses are shown as such, with what to try; hits that may be answers are not."""
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await begin(app, pilot, "bread")
        app.library.search = misses(app.library.search)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.has_class("-hopeless"))
        assert "Nothing good enough" in shown(screen, "#notice")
        assert screen.result_list.has_class("-faded") and screen.query_one("#notice").display


def misses(search: Callable[..., Results]) -> Callable[..., Results]:
    return lambda *query, **options: replace(search(*query, **options), nothing_good_enough=True)


# --- layout --------------------------------------------------------------------------------------------------


async def test_panes_stand_side_by_side_or_stacked(app: DramaApp) -> None:
    """Wide, the preview is at the right; narrow, below; keys and dragging change its share, which is kept."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        await pilot.pause()
        preview, hits = screen.query_one(Preview), screen.result_list
        assert preview.region.x > hits.region.right - 1 and preview.region.y == hits.region.y
        await pilot.press("tab", "left_square_bracket")
        await until(pilot, lambda: app.ui.preview_percent == 55 and preview.region.width == 66)
        await pilot.mouse_down("Splitter", offset=(0, 5))
        await pilot.hover(ResultList, offset=(36, 5))
        await pilot.mouse_up(ResultList, offset=(36, 5))
        await until(pilot, lambda: app.ui.preview_percent == 70)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: preview.region.y > hits.region.y and preview.region.width == hits.region.width)
        assert hits.region.height >= 3


async def test_selecting_loads_the_whole_document(app: DramaApp, files: Path) -> None:
    """The preview gets the hit at once and all passages of its document when they are read."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "yeast flour")
        preview = screen.query_one(Preview)
        await until(pilot, lambda: preview.document is not None and preview.document.hit == screen.hit)
        whole = app.library.passages_of(screen.hit.path)
        await until(pilot, lambda: preview.document.passages == whole)
        await pilot.press("down")
        await until(pilot, lambda: preview.document.hit == screen.hit and preview.document.passages != whole)


async def test_tab_cycles_query_results_and_preview(app: DramaApp) -> None:
    """Tab goes on, Escape goes back to the query, then clears it, and never ends the app."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        await pilot.press("tab")
        assert app.focused is screen.result_list
        await pilot.press("tab")
        assert app.focused is not None and screen.preview in app.focused.ancestors_with_self
        await pilot.press("escape")
        assert app.focused is screen.bar.input and screen.bar.input.value == "bread"
        await pilot.press("escape")
        await until(pilot, lambda: not screen.has_class("-found"))
        await pilot.press("escape", "escape")
        assert app.is_running and "Search" in shown(screen, "#nothing > Static")


# --- empty states --------------------------------------------------------------------------------------------


async def test_without_an_index_the_screen_says_what_to_press(own_home: Path) -> None:
    """No index: F3 is named; a query is kept and breaks nothing."""
    settings = load_settings()
    save_state(settings, UiState(welcomed=True))
    app = DramaApp(settings)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.opened)
        await pilot.press(*"tea")
        await until(pilot, lambda: "F3" in shown(app.screen, "#nothing > Static"))
        assert "No index yet" in shown(app.screen, "#state")


async def test_an_index_that_does_not_open_is_told(own_home: Path) -> None:
    """The reason stands where hits would, not an invitation to begin anew."""
    folder = own_home / "data" / "index"
    folder.mkdir(parents=True)
    (folder / "manifest.db").write_bytes(b"this is no database, but something else" * 100)
    settings = load_settings()
    save_state(settings, UiState(welcomed=True))
    app = DramaApp(settings)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "does not open" in shown(app.screen, "#nothing > Static"))
        assert "No index yet" not in shown(app.screen, "#state") + shown(app.screen, "#nothing > Static")


async def test_another_screen_can_name_the_folder(app: DramaApp, files: Path) -> None:
    """A search inside a folder replaces the folders of the conditions and searches at once."""
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await begin(app, pilot, "bread river")
        app.post_message(SearchInside(files / "odd"))
        await until(pilot, lambda: screen.chips == (Chip("in", str(files / "odd")),) and screen.asked is None)
        assert [hit.path.name for hit in screen.result_list.hits] == [HOSTILE]


async def test_nothing_found_suggests_what_may_help(app: DramaApp) -> None:
    """No hit: filters, mode and words are named as they apply."""
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await begin(app, pilot)
        app.ui.mode = "keywords"
        await pilot.press(*"until:1999 ")
        await until(pilot, lambda: screen.chips)
        screen.bar.input.value = "bread"
        await settle(pilot, screen, "bread")
        said = shown(screen, "#nothing > Static")
        assert "Nothing found" in said and "F7" in said and "F6" in said


# --- acting on hits ------------------------------------------------------------------------------------------


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was copied."""
    copied: list[str] = []
    monkeypatch.setattr("drama_app.tui.clipboard.copy", lambda _, text, *what: copied.append(text) or "Copied")
    return copied


async def test_paths_passages_and_citations_are_copied(app: DramaApp, copied: list[str]) -> None:
    """Keys outside the query, Ctrl keys inside; of selected hits all paths, a line each; the query is remembered."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread river")
        await pilot.press("ctrl+y", "ctrl+t")
        assert copied == [str(screen.hit.path), screen.passage.text]
        assert app.ui.history == ["bread river"]
        copied.clear()
        await pilot.press("tab", "y", "Y", "c")
        assert copied[:2] == [str(screen.hit.path), screen.passage.text] and screen.hit.path.name in copied[2]
        copied.clear()
        await pilot.press("space", "down", "space", "y")
        assert copied == ["\n".join(str(path) for path in screen.result_list.chosen)] and copied[0].count("\n") == 1
        assert "2 selected" in shown(screen, "#state")
        await pilot.press("escape", "escape")
        assert not screen.result_list.chosen and screen.bar.input.value == "bread river"


async def test_the_folder_is_shown_and_a_refusal_is_told(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """`o` and Ctrl+O show the folder; what cannot be opened is told, and nothing ends."""
    shown_folders: list[Path] = []
    monkeypatch.setattr("drama_app.tui.opening.show_in_folder", lambda path: shown_folders.append(path) or "Shown")
    said = record_toasts(app, monkeypatch)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: shown_folders == [screen.hit.path] and said)

        def refuse(path: Path, page: int | None) -> str:
            raise UsageError("the file is gone")

        monkeypatch.setattr("drama_app.tui.opening.open_file", refuse)
        await pilot.press("enter")
        await until(pilot, lambda: ("the file is gone", "error") in said)


def record_toasts(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(app, "say", lambda text, *, severity="information", title="": said.append((text, severity)))
    return said


async def test_the_editor_gets_the_terminal_and_the_line(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """`e` and Ctrl+E leave the terminal to the editor at the passage's line, and say how it ended."""
    commands: list[list[str]] = []
    wanted: list[tuple[Path, int | None]] = []

    def command(path: Path, line: int | None) -> list[str]:
        wanted.append((path, line))
        return ["editor"]

    monkeypatch.setattr("drama_app.tui.opening.editor_command", command)
    monkeypatch.setattr(app, "suspend", contextlib.nullcontext)
    said = record_toasts(app, monkeypatch)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "harbour")
        monkeypatch.setattr(
            subprocess, "run", lambda line, **_: commands.append(line) or SimpleNamespace(returncode=len(commands) - 1)
        )
        await pilot.press("ctrl+e", "tab", "e")
        assert commands == [["editor"], ["editor"]]
        assert wanted == [(screen.hit.path, screen.passage.line)] * 2
        assert "as it was" in said[0][0] and "code 1" in said[1][0]
        stamps = iter([(1, 1, 1), (2, 1, 1)])
        monkeypatch.setattr("drama_app.tui.screens.hit_actions._read_stamp", lambda _: next(stamps))
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0))
        await pilot.press("e")
        assert "was edited" in said[2][0]


async def test_what_was_typed_since_is_not_lost(app: DramaApp) -> None:
    """Conditions that contradict each other are told though they came faster than the screen; no word goes."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "harbour")
        typed = "since:2027 until:2020 zebra"
        with screen.bar.input.prevent(Input.Changed):
            screen.bar.input.value = typed
        screen.bar.input.post_message(Input.Changed(screen.bar.input, "since:2027 "))
        screen.bar.input.post_message(Input.Changed(screen.bar.input, typed))
        await until(pilot, lambda: "lies after" in screen.hint)
        assert screen.bar.input.value == typed


async def test_the_query_is_drawn_without_what_turns_a_line_round(app: DramaApp) -> None:
    """Pasted marks of direction are asked with, and drawn as a mark of their own."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "harbour")
        screen.bar.input.value = "harbour\u202egnp"
        await pilot.pause()
        assert "\u202e" not in str(screen.bar.input._value)


async def test_next_and_previous_passage(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """n and N, Ctrl+N and Ctrl+B, PgUp and PgDn reach the preview from wherever the focus is."""
    calls: list[str] = []
    for name in ("next_hit", "previous_hit", "page_down", "page_up"):
        monkeypatch.setattr(Preview, name, lambda _, name=name: calls.append(name))
    async with app.run_test(size=(120, 36)) as pilot:
        await begin(app, pilot, "bread")
        await pilot.press("ctrl+n", "ctrl+b", "pagedown", "pageup", "tab", "n", "N", "pagedown")
        assert calls == ["next_hit", "previous_hit", "page_down", "page_up", "next_hit", "previous_hit", "page_down"]


async def test_why_explains_and_closes(app: DramaApp) -> None:
    """`w` shows the scores in words; Escape closes only the layer."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        await pilot.press("tab", "w")
        await layer(pilot, WhyScreen)
        await pilot.press("down", "up", "escape")
        await until(pilot, lambda: app.screen is screen)
        assert screen.result_list.hits


def test_an_explanation_names_every_source() -> None:
    """Value, rank and share of each source, an exact match, and the words found are told."""
    scores = (Score("meaning", 0.8123, 3, 4.25), Score("keywords", 12.5, None, 21.5))
    passage = PassageHit(0, 7, None, 0, 12, "A › B", "en", "good bread here", 25.75, scores, marks=((5, 10),))
    hit = Hit(Path("/a/b.pdf"), (), "", "pdf", 0.0, 25.75, (passage,))
    text = explain(Results("bread", "fused", (hit,), True, 0.01), hit, 1).plain

    for part in ("b.pdf", "page 7", "A › B", "0.812", "number 3", "4.25", "12.50", "21.50", "25.75", "exactly",
                 "Words found: bread", "likely no answer"):  # fmt: skip
        assert part in text


async def test_similar_documents_and_the_way_back(app: DramaApp, files: Path) -> None:
    """`s` shows what is like the document with a chip; Escape removes it and the query's hits are back."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        screen.result_list.cursor = next(
            index for index, hit in enumerate(screen.result_list.hits) if hit.path.name == "tea.txt"
        )
        await pilot.press("tab", "s")
        await until(pilot, lambda: screen.answered.similar is not None and screen.asked is None)
        assert "similar to tea.txt" in shown(screen, "ChipRow")
        assert screen.result_list.hits and all(hit.path.name != "tea.txt" for hit in screen.result_list.hits)
        screen.used()
        assert not any("tea.txt" in query for query in app.ui.history)  # it was no query
        await pilot.press("escape")
        await settle(pilot, screen, "bread")
        assert not screen.query_one("FilterBar").display


async def test_the_menu_does_what_its_keys_say(app: DramaApp, copied: list[str]) -> None:
    """F8 lists the actions while the query has the focus; a key or Enter carries one out."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        await pilot.press("f8")
        await layer(pilot, ActionsScreen)
        await pilot.press("Y")
        await until(pilot, lambda: copied == [screen.passage.text])
        await pilot.press("f8")
        await layer(pilot, ActionsScreen)
        options = app.screen.query_one(OptionList)
        options.highlighted = options.get_option_index("cite")
        await pilot.press("enter")
        await until(pilot, lambda: len(copied) == 2)
        assert screen.hit.path.name in copied[1]
        await pilot.press("f8", "escape")
        await until(pilot, lambda: app.screen is screen)
        assert len(copied) == 2


async def test_export_writes_and_never_overwrites_silently(app: DramaApp, tmp_path: Path) -> None:
    """`x` asks for format and file; a file that is there is replaced only when that is asked for."""
    target = tmp_path / "hits.csv"
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        await pilot.press("tab", "x")
        await layer(pilot, ExportScreen)
        await pilot.click("RadioButton", offset=(5, 0))
        await until(pilot, lambda: app.screen.query_one("#path", Input).value.endswith(".json"))
        app.screen.query_one("#path", Input).value = str(target.with_suffix(".json"))
        await pilot.click("#export")
        await until(pilot, lambda: app.screen is screen)
        first = target.with_suffix(".json").read_text()
        assert all(hit.path.name in first for hit in screen.result_list.hits if hit.path.name != HOSTILE)

        target.with_suffix(".json").write_text("mine")
        await pilot.press("space", "x")
        await layer(pilot, ExportScreen)
        await pilot.click("RadioButton", offset=(5, 0))
        app.screen.query_one("#path", Input).value = str(target.with_suffix(".json"))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: app.screen.has_class("-exists"))
        assert target.with_suffix(".json").read_text() == "mine"
        await pilot.click("#replace")
        await until(pilot, lambda: app.screen is screen)
        assert 0 < len(target.with_suffix(".json").read_text()) < len(first)


async def test_a_typed_ending_chooses_the_format(app: DramaApp, tmp_path: Path) -> None:
    """A name that ends in .csv or .JSON is written as such, though Markdown was chosen; others change nothing."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await begin(app, pilot, "bread")
        await pilot.press("tab", "x")
        await layer(pilot, ExportScreen)
        field = app.screen.query_one("#path", Input)
        for name, wanted in (("hits.txt", "markdown"), ("hits.csv", "csv"), ("hits.JSON", "json"), ("hits", "json")):
            field.value = str(tmp_path / name)
            await until(pilot, lambda wanted=wanted: app.screen.format == wanted)
            assert field.value == str(tmp_path / name)
        field.value = str(tmp_path / "hits.csv")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is screen)
        assert (tmp_path / "hits.csv").read_text(encoding="utf-8-sig").startswith("rank,path,title")


# --- history -------------------------------------------------------------------------------------------------


async def test_history_is_walked_shown_and_cleared(app: DramaApp) -> None:
    """Ctrl+Up brings back older queries, Ctrl+Down what was typed; the empty screen offers them."""
    app.ui.history = ["train", "bread"]
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await begin(app, pilot)
        assert "train" in shown(screen, "#nothing > Static")
        screen.action_recall(1)
        await settle(pilot, screen, "train")
        screen.bar.input.value = "riv"
        await pilot.press("ctrl+up")
        assert screen.bar.input.value == "bread"
        await pilot.press("ctrl+up", "ctrl+up")
        assert screen.bar.input.value == "train"
        await pilot.press("ctrl+down", "ctrl+down")
        assert screen.bar.input.value == "riv"
        await screen.run_action("clear_history")
        assert app.ui.history == []


async def test_a_query_that_rests_is_remembered(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries on the way to another are not kept, one with hits that rests is."""
    monkeypatch.setattr("drama_app.tui.screens.asking.RESTS", 4.0)  # a busy machine may stand still for two
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await begin(app, pilot, "bread")
        monkeypatch.setattr("drama_app.tui.screens.asking.RESTS", 0.1)
        screen.bar.input.value = "bread river"
        await until(pilot, lambda: app.ui.history)
        await pilot.pause(4.0)
        assert app.ui.history == ["bread river"]


def test_a_walk_comes_back_to_the_draft() -> None:
    """Back and forth end at the oldest and at what was typed; typing in between begins a new walk."""
    walk, history = Walk(), ["a", "b"]

    assert walk.forth("x") is None
    assert [walk.back(history, "x"), walk.back(history, "b"), walk.back(history, "a")] == ["b", "a", None]
    assert [walk.forth("a"), walk.forth("b"), walk.forth("x")] == ["b", "x", None]
    assert [walk.back(history, "y"), walk.back(history, "b changed")] == ["b", "b"]
    assert Walk().back([], "x") is None


def test_long_paths_lose_their_beginning() -> None:
    """The end of a path tells most; the result is never wider than asked for, in any script."""
    assert cut_left("/home/a/file.txt", 40) == "/home/a/file.txt"
    assert cut_left("/home/someone/file.txt", 12).endswith("file.txt")
    assert cut_left("/文書/資料/報告書.txt", 11) == "…報告書.txt"


async def test_the_palette_offers_what_has_no_key_now(app: DramaApp) -> None:
    """Modes, clearing, and actions whose letter the query would take are in the palette."""
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await begin(app, pilot, "bread")
        from drama_app.tui.screens.commands import SearchCommands

        provider = SearchCommands(screen)
        titles = {str(hit.prompt) for hit in [each async for each in provider.discover()]}
        assert {"Clear history", "Clear filters", "Search by meaning", "Why", "Cite"} <= titles
        found = [hit async for hit in provider.search("clear hist")]
        app.ui.history = ["x"]
        await found[0].command()
        assert app.ui.history == []


async def test_a_filter_in_the_query_counts_though_the_words_stay(app: DramaApp) -> None:
    """A condition put before a query that is answered already asks again: hits and chips never disagree."""
    async with app.run_test(size=(120, 34)) as pilot:
        screen = await begin(app, pilot, "bread")
        assert any(hit.path.suffix == ".md" for hit in screen.results.hits)
        screen.bar.input.value = "type:txt bread"
        await until(pilot, lambda: screen.asked is None and screen.answered.chips == (Chip("type", "txt"),))
        assert screen.bar.input.value == "bread"
        assert {hit.path.suffix for hit in screen.results.hits} == {".txt"}


async def test_words_after_similar_are_a_query_again(app: DramaApp) -> None:
    """A space typed over "similar" asks for the words, the chip goes, and no word of a path is marked meanwhile."""
    async with app.run_test(size=(120, 34)) as pilot:
        screen = await begin(app, pilot, "bread")
        screen.action_similar()
        await until(pilot, lambda: screen.asked is None and screen.answered.similar is not None)
        assert screen._question() == ""
        screen.bar.input.value = "bread "
        await until(pilot, lambda: screen.asked is None and screen.answered.similar is None)
        assert screen.results.query == "bread" and screen._question() == "bread"


@pytest.mark.parametrize(("share", "told"), [(0.0, True), (0.37, False)])
def test_why_tells_of_meaning_alone_only_where_words_added_nothing(share: float, told: bool) -> None:
    """A passage whose keywords count, though none of them is marked, was not found by its meaning alone."""
    scores = (Score("meaning", 0.4, 1, -0.2), Score("keywords", 7.25, 12, share))
    passage = PassageHit(0, None, 1, 0, 4, "", "en", "Rent", 0.1, scores)
    hit = Hit(Path("/x/a.txt"), (), "A", "text", 0.0, 0.1, (passage,))
    results = Results("law of q", "fused", (hit,), False, 0.01)
    assert ("None of the words stands in it" in explain(results, hit, 1).plain) is told
