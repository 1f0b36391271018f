"""The conditions of a search: chips that can be taken away, and a line in which new ones are typed, with completion.

It reads the names of directories for completion, in a thread. What the conditions do is the screen's business.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.style import Style
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from drama_app.conditions import FORMS, Chip, Choices, complete, find_folders, read_line, typed_folder
from drama_app.errors import UsageError
from drama_app.output import clean_for_terminal
from drama_app.tui.widgets.clean_input import CleanInput

MOST_DIRECTORIES = 2_000  # entries of one directory that are looked at


class ChipRow(Static):
    """The chips, as one line or more of text; a click takes one away."""

    ALLOW_SELECT = False

    @dataclass
    class Removed(Message):
        """A chip was clicked; -1 stands for the file that hits are to be similar to, None for all."""

        index: int | None

    def show(self, chips: tuple[Chip, ...], similar: str) -> None:
        """Shows them; `similar` names the file that hits are similar to."""
        names = [(-1, f"similar to {similar}")] if similar else []
        names += [(index, str(chip)) for index, chip in enumerate(chips)]
        parts: list[Content | str] = []
        for index, name in names:
            click = Style.from_meta({"@click": f"remove({index})"})
            parts += [Content(f" {clean_for_terminal(name)} ✕ ").stylize("$foreground on $panel").stylize(click), " "]
        if len(names) > 1:
            parts.append(Content(" clear all ").stylize("underline").stylize(Style.from_meta({"@click": "clear()"})))
        self.update(Content.assemble(*parts))

    def action_remove(self, index: int) -> None:
        """One was clicked."""
        self.post_message(self.Removed(index))

    def action_clear(self) -> None:
        """All are to go."""
        self.post_message(self.Removed(None))


class FilterInput(CleanInput):
    """The line in which a condition is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Add filter", id="search.filter_add"),
        Binding("tab", "accept", "Complete", id="search.filter_complete"),
        Binding("down", "choose(1)", "Next completion", id="search.filter_next", show=False),
        Binding("up", "choose(-1)", "Previous completion", id="search.filter_previous", show=False),
        Binding("backspace", "erase", "Remove the last filter", id="search.filter_erase", show=False),
    ]

    class Erased(Message):
        """Backspace was pressed in the empty line."""

    @dataclass
    class Moved(Message):
        """Another completion is to be chosen."""

        by: int

    class Accepted(Message):
        """The chosen completion, or the first, is to be taken over."""

    def action_erase(self) -> None:
        """Deletes a character, or asks for the last chip to go."""
        if self.value:
            self.action_delete_left()
        else:
            self.post_message(self.Erased())

    def action_choose(self, by: int) -> None:
        """Moves through the completions."""
        self.post_message(self.Moved(by))

    def action_accept(self) -> None:
        """Takes a completion over."""
        self.post_message(self.Accepted())


