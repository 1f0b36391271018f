"""LanceDB is imported without its REST client, opens no socket, and comes in whole if the package changes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, *arguments: str) -> str:
    """Runs code in a clean interpreter that must be silent on stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_the_rest_client_stays_out_and_can_still_be_imported() -> None:
    """The stand-in is gone after the import: the real client is there for whoever asks."""
    out = run("""
import sys
from drama_app.lance import import_lancedb
lancedb = import_lancedb()
assert import_lancedb() is lancedb is sys.modules["lancedb"]
print(any(name.startswith("lance_namespace_urllib3_client") for name in sys.modules))
from lance_namespace_urllib3_client.models import ListTablesResponse
print(ListTablesResponse(tables=["a"]).tables)
""")
    assert out.split("\n")[:2] == ["False", "['a']"]


def test_a_package_that_does_not_fit_the_stand_in_is_imported_as_it_is() -> None:
    """If the fast import fails in any way, the plain one is what the caller gets."""
    out = run("""
import sys
from drama_app import lance
def broken(self, name):
    raise ImportError(name)
lance._StandIn.__getattr__ = broken
lancedb = lance.import_lancedb()
print("lance_namespace_urllib3_client.models" in sys.modules, callable(lancedb.connect))
""")
    assert out == "True True\n"


def test_a_store_is_used_without_a_socket(tmp_path: Path) -> None:
    """Opening, writing, searching and tidying ask the network for nothing."""
    run(
        """
import socket, sys
def refuse(*arguments, **named):
    raise AssertionError("a socket")
import asyncio
from pathlib import Path
from tests.app.test_store import PassageStore, fill, vectors, DIM
def watch(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"):
        raise AssertionError(event)
sys.addaudithook(watch)
store = PassageStore.open(Path(sys.argv[1]), dim=DIM)
fill(store, 200)
store.tidy(force=True)
assert store.keywords("number3", limit=3) and store.nearest(vectors(3)[0], limit=3)
""",
        str(tmp_path),
    )
