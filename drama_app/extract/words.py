"""Writes long constant word lists readably."""


def split_words(names: str) -> tuple[str, ...]:
    """Return the words of a string in order."""
    return tuple(names.split())
