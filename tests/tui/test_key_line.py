"""The line of keys at the foot: what works now, as keyboards name it, and what a click does."""

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import Input

from drama_app.tui.app import DramaApp
from drama_app.tui.widgets.key_line import KeyLine


class Some(App[None]):
    """Two keys, one of which cannot be used, and help."""

    BINDINGS = [  # noqa: RUF012  as Textual has it
        Binding("f8", "act", "Act on the hit", id="x.act"),
        Binding("f9,f10", "never", "Never", id="x.never"),
        Binding("f1", "help", "Help", id="app.help"),
    ]
    acted = 0

    def compose(self) -> ComposeResult:
        """Parts."""
        yield Input()
        yield KeyLine()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """One is there but does nothing."""
        return None if action == "never" else super().check_action(action, parameters)

    def action_act(self) -> None:
        """Counts."""
        self.acted += 1

    def action_help(self) -> None:
        """Does nothing."""


def said(app: App[None]) -> str:
    return str(app.query_one(KeyLine).render())


async def test_a_click_presses_the_key() -> None:
    """The key under the mouse is pressed; one that cannot be used is not; each action is named once."""
    app = Some()
    async with app.run_test(size=(80, 5)) as pilot:
        text = said(app)
        assert text.startswith(" F8 Act on the hit  F9 Never  F1 Help ") and "F10" not in text
        await pilot.click(KeyLine, offset=(text.index("Act"), 0))
        await pilot.click(KeyLine, offset=(text.index("Never"), 0))
        await pilot.pause()
        assert app.acted == 1


async def test_help_stays_where_not_all_keys_fit() -> None:
    """In a narrow terminal keys are left out from the end, but never the one that names them all."""
    app = Some()
    async with app.run_test(size=(30, 5)):
        assert said(app).split() == ["F8", "Act", "on", "the", "hit", "F1", "Help"]


async def test_keys_follow_the_focus(app: DramaApp) -> None:
    """Keys of a part are shown while it has the focus."""
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.pause()
        before = str(app.screen.query_one(KeyLine).render())
        await pilot.press("f7")
        await pilot.pause()
        assert "F6 Mode" in before and "F8" not in before and "Open" not in before  # there is no hit to open
        assert before != str(app.screen.query_one(KeyLine).render())
