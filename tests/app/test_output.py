"""What is printed: exact JSON, and nothing that a terminal would obey."""

import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from drama_app.listing import describe_report, narrate_results, shorten_path, show_results
from drama_app.output import (
    SNIPPET_CHARACTERS,
    Output,
    clean_for_terminal,
    cut_snippet,
    describe_time,
    report_to_json,
    results_to_json,
    wants_color,
)  # fmt: skip
from drama_app.records import Hit, PassageHit, Results, Score, Skipped, SyncReport

NASTY = "a\x1b[31mred\x1b]8;;http://evil.example\x07link\x1b]8;;\x07\x9b2Jb\u202egnp.exe\u2066\r\n\x00\U000e0041"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


def passage(text: str, **more: object) -> PassageHit:
    values: dict[str, object] = {
        "ordinal": 0, "page": 3, "line": None, "start": 10, "end": 10 + len(text), "heading": "Bees › Dance",
        "language": "en", "text": text, "score": 0.5, "scores": (Score("meaning", 0.8, 1, 0.5),),
    }  # fmt: skip
    return PassageHit(**(values | more))  # type: ignore[arg-type]


def results(path: str, text: str, **more: object) -> Results:
    hit = Hit(Path(path), (), "Title", "pdf", 0.0, 0.5, (passage(text, **more),))
    return Results("q", "fused", (hit,), False, 0.01)


def render(found: Results, *, links: bool = False, width: int = 60) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system="standard" if links else None, force_terminal=links)
    for each in show_results(found, links=links, explain=True):
        console.print(each)
    return stream.getvalue()


def test_the_json_of_a_search_is_fixed_to_the_byte() -> None:
    """Other programs rely on these bytes."""
    golden = (
        '{"query": "q", "mode": "fused", "nothing_good_enough": false, "missing_phrase": null, '
        '"hits": [{"path": "/d/b\\u00e9e.pdf", "title": "Title", '
        '"type": "pdf", "page": 3, "line": null, "heading": "Bees \\u203a Dance", '
        '"language": "en", "modified": "1970-01-01T00:00:00Z", "score": 0.5, "snippet": "Bees dance.", '
        '"passages": [{"page": 3, "line": null, "heading": "Bees \\u203a Dance", "language": "en", "start": 10, '
        '"end": 21, "score": 0.5, "scores": [{"source": "meaning", "value": 0.8, "rank": 1, "share": 0.5}], '
        '"text": "Bees dance."}], "copies": []}]}'
    )

    assert json.dumps(results_to_json(results("/d/bée.pdf", "Bees dance."))) == golden


@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_a_path_is_raw_for_a_program_and_clean_for_a_person(end: bytes) -> None:
    """Whatever ends a path, a terminal gets nothing to obey, and a pipe gets the bytes of the name."""
    raw = io.BytesIO()
    output = Output()
    output.stdout = io.TextIOWrapper(raw, encoding="utf-8")
    path = Path(NASTY)
    output.write_path(path, end=end)
    assert raw.getvalue() == os.fsencode(path) + end

    output.stdout = terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    output.write_path(path, end=end)
    assert terminal.getvalue() == clean_for_terminal(str(path)) + end.decode()


def test_json_says_which_quoted_phrase_stands_nowhere() -> None:
    """A program learns what the terminal tells: the hits are near the phrase, and none holds it."""
    found = results("/d/bee.pdf", "Bees dance.")

    assert results_to_json(replace(found, query='"bees dance"'))["missing_phrase"] is None
    assert results_to_json(replace(found, query='why "bees sing"'))["missing_phrase"] == "bees sing"
    assert results_to_json(replace(found, query='"bees sing"', hits=()))["missing_phrase"] == "bees sing"


def test_a_name_that_is_not_unicode_survives_json() -> None:
    """A path with raw bytes comes back from JSON as the same path."""
    found = results("/d/\udcff.txt", "text")

    assert json.loads(json.dumps(results_to_json(found)))["hits"][0]["path"] == "/d/\udcff.txt"


def test_nothing_of_a_file_reaches_the_terminal_as_a_command() -> None:
    """Names, headings, languages and text full of escape sequences are shown harmless."""
    found = results("/tmp/" + NASTY.replace("/", "_").replace("\x00", ""), NASTY * 3, heading=NASTY, language=NASTY)
    shown = render(found)

    assert OBEYED.search(shown) is None
    assert "red" in shown


def test_the_link_of_a_nasty_name_is_encoded() -> None:
    """With links on, the only escape sequences are ours, and the address is percent-encoded."""
    shown = render(results("/tmp/\x1b]8;;http:__evil\x07\udcff.txt", "text"), links=True)

    assert "file:///tmp/%1B%5D8" in shown
    assert "\x1b]8;;http:__evil" not in shown


def test_markup_of_the_layout_library_is_shown_as_it_is() -> None:
    """Square brackets in a text are text."""
    assert "[bold]x[/bold]" in render(results("/tmp/[red]a", "see [bold]x[/bold] and :smile:"))


@pytest.mark.parametrize("width", [20, 40, 80])
def test_wide_characters_keep_to_the_width(width: int) -> None:
    """Chinese takes two columns a character and still no line is longer than the terminal."""
    from rich.cells import cell_len

    shown = render(results("/tmp/合同.txt", "房东应当在合同终止后退还押金。" * 12, heading="第一章"), width=width)

    assert max(cell_len(line.rstrip()) for line in shown.splitlines()) <= width


