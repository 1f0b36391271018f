"""Forty columns, twenty-four rows: nothing that matters is cut off, and everything can be found."""

from pathlib import Path

import pytest
from rich.cells import cell_len

from drama_app.conditions import Chip
from drama_app.tui.app import DramaApp
from drama_app.tui.palette import list_commands
from drama_app.tui.screens.add_folder import AddFolderScreen
from drama_app.tui.screens.export import NAMES, Choice, ExportScreen
from drama_app.tui.screens.help import HelpScreen, KeyGroup, list_keys
from drama_app.tui.widgets.navigation import SCREENS, Place
from drama_app.tui.widgets.search_bar import ModeBadge
from drama_app.tui.widgets.status_line import SCREENS_BY_KEY, StatusLine
from tests.tui.conftest import until
from tests.tui.test_search_screen import begin, layer, shown


@pytest.mark.parametrize("width", [40, 60, 120])
async def test_help_shows_every_key_and_name_whole(app: DramaApp, width: int) -> None:
    """Where columns do not fit they stand below each other; nothing is cut."""
    async with app.run_test(size=(width, 24)) as pilot:
        await until(pilot, lambda: app.opened)
        wanted = list_keys(app.screen)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and app.screen.query(KeyGroup))
        groups = list(app.screen.query(KeyGroup))

        def fits(group: KeyGroup) -> bool:
            lines = [cell_len(line) <= group.size.width for line in str(group.render()).splitlines()]
            return len(lines) > 1 and sum(lines) >= 0.9 * len(lines)  # the longest are wrapped

        await until(pilot, lambda: all(map(fits, groups)))
        for (_, rows), group in zip(wanted, groups, strict=True):
            assert all(part in str(group.render()) for row in rows for part in row)
            assert group.styles.text_overflow == "fold"


async def test_the_query_keeps_its_room_and_the_cursor_in_sight(app: DramaApp) -> None:
    """In forty columns only the mode in force is named, and after a resize the end of a long query is seen."""
    query = "bread " * 9 + "oven"
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await begin(app, pilot, query)
        await pilot.press("end")
        assert str(screen.query_one(ModeBadge).render()).split() == ["both", "meaning", "keywords"]
        await pilot.resize_terminal(40, 30)
        await until(pilot, lambda: str(screen.query_one(ModeBadge).render()).split() == ["both"])
        field = screen.bar.input
        await until(pilot, lambda: field.size.width >= 26)
        await until(pilot, lambda: field.scroll_offset.x + field.size.width >= len(query))


@pytest.mark.parametrize(("width", "last"), [(40, "F5 Mod"), (56, "F5 Mod"), (57, "F5  Model ")])
async def test_every_screen_is_named_at_any_width(app: DramaApp, width: int, last: str) -> None:
    """Where the four names do not fit, their first letters do; none is cut off."""
    async with app.run_test(size=(width, 30)) as pilot:
        await until(pilot, lambda: app.status is not None)
        await pilot.press("f4")
        await until(pilot, lambda: app.current_mode == "activity" and app.screen.is_mounted)
        place = app.screen.query(Place).last()
        await until(pilot, lambda: str(place.visual) == last and place.size.width == len(last))
        assert place.region.right <= width - 1
        await pilot.resize_terminal(100, 30)
        await until(pilot, lambda: str(place.visual) == "F5  Model " and place.size.width == 10)


async def test_at_24_rows_the_other_screens_are_named(app: DramaApp) -> None:
    """Without the line of screens the status line says which keys lead to them."""
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await begin(app, pilot)
        await until(pilot, lambda: str(screen.query_one(StatusLine).render()).endswith(SCREENS_BY_KEY))
        await pilot.resize_terminal(80, 40)
        await until(pilot, lambda: SCREENS_BY_KEY not in str(screen.query_one(StatusLine).render()))


