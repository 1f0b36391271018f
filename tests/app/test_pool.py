"""Reading files in child processes: whatever a file does, the run goes on and says what happened."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drama_app.errors import ExtractionError
from drama_app.extract import pool as pool_module
from drama_app.extract.pool import ExtractionPool
from drama_app.extract.worker import LENGTH, decode_outcome, encode_answer
from drama_app.records import Document, Heading

# What stands in for `drama_app.extract` in a child: each name is something that a bad file makes a library do.
FAKE_EXTRACT = """
import os, signal, sys, time
from drama_app.errors import ExtractionError
from drama_app.records import Document

def extract(path):
    name = path.name
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("exit"):
        os._exit(3)
    if name.startswith("hang"):
        time.sleep(60)
    if name.startswith("spin"):
        import re
        re.match(r"(a+)+$", "a" * 60 + "b")  # holds the interpreter: no thread of the child runs
    if name.startswith("eat"):
        try:
            kept = [bytearray(10 << 20) for _ in range(1000)]
        except MemoryError as error:
            raise ExtractionError("needs more memory than a file may use") from error
    if name.startswith("noise"):
        print("to stdout"); os.write(1, b"raw"); os.write(2, b"raw"); print("to stderr", file=sys.stderr)
    if name.startswith("photo"):
        raise ExtractionError("a photo", passed_over=True)
    if name.startswith("try:"):
        action = {
            "socket": "import socket; socket.socket()",
            "write": f"open({str(path) + '.out'!r}, 'w')",
            "remove": f"import os; os.remove({str(path)!r})",
            "process": "import subprocess; subprocess.run(['true'])",
            "system": "import os; os.system('true')",
        }[name[4:]]
        try:
            exec(action)
        except RuntimeError as error:
            return Document(str(error), "refused")
    if name.startswith("large"):
        return Document(os.environ.get("FAKE_CHARACTER", "a") * 20_000_000, "text")
    return Document(os.fsencode(name).hex() + f" {os.getpid()}", "text")
"""


@pytest.fixture
def fake_extract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets children import `FAKE_EXTRACT` in place of `drama_app.extract.extract`."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "fake_extract.py").write_text(FAKE_EXTRACT)
    start = pool_module._START.replace(
        "from drama_app.extract.worker", "import drama_app.extract, fake_extract; "
        "drama_app.extract.extract = fake_extract.extract; from drama_app.extract.worker"
    )  # fmt: skip
    monkeypatch.setattr(pool_module, "_START", start)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "fake")])


@pytest.fixture
def pool(fake_extract: None) -> Iterator[ExtractionPool]:
    with ExtractionPool(1, timeout=20, memory_mb=300) as pool:
        yield pool


def _reason(pool: ExtractionPool, name: str) -> str:
    with pytest.raises(ExtractionError) as caught:
        pool.extract_one(Path("/nowhere") / name)
    return str(caught.value)


def _process_of(pool: ExtractionPool) -> int:
    return int(pool.extract_one(Path("/nowhere/good")).text.split()[1])


def test_real_file_is_read(tmp_path: Path) -> None:
    """A real file goes through the real extractors and back."""
    file = tmp_path / "notes.txt"
    file.write_text("Zwiebelkuchen\n日本語\n", encoding="utf-8")
    with ExtractionPool() as pool:
        document = pool.extract_one(file)
    assert "日本語" in document.text
    assert document.lines


@pytest.mark.parametrize("raw", [b"caf\xe9\xff.txt", b"two\nlines", "e\u0301 é 😀".encode(), b" $(x) 'q' \\ "])
def test_any_name_reaches_the_child(pool: ExtractionPool, raw: bytes) -> None:
    """A name of any bytes arrives as those bytes."""
    assert pool.extract_one(Path(os.fsdecode(b"/nowhere/" + raw))).text.split()[0] == raw.hex()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crash", "broke the reader (killed by signal 11)"),
        ("exit", "broke the reader (exit status 3)"),
        ("eat", "needs more than 300 MB of memory to read"),
    ],
)
def test_broken_child_is_replaced(pool: ExtractionPool, name: str, reason: str) -> None:
    """A file that ends its child is a reason, and the next file is read by a new child."""
    before = _process_of(pool)
    assert _reason(pool, name) == reason
    assert _process_of(pool) != before


@pytest.mark.parametrize("name", ["hang", "spin"])
def test_slow_file_is_given_up(fake_extract: None, name: str) -> None:
    """A file that takes too long, even inside C code, is ended on time and the next one is read."""
    with ExtractionPool(1, timeout=1.0) as pool:
        began = time.monotonic()
        assert _reason(pool, name) == "gave no text within 1 s"
        assert time.monotonic() - began < 2.5
        assert _process_of(pool)


def test_innocent_file_is_read_again_in_a_fresh_child(pool: ExtractionPool) -> None:
    """A child that died between two files costs the second one nothing."""
    os.kill(_process_of(pool), signal.SIGKILL)
    assert _process_of(pool)


def test_reasons_keep_their_class(pool: ExtractionPool) -> None:
    """A file without text is passed over on this side too."""
    with pytest.raises(ExtractionError, match="a photo") as caught:
        pool.extract_one(Path("photo"))
    assert caught.value.passed_over


def test_output_of_libraries_goes_nowhere(pool: ExtractionPool, capfd: pytest.CaptureFixture[str]) -> None:
    """What a library prints reaches neither the protocol nor the terminal."""
    assert pool.extract_one(Path("noise")).kind == "text"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("action", ["socket", "write", "remove", "process", "system"])
def test_child_can_only_read(pool: ExtractionPool, tmp_path: Path, action: str) -> None:
    """Reading a file opens no socket, starts no process and changes nothing on disk."""
    file = tmp_path / f"try:{action}"
    file.touch()
    document = pool.extract_one(file)
    assert document.kind == "refused"
    assert document.text.startswith("tried to")
    assert [each.name for each in tmp_path.iterdir() if each.name != "fake"] == [file.name]


def test_all_files_come_back_once(fake_extract: None) -> None:
    """Good and bad files together: each has one outcome, and the source is read only a little ahead."""
    names = [Path(f"{'crash' if index % 7 == 3 else 'good'}{index}") for index in range(40)]
    pulled: list[Path] = []

    def source() -> Iterator[Path]:
        for name in names:
            pulled.append(name)
            yield name

    done = []
    with ExtractionPool(2, timeout=20) as pool:
        for path, outcome in pool.extract_all(source()):
            done.append(path)
            assert len(pulled) <= len(done) + 4
            assert isinstance(outcome, ExtractionError) == path.name.startswith("crash")
    assert sorted(done) == sorted(names)


def test_good_files_do_not_wait_for_a_slow_one(fake_extract: None) -> None:
    """One slow file holds up one worker only."""
    with ExtractionPool(2, timeout=3.0) as pool:
        order = [path.name for path, _ in pool.extract_all(Path(name) for name in ["hang", "a", "b", "c"])]
    assert order[-1] == "hang"


def test_error_of_the_source_is_raised(pool: ExtractionPool) -> None:
    """A defect in the caller's iterator is not swallowed."""

    def source() -> Iterator[Path]:
        yield Path("good")
        raise LookupError("defect")

    with pytest.raises(LookupError):
        list(pool.extract_all(source()))


