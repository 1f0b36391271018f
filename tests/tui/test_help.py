"""The two layers over any screen: the keys that work, and letters to jump with."""

from typing import ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Button, Input, Static

from drama_app.tui.app import DramaApp
from drama_app.tui.screens.help import HelpScreen, list_keys
from drama_app.tui.screens.jump import LETTERS, JumpScreen, find_targets
from drama_app.tui.widgets.key_line import name_key
from tests.tui.conftest import until


def said(app: DramaApp) -> str:
    return "\n".join(str(each.render()) for each in app.screen.query(Static))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("ctrl+g", "Ctrl+G"), ("escape", "Esc"), ("f1", "F1"), ("question_mark", "?"), ("N", "N"), ("n", "n"),
        ("pageup", "PgUp"), ("ctrl+up", "Ctrl+Up"), ("left_square_bracket", "["),
    ],
)  # fmt: skip
def test_keys_are_named_as_on_the_keyboard(key: str, name: str) -> None:
    """Nobody has to know what ^g or question_mark is."""
    assert name_key(key) == name


async def test_f1_lists_what_works_with_its_names_and_esc_closes(app: DramaApp) -> None:
    """Help shows keys, what they do and their names for the key map, grouped; a second F1 or Esc closes it."""
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.opened)
        below = app.screen
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and app.screen.query(".help-keys"))
        text = said(app)

        for words in ("Everywhere", "On this screen", "Ctrl+P", "app.palette", "app.help", "config.toml", "[keys]"):
            assert words in text
        await pilot.press("escape")
        assert app.screen is below
        await pilot.press("f1", "f1")
        assert app.screen is below


async def test_question_mark_is_help_outside_fields_and_a_letter_inside(app: DramaApp) -> None:
    """While one types, ? is a question mark."""
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.opened)
        field = app.screen.query_one("#query", Input)
        field.focus()
        await pilot.press("question_mark")
        assert field.value == "?" and not isinstance(app.screen, HelpScreen)
        field.value = ""
        app.screen.set_focus(None)
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("question_mark")
        assert not isinstance(app.screen, HelpScreen)


async def test_help_lists_each_action_once_and_only_what_works(app: DramaApp) -> None:
    """Several keys of one action stand on one line, and every line that is named can be found in the bindings."""
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.opened)
        rows = [row for _, group in list_keys(app.screen) for row in group]
        active = {each.binding.id for each in app.screen.active_bindings.values() if each.enabled}

        names = [name for _, _, name in rows if name]
        assert len(names) == len(set(names)) and set(names) <= active
        assert all(keys and description for keys, description, _ in rows)


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
async def test_help_fits_small_terminals_and_scrolls(app: DramaApp, size: tuple[int, int]) -> None:
    """In a small terminal the list scrolls and nothing stands outside."""
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.opened)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and app.screen.query(".help-keys"))
        await pilot.pause()
        scroll = app.screen.query_one(VerticalScroll)
        await pilot.press("end")
        await until(pilot, lambda: scroll.scroll_y == scroll.max_scroll_y > 0)

        assert app.screen.region.contains_region(app.screen.query_one("#help-box").region)


async def test_ctrl_g_labels_what_can_have_the_focus_and_its_letter_goes_there(app: DramaApp) -> None:
    """Each label stands on its part; the letter, or a click, moves the focus and closes; Esc and Ctrl+G only close."""
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.opened)
        below = app.screen
        for closing in ("escape", "ctrl+g"):
            await pilot.press("ctrl+g")
            assert isinstance(app.screen, JumpScreen)
            await pilot.press(closing)
            assert app.screen is below
        below.set_focus(None)
        await pilot.press("ctrl+g")
        layer = app.screen
        assert isinstance(layer, JumpScreen)
        letter, target = next((letter, each) for letter, each in layer.targets.items() if each.id == "query")
        label = layer.query_one(f"#jump-{letter}")
        await pilot.pause()
        assert target.region.contains_region(label.region)
        await pilot.press(letter)
        assert app.screen is below and below.focused is target

        below.set_focus(None)
        await pilot.press("ctrl+g")
        await pilot.pause()
        await pilot.click(f"#jump-{letter}")
        assert app.screen is below and below.focused is target


class Crowd(App[None]):
    """Parts that are hidden, covered or out of sight."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+g", "jump", "Jump")]
    CSS = "#hidden { display: none } VerticalScroll { height: 6 } Button { height: 3 }"

    def compose(self) -> ComposeResult:
        yield Button("hidden", id="hidden")
        with VerticalScroll(id="list"):
            for number in range(9):
                yield Button(f"[red]{number}[/red]", id=f"b{number}")

    def action_jump(self) -> None:
        self.push_screen(JumpScreen(self.screen))


async def test_only_what_is_in_sight_gets_a_letter_and_labels_do_not_cover_each_other() -> None:
    """Hidden parts and those scrolled away have none; a list and its first row have two labels side by side."""
    async with Crowd().run_test(size=(60, 20)) as pilot:
        names = [widget.id for widget, _ in find_targets(pilot.app.screen)]
        assert "hidden" not in names and "b8" not in names and {"list", "b0", "b1"} <= set(names)
        await pilot.press("ctrl+g")
        await pilot.pause()
        labels = [label.region for label in pilot.app.screen.query(".jump-label")]

        assert len(labels) == len(names) <= len(LETTERS)
        assert not any(one.overlaps(other) for one in labels for other in labels if one is not other)
        await pilot.press("1")
        assert isinstance(pilot.app.screen, JumpScreen)
        await pilot.resize_terminal(50, 18)
        await until(pilot, lambda: not isinstance(pilot.app.screen, JumpScreen))


async def test_a_resize_closes_labels_once_even_below_another_layer(app: DramaApp) -> None:
    """Labels whose parts have moved go away, when they are on top again; the layer over them stays."""
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.opened)
        below = app.screen
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, JumpScreen) and app.screen.is_mounted)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.resize_terminal(80, 30)
        await pilot.resize_terminal(70, 30)
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is below)
