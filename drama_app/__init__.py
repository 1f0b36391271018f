"""Semantic search over your own files. `open_retriever` gives the encoder alone; nothing heavy loads before."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drama_app.embed import open_retriever as open_retriever

__all__ = ["open_retriever"]


def __getattr__(name: str) -> Any:
    if name == "open_retriever":
        from drama_app.embed import open_retriever

        return open_retriever
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
