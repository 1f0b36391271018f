"""Owns the reasons to stop a training: a loss that is no number, and one that does not fall."""

from collections import deque
from typing import Any

from drama_app.errors import TrainingError

_WINDOW = 20
"""Losses of single steps differ by a fifth between batches; means of twenty by a twentieth."""


class Watch:
    """Sees the loss of every step and stops a run that is lost."""

    def __init__(self, must_learn_by: int) -> None:
        self._deadline = must_learn_by
        self._window = max(1, min(_WINDOW, must_learn_by // 3))
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=self._window)

    def check(self, step: int, loss: float, norm: float) -> None:
        """Take the loss of a step (from 1) and the length of its gradient.

        Raises:
            TrainingError: One of them is no number, or the loss has not fallen by the step agreed on.
        """
        # x - x is not 0 for NaN and infinity.
        if loss - loss != 0 or norm - norm != 0:
            raise TrainingError(
                f"step {step}: the {'loss' if loss - loss != 0 else 'gradient'} is no number any more; nothing of this "
                "step was kept. Lower 'learning_rate' or raise 'warmup' in the run's recipe.toml, then run again: it "
                "goes on from the last checkpoint"
            )
        if len(self._first) < self._window:
            self._first.append(loss)
        self._last.append(loss)
        if step == self._deadline:
            before, now = (sum(losses) / len(losses) for losses in (self._first, self._last))
            if now >= before:
                raise TrainingError(
                    f"step {step}: the loss does not fall (mean of {self._window} steps: {before:.3f} at the start, "
                    f"{now:.3f} now). Look at the data and at 'learning_rate'; 'must_learn_by = 0' in the run's "
                    "recipe.toml trains on all the same"
                )

    def save(self) -> dict[str, Any]:
        """What a run needs to go on."""
        return {"first": list(self._first), "last": list(self._last)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `save` gave."""
        self._first = list(state["first"])
        self._last.extend(state["last"])
