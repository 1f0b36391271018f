"""The process around the app: stderr goes to the log, and the terminal comes back as it was."""

import os
import subprocess
import sys

import pytest

from drama_app.cli import main
from drama_app.config import Settings
from drama_app.tui.start import stderr_to_log


def test_native_stderr_goes_to_the_log(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """What a library writes to file descriptor 2 reaches the log file, never the terminal."""
    with stderr_to_log(settings):
        os.write(2, b"a warning of a native library\n")
        subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('of a child')"], check=True)
    os.write(2, b"afterwards")

    assert "a warning of a native library\nof a child" in settings.log_file.read_text()
    assert capfd.readouterr().err == "afterwards"


def test_the_log_is_readable_by_its_owner_only(settings: Settings) -> None:
    """The log names files; nobody else may read it."""
    with stderr_to_log(settings):
        pass

    assert settings.log_file.stat().st_mode & 0o077 == 0


def test_without_a_terminal_the_ui_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe `drama-app` names the verbs and leaves with 2."""
    assert main([]) == 2
    assert "drama-app index FOLDER" in capsys.readouterr().err
