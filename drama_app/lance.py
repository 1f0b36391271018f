"""Imports LanceDB quietly and fast; owns its environment variables and nothing else.

It refuses to know what the store does with the package.
"""

import importlib
import importlib.abc
import importlib.machinery
import logging
import os
import sys
import threading
from types import ModuleType
from typing import Any

_REST_CLIENT = "lance_namespace_urllib3_client"
_NATIVE = "lancedb._lancedb"
_ENVIRONMENT = {
    # LanceDB writes warnings to stderr, one a query in some call shapes, which would tear a terminal UI.
    "LANCE_LOG": "error",
    "LANCEDB_LOG": "error",
    # Rows that it holds at once where it rewrites a table: 8,192 take 90 MB more at 100,000 rows, and are no faster.
    "LANCE_DEFAULT_BATCH_SIZE": "1024",
}
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
