"""Opening, copying and citing: the right program with the right words, never a shell, never an option."""

import os
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from textual.app import App

from drama_app.errors import DramaError
from drama_app.records import Hit, PassageHit
from drama_app.tui import opening
from drama_app.tui.citation import cite
from drama_app.tui.clipboard import copy
from drama_app.tui.opening import editor_command, open_file, show_in_folder

HOSTILE = "a b; $(touch owned) `x` --page=9 'q' \x1b[31m[red],.pdf"
QUIET = ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY", "TMUX", "VISUAL", "EDITOR", "WSL_DISTRO_NAME")


class Programs:
    """A PATH of our own, whose programs write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        for name in ("cat", "sleep", "sh"):
            source = next(Path(place) / name for place in ("/bin", "/usr/bin") if (Path(place) / name).exists())
            (self.folder / name).symlink_to(source)

    def add(self, name: str, then: str = "") -> None:
        program = self.folder / name
        part, whole = self.folder / f"{name}.part", self.folder / f"{name}.said"
        said = f"printf '%s\\0' \"$@\" > '{part}'; mv '{part}' '{whole}'"
        program.write_text(f"#!/bin/sh\nPATH=/bin:/usr/bin\n{said}\n{then}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def said(self, name: str) -> list[str] | None:
        """The arguments of the program's last call; None if it was not called."""
        said = self.folder / f"{name}.said"
        end = time.monotonic() + 2
        while not said.exists() and time.monotonic() < end:
            time.sleep(0.01)
        return said.read_bytes().decode().split("\0")[:-1] if said.exists() else None


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """No program but what a test adds, on Linux, before a display."""
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":7")
    found = Programs(tmp_path / "programs")
    monkeypatch.setenv("PATH", str(found.folder))
    return found


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    path = tmp_path / HOSTILE
    path.write_bytes(b"%PDF-1.4\n")
    return path


@pytest.mark.parametrize(
    ("entry", "viewer", "options"),
    [
        ("org.pwmt.zathura.desktop", "zathura", ["--page=12", "{path}"]),
        ("okularApplication_pdf.desktop", "okular", ["--page", "12", "{path}"]),
        ("org.kde.okular.desktop", "okular", ["--page", "12", "{path}"]),
        ("org.gnome.Evince.desktop", "evince", ["--page-index=12", "{path}"]),
        ("xreader.desktop", "xreader", ["--page-index=12", "{path}"]),
        ("atril.desktop", "atril", ["--page-index=12", "{path}"]),
        ("sioyek.desktop", "sioyek", ["--page", "12", "{path}"]),
        ("qpdfview.desktop", "qpdfview", ["{path}#12"]),
        ("mupdf.desktop", "mupdf", ["{path}", "12"]),
    ],
)
def test_a_viewer_that_can_opens_the_page(
    programs: Programs, paper: Path, entry: str, viewer: str, options: list[str]
) -> None:
    """The default viewer is started with its own option for a page, and the path is one whole word."""
    programs.add("xdg-mime", f"echo {entry}")
    programs.add(viewer)

    assert "at page 12" in open_file(paper, 12)
    assert programs.said(viewer) == [option.format(path=paper) for option in options]


def test_other_viewers_get_the_file_and_the_person_the_page(programs: Programs, paper: Path) -> None:
    """A viewer without such an option is started by xdg-open; the sentence says which page it is."""
    programs.add("xdg-mime", "echo firefox.desktop")
    programs.add("xdg-open")

    assert "the place is page 3" in open_file(paper, 3)
    assert programs.said("xdg-open") == [str(paper)]


