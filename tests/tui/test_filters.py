"""Conditions as words: reading, refusing, completing; and the bar in which they are typed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from textual.widgets import OptionList, Static

from drama_app.conditions import (
    Chip,
    Choices,
    add_chips,
    complete,
    leave_out_conditions,
    make_chip,
    make_filters,
    read_line,
    split_query,
)
from drama_app.errors import UsageError
from drama_app.tui.app import DramaApp
from drama_app.tui.screens.search import SearchScreen
from drama_app.tui.widgets.filter_bar import FilterBar, FilterInput
from tests.tui.conftest import until

TODAY = datetime(2024, 5, 31)


def test_a_phrase_keeps_what_looks_like_a_condition() -> None:
    """What is in quotes is searched for as it stands."""
    query = 'the "type:pdf or type:md" switch '
    assert split_query(query) == (query, (), "")
    assert split_query('in:"my notes" bees "a b" type:md ') == (
        'bees "a b" ',
        (Chip("in", "my notes"), Chip("type", "md")),
        "",
    )


def test_a_line_holds_several_conditions_and_folders_with_spaces() -> None:
    """A value runs to the next key, with or without quotes."""
    assert read_line('in:My Documents type:.PDF in:"a b" lang:DE') == (
        Chip("in", "My Documents"),
        Chip("type", "pdf"),
        Chip("in", "a b"),
        Chip("lang", "de"),
    )


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("since:yesterday", "since:2024-05-31"),
        ("until:2024-13", "until:2024-05"),
        ("lang:german", "lang:de"),
        ("type:a b", "type:pdf"),
        ("in:", "in:FOLDER"),
        ("whatever", "in:FOLDER"),
    ],
)
def test_a_wrong_value_is_told_with_the_right_form(line: str, form: str) -> None:
    """The sentence names what to write."""
    with pytest.raises(UsageError, match=form):
        read_line(line)


def test_conditions_leave_the_query_once_a_space_follows() -> None:
    """What is still being typed stays; what is wrong stays and is told; a colon in a sentence is none of it."""
    assert split_query("bread type:pdf ") == ("bread ", (Chip("type", "pdf"),), "")
    assert split_query("bread type:pd")[:2] == ("bread type:pd", ())
    rest, chips, complaint = split_query("since:soon bread ")
    assert (rest, chips) == ("since:soon bread ", ()) and "since:2024" in complaint
    assert split_query("log in: the page ")[:2] == ("log in: the page ", ())


def test_a_key_without_a_value_is_told_of_once_a_word_follows() -> None:
    """Whoever typed a space after the colon learns why no condition came of it; nobody is told while typing."""
    assert split_query("foo bar: since: x")[2].startswith("since: needs a value. Write in:FOLDER")
    assert [split_query(query)[2] for query in ("foo since:", "foo since: ", "foo bar: x", "basin: x")] == [""] * 4


def test_a_condition_that_stands_in_the_query_is_not_searched_for() -> None:
    """Refused or unfinished, it is no word of the question; a colon in a sentence is."""
    assert leave_out_conditions("bees until:2020 lang:german dance") == "bees dance"
    assert leave_out_conditions('bees in:"my notes') == 'bees in:"my notes'
    assert leave_out_conditions("bees type:pd") == "bees"
    assert leave_out_conditions(" log in: the page ") == "log in: the page"


async def test_a_refused_condition_is_told_whole_and_not_searched_for(app: DramaApp) -> None:
    """At 60 columns the complaint takes a second row, and the hits are those of the other words, and counted."""
    async with app.run_test(size=(60, 20)) as pilot:
        await until(pilot, lambda: app.status is not None)
        await pilot.press(*"bread since:2022 until:2020 ")
        screen = app.screen
        assert isinstance(screen, SearchScreen)
        await until(pilot, lambda: screen.results is not None and screen.answered.chips)
        assert screen.answered.query == "bread"
        state = screen.query_one("#state", Static)
        await until(pilot, lambda: state.size.height == 2)
        assert "nothing can match both. Remove one of them · " in str(state.visual)
        assert " in " in str(state.visual).rpartition("document")[2]
        await until(pilot, lambda: app.ui.history == ["bread"], 20)
        await pilot.press("ctrl+u")
        await until(pilot, lambda: state.size.height == 1)


async def test_enter_tells_of_a_wrong_condition_before_it_opens_a_hit(app: DramaApp) -> None:
    """A condition at the end of the query is read on Enter; if it is refused, the first Enter only says so."""
    opened: list[bool] = []
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.status is not None)
        app.screen.action_open = lambda: opened.append(True)
        await pilot.press(*"bread lang:german")
        await until(pilot, lambda: app.screen.results is not None and app.screen.asked is None)
        await pilot.press("enter")
        await until(pilot, lambda: "not a language code" in str(app.screen.query_one("#state", Static).visual))
        assert not opened
        await pilot.press("enter")
        await until(pilot, lambda: opened)


def test_dates_span_whole_periods_and_newer_ones_replace_older() -> None:
    """until:2024-02 includes its last day; a second since: counts instead of the first."""
    chips = add_chips((Chip("since", "2020"),), [Chip("since", "2024-02"), Chip("until", "2024-02")])
    filters = make_filters(chips, ())

    assert filters.since == datetime(2024, 2, 1).timestamp()
    assert filters.until == pytest.approx(datetime(2024, 3, 1).timestamp(), abs=0.001)
    assert len(chips) == 2
    with pytest.raises(UsageError, match="nothing can match"):
        add_chips(chips, [Chip("since", "2025")])


def test_inches_hide_no_condition() -> None:
    """Between two measures a condition is one; within quotes it is words."""
    assert split_query('5" disk type:pdf 3" x ') == ('5" disk 3" x ', (Chip("type", "pdf"),), "")
    assert split_query('"disk type:pdf x" y ')[1] == ()


def test_a_moment_before_all_time_is_no_date() -> None:
    """What the clock cannot count is refused in a sentence, with a time as without."""
    for value in ("0001-01-01", "0001-01-01T00:00"):
        with pytest.raises(UsageError, match="is not a date"):
            make_chip("since", value)


def test_a_relative_folder_is_looked_for_below_the_roots() -> None:
    """`in:mail` means that folder of any root, or the root of that name; an absolute one means itself."""
    roots = (Path("/home/a/mail"), Path("/data"))

    assert make_filters([Chip("in", "mail")], roots).folders[0] == Path("/home/a/mail")
    assert Path("/data/mail") in make_filters([Chip("in", "mail")], roots).folders
    assert make_filters([Chip("in", "/x/y")], roots).folders == (Path("/x/y"),)


def test_completion_offers_keys_values_and_days() -> None:
    """Keys first, then what the index holds; the rest of the line stays."""
    choices = Choices((Path("/data"),), ("pdf", "pptx", "markdown"), ("de", "da"), ("notes", "north"))

    assert complete("", choices, TODAY) == ("in:", "type:", "lang:", "since:", "until:")
    assert complete("lang:de type:p", choices, TODAY) == ("lang:de type:pdf", "lang:de type:pptx")
    assert complete("mark", choices, TODAY) == ("type:markdown",)
    assert complete("in:no", choices, TODAY) == ("in:notes", "in:north")
    assert complete("since:2024-05-3", choices, TODAY) == ("since:2024-05-31",)
    assert complete("type:pdf", choices, TODAY) == ()


async def open_bar(app: DramaApp, pilot, keys: str = "f7") -> FilterBar:
    await until(pilot, lambda: app.status is not None)
    await pilot.press(keys)
    bar = app.screen.query_one(FilterBar)
    await until(pilot, lambda: isinstance(app.focused, FilterInput))
    return bar


async def test_half_a_type_is_completed_then_added(app: DramaApp) -> None:
    """Enter first completes what is no type of the index, then adds it and goes back to the query."""
    async with app.run_test(size=(100, 30)) as pilot:
        bar = await open_bar(app, pilot)
        await pilot.press(*"ma", "enter")
        await until(pilot, lambda: bar.query_one(FilterInput).value == "type:markdown")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.chips == (Chip("type", "markdown"),))

        assert not bar.is_open
        assert app.focused is app.screen.bar.input


async def test_directories_are_completed(app: DramaApp) -> None:
    """Folders below the roots are offered while in: is typed; Tab takes the first, Down and Enter another."""
    async with app.run_test(size=(100, 30)) as pilot:
        bar = await open_bar(app, pilot)
        await pilot.press(*"in:t")
        await until(pilot, lambda: bar.choices.folders == ("travel",))
        await pilot.press("tab")
        await until(pilot, lambda: bar.query_one(FilterInput).value == "in:travel")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.chips == (Chip("in", "travel"),))

        await open_bar(app, pilot)
        await pilot.press(*"lang:", "down", "enter")
        await until(pilot, lambda: len(app.screen.chips) == 2)
        assert app.screen.chips[1].key == "lang"


async def test_a_complaint_is_shown_and_goes_when_typing_goes_on(app: DramaApp) -> None:
    """A wrong date names the right form under the line; Escape leaves the line."""
    async with app.run_test(size=(100, 30)) as pilot:
        bar = await open_bar(app, pilot)
        await pilot.press(*"since:soon", "enter")
        await until(pilot, lambda: bar.has_class("-wrong"))
        assert "since:2024" in str(bar.query_one("#complaint").render())
        await pilot.press("backspace")
        await until(pilot, lambda: not bar.has_class("-wrong"))
        await pilot.press("escape")
        await until(pilot, lambda: not bar.is_open)


async def test_chips_can_be_removed_by_key_and_by_mouse(app: DramaApp) -> None:
    """Backspace in the empty line takes the last chip, a click its own, "clear all" the rest."""
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.status is not None)
        app.screen.bar.input.value = "bread type:markdown lang:en since:2020 "
        await until(pilot, lambda: len(app.screen.chips) == 3)
        assert app.screen.bar.input.value == "bread "
        await open_bar(app, pilot)
        await pilot.press("backspace")
        await until(pilot, lambda: [chip.key for chip in app.screen.chips] == ["type", "lang"])
        await pilot.press("escape")
        await pilot.click("ChipRow", offset=(3, 0))
        await until(pilot, lambda: [chip.key for chip in app.screen.chips] == ["lang"])
        app.screen.bar.input.value = "type:text "
        await until(pilot, lambda: len(app.screen.chips) == 2)
        row = str(app.screen.query_one("ChipRow").render())
        await pilot.click("ChipRow", offset=(row.index("clear all") + 1, 0))
        await until(pilot, lambda: app.screen.chips == ())


async def test_filters_apply_to_the_search(app: DramaApp) -> None:
    """Only documents that meet the condition are left, and without it all are back."""
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.status is not None)
        app.screen.bar.input.value = "bread in:recipes "
        await until(pilot, lambda: app.screen.results is not None and app.screen.asked is None)
        assert {hit.path.parent.name for hit in app.screen.results.hits} == {"recipes"}
        await app.screen.run_action("clear_filters")
        await until(pilot, lambda: len({hit.path.parent.name for hit in app.screen.results.hits}) > 1)


def test_a_moment_with_a_time_zone_is_compared_with_local_ones() -> None:
    """Of two dates one may name its zone: they are put in order all the same, and it is the moment that was meant."""
    chips = add_chips((), [Chip("since", "2024-01-01T00:00:00Z"), Chip("until", "2024-12")])
    filters = make_filters(chips, ())

    assert filters.since == datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    with pytest.raises(UsageError, match="lies after"):
        add_chips((), [Chip("since", "2025-01-01T00:00+02:00"), Chip("until", "2024-05")])


async def test_completions_stay_while_the_index_changes(app: DramaApp, files: Path) -> None:
    """A new count of files leaves the folders that may be completed, and the one that is chosen, where they are."""
    async with app.run_test(size=(120, 34)) as pilot:
        await until(pilot, lambda: app.status is not None)
        await pilot.press("f7")
        bar = app.screen.query_one(FilterBar)
        bar.query_one(FilterInput).value = f"in:{files}/tra"
        options = bar.query_one(OptionList)
        await until(pilot, lambda: options.option_count and bar.choices.folders)
        await pilot.press("down")
        before = [option.id for option in options.options], options.highlighted
        assert before[1] is not None
        app.mutate_reactive(DramaApp.status)
        await pilot.pause()
        assert ([option.id for option in options.options], options.highlighted) == before
