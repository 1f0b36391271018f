"""Paths on the command line: none of them is empty.

`Path("")` is the folder one is in, so that `forget "$UNSET"` would take out all of it.
"""

import argparse
from pathlib import Path


def read_path(text: str) -> Path:
    """Returns the path."""
    return Path(read_name(text))


def read_name(text: str) -> str:
    """Returns the path as it was written, where it may have a page after it or be a word."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return text
