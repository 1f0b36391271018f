"""The colour behind the text: asked of the terminal, understood in every form, and never waited for in vain."""

import os
import threading
import time

import pytest

from drama_app.tui.background import ask_background, read_answer
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
    assert read_answer(answer) == said


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
        asked.append(os.read(terminal, 100))
        os.write(terminal, answer)

    before = termios.tcgetattr(line)
    with os.fdopen(os.dup(line), "r") as source, os.fdopen(os.dup(line), "w") as target:
        monkeypatch.setattr("sys.stdin", source)
        monkeypatch.setattr("sys.stdout", target)
        replying = threading.Thread(target=reply)
        replying.start()
        began = time.monotonic()
        assert ask_background(0.2 if not answer else 10.0) == said
        assert time.monotonic() - began < 9
        replying.join(5)
    after = termios.tcgetattr(line)
    os.close(line)
    os.close(terminal)
    assert asked == [b"\x1b]11;?\x1b\\\x1b[c"]
    assert after == before
