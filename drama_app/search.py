"""One query from words to hits: both candidate lists side by side, fused, grouped, described.

Owns the order of these steps and the look-ups between them; the scores are `rank`'s, the candidates the store's, the
marks `highlight`'s. It changes nothing in the index.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drama_app.errors import UsageError
from drama_app.highlight import best_sentence, mark_words
from drama_app.manifest import DocumentRow, FileRow, Manifest, passes
from drama_app.records import Filters, Hit, Mode, PassageHit, Results
from drama_app.sentences import split_sentences

if TYPE_CHECKING:
    from drama_app.embed import Encoder
    from drama_app.store import PassageStore
