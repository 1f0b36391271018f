"""The text of a document, drawn line by line from where it stands.

Owns scrolling and the look of a line. Where the matching passages are, and which comes next, is `preview`'s business.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from drama_app.records import Passage, PassageHit
from drama_app.tui.document_lines import DocumentLines, Line, Position

GUTTER = 2
STRIDE = 1_000_000
"""Lines that a passage may have: the selection counts lines from the start of the document, which is not laid out."""
WHEEL = 3
BAR, THIN_BAR = "▌", "▏"


class DocumentText(Widget, can_focus=True):
    """Passages of one document; those that match have a bar, the one at which it stands a thick one."""

    DEFAULT_CSS = """
    DocumentText {
        width: 1fr;
        height: 1fr;
        .document--text { color: $foreground; }
        .document--bar { color: $accent; text-style: bold; }
        .document--mark { color: $accent; text-style: bold; }
        .document--sentence { text-style: underline; }
        .document--rule { color: $foreground-muted; }
        .document--heading { color: $secondary; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "document--text", "document--bar", "document--mark", "document--sentence", "document--rule",
        "document--heading",
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll(-1)", "Line up", id="preview.line_up", show=False),
        Binding("down,j", "scroll(1)", "Line down", id="preview.line_down", show=False),
        Binding("pageup", "page(-1)", "Page up", id="preview.page_up", show=False),
        Binding("pagedown,space", "page(1)", "Page down", id="preview.page_down", show=False),
        Binding("home,g", "start", "Start of the document", id="preview.start", show=False),
        Binding("end,G", "end", "End of the document", id="preview.end", show=False),
    ]

    top: reactive[Position] = reactive(Position(0, 0), always_update=True)
    """The line at the upper edge."""
    current: reactive[int] = reactive(-1)
    """Index of the passage at which it stands, -1 for none."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self.document = DocumentLines((), 80)
        self._query = ""
        self._hits: Mapping[int, PassageHit] = {}
        self._marks: dict[int, tuple[tuple[int, int], ...]] = {}
        self._sentences: dict[int, tuple[int, int] | None] = {}
        self._is_waiting = False
        """`go_to` was called before there was a size."""
        self._kept_visible: tuple[object, ...] = ()
        self._in_sight: list[Position] = []

    # --- what it shows ---------------------------------------------------------------------------------------

    def show(
        self,
        passages: Sequence[Passage | PassageHit],
        hits: Mapping[int, PassageHit],
        query: str,
        *,
        printed: bool = False,
        page: str = "page",
    ) -> None:
        """Takes another document; `hits` are its matching passages by their index in `passages`."""
        # A hit that stands in for its passage has the page of its sentence, not that of its start.
        turns = {index: hit.page_starts for index, hit in hits.items() if passages[index] is not hit}
        self.document = DocumentLines(passages, self._text_width, printed=printed, page=page, turns=turns)
        self._query, self._hits = query, hits
        self._marks, self._sentences = {}, {}
        self.set_reactive(DocumentText.top, Position(0, 0))
        self.refresh()

    def go_to(self, index: int) -> None:
        """Shows a passage with what stands before it; its best line is in sight even if it is longer than the view."""
        self.current = index
        self._is_waiting = not self.size.height
        if not self.document.passages or self._is_waiting:
            return
        height = self.size.height
        lines = self.document.lines(index)
        first = self.document.first_text(index)
        above = max(1, min(height // 4, height - (len(lines) - first) - 1)) + first
        wanted = self.document.find(index, self._telling_offset(index)).line
        if wanted + above >= height - 1:
            above = height // 3 - wanted
        self._stand_at(self.document.move(Position(index, 0), min(first, wanted) - above))

    def go_to_offset(self, offset: int) -> None:
        """Shows the passage that holds an offset of the document."""
        passages = self.document.passages
        index = max(0, bisect_left(passages, offset + 1, key=lambda passage: passage.start) - 1)
        self._stand_at(self.document.find(index, offset - passages[index].start))

    def marks_of(self, index: int) -> tuple[tuple[int, int], ...]:
        """Where the query's words stand in a passage."""
        from drama_app.highlight import mark_words

        if index not in self._marks:
            hit = self._hits.get(index)
            found = hit.marks if hit else ()
            self._marks[index] = found or mark_words(self._query, self.document.passages[index].text)
        return self._marks[index]

    def sentence_of(self, index: int) -> tuple[int, int] | None:
        """The best sentence of a matching passage."""
        from drama_app.highlight import best_sentence

        if index not in self._sentences:
            hit = self._hits.get(index)
            found = hit.sentence if hit else None
            self._sentences[index] = found or (best_sentence(self._query, hit.text) if hit else None)
        return self._sentences[index]

    def _telling_offset(self, index: int) -> int:
        sentence, marks = self.sentence_of(index), self.marks_of(index)
        return sentence[0] if sentence else marks[0][0] if marks else 0

    @property
    def _text_width(self) -> int:
        return max(self.size.width - GUTTER - 1, 10)

    # --- where it stands -------------------------------------------------------------------------------------

    @property
    def visible_lines(self) -> list[Position]:
        """The lines in sight, from above."""
        key = (self.document, self.top, self.size.height)
        if key != self._kept_visible:
            self._in_sight = list(islice(self.document.follow(self.top), self.size.height))
            self._kept_visible = key
        return self._in_sight

    def is_visible(self, index: int) -> bool:
        """True if a line of the passage's own text is in sight."""
        return any(each.passage == index and self.document.line(each).places for each in self.visible_lines)

    @property
    def extent(self) -> tuple[int, int]:
        """Offsets in the document of what is in sight."""
        shown = [each for each in self.visible_lines if self.document.line(each).places]
        if not shown:
            return 0, 0
        (first, _), (last, _) = shown[0], shown[-1]
        start = self.document.passages[first].start + self.document.line(shown[0]).places[0]
        return start, self.document.passages[last].start + self.document.line(shown[-1]).places[-1] + 1

    def _stand_at(self, position: Position) -> None:
        """Puts a line at the upper edge, so far as there is enough below it to fill the view."""
        if self.document.passages:
            height = max(self.size.height, 1)
            if sum(1 for _ in islice(self.document.follow(position), height)) < height:
                position = min(position, self.document.move(self.document.end, 1 - height))
            self.top = position

    def watch_top(self) -> None:
        """Draws anew."""
        self.refresh()

    def watch_current(self) -> None:
        """Draws the bars anew."""
        self.refresh()

    def action_scroll(self, count: int) -> None:
        """Some lines on or back."""
        if self.document.passages:
            self._stand_at(self.document.move(self.top, count))

    def action_page(self, pages: int) -> None:
        """A view on or back; one line stays in sight."""
        self.action_scroll(pages * max(self.size.height - 1, 1))

    def action_start(self) -> None:
        """To the first line."""
        self._stand_at(Position(0, 0))

    def action_end(self) -> None:
        """To the last line."""
        if self.document.passages:
            self._stand_at(self.document.end)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel."""
        event.stop()
        self.action_scroll(WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel."""
        event.stop()
        self.action_scroll(-WHEEL)

    def on_resize(self) -> None:
        """Lays out anew for another width; what stood at the upper edge stays there."""
        if self._text_width == self.document.width or not self.document.passages:
            self.go_to(self.current) if self._is_waiting else self._stand_at(self.top)
            return
        before, top = self.document, self.top
        line = before.line(top)
        self.document = DocumentLines(
            before.passages, self._text_width, printed=before.printed, page=before.page, turns=before.turns
        )
        if self._is_waiting:
            self.go_to(self.current)
        else:
            is_text = bool(line.places)
            self._stand_at(self.document.find(top.passage, line.places[0]) if is_text else Position(top.passage, 0))

    # --- how a line looks ------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the view."""
        width, visible = self.size.width, self.visible_lines
        base = self.get_component_rich_style("document--text")
        if not 0 <= y < len(visible):
            return Strip.blank(width, base)
        position = visible[y]
        line = self.document.line(position)
        bar = self._bar(position, line)
        text = self._draw(position, line)
        selected = self.text_selection
        span = selected.get_span(_row(position)) if selected is not None and line.places else None
        if span is not None:
            end = len(text) if span[1] < 0 else span[1]
            text.stylize(self.screen.get_component_rich_style("screen--selection"), span[0], end)
        content = Strip(text.render(self.app.console), cell_len(text.plain))
        if isinstance(text.style, Style):
            content = content.apply_style(text.style)  # rich leaves out a text's own style where it has no spans
        if line.places:
            content = content.apply_offsets(0, _row(position))
        lead = Segment("§ ", self.get_component_rich_style("document--heading"))
        before = [bar, lead] if line.kind == "heading" else [bar]
        strip = Strip.join([Strip(before), content])
        return strip.adjust_cell_length(width, base)

    def _bar(self, position: Position, line: Line) -> Segment:
        index = position.passage
        is_own = index in self._hits and position.line >= self.document.first_text(index)
        is_current = index == self.current
        if not is_own or not (line.places or is_current):
            return Segment(" " * GUTTER, self.get_component_rich_style("document--text"))
        bar = BAR if is_current else THIN_BAR
        return Segment(bar.ljust(GUTTER), self.get_component_rich_style("document--bar"))

    def _draw(self, position: Position, line: Line) -> Text:
        muted = self.get_component_rich_style("document--rule")
        if line.kind == "page":
            return Text(f"── {line.text} ".ljust(self._text_width, "─"), muted, end="")
        if line.kind == "break":
            return Text("⋯", muted, end="")
        name = "document--heading" if line.kind == "heading" else "document--text"
        text = Text(line.text, self.get_component_rich_style(name), end="", no_wrap=True)
        if line.places:
            sentence = self.sentence_of(position.passage)
            stretches = [sentence] if sentence and line.kind == "text" else []
            self._stylize(text, line, stretches, self.get_component_rich_style("document--sentence", partial=True))
            marks = self.marks_of(position.passage)
            self._stylize(text, line, marks, self.get_component_rich_style("document--mark", partial=True))
        return text

    @staticmethod
    def _stylize(text: Text, line: Line, stretches: Sequence[tuple[int, int]], style: Style) -> None:
        first, last = line.places[0], line.places[-1]
        for start, end in stretches:
            if start <= last and end > first:
                text.stylize(style, bisect_left(line.places, start), bisect_left(line.places, end))

    # --- selecting -------------------------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text as it stands in the file: lines that only we broke are whole again."""
        shown = [each for each in self.visible_lines if self.document.line(each).places]
        if not shown:
            return None
        first = _position(selection.start.y) if selection.start is not None else shown[0]
        last = _position(selection.end.y) if selection.end is not None else shown[-1]
        pieces: list[str] = []
        for position in self.document.follow(first):
            if position > last:
                break
            line = self.document.line(position)
            start, end = selection.get_span(_row(position)) or (0, -1)
            if line.places:
                pieces.append(line.text[start : len(line.text) if end < 0 else end])
                pieces.append(line.glue if position < last else "")
            elif line.kind == "blank":
                pieces.append("\n")
        return "".join(pieces).rstrip("\n"), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002
        """Draws the selection."""
        self.refresh()


def _position(row: int) -> Position:
    return Position(row // STRIDE, row % STRIDE)


def _row(position: Position) -> int:
    return position.passage * STRIDE + position.line
