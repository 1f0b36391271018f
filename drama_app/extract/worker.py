"""The child process that reads untrusted files, and the frames it answers in.

Owns the limits that a child lives under and the protocol; what a file means is `drama_app.extract`'s business, when a
child is started, timed or replaced is the pool's. The child opens no socket, starts no process and changes nothing on
disk: an audit hook refuses all three. It never prints: its stdout is the protocol.

Requests are lines of JSON, answers are frames: a length and JSON, then the text in blocks, each a length and UTF-8,
ended by a length of zero. Blocks keep a text of 20 million characters from being held three times.
"""

import base64
import json
import os
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from drama_app.errors import ExtractionError
from drama_app.records import Document, Heading

BLOCK_CHARACTERS = 1 << 20
LENGTH = struct.Struct(">I")
MEMORY_EXIT = 97  # the child's exit status when it stopped itself for using too much memory
WORN_FILES = 1000  # what libraries leak in as many files is still small
WORN_SHARE = 0.5  # of the memory limit, held after a file is done: the next large file needs the room
ALARM_MARGIN = 10.0  # seconds after the pool's own limit: only for a child whose parent was killed
NICENESS = 5

_REFUSED_EVENTS = frozenset(
    {
        "os.chmod", "os.chown", "os.exec", "os.fork", "os.forkpty", "os.link", "os.mkdir", "os.posix_spawn",
        "os.remove", "os.rename", "os.rmdir", "os.setxattr", "os.spawn", "os.startfile", "os.symlink", "os.system",
        "os.truncate", "os.utime", "pty.spawn", "subprocess.Popen",
    }
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    """Serves requests from stdin until it is closed; the arguments are the limits, see `describe_limits`."""
    memory_mb, timeout = int(sys.argv[1]), float(sys.argv[2])
    requests, answers = _take_over_streams()
    _limit_process(memory_mb)
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests, lines), daemon=True).start()
    sys.addaudithook(_refuse)
    _serve(lines, answers, memory_mb=memory_mb, timeout=timeout)


def encode_request(path: Path) -> bytes:
    """Return the line that asks for a file; any name survives, whatever its bytes and the child's locale."""
    return json.dumps({"path": base64.b64encode(os.fsencode(path)).decode()}).encode() + b"\n"


def encode_answer(outcome: Document | ExtractionError, *, out_of_memory: bool, worn: bool) -> Iterator[bytes]:
    """Yield the frame of one answer, in pieces."""
    header: dict[str, object] = {"worn": worn, "out_of_memory": out_of_memory}
    if isinstance(outcome, ExtractionError):
        header |= {"error": str(outcome), "passed_over": outcome.passed_over}
        text = ""
    else:
        header |= {
            "kind": outcome.kind,
            "title": outcome.title,
            "pages": outcome.pages,
            "headings": [(heading.start, heading.level, heading.title) for heading in outcome.headings],
            "notes": outcome.notes,
            "lines": outcome.lines,
        }
        text = outcome.text
    packed = json.dumps(header).encode()
    yield LENGTH.pack(len(packed)) + packed
    for start in range(0, len(text), BLOCK_CHARACTERS):
        block = text[start : start + BLOCK_CHARACTERS].encode("utf-8", "surrogatepass")
        yield LENGTH.pack(len(block)) + block
    yield LENGTH.pack(0)


def decode_outcome(header: dict[str, object], text: str) -> Document | ExtractionError:
    """Return what a child found.

    Raises:
        KeyError, TypeError, ValueError: the header is not one that `encode_answer` makes.
    """
    if "error" in header:
        return ExtractionError(str(header["error"]), passed_over=bool(header["passed_over"]))
    pages, headings, notes = header["pages"], header["headings"], header["notes"]
    if not (isinstance(pages, list) and isinstance(headings, list) and isinstance(notes, list)):
        raise TypeError("not an answer of a worker")
    return Document(
        text=text,
        kind=str(header["kind"]),
        title=str(header["title"]),
        pages=tuple(int(page) for page in pages),
        headings=tuple(Heading(int(start), int(level), str(title)) for start, level, title in headings),
        notes=tuple(str(note) for note in notes),
        lines=bool(header["lines"]),
    )


def _take_over_streams() -> tuple[BinaryIO, BinaryIO]:
    """Moves the protocol to private descriptors, so that whatever a library prints goes nowhere."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return requests, answers


def _limit_process(memory_mb: int) -> None:
    """Sets what the child may use; a platform without a limit gets what comes nearest to it."""
    import signal

    sys.dont_write_bytecode = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes stdin
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    if sys.platform == "linux":
        # DATA, not AS: mapped libraries and files are not the file's doing, numpy alone maps 300 MB it never touches.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))
    else:  # macOS accepts the limits and does not keep them
        threading.Thread(target=_watch_memory, args=(memory_mb,), daemon=True).start()


def _watch_memory(memory_mb: int) -> None:
    """Ends the process when it has used too much, where the system does not refuse memory itself."""
    import resource
    import time

    unit = 1 if sys.platform == "darwin" else 1024
    while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit < memory_mb << 20:
        time.sleep(0.1)
    os._exit(MEMORY_EXIT)


def _read_requests(requests: BinaryIO, lines: "SimpleQueue[bytes]") -> None:
    """Passes requests on. A closed stdin means that the parent is gone or done: ends at once, in mid-file too."""
    for line in requests:
        lines.put(line)
    os._exit(0)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    """The audit hook. Raises where a file's content could reach for more than its own bytes."""
    if event == "open":
        flags = arguments[2]
        if isinstance(flags, int) and flags & _WRITING and arguments[0] != os.devnull:
            raise RuntimeError("tried to write a file")
    elif event.startswith("socket."):
        raise RuntimeError("tried to use the network")
    elif event in _REFUSED_EVENTS:
        raise RuntimeError(f"tried to use {event}")


def _serve(lines: "SimpleQueue[bytes]", answers: BinaryIO, *, memory_mb: int, timeout: float) -> None:
    import logging
    import warnings

    logging.disable()
    warnings.simplefilter("ignore")
    for served in range(1, WORN_FILES + 1):
        path = Path(os.fsdecode(base64.b64decode(json.loads(lines.get())["path"])))
        _set_alarm(timeout + ALARM_MARGIN)
        outcome, out_of_memory = _extract(path)
        worn = out_of_memory or served == WORN_FILES or _memory_held() > (memory_mb << 20) * WORN_SHARE
        for piece in encode_answer(outcome, out_of_memory=out_of_memory, worn=worn):
            answers.write(piece)
        answers.flush()
        _set_alarm(0)
        if worn:
            return
        del outcome


def _extract(path: Path) -> tuple[Document | ExtractionError, bool]:
    """Return a file's document or why there is none, and whether memory was the reason."""
    try:
        from drama_app.extract import extract

        return extract(path), False
    except MemoryError:
        return ExtractionError("out of memory"), True
    except ExtractionError as error:
        # The traceback would keep alive what filled the memory.
        return ExtractionError(str(error), passed_over=error.passed_over), isinstance(error.__cause__, MemoryError)


def _set_alarm(seconds: float) -> None:
    """Lets the system end the process, even one stuck in a regular expression whose parent is gone."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _memory_held() -> int:
    """Bytes in use now where that can be told, else the most that were ever in use, else 0."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * 4096
    except OSError:
        pass
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
