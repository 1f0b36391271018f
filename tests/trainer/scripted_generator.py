"""A generator that costs nothing: its texts depend on the prompt and the seed alone, as a model's should."""

import random
import time
from collections.abc import Sequence

from trainer.augment.llm import Prompt, Sampling, Usage


class ScriptedGenerator:
    """Writes words of the text in another order, or what it was told to write."""

    def __init__(self, *, texts: Sequence[str] = (), batch: int = 4, delay: float = 0.0) -> None:
        self.name, self.licence, self.batch, self.usage = "scripted", "mit", batch, Usage()
        self.prompts: list[Prompt] = []
        self.samplings: list[Sampling] = []
        self._texts, self._delay = list(texts), delay

    def write(self, prompts: Sequence[Prompt], sampling: Sampling, *, seeds: Sequence[int]) -> list[str]:
        time.sleep(self._delay)
        self.prompts += prompts
        self.samplings.append(sampling)
        self.usage.read += 10 * len(prompts)
        self.usage.written += 3 * len(prompts)
        if self._texts:
            return [self._texts.pop(0) for _ in prompts]
        return [self._shuffle(prompt.ask, seed) for prompt, seed in zip(prompts, seeds, strict=True)]

    def close(self) -> None:
        """Nothing to give back."""

    @staticmethod
    def _shuffle(text: str, seed: int) -> str:
        words = text.split()
        return " ".join(random.Random(seed).sample(words, min(5, len(words)))) + "?"
