"""Copies a text for other programs: through the terminal (OSC 52), and through a clipboard tool where one can work.

Owns which way works where. The text goes as it is; whoever copies names it.
"""

import logging
import os
import shutil
import subprocess
import sys
from typing import Any

from textual.app import App

from drama_app.errors import DramaError

log = logging.getLogger(__name__)

SECONDS = 1.0
"""For a tool: it takes 5 to 30 ms, and the screen waits for it."""


def copy(app: App[Any], text: str, what: str = "") -> str:
    """Copies `text`; returns a sentence that names it as `what`, for example "the path".

    Raises:
        DramaError: the text is a name that is not Unicode, and no tool takes bytes.
    """
    said = f"Copied {what or 'the text'}"
    is_unicode = _is_unicode(text)
    if is_unicode:
        app.copy_to_clipboard(text)
    if any(_hand_over(tool, text) for tool in _find_tools()):
        return said if is_unicode else f"{said}; the name is not Unicode: some programs will not take it"
    if not is_unicode:
        raise DramaError("the name is not Unicode and cannot be copied: show its folder (o), or export it as JSON")
    if os.environ.get("TMUX"):
        return f"{said} through the terminal; in tmux this needs `set -g set-clipboard on`"
    return f"{said} through the terminal"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _find_tools() -> list[list[str]]:
    """The tools that can reach a clipboard from here."""
    tools: list[list[str]] = []
    if os.environ.get("WAYLAND_DISPLAY"):
        tools.append(["wl-copy"])
    if os.environ.get("DISPLAY"):
        tools += [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    if sys.platform == "darwin":
        tools.append(["pbcopy"])
    if sys.platform == "win32" or os.environ.get("WSL_DISTRO_NAME"):
        tools.append(["clip.exe"])
    return [tool for tool in tools if shutil.which(tool[0])]


def _hand_over(tool: list[str], text: str) -> bool:
    # clip.exe takes anything but UTF-16 for the code page of the console.
    content = text.encode("utf-16-le", "replace") if tool[0] == "clip.exe" else os.fsencode(text)
    try:
        done = subprocess.run(
            tool, input=content, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        log.info("%s does not take the text", tool[0], exc_info=True)
        return False
    return done.returncode == 0
