"""Owns the seam to text generators: what a prompt is, what a generator promises, and which one a model needs.

It knows no kind of query and judges no text. The three generators load their libraries when they are opened.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drama_app.errors import UsageError
from trainer.records import mend

CONTEXT = 8192
"""Tokens that llama.cpp keeps for all prompts it works on at a time, the common beginning counted once."""

_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked, so that a base model can continue it and an instructed one can be told."""

    instruction: str
    """Read by instructed models only: base models write better from shots alone, in the language of the text."""
    shots: tuple[tuple[str, str], ...]
    """Inputs with the outputs that are wanted for them."""
    ask: str
    """The input whose output is wanted."""
    labels: tuple[str, str]
    """What stands before an input and before an output, in the language of the text."""

    def as_text(self) -> str:
        """The prompt for a base model; it ends where the output begins."""
        given, wanted = self.labels
        pairs = [f"{given}: {shown}\n{wanted}: {answer}\n\n" for shown, answer in self.shots]
        return "".join(pairs) + f"{given}: {self.ask}\n{wanted}:"

    def as_messages(self) -> list[dict[str, str]]:
        """The prompt for a chat template: shots as turns, no system turn since some templates refuse one."""
        turns = []
        for shown, answer in (*self.shots, (self.ask, "")):
            turns += [{"role": "user", "content": shown}, {"role": "assistant", "content": answer}]
        turns[0] = {"role": "user", "content": f"{self.instruction}\n\n{turns[0]['content']}"}
        return turns[:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How outputs are drawn."""

    most_tokens: int = 64
    temperature: float = 0.8
    """0 takes the likeliest token each time."""
    top_p: float = 0.9
    top_k: int = 64
    """Tokens that may be drawn at all; sorting a vocabulary of 262,144 for top-p alone costs as much as a forward."""
    stop: tuple[str, ...] = ("\n",)
    """Texts that end an output, once it holds more than white space; they are not part of it."""
    grammar: str = ""
    """GBNF that the output obeys, where the generator can; a help only, every output is parsed with suspicion."""


@dataclass(slots=True)
class Usage:
    """What a generator has done so far, in tokens."""

    read: int = 0
    """Tokens of prompts that were computed."""
    reused: int = 0
    """Tokens of prompts that were common to several and computed once."""
    written: int = 0


class Generator(Protocol):
    """Prompts in, texts out. The same prompts in the same batches with the same seeds give the same texts."""

    @property
    def name(self) -> str:
        """Which model this is, for reports and to tell whether a run can be continued."""
        ...

    @property
    def licence(self) -> str:
        """The licence that the model states, "" where it states none."""
        ...

    @property
    def batch(self) -> int:
        """How many prompts it likes at a time."""
        ...

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        ...

    def write(self, prompts: Sequence[Prompt], sampling: Sampling, *, seeds: Sequence[int]) -> list[str]:
        """One text for each prompt, "" where nothing came; a seed for each prompt."""
        ...

    def close(self) -> None:
        """Give back memory and connections."""
        ...


def open_generator(
    model: Path | None = None, *, url: str = "", url_model: str = "", threads: int | None = None,
    context: int = CONTEXT,
) -> Generator:  # fmt: skip
    """Open the generator that fits: a GGUF file by llama.cpp, a folder by transformers, a URL as an endpoint.

    Args:
        model: A GGUF file, or a folder in the layout of transformers.
        url: Base of an OpenAI-compatible endpoint, such as http://localhost:8000/v1; then `model` is not needed.
        url_model: The endpoint's name of the model; "" takes the first that it lists.
        threads: Threads for llama.cpp; None is every core that the process may use.
        context: Tokens that llama.cpp keeps at a time.

    Raises:
        UsageError: Nothing or too much is named, or the model cannot write text here; the text says why.
    """
    if url:
        from trainer.augment.endpoint import open_endpoint

        return open_endpoint(url, url_model)
    if model is None:
        raise UsageError("generated queries need a language model: name a GGUF file (--local-llm) or a URL (--llm-url)")
    if model.is_dir():
        from trainer.augment.torch_generator import open_torch_generator

        return open_torch_generator(model)
    from trainer.augment.llama_generator import open_llama

    return open_llama(model, threads=threads, context=context)


def cut_output(text: str, stop: Sequence[str]) -> str:
    """An output without the model's thoughts, up to the first stop after something was written."""
    text = _THOUGHTS.sub("", mend(text)).lstrip()
    ends = [place for mark in stop if (place := text.find(mark)) >= 0]
    return text[: min(ends, default=len(text))].strip()