@pytest.mark.parametrize("color", ["never", "always"])
def test_no_line_ends_in_spaces(color: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is piped or copied carries no filling up to the right edge, with styles or without."""
    found = results("/d/a.pdf", "Bees dance on the comb. " * 20)

    Output(color=color).show(*show_results(found, links=False, explain=True))
    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    assert len(lines) > 5
    assert [line for line in lines if line != line.rstrip()] == []


def test_one_of_a_thing_is_not_many() -> None:
    """A single document with a single passage reads as one."""
    report = SyncReport(1, 1, 1, 0, 0, 0, (), 0, 0.1, ())

    assert "1 document with 1 passage is searchable" in list(describe_report(report))


def test_newlines_in_names_are_pictures_and_in_text_lines() -> None:
    """A name has no lines; a text has."""
    assert clean_for_terminal("a\nb") == "a␊b"
    assert clean_for_terminal("a\nb\x1b", lines=True) == "a\nb␛"
    assert clean_for_terminal("क्‍ष") == "क्‍ष"


def test_a_snippet_shows_the_first_match() -> None:
    """A match far into a passage is in the snippet, and offsets lead back to the passage."""
    text = "word " * 300 + "needle in the stack"
    where = text.index("needle")
    snippet, offsets = cut_snippet(passage(text, marks=((where, where + 6),)))

    assert "needle" in snippet
    assert snippet.startswith("…")
    assert all(offset == -1 or text[offset] == character for character, offset in zip(snippet, offsets, strict=True))


def test_a_snippet_begins_with_the_best_sentence() -> None:
    """Where the best sentence is known the snippet starts there."""
    text = "First sentence. " * 30 + "The best one. " + "More of it. " * 60
    start = text.index("The best")

    assert cut_snippet(passage(text, sentence=(start, start + 13)))[0].startswith("…The best one.")


@pytest.mark.parametrize("rest", [900, SNIPPET_CHARACTERS - 5])
def test_a_snippet_keeps_the_first_word_of_a_sentence_without_a_space_before_it(rest: int) -> None:
    """Chinese puts no space between sentences: the one after the word would be no place to begin, even a step back."""
    before = "昨天我们讨论了天气，大家都觉得很有意思。" * 30
    text = before + "Python 是一种解释型语言。".ljust(rest, "好")
    snippet, _ = cut_snippet(passage(text, sentence=(len(before), len(before) + 15)))

    assert "Python 是一种" in snippet[:20]


def test_nearest_misses_are_called_so() -> None:
    """A person is told when even the best is likely no answer."""
    found = results("/tmp/a", "text")
    missed = Results("q", "fused", found.hits, True, 0.0)

    assert "nothing good enough; nearest miss:" in render(missed)
    assert list(narrate_results(missed)) == ["nothing good enough; nearest miss:"]


def test_less_likely_hits_are_told_apart() -> None:
    """A terminal has a line between them; where another program reads the hits, stderr says from which one on."""
    best = Score("meaning", 0.8, 1, 6.0)
    hits = [results(f"/tmp/{share}", "text", scores=(replace(best, share=share),)).hits[0] for share in (6.0, 1.0)]
    found = replace(results("/tmp/a", "text"), hits=tuple(hits))

    assert "less likely:" in render(found)
    assert list(narrate_results(found)) == ["less likely: from hit 2 on"]
    shown = show_results(found, links=False, explain=False, verdicts=False)
    assert not any("likely" in str(getattr(each, "renderable", each)) for each in shown)


def test_failures_are_listed_by_reason() -> None:
    """The summary groups failed files, names a few and says where all of them are."""
    failed = tuple(Skipped(Path(f"/x/{number}.pdf"), "encrypted") for number in range(8))
    report = SyncReport(2, 9, 2, 0, 0, 0, failed, 1, 1.5)
    lines = list(describe_report(report))

    assert "  encrypted (8)" in lines
    assert "    ... and 3 more: drama-app status --failed" in lines
    assert report_to_json(report)["failed"][0] == {"path": "/x/0.pdf", "reason": "encrypted"}


def test_paths_are_shown_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path below the current folder is shown relative to it."""
    monkeypatch.chdir(tmp_path)

    assert shorten_path(tmp_path / "a" / "b.txt") == "a/b.txt"


def test_color_obeys_choice_then_environment() -> None:
    """A choice goes first; "auto" asks the terminal, NO_COLOR and TERM."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert wants_color("auto", Terminal(), {})
    assert not wants_color("auto", Terminal(), {"NO_COLOR": "1"})
    assert not wants_color("auto", Terminal(), {"TERM": "dumb"})
    assert not wants_color("auto", io.StringIO(), {})
    assert wants_color("always", io.StringIO(), {"NO_COLOR": "1"})
    assert not wants_color("never", Terminal(), {})


def test_a_time_outside_the_calendar_is_none() -> None:
    """A file with an impossible date does not end a search."""
    assert describe_time(1e20) is None


def test_a_workbook_has_sheets() -> None:
    """The number that other documents count pages with is a sheet's there."""
    found = results("/d/costs.xlsx", "Flour.", heading="Sheet1")
    workbook = replace(found, hits=(replace(found.hits[0], kind="xlsx"),))

    assert "page 3 · Sheet1" in render(found)
    assert "sheet 3 · Sheet1" in render(workbook)
