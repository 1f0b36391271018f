"""What only the terminal knows: asked of it, understood in every form, and never waited for in vain."""

import os
import threading
import time

import pytest
from rich import cells
from textual.content import Content

from drama_app.tui.terminal_answers import QUESTION, Answers, ask_terminal, count_cells_as, read_answer
from drama_app.tui.themes import choose_theme


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;22c", "light"),
        (b"\x1b]11;rgb:1616/1717/1f1f\x07\x1b[?1;2c", "dark"),
        (b"\x1b]11;rgb:fb/fa/f7\x07", "light"),
        (b"\x1b]11;rgba:0000/0000/0000/ffff\x1b\\", "dark"),
        (b"\x1b[?1;2c", ""),
        (b"", ""),
    ],
)
def test_answers_are_understood(answer: bytes, said: str) -> None:
    """Colours of two and of four digits, with an alpha value or none; terminals that do not know the question."""
    assert read_answer(answer) == Answers(said)


@pytest.mark.parametrize(
    ("answer", "mark", "emoji"),
    [
        (b"\x1b[7;3R\x1b[7;2R\x1b[?1;2c", 2, 1),
        (b"\x1b[12;2R\x1b[12;3R\x1b]11;rgb:00/00/00\x07\x1b[?1;2c", 1, 2),
        (b"\x1b[7;9R\x1b[7;2R\x1b[?1;2c", 1, 2),
        (b"\x1b[7;3R\x1b[?1;2c", 1, 2),
    ],
)
def test_cells_are_counted_from_where_the_cursor_stands(answer: bytes, mark: int, emoji: int) -> None:
    """Two plausible columns count, anything else is as if nothing had been said."""
    assert (read_answer(answer).mark, read_answer(answer).emoji) == (mark, emoji)


def test_rows_are_measured_as_the_terminal_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks get the cells that the terminal gives them, in Textual's measure too; other scripts stay as they were."""
    monkeypatch.setattr(cells, "load_cell_table", cells.load_cell_table)
    texts = {"हिन्दी का": (5, 8), "மின்சாரம்": (5, 7), "❤\ufe0f": (2, 1), "e\u0301": (1, 1), "地震": (4, 4), "กำ": (2, 2)}
    assert [cells.cell_len(text) for text in texts] == [before for before, _ in texts.values()]
    count_cells_as(Answers("", 1, 2))
    assert [cells.cell_len(text) for text in texts] == [before for before, _ in texts.values()]
    try:
        count_cells_as(Answers("", 2, 1))
        assert [cells.cell_len(text) for text in texts] == [after for _, after in texts.values()]
        assert Content("हिन्दी का").cell_length == 8
    finally:
        monkeypatch.undo()
        cells.get_character_cell_size.cache_clear()
        cells.cached_cell_len.cache_clear()


def test_a_theme_follows_what_the_terminal_said() -> None:
    """Its answer counts more than the variable, a wish in the settings more than both."""
    assert choose_theme("auto", {"COLORFGBG": "15;0"}, "light") == "drama-light"
    assert choose_theme("auto", {"COLORFGBG": "0;15"}) == "drama-light"
    assert choose_theme("auto", {}) == "drama-dark"
    assert choose_theme("contrast", {"COLORFGBG": "0;15"}, "light") == "drama-contrast"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminal")
@pytest.mark.parametrize(("answer", "said"), [(b"\x1b]11;rgb:ffff/ffff/f0f0\x1b\\\x1b[?62c", "light"), (b"", "")])
def test_a_terminal_is_asked_and_left_as_it_was(answer: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a real terminal: the question arrives, the answer is read, echo is on again; silence costs the limit."""
    import pty
    import termios

    terminal, line = pty.openpty()
    asked: list[bytes] = []

    def reply() -> None:
        asked.append(os.read(terminal, len(QUESTION)))
        os.write(terminal, answer)

    before = termios.tcgetattr(line)
    with os.fdopen(os.dup(line), "r") as source, os.fdopen(os.dup(line), "w") as target:
        monkeypatch.setattr("sys.stdin", source)
        monkeypatch.setattr("sys.stdout", target)
        replying = threading.Thread(target=reply)
        replying.start()
        began = time.monotonic()
        assert ask_terminal(0.2 if not answer else 10.0) == Answers(said)
        assert time.monotonic() - began < 9
        replying.join(5)
    after = termios.tcgetattr(line)
    os.close(line)
    os.close(terminal)
    assert b"".join(asked) == QUESTION
    assert after == before
