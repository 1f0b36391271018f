"""Nothing leaves the machine, and nothing in a file reaches the terminal that shows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A clean interpreter in which Python refuses every network call; native code cannot be refused there, so the sockets
# that the process holds are compared with the kernel's tables of network sockets while it runs.
NO_SOCKET = """
import os, sys, threading, time
def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        raise RuntimeError("network: " + event)
sys.addaudithook(refuse)
seen = set()
def look():
    while True:
        held = set()
        for number in os.listdir("/proc/self/fd"):
            try:
                held.add(os.readlink("/proc/self/fd/" + number))
            except OSError:
                continue
        for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
            try:
                lines = open("/proc/self/net/" + table).read().splitlines()[1:]
            except OSError:
                continue
            seen.update(table + " " + line for line in lines if "socket:[" + line.split()[9] + "]" in held)
        time.sleep(0.005)
if os.path.isdir("/proc/self/net"):
    threading.Thread(target=look, daemon=True).start()
from drama_app.cli import main
folder, retriever = sys.argv[1:]
assert main(["index", folder, "--retriever", retriever]) == 0
assert main(["search", "waggle dance"]) == 0
assert main(["search", "--similar", folder + "/a.html"]) in (0, 1)
assert main(["status"]) == 0
from drama_app.config import load_settings
from drama_app.library import Library
stop = threading.Event()
with Library.open(load_settings()) as library:
    threading.Timer(1.5, stop.set).start()
    library.watch(on_report=lambda report: None, on_state=lambda line: None, stop=stop)
assert not seen, seen
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Documents that ask for the network: remote images, styles, entities, links."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.html").write_text(
        '<html><link rel="stylesheet" href="http://192.0.2.1/x.css"><img src="http://192.0.2.1/pixel.png">'
        "<p>The waggle dance tells bees where nectar is.</p></html>"
    )
    (folder / "b.xml").write_text(
        '<!DOCTYPE a SYSTEM "http://192.0.2.1/a.dtd" [<!ENTITY e SYSTEM "http://192.0.2.1/e">]><a>waggle dance too</a>'
    )
    (folder / "c.eml").write_text(
        "Subject: waggle\nContent-Type: text/html\n\n<img src='http://192.0.2.1/t.gif'>a dance of bees"
    )
    return folder


def test_no_network_socket_is_opened(folder: Path, tiny: Path) -> None:
    """Indexing, searching, status and watching open no network socket, whatever the documents ask for."""
    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKET, str(folder), str(tiny)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_library_keeps_what_it_would_send(folder: Path, tiny: Path, tmp_path: Path) -> None:
    """Libraries that report to their makers leave no queue of reports and no device id in the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    # They hold their peace on a build server, and a test must not pass for that.
    environment = {name: text for name, text in os.environ.items() if name in ("PATH", "VIRTUAL_ENV", "LANG")}
    environment |= {"HOME": str(home), "USERPROFILE": str(home)}
    command = [sys.executable, "-m", "drama_app", "index", str(folder), "--retriever", str(tiny)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    left = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    assert left
    assert [path for path in left if "drama-app" not in path.parts] == []


def test_files_cannot_reach_the_terminal(tmp_path: Path, tiny: Path) -> None:
    """A file full of escape sequences, with a name full of them, is shown without any."""
    folder = tmp_path / "files"
    folder.mkdir()
    link = "\x1b]8;;http://192.0.2.1\x1b\\link\x1b]8;;\x1b\\"
    attack = f"waggle \x1b[2J\x1b]0;owned\x07{link} \x9b31m \x90q\x9c \u202egnp.exe [red]x[/red]"
    (folder / "evil\x1b[31m\n\x9b2Jname.md").write_text(f"# {attack}\n\n{attack} dance of the bees\n")
    (folder / "bad\x1b]0;x\x07.pdf").write_bytes(b"%PDF-1.4 nothing")
    shown = ""
    for arguments in (
        ["index", str(folder), "--retriever", str(tiny)],
        ["search", "waggle dance", "--explain"],
        ["search", "waggle dance", "--json"],
        ["status", "--failed"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "drama_app", "--color", "never", *arguments], capture_output=True, check=False
        )
        assert done.returncode in (0, 3), done.stderr
        shown += done.stdout.decode() + done.stderr.decode()

    assert "waggle" in shown
    assert "[red]x[/red]" in shown
    unsafe = {
        character for character in shown if (ord(character) < 32 and character != "\n") or 127 <= ord(character) < 160
    }
    assert unsafe == set()
    assert "\u202e" not in shown
