"""Owns what happens when a handler of the terminal UI raises what nobody expected: it is told, and the rest lives on.

Textual ends the message loop of whatever raised: a screen would stay there dead, and an error in a key's action would
end the app without a word. App and screens endure; a widget that raises is told of and still loses its own loop. Two
private hooks of Textual are used, since there are no public ones.
"""

import logging
import time
from collections import deque
from typing import Any, TypeVar

from textual import events
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import ModalScreen

from drama_app.config import Settings
from drama_app.output import clean_for_terminal

log = logging.getLogger(__name__)

T = TypeVar("T")
MOST_ERRORS, ERROR_SECONDS = 5, 10.0  # so many unexpected errors so fast are a loop: the app ends
_BEGINNINGS = (events.Load, events.Compose, events.Mount)
"""What fails in these was never made, and cannot live on."""


class Enduring(MessagePump):
    """A part whose message loop outlives an error in one of its handlers."""

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            if isinstance(message, _BEGINNINGS):
                raise
            self.app._handle_exception(error)


class EnduringDialog(Enduring, ModalScreen[T]):
    """A dialog that may end when it is no longer on top: while it worked, another screen was shown or it was left."""

    def __init__(self) -> None:
        super().__init__()
        self._late: list[T] = []
        self.left = False
        """Nobody waits for its result any more."""

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Leaves."""
        self.left = True
        return super().dismiss(result)

    def end(self, result: T) -> bool:
        """Leaves with a result, now or when the dialog is shown again; False if it was left already."""
        if self.left:
            return False
        if self.app.screen is self:
            self.dismiss(result)
        else:
            self._late = [result]
        return True

    def on_screen_resume(self) -> None:
        """Leaves, if that was to be done."""
        if self._late:
            self.dismiss(self._late.pop())


class EnduringApp(Enduring, App[None]):
    """An app that tells an unexpected error and goes on, unless errors come in a loop."""

    settings: Settings

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._errors: deque[float] = deque(maxlen=MOST_ERRORS)

    def _handle_exception(self, error: Exception) -> None:
        log.critical("unexpected error in the UI", exc_info=error)
        now = time.monotonic()
        is_loop = len(self._errors) == MOST_ERRORS and now - self._errors[0] < ERROR_SECONDS
        self._errors.append(now)
        if is_loop or not self.screen_stack or not self.is_running or self.is_headless:
            super()._handle_exception(error)
            return
        said = f"{type(error).__name__}: {error}\nThe details are in {self.settings.log_file}"
        self.notify(
            clean_for_terminal(said, lines=True), severity="error", markup=False,
            title="Something went wrong that should not have",
        )  # fmt: skip
