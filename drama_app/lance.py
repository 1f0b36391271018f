"""Imports LanceDB quietly and fast, and makes sentences of its errors; owns its environment variables.

It refuses to know what the store does with the package.
"""

import errno
import importlib
import importlib.abc
import importlib.machinery
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from drama_app.errors import DiskError, DramaError, IndexDamagedError

_REST_CLIENT = "lance_namespace_urllib3_client"
_NATIVE = "lancedb._lancedb"
_ENVIRONMENT = {
    # LanceDB writes warnings to stderr, one a query in some call shapes, which would tear a terminal UI.
    "LANCE_LOG": "error",
    "LANCEDB_LOG": "error",
    # Rows that it holds at once where it rewrites a table: 8,192 take 90 MB more at 100,000 rows, and are no faster.
    "LANCE_DEFAULT_BATCH_SIZE": "1024",
}
READ_ERRORS = (OSError, RuntimeError, ValueError)
"""What LanceDB raises of a table that it cannot read."""
_SYSTEM_ERROR = re.compile(r"([^:]+) \(os error (\d+)\)")
_LONGEST = 200
"""Characters of a cause: LanceDB adds where in its own source it stood, again and again."""
_lock = threading.Lock()

log = logging.getLogger(__name__)


def import_lancedb() -> Any:
    """Import `lancedb` without its REST client, which no local index uses.

    The client is 300 generated modules that take two thirds of the import (1.1 of 1.6 s). While `lancedb` is
    imported, a stand-in answers for them; afterwards the stand-in is gone and the real client can be imported by
    whoever needs it. If the package no longer fits the stand-in, it is imported as it is.

    Returns:
        The module `lancedb`.
    """
    with _lock:
        if "lancedb" in sys.modules:
            return sys.modules["lancedb"]
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if any(name.partition(".")[0] == _REST_CLIENT for name in sys.modules):
            return importlib.import_module("lancedb")
        try:
            return _import_without_client()
        except Exception as error:  # any error of a changed package is answered by the plain import
            log.debug("lancedb does not import without its REST client: %s", error)
        _forget("lancedb", "lance_namespace")  # what is half imported
        return importlib.import_module("lancedb")


def _import_without_client() -> ModuleType:
    finder = _StandInFinder()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("lancedb")
    finally:
        sys.meta_path.remove(finder)
        _forget(_REST_CLIENT)


def _forget(*packages: str) -> None:
    """Take the modules of these packages out, but not the native one, which cannot start twice in a process."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages and name != _NATIVE]:
        del sys.modules[name]


def explain(error: Exception, folder: Path, done: str = "read") -> DramaError:
    """What to tell a person of an error of LanceDB's.

    Only a table whose parts are gone or make no sense is worth making anew; a full disk or too many open files are not.
    """
    said = _SYSTEM_ERROR.search(str(error))
    number = error.errno if isinstance(error, OSError) and error.errno else int(said[2]) if said else 0
    if number and number != errno.ENOENT:
        cause = said[1].strip() if said else os.strerror(number)
        remedy = ": make room and try again" if number in (errno.ENOSPC, errno.EDQUOT) else ""
        return DiskError(f"the index in {folder} cannot be {done}: {cause}{remedy}")
    cause = " ".join(str(error).split())
    cause = cause if len(cause) <= _LONGEST else cause[:_LONGEST] + "…"
    return IndexDamagedError(f"the index in {folder} cannot be {done} ({cause}): run `drama-app purge` and index again")


@contextmanager
def system_errors_told(folder: Path, done: str) -> Iterator[None]:
    """Makes a sentence of what the system refuses; other errors are left as they are."""
    try:
        yield
    except READ_ERRORS as error:
        told = explain(error, folder, done)
        if isinstance(told, DiskError):
            raise told from error
        raise


class _StandIn(ModuleType):
    """A module that makes an empty class of every name asked of it."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        placeholder = type(name, (), {"__module__": self.__name__})
        setattr(self, name, placeholder)
        return placeholder


class _StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for the REST client and all its modules."""

    def find_spec(
        self, fullname: str, _path: object = None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != _REST_CLIENT:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: names are made when they are asked for."""