async def test_the_palette_reaches_other_screens(app: DramaApp) -> None:
    """What people look for wherever they are is offered on the search screen, goes to its screen and acts there."""
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.status is not None)
        commands = {command.title: command for command in list_commands(app, app.screen)}
        assert {"Add a folder", "Bring all folders up to date", "Read all failed files again"} <= commands.keys()
        commands["Add a folder"].callback()
        await layer(pilot, AddFolderScreen)


async def test_the_palette_lists_each_action_once_with_all_its_keys(app: DramaApp) -> None:
    """An action of the query and of the screen around it is one entry, under a name that tells what it does."""
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await begin(app, pilot, "bread")
        screen.result_list.focus()
        await pilot.pause()
        commands = list(list_commands(app, screen))
        titles = [each.title for each in commands]
        assert len(titles) == len(set(titles))
        about = {each.title: each.help for each in commands}
        assert about["Mode"] == "key m, F6"
        assert about["Find documents like this one"] == "key s"


async def test_the_palette_names_each_screen_once(app: DramaApp) -> None:
    """Wherever it is opened, a screen is one entry, with its key, and no two entries have one name."""
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.status is not None)
        for name, (key, _) in SCREENS.items():
            await pilot.press(key.lower())
            await until(pilot, lambda wanted=name: app.current_mode == wanted)
            about = [(each.title, each.help) for each in list_commands(app, app.screen)]
            titles = [title for title, _ in about]
            assert len(titles) == len(set(titles))
            wanted = [(f"Go to {title}", f"key {key}") for key, title in SCREENS.values()]
            names = dict(SCREENS.values()).values()
            assert [entry for entry in about if entry[0].removeprefix("Go to ") in names] == wanted


@pytest.mark.parametrize("width", [40, 80])
async def test_every_format_of_an_export_is_whole(app: DramaApp, width: int) -> None:
    """However narrow the terminal is, each format's mark and name are on the screen."""
    async with app.run_test(size=(width, 24)) as pilot:
        await begin(app, pilot, "bread")
        await pilot.press("tab", "x")
        await layer(pilot, ExportScreen)
        shown = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert [f") {name}" in shown for name in NAMES.values()] == [True] * 3
        assert app.screen.query_one("#export").region.bottom <= 23


async def test_what_is_chosen_shows_without_colour(app: DramaApp) -> None:
    """Of the export's formats the chosen one has a mark."""
    async with app.run_test(size=(80, 24)) as pilot:
        await begin(app, pilot, "bread")
        await pilot.press("tab", "x")
        await layer(pilot, ExportScreen)
        marks = {str(each.name): str(each.render())[:3] for each in app.screen.query(Choice)}
        assert marks == {"json": "( )", "csv": "( )", "markdown": "(•)"}


async def test_escape_takes_filters_away_last_and_a_folder_of_nowhere_is_told(
    app: DramaApp, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is not there is named while it is not; Esc clears the query, then the filters."""
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await begin(app, pilot, "bread")
        screen._change_chips((Chip("in", "nowhere"),))
        await until(pilot, lambda: "in:nowhere names no folder" in shown(screen, "#state"))
        monkeypatch.setattr("drama_app.tui.searching.explain_nothing", lambda *_: "")
        screen.action_repeat()
        await until(pilot, lambda: "names no folder" not in shown(screen, "#state"))
        monkeypatch.setattr("drama_app.tui.searching.explain_nothing", lambda *_: 1 / 0)
        screen.action_repeat()
        await until(pilot, lambda: screen.asked is None)  # a reason that cannot be found holds up no answer
        screen._change_chips((Chip("in", str(files / "recipes")),))
        await until(pilot, lambda: screen.asked is None and screen.result_list.hits and "ms" in shown(screen, "#state"))
        await pilot.press("escape")
        assert (screen.bar.input.value, len(screen.chips)) == ("", 1)
        await pilot.press("escape")
        assert screen.chips == ()
