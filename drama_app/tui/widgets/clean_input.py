"""A line to type in that may be given the name of a file: what a terminal cannot hold is drawn as a mark."""

from rich.text import Text
from textual.widgets import Input

from drama_app.output import clean_for_terminal


class CleanInput(Input):
    """An input whose `value` may hold anything, while what is drawn holds no control characters."""

    @property
    def _value(self) -> Text:
        """One character for one, so that the cursor stands where it should; Textual draws them as they are."""
        shown = "".join(each if clean_for_terminal(each) == each else "\ufffd" for each in self.value)
        return Text(shown, no_wrap=True, overflow="ignore", end="")
