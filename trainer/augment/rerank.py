"""Owns listwise reordering of a retriever's first passages by a model: the prompt, and reading what comes back.

Whatever the model writes, an order of all candidates results: repairs are counted, and an answer without any order
leaves the retriever's. It retrieves nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import regex

from drama_app.ruler import Ruler
from trainer.augment.ledger import Outcome
from trainer.augment.llm import Generator, Prompt, Sampling
from trainer.augment.prompts import RerankPrompt
from trainer.records import Passage, Query, TrainingGroup

CANDIDATES = 20
NEGATIVES = 10
"""The last of them in the new order."""
PASSAGE_TOKENS = 160
"""Tokens of each passage: 20 of them, the shots and the answer stay under 4,096."""
_ORDER_TOKENS = 6
"""Tokens of one id in the answer: brackets, one or two digits, the sign behind."""
_NUMBER = regex.compile(r"\d+")
_LIST = regex.compile(r"\[?\d+\]?(?:\s*(?:>|,|＞|›)\s*\[?\d+\]?)*")


@dataclass(frozen=True, slots=True)
class Candidates:
    """A query and the passages that a retriever ranked first, best first, with their cosines."""

    query: Query
    passages: tuple[Passage, ...]
    scores: tuple[float, ...]


def read_order(text: str, count: int, notes: Counter[str]) -> list[int] | None:
    """Places from 0 in the order that a model wrote, completed; None if it wrote none.

    Args:
        text: What the model wrote.
        count: How many candidates there were.
        notes: Repairs are counted here: what was out of range, doubled, or missing.
    """
    # A sentence before the list ("Here are the 20 passages:") holds numbers too; the longest list is the answer.
    listed = max(_LIST.findall(text), key=len, default="")
    numbers = [int(number) for number in _NUMBER.findall(listed)]
    inside = [number - 1 for number in numbers if 1 <= number <= count]
    order = list(dict.fromkeys(inside))
    if not order or (len(order) == 1 and count > 1 and ">" not in listed):
        notes["no order: the retriever's kept"] += 1
        return None
    if len(inside) < len(numbers) and all(later == earlier + 1 for earlier, later in pairwise(numbers)):
        # Models of 135M to 270M parameters do this with every list: they have read nothing.
        notes["counts on: the retriever's kept"] += 1
        return None
    notes["ids out of range"] += len(numbers) - len(inside)
    notes["ids doubled"] += len(inside) - len(order)
    notes["ids missing"] += count - len(order)
    notes["orders complete" if len(numbers) == count == len(order) else "orders repaired"] += 1
    notes["orders unchanged"] += order == list(range(count))
    return order + [place for place in range(count) if place not in set(order)]


def make_prompt(query: str, passages: Sequence[str], prompt: RerankPrompt) -> Prompt:
    """The prompt for one query."""
    return Prompt(
        instruction=prompt.instruction, labels=prompt.labels, ask=_fill(query, passages, prompt),
        shots=tuple((_fill(asked, shown, prompt), _show(order)) for asked, shown, order in prompt.shots),
    )  # fmt: skip


def rerank_block(
    block: Sequence[Candidates], generator: Generator, prompt: RerankPrompt, notes: Counter[str]
) -> Iterator[Outcome]:
    """A training group of each query: the new first passage answers it, the last ones of the new order do not.

    Its own passage is never a negative: the query was written for it, whatever the model holds of it.
    """
    longest = max((len(each.passages) for each in block), default=0)
    sampling = Sampling(most_tokens=_ORDER_TOKENS * longest, temperature=0.0)
    prompts = [
        make_prompt(each.query.text, [_shorten(passage.embedded) for passage in each.passages], prompt)
        for each in block
    ]  # fmt: skip
    texts = generator.write(prompts, sampling, seeds=[0] * len(prompts))
    for each, text in zip(block, texts, strict=True):
        found = read_order(text, len(each.passages), notes)
        order = found or list(range(len(each.passages)))
        last = [place for place in order[1:][-NEGATIVES:] if each.passages[place].id != each.query.passage]
        group = TrainingGroup(
            query=each.query.text, kind="rerank", language=each.query.language, source=each.query.source,
            positives=(each.passages[order[0]].id,), positive_scores=(each.scores[order[0]],),
            negatives=tuple(each.passages[place].id for place in last),
            negative_scores=tuple(each.scores[place] for place in last),
        )  # fmt: skip
        yield Outcome(group, "" if last else "too few candidates")


def _fill(query: str, passages: Sequence[str], prompt: RerankPrompt) -> str:
    lines = [prompt.passage.format(number=number, text=text) for number, text in enumerate(passages, 1)]
    return prompt.ask.format(query=" ".join(query.split()), passages="\n".join(lines))


def _show(order: Sequence[int]) -> str:
    return " > ".join(f"[{number}]" for number in order)


def _shorten(text: str) -> str:
    """The beginning of a text on one line, of about so many tokens."""
    text = " ".join(text.split())
    ruler = Ruler(text)
    low, high = 0, len(text) + 1
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if ruler.measure(0, middle) <= PASSAGE_TOKENS else (low, middle)
    return text[:low] if low == len(text) else text[:low].rpartition(" ")[0] or text[:low]
