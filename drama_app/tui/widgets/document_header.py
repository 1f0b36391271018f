"""What is said above a document's text.

Owns its wording and what is cut where there is little room: of a path the beginning, of everything else the end.
"""

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from drama_app.listing import name_page, shorten_path
from drama_app.output import clean_for_terminal, describe_time
from drama_app.records import Hit, Passage, PassageHit

LEAST_PATH = 16


def describe_document(
    hit: Hit, passage: Passage | PassageHit | None, *, width: int, pages: int | None, hits: str, is_low: bool
) -> Content:
    """Returns two lines where there is little room, else three.

    Args:
        hit: The document.
        passage: The passage that is in sight.
        width: Cells.
        pages: How many the document has, if that is known.
        hits: At which of the document's matches the view stands.
        is_low: Leave out the line of the path.
    """
    title = clean_for_terminal(hit.title or hit.path.name)
    room = width - (cell_len(hits) + 2 if hits else 0)
    first = cut_end(title, room)
    lines = [
        Content.assemble(
            (first, "bold"), " " * max(2, width - cell_len(first) - cell_len(hits)) if hits else "", (hits, "$accent")
        )
    ]
    place = _describe_place(hit, passage, pages)
    if not is_low or not place:
        lines.append(Content.styled(_describe_file(hit, passage, width), "$foreground-muted"))
    if not is_low or place:
        lines.append(Content.styled(cut_end(place, width), "$foreground-muted"))
    return Content("\n").join(lines)


def cut_end(text: str, width: int) -> str:
    """Returns a text that fits, with "…" for what was cut."""
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def cut_beginning(text: str, width: int) -> str:
    """Returns the end of a text that fits, with "…" for what was cut."""
    import regex

    if cell_len(text) <= width:
        return text
    room, start = width - 1, len(text)
    for grapheme in reversed(list(regex.finditer(r"\X", text))):
        room -= cell_len(grapheme[0])
        if room < 0:
            break
        start = grapheme.start()
    return "…" + text[start:]


def _describe_file(hit: Hit, passage: Passage | PassageHit | None, width: int) -> str:
    facts = [hit.kind, (describe_time(hit.modified) or "")[:10], passage.language if passage else ""]
    if hit.copies:
        facts.append(f"{len(hit.copies):,} more {'copy' if len(hit.copies) == 1 else 'copies'}")
    rest = "".join(f" · {clean_for_terminal(fact)}" for fact in facts if fact)
    return cut_end(cut_beginning(shorten_path(hit.path), max(width - cell_len(rest), LEAST_PATH)) + rest, width)


def _describe_place(hit: Hit, passage: Passage | PassageHit | None, pages: int | None) -> str:
    if passage is None:
        return ""
    where = ""
    if passage.page is not None:
        where = f"{name_page(hit.kind)} {passage.page:,}" + (f" of {pages:,}" if pages else "")
    elif passage.line is not None:
        # A hit names the line of its best sentence; what is in sight here is the whole passage.
        since = "" if isinstance(passage, PassageHit) else "from "
        where = f"{since}line {passage.line:,}"
    return " · ".join(part for part in (where, clean_for_terminal(passage.heading)) if part)
