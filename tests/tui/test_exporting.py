"""Exports: three formats, exact or harmless, whole or not at all."""

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest

from drama_app.errors import DramaError, UsageError
from drama_app.output import results_to_json
from drama_app.records import Hit, PassageHit, Results
from drama_app.tui.exporting import COLUMNS, FORMATS, export_hits


def make_passage(text: str, *, page: int | None = 3, heading: str = "Dough") -> PassageHit:
    return PassageHit(0, page, None, 0, len(text), heading, "en", text, -0.5, ())


def make_results(folder: Path, *texts: str, title: str = "Baking", name: str = "bread (1).md") -> Results:
    hit = Hit(folder / name, (), title, "markdown", 1.7e9, 0.75, tuple(make_passage(text) for text in texts))
    other = Hit(Path("/elsewhere/a b#c.txt"), (), "", "text", 1.7e9, 0.5, (make_passage("Other.", page=None),))
    return Results("how to <bake>", "fused", (hit, other), False, 0.1)


def read_csv(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def test_json_is_that_of_the_shell(tmp_path: Path) -> None:
    """The chosen hits have the same shape as `search --json`, and names that are not Unicode survive."""
    results = make_results(tmp_path, "Text.", name=os.fsdecode(b"na\xefve.md"))
    said = export_hits(results, results.hits[:1], "json", tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_bytes())

    assert content["hits"] == results_to_json(results)["hits"][:1] and content["query"] == "how to <bake>"
    assert os.fsencode(content["hits"][0]["path"]).endswith(b"na\xefve.md")
    assert said.startswith("Exported 1 document to ")


def test_csv_has_a_row_a_passage_and_a_mark_for_spreadsheets(tmp_path: Path) -> None:
    """One row for each passage; line breaks, quotes and every script stay inside their cell."""
    results = make_results(tmp_path, 'A "quoted"\nline, with comma', "人人生而自由 الماء")
    export_hits(results, results.hits, "csv", tmp_path / "out.csv")
    rows = read_csv(tmp_path / "out.csv")

    assert (tmp_path / "out.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert tuple(rows[0]) == COLUMNS and len(rows) == 4
    assert [row[-1] for row in rows[1:]] == ['A "quoted"\nline, with comma', "人人生而自由 الماء", "Other."]
    assert rows[1][COLUMNS.index("passage_score")] == "-0.5"


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(1)", "\t=1", "  =1+1", "\r=1"])
def test_csv_cells_are_no_formulas(tmp_path: Path, text: str) -> None:
    """A passage, a title or a heading that a spreadsheet would calculate gets a mark before it."""
    hit = Hit(tmp_path / "x", (), text, "text", 1.7e9, 1.0, (make_passage(text, heading=text),))
    results = Results("q", "fused", (hit,), False, 0.1)
    export_hits(results, results.hits, "csv", tmp_path / "out.csv")

    for cell in read_csv(tmp_path / "out.csv")[1]:
        assert not re.match(r"\s*[=+@\t\r]|\s*-\D", cell), cell


@pytest.mark.parametrize("format", ["csv", "markdown"])
def test_exports_for_people_hold_no_escape_sequences(tmp_path: Path, format: str) -> None:  # noqa: A002
    """A file's control characters and direction marks do not travel into the export."""
    results = make_results(tmp_path, "\x1b]0;owned\x07 text \x9b2J\u202e", title="\x1b[31mred", name="\x1b[2Jx.md")
    export_hits(results, results.hits, format, tmp_path / "out")

    assert not set("\x1b\x07\x9b\u202e") & set((tmp_path / "out").read_text(encoding="utf-8"))


def test_markdown_quotes_and_escapes(tmp_path: Path) -> None:
    """Foreign text is quoted; none of it becomes a heading, a link, a list, or HTML."""
    results = make_results(tmp_path, "# not a heading\n<script>x</script>\n\n- [a](http://b) *c* 1. d\n1. e\n===")
    export_hits(results, results.hits, "markdown", tmp_path / "out.md")
    text = (tmp_path / "out.md").read_text(encoding="utf-8")
    lines = text.splitlines()

    assert lines[0] == r"# how to \<bake\>" and "## Baking" in lines and "Page 3 · Dough:" in lines
    assert r"> \# not a heading" in lines and r"> \<script\>x\</script\>" in lines and r"> \===" in lines
    assert r"> \- \[a\](http://b) \*c\* 1. d" in lines and r"> 1\. e" in lines
    assert "<script" not in text.replace(r"\<script", "")


def test_markdown_links_are_relative_below_the_export_and_else_absolute(tmp_path: Path) -> None:
    """Links work in both cases and are percent-encoded."""
    results = make_results(tmp_path / "notes", "Text.")
    export_hits(results, results.hits, "markdown", tmp_path / "out.md")
    text = (tmp_path / "out.md").read_text()

    assert "](notes/bread%20%281%29.md)" in text
    assert "](file:///elsewhere/a%20b%23c.txt)" in text


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_overwritten_unless_told(tmp_path: Path, format: str) -> None:  # noqa: A002
    """An existing file stays as it is; with consent it is replaced; either way nothing is left beside it."""
    path = tmp_path / "out"
    path.write_text("precious")
    results = make_results(tmp_path, "Text.")
    with pytest.raises(UsageError, match="exists"):
        export_hits(results, results.hits, format, path)
    assert path.read_text() == "precious"
    export_hits(results, results.hits, format, path, overwrite=True)

    assert "precious" not in path.read_text(encoding="utf-8")
    assert [each.name for each in tmp_path.iterdir() if each.name != "drama-home"] == ["out"]


def test_an_export_is_for_its_owner_only(tmp_path: Path) -> None:
    """What was found is nobody else's business."""
    results = make_results(tmp_path, "Text.")
    export_hits(results, results.hits, "csv", tmp_path / "out.csv")

    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A missing folder, a folder itself, an unknown format: a sentence each, and nothing is left behind."""
    results = make_results(tmp_path, "Text.")
    with pytest.raises(DramaError, match="cannot be written"):
        export_hits(results, results.hits, "json", tmp_path / "missing" / "out.json")
    with pytest.raises(UsageError, match="is a folder"):
        export_hits(results, results.hits, "json", tmp_path)
    with pytest.raises(UsageError, match="json, csv or markdown"):
        export_hits(results, results.hits, "pdf", tmp_path / "out.pdf")
    assert [each.name for each in tmp_path.iterdir() if each.name != "drama-home"] == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writing fails half-way, what was there is untouched and no part is left."""
    path = tmp_path / "out.json"
    path.write_text("old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DramaError, match="No space left"):
        export_hits(make_results(tmp_path, "Text."), (), "json", path, overwrite=True)
    assert path.read_text() == "old" and not list(tmp_path.glob(".drama-*"))
