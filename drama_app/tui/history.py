"""A walk through the queries that were asked before. Pure; the queries themselves are kept by `state`."""

from collections.abc import Sequence


class Walk:
    """Goes back and forth, and brings back what stood in the line before the walk began."""

    def __init__(self) -> None:
        self._entries: tuple[str, ...] = ()
        self._place: int | None = None
        self._draft = ""

    def back(self, history: Sequence[str], line: str) -> str | None:
        """Returns the query before; None at the oldest. `history` is oldest first, `line` is what is typed now."""
        if self._place is None or self._entries[self._place] != line:
            self._entries = tuple(each for each in history if each != line)
            self._place, self._draft = len(self._entries), line
        if self._place == 0:
            self._leave_if_empty()
            return None
        self._place -= 1
        return self._entries[self._place]

    def forth(self, line: str) -> str | None:
        """Returns the query after it, at last what was typed before the walk; None if no walk is under way."""
        if self._place is None or self._entries[self._place] != line:
            self._place = None
            return None
        self._place += 1
        if self._place < len(self._entries):
            return self._entries[self._place]
        self._place = None
        return self._draft

    def _leave_if_empty(self) -> None:
        if not self._entries:
            self._place = None
