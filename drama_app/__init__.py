"""Semantic search over your own files. `open_retriever` gives the encoder alone; nothing heavy loads before."""

import os
from typing import TYPE_CHECKING, Any

# Since 1.29 ONNX Runtime sends its maker the model's name, the machine's make-up and a device id, unless this is set
# before it loads; whichever of our modules loads it comes after this line.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from drama_app.embed import open_retriever as open_retriever

__all__ = ["open_retriever"]


def __getattr__(name: str) -> Any:
    if name == "open_retriever":
        from drama_app.embed import open_retriever

        return open_retriever
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
