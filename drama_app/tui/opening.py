"""Opens a file where the person reads it: its viewer at the page, the editor at the line, the folder around it.

Owns which programs can be sent to a place. Nothing goes through a shell, paths are absolute so that none is an option,
and what the desktop would run instead of show is refused. `open_file` and `show_in_folder` may take some seconds: call
them in a thread.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote_from_bytes

from drama_app.errors import DramaError
from drama_app.listing import shorten_path
from drama_app.output import clean_for_terminal

PATIENCE = 0.7
"""Seconds in which a program that cannot open the file says so; a viewer still runs then, and is left alone."""
ANSWER = 3.0
"""Seconds for a question to the desktop."""
MOST_PAGE = 1_000_000
PAGED_VIEWERS = {
    "zathura": ("--page={page}", "{path}"),
    "okular": ("--page", "{page}", "{path}"),
    "evince": ("--page-index={page}", "{path}"),
    "xreader": ("--page-index={page}", "{path}"),
    "atril": ("--page-index={page}", "{path}"),
    "sioyek": ("--page", "{page}", "{path}"),
    "qpdfview": ("{path}#{page}",),
    "mupdf": ("{path}", "{page}"),
}
"""The arguments that open a page, by a part of the name of the desktop's entry, which is the program's too."""
RUN_BY_DESKTOP = {
    "win32": ".bat .cmd .com .cpl .exe .hta .jar .js .jse .lnk .msc .msi .ps1 .py .pyw .reg .scr .url .vbe .vbs .wsf",
    "darwin": ".app .command .jar .terminal .tool .workflow .webloc",
    "linux": ".appimage .desktop .exe .jar .run",
}
"""What a double click would run."""
EDITORS = ("nano", "vim", "vi", "micro")
WITH_PLUS = frozenset(
    {"vi", "vim", "nvim", "view", "gvim", "nano", "emacs", "emacsclient", "micro", "kak", "mg", "joe"}
)
WITH_COLON = frozenset({"hx", "helix", "subl", "sublime_text", "zed"})
WITH_GOTO = frozenset({"code", "code-insiders", "codium", "cursor"})
BINARY_STARTS = (b"%PDF", b"{\\rtf", b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
TEXT_STARTS = (b"\xff\xfe", b"\xfe\xff")


def open_file(path: Path, page: int | None) -> str:
    """Opens a file with the program that the desktop opens it with, at `page` where that program can.

    Raises:
        DramaError: it is gone, there is no display, or no program.
    """
    path = _existing(path)
    _refuse_programs(path)
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606
        return f"Opened {_name(path)}"
    if sys.platform == "darwin":
        return _open_on_mac(path, page)
    _require_display()
    if page is not None and 0 < page < MOST_PAGE and (command := _paged_command(path, page)):
        _start(command)
        return f"Opened {_name(path)} at page {page:,}"
    _start([_find_opener(), str(path)])
    place = f"; the place is page {page:,}" if page is not None else ""
    return f"Opened {_name(path)}{place}"


def editor_command(path: Path, line: int | None) -> list[str]:
    """The command that opens a text file in the person's editor, at a line where the editor can.

    Raises:
        DramaError: the file is gone, is no text, or there is no editor.
    """
    path = _existing(path)
    _require_text(path)
    command = _find_editor()
    name = Path(command[0]).name.lower().removesuffix(".exe")
    if line is None or line < 1:
        return [*command, str(path)]
    if name in WITH_PLUS:
        return [*command, f"+{line}", str(path)]
    if name in WITH_COLON:
        return [*command, f"{path}:{line}"]
    if name in WITH_GOTO:
        return [*command, "--goto", f"{path}:{line}"]
    return [*command, str(path)]


def show_in_folder(path: Path) -> str:
    """Shows a file in the desktop's file manager, selected where that can be asked for.

    Raises:
        DramaError: it is gone, there is no display, or no program.
    """
    path = _existing(path)
    said = f"Opened the folder of {_name(path)}"
    if sys.platform == "win32":
        _start(["explorer", f"/select,{path}"], check=False)
    elif sys.platform == "darwin":
        _start(["open", "-R", str(path)])
    else:
        _require_display()
        if not any(_answers(command) for command in _show_items(path)):
            _start([_find_opener(), str(path.parent)])
    return said


# --- what there is -------------------------------------------------------------------------------------------


def _existing(path: Path) -> Path:
    from drama_app.scan import is_there

    if not is_there(path):
        raise DramaError(f"{shorten_path(path)} is gone: it was moved, deleted or unplugged since it was indexed")
    return path.absolute()


def _name(path: Path) -> str:
    return clean_for_terminal(path.name)


def _refuse_programs(path: Path) -> None:
    if path.suffix.lower() in RUN_BY_DESKTOP.get(sys.platform, RUN_BY_DESKTOP["linux"]).split():
        raise DramaError(f"opening {_name(path)} could run it, so it stays shut: its text can be read here")


def _require_display() -> None:
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or shutil.which("wslview"):
        return
    where = "over SSH" if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY") else "without a display"
    raise DramaError(
        f"nothing can be opened {where}: read the text here or in an editor, or copy the path and open it on the "
        "computer before you"
    )


def _require_text(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(8192)
    except OSError as error:
        raise DramaError(f"{_name(path)} cannot be read: {error.strerror or error}") from error
    if start.startswith(BINARY_STARTS) or (b"\0" in start and not start.startswith(TEXT_STARTS)):
        raise DramaError(f"{_name(path)} is not plain text: Enter opens it with its own program")


def _find_editor() -> list[str]:
    for variable in ("VISUAL", "EDITOR"):
        try:
            command = shlex.split(os.environ.get(variable, ""), posix=os.name == "posix")
        except ValueError as error:
            raise DramaError(f"${variable} cannot be understood ({error}): set it to your editor's command") from error
        if not command:
            continue
        if shutil.which(command[0]) is None:
            raise DramaError(f"${variable} names {clean_for_terminal(command[0])}, which is not installed")
        return command
    for name in EDITORS:
        if shutil.which(name):
            return [name]
    raise DramaError("no editor was found: set $EDITOR to the command of yours")


def _find_opener() -> str:
    for name in ("xdg-open", "wslview"):
        if shutil.which(name):
            return name
    raise DramaError("there is no xdg-open to open files with: install xdg-utils, or copy the path")


def _paged_command(path: Path, page: int) -> list[str] | None:
    """The default PDF viewer's command, if it is one that takes a page."""
    if path.suffix.lower() not in (".pdf", ".djvu", ".epub") or shutil.which("xdg-mime") is None:
        return None
    kind = {".pdf": "application/pdf", ".djvu": "image/vnd.djvu", ".epub": "application/epub+zip"}[path.suffix.lower()]
    entry = _ask(["xdg-mime", "query", "default", kind]).lower()
    for name, options in PAGED_VIEWERS.items():
        if re.search(rf"(?<![a-z]){name}", entry) and shutil.which(name):
            return [name, *(option.format(page=page, path=path) for option in options)]
    return None


