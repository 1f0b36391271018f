"""Owns one output of llama.cpp as it grows: what of its prompt is computed, what it draws, when it is done.

Which outputs grow together, and in which sequences, is for `llama_generator.py`. Several outputs of one prompt are a
family: the first reads the prompt, the others go on from what it read.
"""

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from drama_app.errors import UsageError
from trainer.augment.llm import Sampling

if TYPE_CHECKING:
    from types import ModuleType


class Writer:
    """One output as it grows."""

    def __init__(
        self, library: "ModuleType", vocabulary: Any, row: list[int], shared: int, sampling: Sampling, seed: int
    ) -> None:
        self._library, self._vocabulary, self._sampling = library, vocabulary, sampling
        self.row, self._place = list(row), shared
        """Tokens of the prompt, then those that it drew."""
        self.cells = len(row) - shared
        """Places of the context that its prompt takes behind the common beginning."""
        self.count, self.done = 0, False
        self.followers: list[Writer] = []
        """Writers of the same prompt, which this one reads for them."""
        self._follows = False
        self._written = b""
        self._chain = _make_chain(library, vocabulary, sampling, seed)

    @property
    def reading(self) -> bool:
        """Whether tokens of the prompt are still to be computed."""
        return self.count == 0

    def lead(self, followers: "list[Writer]") -> None:
        """Read the prompt for others, which wait until then."""
        self.followers = followers
        for each in followers:
            each._follows = True

    def catch_up(self, leader: "Writer") -> None:
        """The prompt was read."""
        self._place, self._follows = leader._place, False

    def take(self, most: int) -> list[tuple[int, int, bool]]:
        """Up to so many tokens to be computed next, each with its place and whether an output follows it."""
        if self._follows:
            return []
        start = self._place
        self._place = min(len(self.row), start + most)
        return [(self.row[place], place, place == len(self.row) - 1) for place in range(start, self._place)]

    @property
    def text(self) -> str:
        """What is written; a character that was not finished is left out."""
        return self._written.decode("utf-8", "ignore")

    def draw(self, context: Any, row: int) -> None:
        """Draw the next token from the logits of a row of the last batch."""
        token = self._library.llama_sampler_sample(self._chain, context, row)
        self.row.append(token)
        self.count += 1
        if self._library.llama_vocab_is_eog(self._vocabulary, token):
            self.done = True
            return
        piece = ctypes.create_string_buffer(256)
        length = self._library.llama_token_to_piece(self._vocabulary, token, piece, len(piece), 0, False)
        self._written += piece.raw[: max(length, 0)]
        begun = self._written.lstrip()
        stopped = any(mark.encode() in begun for mark in self._sampling.stop)
        self.done = stopped or self.count >= self._sampling.most_tokens

    def close(self) -> None:
        """Free the sampler."""
        self._library.llama_sampler_free(self._chain)


def join_alike(writers: "list[Writer]", most: int) -> "list[list[Writer]]":
    """Neighbours with one prompt together, at most so many; the first reads it."""
    families: list[list[Writer]] = []
    for writer in writers:
        if families and len(families[-1]) < most and families[-1][0].row == writer.row:
            families[-1].append(writer)
        else:
            families.append([writer])
    for leader, *followers in families:
        leader.lead(followers)
    return families


def count_cells(writers: "Sequence[Writer]", most_tokens: int) -> int:
    """Places of the context that they may come to need; a prompt counts for each, since the last one frees it."""
    return sum(writer.cells + most_tokens for writer in writers)


def _make_chain(library: "ModuleType", vocabulary: Any, sampling: Sampling, seed: int) -> Any:
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    if sampling.grammar:
        grammar = library.llama_sampler_init_grammar(vocabulary, sampling.grammar.encode(), b"root")
        if not grammar:
            raise UsageError("llama.cpp does not understand the grammar of this prompt")
        library.llama_sampler_chain_add(chain, grammar)
    if sampling.temperature <= 0:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())
        return chain
    for step in (
        library.llama_sampler_init_top_k(sampling.top_k),
        library.llama_sampler_init_top_p(sampling.top_p, 1),
        library.llama_sampler_init_temp(sampling.temperature),
        library.llama_sampler_init_dist(seed & 0xFFFFFFFF),
    ):
        library.llama_sampler_chain_add(chain, step)
    return chain