class FilterBar(Vertical):
    """Chips, and under them the line while one is typed."""

    DEFAULT_CSS = """
    FilterBar {
        height: auto;
        display: none;
        padding: 0 1;
        &.-shown { display: block; }
        & > ChipRow { height: auto; max-height: 4; display: none; }
        &.-filled > ChipRow { display: block; }
        & > FilterInput { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
        & > FilterInput:focus { border: none; background-tint: transparent; }
        &.-open > FilterInput { display: block; }
        & > OptionList {
            display: none; overlay: screen; constrain: none inside; width: 60; max-width: 90%; height: auto;
            max-height: 10; border: round $primary; background: $surface; padding: 0;
        }
        &.-open.-completing > OptionList { display: block; }
        & > #complaint { display: none; color: $error; height: auto; }
        &.-wrong > #complaint { display: block; }
    }
    """

    choices: reactive[Choices] = reactive(Choices())
    """What the index holds."""

    @dataclass
    class Added(Message):
        """Conditions were typed."""

        chips: tuple[Chip, ...]

    class LastRemoved(Message):
        """The last condition is to go."""

    class Closed(Message):
        """The line was left."""

    def compose(self) -> ComposeResult:
        """Parts."""
        yield ChipRow()
        yield FilterInput(placeholder=FORMS, id="filter")
        yield Static(id="complaint", markup=False)
        yield OptionList(markup=False)

    def on_mount(self) -> None:
        """The list of completions is moved by the line's keys."""
        self.query_one(OptionList).can_focus = False

    @property
    def is_open(self) -> bool:
        """True while a condition can be typed."""
        return self.has_class("-open")

    def show(self, chips: tuple[Chip, ...], similar: str = "") -> None:
        """Shows these chips."""
        self.query_one(ChipRow).show(chips, similar)
        self.set_class(bool(chips or similar), "-filled")
        self._show_if_needed()

    def open(self) -> None:
        """Shows the line and moves the focus there."""
        self.add_class("-open")
        self._show_if_needed()
        line = self.query_one(FilterInput)
        line.value = ""
        self._complain("")
        self._complete("")
        line.focus()

    def close(self) -> None:
        """Hides the line."""
        if self.is_open:
            self.remove_class("-open", "-wrong", "-completing")
            self._show_if_needed()
            self.post_message(self.Closed())

    def _show_if_needed(self) -> None:
        self.set_class(self.is_open or self.has_class("-filled"), "-shown")

    # --- the line --------------------------------------------------------------------------------------------

    @on(Input.Changed, "#filter")
    def _on_typed(self, event: Input.Changed) -> None:
        event.stop()
        self._complain("")
        self._complete(event.value)
        folder = typed_folder(event.value)
        if folder is not None and self.is_open:
            self._read_directories(folder)

    @on(Input.Submitted, "#filter")
    def _on_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        options = self.query_one(OptionList)
        if not event.value.strip():
            self.close()
            return
        completions = options.options if self.has_class("-completing") else ()
        if options.highlighted is not None and completions:
            self._enter(str(completions[options.highlighted].id))
            return
        try:
            chips = read_line(event.value)
        except UsageError as error:
            if completions:
                self._take(str(completions[0].id))
            else:
                self._complain(str(error))
            return
        if completions and not self._is_known(chips[-1]):
            self._take(str(completions[0].id))  # half a word: shown first, added by the next Enter
        else:
            self._add(chips)

    def _enter(self, line: str) -> None:
        """A completion was chosen: a whole condition is added, a key waits for its value."""
        try:
            self._add(read_line(line))
        except UsageError:
            self._take(line)

    def _add(self, chips: tuple[Chip, ...]) -> None:
        self.post_message(self.Added(chips))
        self.close()

    def _is_known(self, chip: Chip) -> bool:
        places = (*self.choices.folders, *map(str, self.choices.roots))
        known = {"type": self.choices.kinds, "lang": self.choices.languages, "in": places}
        return chip.key not in known or chip.value in known[chip.key]

    @on(FilterInput.Erased)
    def _on_erased(self) -> None:
        self.post_message(self.LastRemoved())

    @on(FilterInput.Moved)
    def _on_moved(self, event: FilterInput.Moved) -> None:
        options = self.query_one(OptionList)
        if options.option_count:
            first = 0 if event.by > 0 else options.option_count - 1
            before = options.highlighted
            options.highlighted = first if before is None else (before + event.by) % options.option_count

    @on(FilterInput.Accepted)
    def _on_accepted(self) -> None:
        options = self.query_one(OptionList)
        if options.option_count and self.has_class("-completing"):
            self._take(str(options.get_option_at_index(options.highlighted or 0).id))
        else:
            self.close()

    @on(OptionList.OptionSelected)
    def _on_clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._take(str(event.option.id))

    @on(OptionList.OptionHighlighted)
    def _on_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()

    @on(events.DescendantBlur, "#filter")
    def _on_left(self) -> None:
        if self.app.app_focus and not self.query_one(FilterInput).value:
            self.close()

    def _take(self, line: str) -> None:
        """Takes a completion over; typing goes on at its end."""
        field = self.query_one(FilterInput)
        field.value = line
        field.cursor_position = len(line)
        field.focus()

    def _complain(self, sentence: str) -> None:
        self.query_one("#complaint", Static).update(clean_for_terminal(sentence))
        self.set_class(bool(sentence), "-wrong")

    # --- completion ------------------------------------------------------------------------------------------

    def _complete(self, line: str) -> None:
        lines = complete(line, self.choices, datetime.now())
        options = self.query_one(OptionList)
        before = options.options[options.highlighted].id if options.highlighted is not None else None
        options.set_options(Option(Content(clean_for_terminal(each)), id=each) for each in lines)
        if before in lines:
            options.highlighted = lines.index(before)  # the choices changed below: the cursor stays
        self.set_class(bool(lines), "-completing")

    def watch_choices(self) -> None:
        """Another status, or directories that were read."""
        if self.is_open:
            self._complete(self.query_one(FilterInput).value)

    @work(thread=True, exclusive=True, group="directories", exit_on_error=False)
    def _read_directories(self, typed: str) -> None:
        """Looks up which directories the typed folder may become."""
        head, slash, name = typed.rpartition("/")
        base = head + slash
        found: dict[str, None] = {}
        for folder in find_folders(base or ".", self.choices.roots):
            with suppress(OSError), os.scandir(folder) as entries:
                for _, entry in zip(range(MOST_DIRECTORIES), entries, strict=False):
                    if entry.name.lower().startswith(name.lower()) and entry.is_dir():
                        found[f"{base}{entry.name}"] = None
        hidden = name.startswith(".")
        names = tuple(each for each in sorted(found) if hidden or not each.rpartition("/")[2].startswith("."))
        self.app.call_from_thread(self._take_directories, typed, names[:50])

    def _take_directories(self, typed: str, names: tuple[str, ...]) -> None:
        if typed_folder(self.query_one(FilterInput).value) == typed:
            self.choices = replace(self.choices, folders=names)
