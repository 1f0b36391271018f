"""One line that names where something was read. Owns its wording; it opens nothing."""

from drama_app.listing import name_page
from drama_app.output import clean_for_terminal, cut_snippet, describe_time
from drama_app.records import Hit, PassageHit

LONGEST = 240
"""Characters of the quotation."""


def cite(hit: Hit, passage: PassageHit | None) -> str:
    """Returns title, file, page or line, date and the best sentence, for example
    `Annual report, report.pdf, page 12 (2024-05-01): “The budget doubled.”`.
    """
    title, name = _one_line(hit.title), _one_line(hit.path.name)
    parts = [name] if title in ("", name) else [title, name]
    if passage is not None and passage.page is not None:
        parts.append(f"{name_page(hit.kind)} {passage.page}")
    elif passage is not None and passage.line is not None:
        parts.append(f"line {passage.line}")
    date = (describe_time(hit.modified) or "")[:10]
    place = ", ".join(parts) + (f" ({date})" if date else "")
    quotation = _quote(passage) if passage is not None else ""
    return f"{place}: “{quotation}”" if quotation else place


def _quote(passage: PassageHit) -> str:
    if passage.sentence is None:
        return _one_line(cut_snippet(passage, LONGEST)[0])
    start, end = passage.sentence
    sentence = _one_line(passage.text[start:end])
    if len(sentence) <= LONGEST:
        return sentence
    return sentence[:LONGEST].rpartition(" ")[0] + "…" if " " in sentence[:LONGEST] else sentence[:LONGEST] + "…"


def _one_line(text: str) -> str:
    return " ".join(clean_for_terminal(" ".join(text.split())).split())
