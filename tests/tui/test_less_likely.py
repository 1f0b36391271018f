"""Hits that are far less likely than the best stand below a rule, and can be used like the others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drama_app.library import Library
from drama_app.records import Hit, Results, Score
from drama_app.tui.app import DramaApp
from drama_app.tui.screens.search import SearchScreen
from drama_app.tui.widgets.result_list import LESS_LIKELY, ResultList
from tests.tui.conftest import until


@pytest.fixture(autouse=True)
def two_good_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all hits the first two are good."""
    search = Library.search

    def scored(place: int, hit: Hit) -> Hit:
        score = Score("meaning", 0.5, place + 1, 6.0 if place < 2 else 1.0)
        return replace(hit, passages=tuple(replace(each, scores=(score,)) for each in hit.passages))

    def found(*arguments: Any, **options: Any) -> Results:
        results = search(*arguments, **options)
        return replace(
            results, hits=tuple(scored(*each) for each in enumerate(results.hits)), nothing_good_enough=False
        )

    monkeypatch.setattr(Library, "search", found)


async def test_a_rule_sets_them_apart(app: DramaApp) -> None:
    """The rule has a line of its own below the last good hit; nothing is hidden, and the cursor passes it."""
    async with app.run_test(size=(120, 36)) as pilot:
        screen = app.screen
        assert isinstance(screen, SearchScreen)
        await until(pilot, lambda: app.library is not None)
        screen.bar.input.value = "song of the music library"
        await until(pilot, lambda: screen.results is not None and screen.asked is None)
        await pilot.pause()
        hits: ResultList = screen.result_list
        height = hits.row_height
        lines = [hits.render_line(y).text for y in range(hits.size.height)]
        assert [y for y, line in enumerate(lines) if LESS_LIKELY in line] == [2 * height]
        assert lines[2 * height + 1].split()[0] == "3" and hits.virtual_size.height == 20 * height + 1
        await pilot.click(ResultList, offset=(12, 2 * height))
        assert hits.cursor == 0
        await pilot.click(ResultList, offset=(12, 2 * height + 1))
        assert hits.cursor == 2
        await pilot.click(ResultList, offset=(12, 2 * height - 2))
        assert hits.cursor == 1
        await pilot.press("ctrl+end")
        await pilot.pause()
        assert any(" 20 " in hits.render_line(y).text[:8] for y in range(hits.size.height))


def test_the_shell_names_them(app: DramaApp, capsys: pytest.CaptureFixture[str], ready: Path) -> None:
    """`drama-app search` says where the less likely hits begin, apart from the hits where a program reads them."""
    from drama_app.cli import main

    assert main(["search", "song of the music library", "--limit", "4"]) == 0
    told = capsys.readouterr()
    assert "less likely: from hit 3 on" in told.err and "less likely" not in told.out