def test_a_relative_path_that_looks_like_an_option_is_made_absolute(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name can become an option."""
    monkeypatch.chdir(tmp_path)
    Path("--help").write_text("x")
    programs.add("xdg-open")
    open_file(Path("--help"), None)

    assert programs.said("xdg-open") == [str(tmp_path / "--help")]
    programs.add("vi")
    assert editor_command(Path("--help"), None) == ["vi", str(tmp_path / "--help")]


def test_a_viewer_that_stays_open_is_not_waited_for(programs: Programs, paper: Path) -> None:
    """A program that runs on is left alone."""
    programs.add("xdg-open", "exec sleep 3")
    start = time.monotonic()
    open_file(paper, None)

    assert time.monotonic() - start < 2


def test_a_program_that_fails_at_once_is_told(programs: Programs, paper: Path) -> None:
    """The exit code of xdg-open becomes a sentence."""
    programs.add("xdg-open", "exit 3")
    with pytest.raises(DramaError, match="could not open it"):
        open_file(paper, None)


def test_what_the_desktop_would_run_is_not_opened(programs: Programs, tmp_path: Path) -> None:
    """A launcher among the files is not started by looking at it."""
    programs.add("xdg-open")
    launcher = tmp_path / "invoice.Desktop"
    launcher.write_text("[Desktop Entry]\nExec=true\n")

    with pytest.raises(DramaError, match="could run it"):
        open_file(launcher, None)


def test_a_vanished_file_is_told(programs: Programs, tmp_path: Path) -> None:
    """Each way of opening says that the file is gone."""
    gone = tmp_path / "gone.pdf"
    for act in (lambda: open_file(gone, 1), lambda: editor_command(gone, 1), lambda: show_in_folder(gone)):
        with pytest.raises(DramaError, match="is gone"):
            act()


@pytest.mark.parametrize(("variable", "words"), [("SSH_CONNECTION", "over SSH"), ("LANG", "without a display")])
def test_without_a_display_it_says_what_to_do(
    programs: Programs, paper: Path, monkeypatch: pytest.MonkeyPatch, variable: str, words: str
) -> None:
    """Over SSH nothing is started; the sentence names the ways that are left."""
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setenv(variable, "10.0.0.1 1 10.0.0.2 22")
    programs.add("xdg-open")
    with pytest.raises(DramaError, match=f"{words}.*editor.*copy the path"):
        open_file(paper, 1)
    with pytest.raises(DramaError, match=words):
        show_in_folder(paper)


# --- the editor ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("editor", "rest"),
    [
        ("nvim -R", ["+7", "{path}"]),
        ("emacs", ["+7", "{path}"]),
        ("micro", ["+7", "{path}"]),
        ("kak", ["+7", "{path}"]),
        ("hx", ["{path}:7"]),
        ("subl --wait", ["{path}:7"]),
        ("code --wait", ["--goto", "{path}:7"]),
        ("unknown", ["{path}"]),
    ],
)
def test_the_editor_is_sent_to_the_line(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editor: str, rest: list[str]
) -> None:
    """$VISUAL comes first, with its own arguments, and gets the line in its own way."""
    path = tmp_path / "a note.md"
    path.write_text("x")
    programs.add(editor.split()[0])
    monkeypatch.setenv("VISUAL", editor)
    monkeypatch.setenv("EDITOR", "other")

    assert editor_command(path, 7) == [*editor.split(), *(option.format(path=path) for option in rest)]


def test_without_variables_the_first_editor_that_is_there_is_taken(programs: Programs, tmp_path: Path) -> None:
    """nano before vi; none at all is a sentence."""
    path = tmp_path / "note.md"
    path.write_text("x")
    with pytest.raises(DramaError, match=r"set \$EDITOR"):
        editor_command(path, None)
    programs.add("vi")
    assert editor_command(path, 2)[0] == "vi"
    programs.add("nano")
    assert editor_command(path, 2)[0] == "nano"


def test_an_editor_that_is_not_there_or_unreadable_is_told(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong $EDITOR is named."""
    path = tmp_path / "note.md"
    path.write_text("x")
    monkeypatch.setenv("EDITOR", "nowhere-to-be-found")
    with pytest.raises(DramaError, match=r"\$EDITOR names nowhere-to-be-found"):
        editor_command(path, None)
    monkeypatch.setenv("EDITOR", "vi 'open")
    with pytest.raises(DramaError, match=r"\$EDITOR cannot be understood"):
        editor_command(path, None)


def test_what_is_no_text_does_not_go_into_an_editor(programs: Programs, paper: Path) -> None:
    """A PDF is refused, and the sentence names the key that opens it."""
    programs.add("vi")
    with pytest.raises(DramaError, match="Enter opens it"):
        editor_command(paper, 1)


# --- the folder ----------------------------------------------------------------------------------------------


def test_the_file_manager_is_asked_to_select_the_file(programs: Programs, paper: Path) -> None:
    """The URI is percent-encoded: neither quotes nor commas of the name reach the message."""
    programs.add("gdbus")
    programs.add("xdg-open")
    show_in_folder(paper)
    said = programs.said("gdbus")

    assert said is not None and said[-2:] == [f"['{paper.as_uri()}']", ""]
    assert not set(" ,;'") & set(paper.as_uri())
    assert not (programs.folder / "xdg-open.said").exists()


def test_without_a_file_manager_on_the_bus_the_folder_is_opened(programs: Programs, paper: Path) -> None:
    """If nobody answers, xdg-open gets the folder."""
    programs.add("dbus-send", "exit 1")
    programs.add("xdg-open")
    show_in_folder(paper)

    assert programs.said("xdg-open") == [str(paper.parent)]


# --- the clipboard -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "tool"), [("DISPLAY", "xclip"), ("DISPLAY", "xsel"), ("WAYLAND_DISPLAY", "wl-copy")]
)
async def test_a_tool_gets_the_exact_bytes(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, variable: str, tool: str
) -> None:
    """Besides the terminal, the tool that can reach the clipboard gets the text byte for byte."""
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setenv(variable, "x")
    programs.add(tool, f"cat > '{programs.folder}/copied'")
    name = os.fsdecode(b"/x/na\xefve.txt")
    async with App[None]().run_test() as pilot:
        assert copy(pilot.app, "กรุงเทพ\nline", "the passage") == "Copied the passage"
        assert pilot.app.clipboard == "กรุงเทพ\nline"
        assert (programs.folder / "copied").read_bytes() == "กรุงเทพ\nline".encode()
        assert "not Unicode" in copy(pilot.app, name, "the path")
        assert (programs.folder / "copied").read_bytes() == b"/x/na\xefve.txt"


