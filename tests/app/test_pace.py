"""How long a sync still takes."""

import time

import pytest

from drama_app.pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its one item."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_passages_of_a_large_file_count_one_by_one(clock: list[float]) -> None:
    """Ten small files and one of nearly all bytes: the figure falls while the large one is encoded."""
    pace = Pace()
    pace.expect(1_000_000)
    for _ in range(10):
        pace.cut(1_000, 10)
        pace.store(1_000)
        pace.settle(1_000)
    pace.cut(990_000, 900)  # the large one holds fewer passages for its bytes than the small ones did
    left = []
    for seconds in (10, 30, 60, 90, 99):
        clock[0] = 100.0 + seconds
        left.append(pace.seconds_left(encoded=10 * seconds))
    assert left == pytest.approx([90, 70, 40, 10, 1])


def test_what_is_not_cut_yet_is_taken_to_be_like_the_rest(clock: list[float]) -> None:
    """Half of the bytes read and all of their passages encoded: as long again; files without text count by bytes."""
    pace = Pace()
    pace.expect(2_000)
    clock[0] += 5
    assert pace.seconds_left(0) is None
    pace.cut(1_000, 20)
    assert pace.seconds_left(20) == pytest.approx(5)
    pace.settle(500)
    assert pace.seconds_left(20) == pytest.approx(5 / 3)

    photos = Pace()
    photos.expect(1_000)
    photos.settle(500)
    clock[0] += 1
    assert photos.seconds_left(0) is None  # too early
    clock[0] += 3
    assert photos.seconds_left(0) == pytest.approx(4)
