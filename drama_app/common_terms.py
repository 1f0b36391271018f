"""How common terms are in a store, estimated from a sample: tells "the" from a name in a query.

LanceDB does not say how many passages hold a term (counting took 3.5 s a term at 100,000 passages). Owns the small
file of common terms; a missing or broken file only means that all words weigh the same.
"""

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_RAREST = 1 / 200
"""Share of passages below which a term counts as rare: a sample of some thousand cannot tell rarer ones apart."""


class CommonTerms:
    """Shares of passages by term, for the terms that are common."""

    def __init__(self, shares: Mapping[str, float], passages: int = 0) -> None:
        self._shares = shares
        self.passages = passages
        """How many passages the store held when the sample was taken."""

    @classmethod
    def of_sample(cls, sample: Iterable[str], passages: int) -> "CommonTerms":
        """Count over `sample`, a string of terms for each passage."""
        texts = list(sample)
        counts = Counter(term for text in texts for term in set(text.split()))
        shares = {term: count / len(texts) for term, count in counts.items() if count / len(texts) >= _RAREST}
        return cls(shares, passages)

    @classmethod
    def load(cls, path: Path) -> "CommonTerms":
        """Read the file; nothing is common if there is none."""
        try:
            content = json.loads(path.read_bytes())
            return cls({str(term): float(share) for term, share in content["shares"].items()}, int(content["passages"]))
        except FileNotFoundError:
            return cls({})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.debug("no common terms from %s: %s", path, error)
            return cls({})

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        part = path.with_suffix(".part")
        shares = {term: round(share, 4) for term, share in self._shares.items()}
        part.write_text(json.dumps({"passages": self.passages, "shares": shares}), encoding="utf-8")
        part.replace(path)

    def weight(self, term: str) -> float:
        """The weight of a term: 0 for one that is everywhere, 5.3 for a rare one."""
        return math.log(1 / max(_RAREST, self._shares.get(term, 0.0)))

    def coverage(self, words: Sequence[Sequence[str]], terms: str) -> float:
        """The share of the words' weight that `terms` holds; a word is held if any of its terms is."""
        held = f" {terms} "
        weights = [self.weight(word[0]) for word in words]
        found = sum(
            weight for word, weight in zip(words, weights, strict=True) if any(f" {term} " in held for term in word)
        )
        return found / (sum(weights) or 1.0)
