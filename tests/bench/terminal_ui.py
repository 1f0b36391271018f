"""How quick the terminal UI is: `python -m tests.bench.terminal_ui [--home FOLDER] [--corpus FOLDER]`.

Drives the real program in a pseudo-terminal, as a person would. First paint, memory, and key to screen while indexing
run over a fresh home and the folder; time to results over a home that is indexed already.
"""

import argparse
import fcntl
import json
import os
import pty
import select
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE = (36, 120)  # rows, columns
QUIT = b"\x11"
WHO, ANSWER = b"\x1b[c", b"\x1b[1;2R\x1b[1;3R\x1b]11;rgb:1616/1717/1f1f\x1b\\\x1b[?62;22c"
"""The program asks what the terminal is, and where its cursor stands."""
STARTS = 7
KEYS = "how do plants turn sunlight into sugar and why does it matter so much for us today "
QUESTIONS = ["when was the castle built", "what is the capital", "how are passengers protected", "the treaty of peace"]
DEBOUNCE = 0.2


class Terminal:
    """`drama-app` in a pseudo-terminal of its own."""

    def __init__(self, home: Path) -> None:
        (home / "state").mkdir(exist_ok=True)
        (home / "state" / "ui.json").write_text('{"welcomed": true}')  # on the search screen, nothing in the way
        self.started = time.perf_counter()
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the second start of a person's program is compiled
            os.environ.update(DRAMA_APP_HOME=str(home), TERM="xterm-256color", COLORTERM="truecolor")
            os.execv(sys.executable, [sys.executable, "-m", "drama_app"])
        fcntl.ioctl(self._handle, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self.seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.press(QUIT)
        while not os.waitpid(self.pid, os.WNOHANG)[0]:
            self.read(0.1)
        os.close(self._handle)

    def press(self, keys: bytes) -> None:
        """Types."""
        os.write(self._handle, keys)

    def read(self, seconds: float) -> bytes:
        """What is drawn next, waiting at most so long."""
        if not select.select([self._handle], [], [], seconds)[0]:
            return b""
        try:
            drawn = os.read(self._handle, 1 << 20)
        except OSError:
            return b""
        if WHO in drawn and WHO not in self.seen:
            self.press(ANSWER)  # as every terminal does
        self.seen += drawn
        return drawn

    def wait_for(self, text: str, seconds: float = 20.0) -> float:
        """Seconds until `text` is drawn from now on."""
        start, drawn = time.perf_counter(), b""
        while text.encode() not in drawn:
            if time.perf_counter() - start > seconds:
                raise TimeoutError(f"{text!r} was not drawn; the last output: {drawn[-500:]!r}")
            drawn += self.read(0.05)
        return time.perf_counter() - start

    def memory_mb(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measure_start(home: Path) -> dict[str, float]:
    """First paint, from the start of the process until the footer stands; memory before anything is indexed."""
    paints, memory = [], 0.0
    for _ in range(STARTS):
        with Terminal(home) as terminal:
            terminal.wait_for("Library")
            paints.append(time.perf_counter() - terminal.started)
            time.sleep(1.0)
            terminal.read(0.1)
            memory = terminal.memory_mb()
    return {"first_paint_s": statistics.median(paints), "memory_empty_mb": memory}


def measure_keys(home: Path) -> dict[str, float]:
    """Milliseconds from a key to its character on the screen."""
    times = []
    with Terminal(home) as terminal:
        terminal.wait_for("Library")
        time.sleep(2.0)
        while terminal.read(0.1):
            pass
        for letter in KEYS.replace(" ", ""):
            while terminal.read(0.03):
                pass  # what is drawn anyway may hold the letter
            terminal.press(letter.encode())
            times.append(terminal.wait_for(letter) * 1000)
        memory = terminal.memory_mb()
    return {
        "key_p50_ms": statistics.median(times),
        "key_p95_ms": statistics.quantiles(times, n=20)[-1],
        "memory_mb": memory,
    }


def measure_results(home: Path) -> dict[str, float]:
    """Milliseconds from the end of the debounce to results on the screen."""
    times = []
    with Terminal(home) as terminal:
        terminal.wait_for("Library")
        time.sleep(4.0)
        for question in QUESTIONS * 5:
            for letter in question:
                terminal.press(letter.encode())
                terminal.read(0.02)
            times.append((terminal.wait_for(" ms") - DEBOUNCE) * 1000)
            terminal.press(b"\x15")  # Ctrl+U: an empty line
            time.sleep(0.3)
            while terminal.read(0.05):
                pass
    return {"results_p50_ms": statistics.median(times), "results_p95_ms": statistics.quantiles(times, n=20)[-1]}


def index_in_background(home: Path, corpus: Path) -> None:
    """Makes a home whose folder is not indexed yet, so that the UI begins with it."""
    os.environ["DRAMA_APP_HOME"] = str(home)
    from drama_app.config import load_settings
    from drama_app.library import Library

    with Library.open(load_settings(), create=True) as library:
        library.add_root(corpus)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, help="a folder that takes minutes to index")
    parser.add_argument("--home", type=Path, help="a home that is indexed already")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        figures |= measure_start(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        quiet = measure_keys(Path(folder))
        figures |= {f"{name}_quiet": value for name, value in quiet.items()}
        if arguments.corpus:
            index_in_background(Path(folder), arguments.corpus)
            figures |= {f"{name}_indexing": value for name, value in measure_keys(Path(folder)).items()}
    if arguments.home:
        figures |= measure_results(arguments.home)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
