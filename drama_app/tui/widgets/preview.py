"""The document of the hit that is chosen, at its matching passage.

Owns which hit of the document is shown and what is said above the text. It reads nothing: passages come with the
document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from drama_app.listing import name_page
from drama_app.records import Hit, Passage, PassageHit
from drama_app.tui.widgets.document_header import describe_document
from drama_app.tui.widgets.document_text import DocumentText
from drama_app.tui.widgets.hit_strip import HitStrip

PAGED = frozenset({"pptx", "ppt", "odp", "xlsx", "xls", "ods"})
"""Kinds in which every page begins a passage."""
LOW = 16
"""Lines below which the header is shorter and the strip a line: a column of so few cells tells nothing."""


@dataclass(frozen=True)
class PreviewDocument:
    """What the preview shows."""

    hit: Hit
    passages: tuple[Passage, ...]
    """The whole document in order; empty while it is read or if it is gone: then the hit's own passages are shown."""
    query: str
    ordinal: int
    """The passage to show first."""


class Preview(Widget):
    """Header, text and strip of hits; `next_hit` and its kin serve the screen while the query has the focus."""

    DEFAULT_CSS = """
    Preview {
        layout: vertical;
        #document-header { height: auto; padding: 0 1; background: $surface; }
        #document-empty { height: 1fr; padding: 1 2; color: $text-muted; }
        #document-body { layout: horizontal; height: 1fr; }
        &.-low #document-body { layout: vertical; }
        &.-low HitStrip { width: 1fr; height: 1; }
        &.-empty #document-header, &.-empty #document-body { display: none; }
        &.-filled #document-empty { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next_hit", "Next match", id="preview.next"),
        Binding("N", "previous_hit", "Match before", id="preview.previous"),
    ]

    document: reactive[PreviewDocument | None] = reactive(None)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id, classes=classes)
        self._passages: Sequence[Passage | PassageHit] = ()
        self._hits: dict[int, PassageHit] = {}
        self._places: list[int] = []
        self._turn = ""
        self._pages: int | None = None
        self._told: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Parts."""
        yield Static("", id="document-header", markup=False)
        with Container(id="document-body"):
            yield DocumentText(id="document-text")
            yield HitStrip(id="document-strip")
        yield Static("The document that you choose is shown here, at the passage that matches.", id="document-empty")

    def on_mount(self) -> None:
        """Follows the text."""
        text = self._text
        self.watch(text, "top", self._tell, init=False)
        self.watch(text, "current", self._tell, init=False)
        self._show_emptiness()

    @property
    def _text(self) -> DocumentText:
        return self.query_one(DocumentText)

    # --- the document ----------------------------------------------------------------------------------------

    def watch_document(self, old: PreviewDocument | None, new: PreviewDocument | None) -> None:
        """Shows another document, or the same with its whole text: then it stands where it stood."""
        if not self.is_mounted:
            return
        text = self._text
        is_same = bool(old and new and not old.passages and old.hit.path == new.hit.path and old.ordinal == new.ordinal)
        stood_at = self._passages[text.current].ordinal if is_same and 0 <= text.current < len(self._passages) else None
        self._turn = ""
        self._passages = (new.passages or _in_order(new.hit)) if new else ()
        self._hits = _find_hits(self._passages, new.hit) if new else {}
        self._places = sorted(self._hits)
        self._pages = _count_pages(new) if new else None
        self._show_emptiness()
        kind = new.hit.kind if new else ""
        query = new.query if new else ""
        text.show(self._passages, self._hits, query, printed=kind == "pdf", page=name_page(kind))
        text.set_reactive(DocumentText.current, -1)
        if new and self._passages:
            text.go_to(_index_of(self._passages, new.ordinal if stood_at is None else stood_at))
        self._tell()

    def _show_emptiness(self) -> None:
        is_filled = bool(self._passages)
        self.set_class(is_filled, "-filled")
        self.set_class(not is_filled, "-empty")
        if self.document is not None and not is_filled:
            self.query_one("#document-empty", Static).update("This document holds no text.")

    def on_resize(self) -> None:
        """A low view gets a line for a strip."""
        self.set_class(self.size.height < LOW, "-low")
        self.call_after_refresh(self._tell)

    def _tell(self) -> None:
        """Header and strip follow the text."""
        if not self.document or not self._passages:
            return
        text = self._text
        state = (self.document, text.document, text.top, text.current, self._turn, self.size)
        if state == self._told:
            return
        self._told = state
        visible = text.visible_lines
        shown = text.current if text.is_visible(text.current) else (visible[0].passage if visible else text.current)
        length = self._passages[-1].end
        header = describe_document(
            self.document.hit,
            self._passages[shown] if shown >= 0 else None,
            width=max(self.size.width - 2, 10),
            pages=self._pages,
            hits=self._describe_hits(),
            is_low=self.size.height < LOW,
        )
        self.query_one("#document-header", Static).update(header)
        current = self._places.index(text.current) if text.current in self._hits else -1
        self.query_one(HitStrip).show(
            length, [self._passages[place].start for place in self._places], current, text.extent
        )

    def _describe_hits(self) -> str:
        number = len(self._places)
        if self._text.current not in self._hits:
            return ""
        if number == 1:
            return "the only match"
        place = f"match {self._places.index(self._text.current) + 1} of {number}"
        return f"{self._turn} · {place}" if self._turn else place

    # --- going through the hits ------------------------------------------------------------------------------

    @property
    def current(self) -> PassageHit | None:
        """The matching passage at which it stands."""
        return self._hits.get(self._text.current) if self.is_mounted else None

    def next_hit(self) -> None:
        """Goes on to the next matching passage; after the last comes the first, and the header says so."""
        self._step(1)

    def previous_hit(self) -> None:
        """Goes back to the matching passage before; before the first comes the last, and the header says so."""
        self._step(-1)

    def _step(self, step: int) -> None:
        if not self._places:
            return
        text = self._text
        beyond = [place for place in self._places if (place - text.current) * step > 0]
        self._turn = "" if beyond else ("from the top again" if step > 0 else "from the end again")
        following = beyond or self._places
        text.go_to(following[0] if step > 0 else following[-1])
        self._tell()

    def on_hit_strip_wanted(self, message: HitStrip.Wanted) -> None:
        """Goes where the strip was clicked."""
        message.stop()
        self._turn = ""
        if message.hit is not None:
            self._text.go_to(self._places[message.hit])
        else:
            self._text.go_to_offset(message.offset)

    def page_down(self) -> None:
        """Scrolls a page on."""
        self._text.action_page(1)

    def page_up(self) -> None:
        """Scrolls a page back."""
        self._text.action_page(-1)

    def action_next_hit(self) -> None:
        """The key."""
        self.next_hit()

    def action_previous_hit(self) -> None:
        """The key."""
        self.previous_hit()


def _in_order(hit: Hit) -> tuple[PassageHit, ...]:
    return tuple(sorted(hit.passages, key=lambda passage: passage.ordinal))


def _index_of(passages: Sequence[Passage | PassageHit], ordinal: int) -> int:
    """Where a passage is; the nearest if the document has changed meanwhile."""
    if 0 <= ordinal < len(passages) and passages[ordinal].ordinal == ordinal:
        return ordinal
    return min(range(len(passages)), key=lambda index: abs(passages[index].ordinal - ordinal))


def _find_hits(passages: Sequence[Passage | PassageHit], hit: Hit) -> dict[int, PassageHit]:
    found = {}
    for passage in hit.passages:
        index = _index_of(passages, passage.ordinal)
        if passages[index].text == passage.text:
            found[index] = passage
    return found


def _count_pages(document: PreviewDocument) -> int | None:
    """Slides and sheets; a page of a PDF on which no passage begins is not known here."""
    if document.hit.kind not in PAGED:
        return None
    return max((passage.page or 0 for passage in document.passages), default=0) or None
