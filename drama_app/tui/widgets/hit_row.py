"""How one hit looks in the list: a few lines of exact width. Pure; every foreign word is cleaned, styles go by offsets.

▌✓  1 Title of the document                 de 2024-05-31 pdf
      page 12 · Heading › Part           ~/folder/file.pdf
      two lines of the passage, with the words that match
"""

from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len
from textual.content import Content
from textual.style import Style

from drama_app.listing import count_of, name_page, shorten_path
from drama_app.output import clean_for_terminal, cut_snippet
from drama_app.records import Hit, PassageHit

INDENT = 7
LEAST_FACTS = 44  # cells: below, only the type stands beside the title


@dataclass(frozen=True, slots=True)
class RowStyles:
    """Styles of the parts, without a background of their own."""

    title: Style
    dim: Style
    badge: Style
    bar: Style
    mark: Style
    sentence: Style


def draw_row(
    hit: Hit, rank: int, *, width: int, snippet_lines: int, styles: RowStyles, cursor: bool, chosen: bool
) -> list[Content]:
    """Returns the lines of a hit, each at most `width` cells."""
    inner = max(width - INDENT, 8)
    best = hit.passages[0] if hit.passages else None
    bar = Content.styled("▌" if cursor else " ", styles.bar)
    first = Content.assemble(
        bar, Content.styled("✓" if chosen else " ", styles.bar), Content.styled(f"{rank:>4} ", styles.dim)
    )
    following = Content.assemble(bar, " " * (INDENT - 1))
    title = clean_for_terminal(hit.title.strip() or hit.path.name)
    lines = [first + _spread(Content.styled(title, styles.title), _facts(hit, best, inner, styles), inner)]
    lines.append(following + _spread_place(hit, best, inner, styles))
    snippet = _snippet(best, inner, snippet_lines, styles) if best else []
    snippet += [Content("")] * (snippet_lines - len(snippet))
    return lines + [following + line for line in snippet]


def describe_date(seconds: float) -> str:
    """Returns the day in local time; "" for one outside the calendar."""
    try:
        return f"{datetime.fromtimestamp(seconds):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return ""


def describe_place(hit: Hit, passage: PassageHit) -> str:
    """Returns "page 12", "sheet 2", "line 3" or ""."""
    if passage.page is not None:
        return f"{name_page(hit.kind)} {passage.page:,}"
    return f"line {passage.line:,}" if passage.line is not None else ""


def mark_snippet(passage: PassageHit, limit: int, *, mark: Style, sentence: Style) -> Content:
    """Returns a stretch of the passage on one line, matching words and best sentence styled."""
    text, offsets = cut_snippet(passage, limit)
    content = Content(text)
    for style, stretches in ((sentence, (passage.sentence,)), (mark, passage.marks)):
        for stretch in stretches:
            inside = [index for index, at in enumerate(offsets) if stretch and stretch[0] <= at < stretch[1]]
            if inside:
                content = content.stylize(style, inside[0], inside[-1] + 1)
    return content


def cut_left(text: str, width: int) -> str:
    """Returns the end of `text` in at most `width` cells: of a path the file's name tells most."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[max(1, (cell_len(text) - width) // 2) :]
    return f"…{text}" if width > 0 else ""


def _facts(hit: Hit, best: PassageHit | None, inner: int, styles: RowStyles) -> Content:
    facts = [clean_for_terminal(best.language) if best else "", describe_date(hit.modified)]
    said = " ".join(fact for fact in facts if fact) if inner >= LEAST_FACTS else ""
    badge = Content.styled(f" {clean_for_terminal(hit.kind)} ", styles.badge)
    return Content.assemble(Content.styled(f"{said} ", styles.dim), badge) if said else badge


def _spread_place(hit: Hit, best: PassageHit | None, inner: int, styles: RowStyles) -> Content:
    """Where in the document, what else there is of it, and where the document is."""
    more = len(hit.passages) - 1
    parts = [
        describe_place(hit, best) if best else "",
        "found by its name" if best and any(score.source == "file name" for score in best.scores) else "",
        count_of(more, "more passage") if more else "",
        f"{len(hit.copies) + 1:,} copies" if hit.copies else "",
        clean_for_terminal(best.heading) if best else "",
    ]
    left = " · ".join(part for part in parts if part)
    path = shorten_path(hit.path if hit.title.strip() else hit.path.parent)
    room = inner - cell_len(left) - 2 if left else inner
    path = cut_left(path, max(room, inner * 2 // 5))
    return _spread(Content.styled(left, styles.dim), Content.styled(path, styles.dim), inner)


def _snippet(passage: PassageHit, inner: int, lines: int, styles: RowStyles) -> list[Content]:
    content = mark_snippet(passage, max(inner * lines, 40), mark=styles.mark, sentence=styles.sentence)
    wrapped = content.wrap(inner)
    if len(wrapped) <= lines:
        return wrapped
    last = wrapped[lines - 1].rstrip()
    if not last.plain.endswith("…"):
        last = last.truncate(inner - 1) + "…"
    return [*wrapped[: lines - 1], last]


def _spread(left: Content, right: Content, width: int) -> Content:
    """Puts one at the left edge and one at the right; the left one gives way."""
    if not right:
        return left.truncate(width, ellipsis=True)
    room = max(width - right.cell_length - 1, 0)
    left = left.truncate(room, ellipsis=True, pad=True) if left else Content(" " * room)
    return left + " " + right
