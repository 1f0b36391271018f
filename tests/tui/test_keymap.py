"""The person's own keys."""

from dataclasses import replace

import pytest

from drama_app.tui.app import DramaApp
from drama_app.tui.keymap import describe_unknown
from tests.tui.conftest import until


def test_every_kind_of_action_is_known() -> None:
    """Actions of the app, of a screen that is not shown yet and of a widget may have other keys."""
    assert (
        describe_unknown({"app.help": "f12", "library.add": "ctrl+l", "preview.next": "j", "search.mode": "f9"}) == ""
    )


def test_a_misspelt_action_is_named_with_its_likely_name() -> None:
    """What no part of the program knows is told, with what was likely meant."""
    sentence = describe_unknown({"search.moed": "f9", "app.help": "f12"})

    assert "'search.moed'" in sentence
    assert "did you mean 'search.mode'" in sentence
    assert "app.help" not in sentence


async def test_keys_of_their_own_work_and_wrong_ones_are_told(app: DramaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start the wrong name is told, and the right one has its new key."""
    said: list[str] = []
    monkeypatch.setattr(app, "say", lambda sentence, **_: said.append(sentence))
    app.settings = replace(app.settings, keys={"app.model": "f9", "app.nothing": "f10"})
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: said)
        assert "'app.nothing'" in said[0]
        await pilot.press("f9")
        await until(pilot, lambda: app.current_mode == "model")
