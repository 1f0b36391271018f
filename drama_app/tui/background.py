"""Asks the terminal for the colour behind its text, before the UI takes over its input. Unix only.

The question (OSC 11) is xterm's; terminals that do not know it answer the one after it (DA1, which all know), so
nobody waits for them.
"""

import os
import re
import select
import sys
import time
from contextlib import suppress

SECONDS = 0.3
"""For the answer; imports take as long meanwhile. A terminal next door answers within 5 ms."""
QUESTION = b"\x1b]11;?\x1b\\\x1b[c"
_LAST = re.compile(rb"\x1b\[\?[\d;]*c")
_COLOUR = re.compile(rb"\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})")


def ask_background(seconds: float = SECONDS) -> str:
    """Returns "light" or "dark"; "" if the terminal does not say. Eats what is typed until the answer is there."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return ""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return ""
    source, answer, end = sys.stdin.fileno(), b"", time.monotonic() + seconds
    with suppress(OSError, termios.error):
        before = termios.tcgetattr(source)
        try:
            tty.setcbreak(source, termios.TCSANOW)
            os.write(sys.stdout.fileno(), QUESTION)
            while not _LAST.search(answer) and (left := end - time.monotonic()) > 0:
                if select.select([source], [], [], left)[0]:
                    answer += os.read(source, 1024)
        finally:
            termios.tcsetattr(source, termios.TCSANOW, before)
    return read_answer(answer)


def read_answer(answer: bytes) -> str:
    """Returns "light" or "dark" for a colour in an answer, by its luma (ITU-R BT.601); "" if there is none."""
    found = _COLOUR.search(answer)
    if found is None:
        return ""
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return "light" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "dark"
