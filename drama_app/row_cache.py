"""What the store has seen of the passage table lately: where rows lie and what they hold, until the table changes.

A query meets the same rows several times (a list, its texts, the hits), and the next query typed often meets them
again; each fetch of some rows costs 3 to 8 ms, however few they are. It reads nothing itself.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from drama_app.passage_table import StoredPassage

    Key = tuple[int, int]

Value = TypeVar("Value")

_PLACES = 4_000
_PASSAGES = 1_000
"""With vectors and terms about 5 MB."""


class RowCache:
    """Places and contents of rows by key, the latest ones; usable from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: OrderedDict[Key, int] = OrderedDict()
        self._passages: OrderedDict[Key, StoredPassage] = OrderedDict()
        self._generation = 0

    @property
    def generation(self) -> int:
        """A number that differs after the table has changed; to be taken before rows are read."""
        return self._generation

    def forget(self) -> None:
        """The table has changed: rows may have moved or gone."""
        with self._lock:
            self._generation += 1
            self._places.clear()
            self._passages.clear()

    def note_places(self, generation: int, places: "Iterable[tuple[Key, int]]") -> None:
        """Keep row ids, unless the table has changed since `generation`."""
        self._note(generation, self._places, places, _PLACES)

    def note_passages(self, generation: int, passages: "Iterable[StoredPassage]") -> None:
        """Keep passages, unless the table has changed since `generation`."""
        self._note(generation, self._passages, ((each.key, each) for each in passages), _PASSAGES)

    def places(self, keys: "Sequence[Key]") -> list[int]:
        """The row ids of those keys that are known."""
        with self._lock:
            return [self._places[key] for key in keys if key in self._places]

    def passages(self, keys: "Sequence[Key]", *, vectors: bool) -> "dict[Key, StoredPassage]":
        """The passages of those keys that are held, with their vectors if asked for."""
        with self._lock:
            found = ((key, self._passages.get(key)) for key in keys)
            return {key: each for key, each in found if each and not (vectors and each.vector is None)}

    def _note(
        self, generation: int, held: "OrderedDict[Key, Value]", items: "Iterable[tuple[Key, Value]]", most: int
    ) -> None:
        with self._lock:
            if generation != self._generation:
                return
            for key, value in items:
                held[key] = value
                held.move_to_end(key)
            while len(held) > most:
                held.popitem(last=False)