async def test_without_a_tool_the_terminal_is_asked(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """OSC 52 is left; in tmux the sentence says what it needs, and a name that is not Unicode is refused."""
    async with App[None]().run_test() as pilot:
        assert copy(pilot.app, "text", "the path") == "Copied the path through the terminal"
        monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
        assert "set-clipboard on" in copy(pilot.app, "text")
        with pytest.raises(DramaError, match="not Unicode"):
            copy(pilot.app, os.fsdecode(b"na\xefve"))


async def test_a_tool_that_fails_or_hangs_is_passed_over(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next tool is tried; nothing waits for a dead display."""
    monkeypatch.setattr("drama_app.tui.clipboard.SECONDS", 0.2)
    programs.add("xclip", "exec sleep 5")
    programs.add("xsel", f"cat > '{programs.folder}/copied'")
    async with App[None]().run_test() as pilot:
        assert copy(pilot.app, "text") == "Copied the text"
        assert (programs.folder / "copied").read_bytes() == b"text"


# --- citations -----------------------------------------------------------------------------------------------


def make_hit(text: str, *, title: str = "Annual report", page: int | None = 12, line: int | None = None) -> Hit:
    passage = PassageHit(0, page, line, 0, len(text), "", "en", text, 1.0, (), (), (0, text.index(".") + 1))
    return Hit(Path("/x/report.pdf"), (), title, "pdf", 1.7e9, 1.0, (passage,))


def test_a_citation_names_where_and_quotes_the_sentence() -> None:
    """Title, file, page, date, and the best sentence in quotation marks, on one line."""
    hit = make_hit("The budget\n doubled. The rest did not.")

    assert cite(hit, hit.passages[0]) == "Annual report, report.pdf, page 12 (2023-11-14): “The budget doubled.”"
    assert cite(hit, None) == "Annual report, report.pdf (2023-11-14)"
    assert ", sheet 12 (" in cite(replace(hit, kind="xlsx"), hit.passages[0])


def test_a_citation_of_text_names_the_line_and_a_title_like_the_file_once() -> None:
    """Files without pages have lines."""
    hit = make_hit("One. Two.", title="report.pdf", page=None, line=40)

    assert cite(hit, hit.passages[0]).startswith("report.pdf, line 40 (")


def test_a_citation_holds_no_control_characters_and_is_short() -> None:
    """Escape sequences and direction marks of a file are not pasted elsewhere; a long sentence is cut."""
    hit = make_hit("\x1b]8;;x\x07A\u202eB " + "word " * 400 + ".", title="t\x1b[2J\nitle")
    text = cite(hit, hit.passages[0])

    assert text.isprintable() and "\u202e" not in text
    assert len(text) < 320 and text.endswith("…”")


def test_windows_selects_and_mac_reveals(programs: Programs, paper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each system's own way to show a file."""
    started: list[list[str]] = []
    monkeypatch.setattr(opening, "_start", lambda command, check=True: started.append(command))
    for platform in ("win32", "darwin"):
        monkeypatch.setattr("sys.platform", platform)
        show_in_folder(paper)
    open_file(paper, 4)

    assert started == [["explorer", f"/select,{paper}"], ["open", "-R", str(paper)], ["open", str(paper)]]