def _open_on_mac(path: Path, page: int | None) -> str:
    if page is not None and path.suffix.lower() == ".pdf" and Path("/Applications/Skim.app").exists():
        _start(["open", f"skim://{quote_from_bytes(os.fsencode(path))}#page={page}"])
        return f"Opened {_name(path)} at page {page:,}"
    _start(["open", str(path)])
    place = f"; the place is page {page:,}" if page is not None else ""
    return f"Opened {_name(path)}{place}"


def _show_items(path: Path) -> list[list[str]]:
    """The commands that ask the file manager to select a file; the URI holds neither quotes nor commas."""
    uri, name = path.as_uri(), "org.freedesktop.FileManager1"
    target = "/org/freedesktop/FileManager1"
    commands = [
        ["gdbus", "call", "--session", "--timeout", "2", "--dest", name, "--object-path", target,
         "--method", f"{name}.ShowItems", f"['{uri}']", ""],
        ["dbus-send", "--session", "--print-reply", "--reply-timeout=2000", f"--dest={name}", "--type=method_call",
         target, f"{name}.ShowItems", f"array:string:{uri}", "string:"],
    ]  # fmt: skip
    return [command for command in commands if shutil.which(command[0])]


# --- starting programs ---------------------------------------------------------------------------------------


def _start(command: list[str], *, check: bool = True) -> None:
    """Starts a program that outlives us and never sees our terminal; what fails at once is told."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd=Path.home() if Path.home().is_dir() else None,
        )  # fmt: skip
    except OSError as error:
        raise DramaError(f"{command[0]} does not start: {error.strerror or error}") from error
    try:
        code = process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        threading.Thread(target=process.wait, daemon=True, name="viewer").start()  # else it stays a zombie
        return
    if code and check:
        raise DramaError(
            f"{command[0]} could not open it (code {code}): no program may be set for such files; copy the path instead"
        )


def _answers(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=ANSWER, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _ask(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=ANSWER, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