def test_stopped_iteration_leaves_a_usable_pool(fake_extract: None) -> None:
    """Giving up in the middle ends what is under way at once, and the pool serves the next run."""
    with ExtractionPool(2, timeout=60) as pool:
        began = time.monotonic()
        for _ in pool.extract_all(Path(name) for name in ["good", "hang1", "hang2", "hang3"]):
            break
        assert [type(outcome) for _, outcome in pool.extract_all([Path("x"), Path("y")])] == [Document, Document]
        assert time.monotonic() - began < 5


def test_stop_event_ends_the_wait(fake_extract: None) -> None:
    """Setting `stop` ends `extract_all` in mid-file."""
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    with ExtractionPool(1, timeout=60, stop=stop) as pool:
        assert list(pool.extract_all([Path("hang")])) == []
    assert time.monotonic() - began < 3


def test_children_end_with_a_killed_parent(fake_extract: None, tmp_path: Path) -> None:
    """After `kill -9` of the app no child stays, not even one in the middle of a file."""
    script = textwrap.dedent(f"""
        import sys
        sys.path[:] = {sys.path!r}
        from drama_app.extract import pool
        from pathlib import Path
        pool._START = {pool_module._START!r}
        with pool.ExtractionPool(1) as readers:
            print(readers.extract_one(Path("good")).text.split()[1], flush=True)
            readers.extract_one(Path("hang"))
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
    deadline = time.monotonic() + 3
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(process: int) -> bool:
    """False for a zombie too: whoever adopts orphans may take its time."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ctrl_c_is_not_for_children(pool: ExtractionPool) -> None:
    """A child is in no terminal's group and ignores the interrupt."""
    child = _process_of(pool)
    assert os.getpgid(child) == child
    os.kill(child, signal.SIGINT)
    assert _process_of(pool) == child


def test_close_leaves_no_process(fake_extract: None) -> None:
    """Closing the pool ends and reaps every child, a busy one too."""
    pool = ExtractionPool(2, timeout=60)
    child = _process_of(pool)
    reader = threading.Thread(target=lambda: list(pool.extract_all([Path("hang")])))
    reader.start()
    time.sleep(0.3)
    pool.close()
    reader.join(3)
    assert not reader.is_alive()
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize("character", ["a", "語"])
def test_large_text_passes(fake_extract: None, monkeypatch: pytest.MonkeyPatch, character: str) -> None:
    """A text of 20 million characters arrives whole."""
    monkeypatch.setenv("FAKE_CHARACTER", character)
    with ExtractionPool(1) as pool:
        text = pool.extract_one(Path("large")).text
    assert len(text) == 20_000_000
    assert text[0] == text[-1] == character


def test_answer_keeps_everything() -> None:
    """Every field of a document, lone surrogates too, survives the frame."""
    document = Document(
        text="a\udc80\nb", kind="pdf", title="T\udcff", pages=(0, 2), headings=(Heading(0, 1, "T"),), notes=("n",),
        lines=True,
    )  # fmt: skip
    frame = b"".join(encode_answer(document, out_of_memory=False, worn=False))
    size = LENGTH.unpack(frame[:4])[0]
    block = LENGTH.unpack(frame[4 + size : 8 + size])[0]
    import json

    text = frame[8 + size : 8 + size + block].decode("utf-8", "surrogatepass")
    assert decode_outcome(json.loads(frame[4 : 4 + size]), text) == document
