"""When the passage table is tidied, and how: few parts, indexes that hold every row, no old versions.

It writes no row and runs no query.
"""

from datetime import timedelta
from typing import Any

from drama_app import passage_table
from drama_app.common_terms import CommonTerms
from drama_app.passage_table import TERMS_INDEX, VECTOR_INDEX

_VECTOR_INDEX_ROWS = 20_000
"""Below it a scan takes at most 25 ms and is exact; at 100,000 rows 115 ms against 14 with the index."""
_SMALL_PARTS = 64
_ROWS_A_PART = 5_000
_UNINDEXED_ROWS = 1_000
_UNINDEXED_SHARE = 40
"""New rows are scanned for keywords (27 ms for 1,000), while taking any number of them in rewrites the whole index of
terms (0.2 ms a row of the table). A fortieth keeps the second below a third of what encoding the new rows costs."""
_GROWN_ROWS = 10_000
_GROWN_SHARE = 10
"""While a first index grows, a search beside it waits for that scan. A tenth adds 2 ms a row to the 30 of encoding."""
_RETENTION = timedelta(seconds=60)
"""A reader holds a version for one query only, since it refreshes before."""
_REWRITTEN_ROWS = 100_000
"""Some 20 s; 20,000 small rows took 1.4."""
_FEWEST_ROWS = 100
_SAMPLE = 4_000
"""Rows whose terms are counted."""


def is_untidy(table: Any) -> bool:
    """Whether a table that has come to rest is worth the work."""
    stats = table.stats()
    rows, small = stats["num_rows"], stats["fragment_stats"]["num_small_fragments"]
    return bool(
        small >= max(_SMALL_PARTS, rows // _ROWS_A_PART)
        or _count_unindexed(table) >= max(_UNINDEXED_ROWS, rows // _UNINDEXED_SHARE)
    )


def has_grown(table: Any) -> bool:
    """Whether so much is new that a table that is still filled is worth the work."""
    return _count_unindexed(table) >= max(_GROWN_ROWS, int(table.count_rows()) // _GROWN_SHARE)


def tidy(table: Any, *, for_good: bool = False) -> None:
    """Merge small parts, extend the indexes and drop old versions; `for_good`, what was removed leaves the disk now.

    In a large table it does once the parts that held it are merged. A reader that loses the version it read asks once
    more on the newest.
    """
    # Merging leaves a part alone of which less than a tenth was removed, so each row is written anew.
    if for_good and table.count_rows() <= _REWRITTEN_ROWS:
        table.update(values_sql={"ordinal": "ordinal"})
    retention = timedelta(milliseconds=1) if for_good else _RETENTION
    table.optimize(cleanup_older_than=retention, delete_unverified=True)
    if table.count_rows() >= _VECTOR_INDEX_ROWS and not table.index_stats(VECTOR_INDEX):
        passage_table.make_vector_index(table)


def renew_common_terms(table: Any, known: CommonTerms) -> CommonTerms:
    """The common terms of the table, counted anew if it has grown by half since `known` were."""
    rows = table.count_rows()
    if rows < _FEWEST_ROWS or rows < 1.5 * known.passages:
        return known
    step = max(1, rows // _SAMPLE)
    sample = table.take_offsets(list(range(0, rows, step))).select(["terms"]).to_arrow()
    return CommonTerms.of_sample(sample["terms"].to_pylist(), rows)


def _count_unindexed(table: Any) -> int:
    terms = table.index_stats(TERMS_INDEX)
    return int(terms.num_unindexed_rows) if terms else 0
