"""Hits and states in sentences, for a voice that reads one line after the other. Owns wording; it asks nothing."""

from collections.abc import Iterator, Sequence

from drama_app.highlight import mark_words
from drama_app.listing import count_of, name_page, shorten_path
from drama_app.output import clean_for_terminal, cut_snippet, describe_time
from drama_app.rank import find_missing_phrase
from drama_app.records import Filters, Hit, Mode, Passage, PassageHit, Results, Score, Status

MODES: dict[str, Mode] = {"both": "fused", "fused": "fused", "meaning": "meaning", "keywords": "keywords"}
NAMES = {"fused": "meaning and keywords", "meaning": "meaning", "keywords": "keywords"}
HELP = """\
Type a question or some words, and press Enter.
These commands act on a result by its number:
open 2: open the file, at its page where the viewer can.
text 2: read the passage with what stands before and after it.
why 2: say how it was found.
similar 2: find passages like it.
1: the same as text 1; so with any number.
These change what is searched:
more: the next results.
mode meaning, mode keywords or mode both: what counts.
in FOLDER, type pdf, lang de, since 2024-01-01, until 2024-12: only such files.
A question may hold them for itself alone, as in: rent type:pdf since:2024.
no filters: all files again.
add FOLDER: index a folder.
update: look for changed files.
status: what is indexed.
search WORDS: search, even if the words are a command.
quit or q: leave."""


def greet(status: Status | None) -> str:
    """One line with what is indexed."""
    if status is None or not status.roots:
        return "drama. Nothing is indexed yet. Type add and a folder, for example: add ~/Documents"
    counts = f"{count_of(status.documents, 'document')} in {count_of(len(status.roots), 'folder')}"
    return f"drama. {counts} can be searched. Type a question, or help."


def describe_count(results: Results, filters: str, *, in_words: bool = True) -> str:
    """What was found, in one line; `in_words` is False if a file was asked with, whose name is no query."""
    about = f" with {filters}" if filters else ""
    if not results.hits:
        return f"Nothing was found{about}."
    phrase = find_missing_phrase(results) if in_words else ""
    missing = f'No result holds "{clean_for_terminal(phrase)}". ' if phrase else ""
    if results.nothing_good_enough:
        return f"{missing}Nothing was good enough{about}. The nearest {'miss' if len(results.hits) == 1 else 'misses'}:"
    count = f"{count_of(len(results.hits), 'result')} by {NAMES[results.mode]}{about}."
    return f"{missing}What is near it: {count}" if missing else count


def describe_hit(number: int, hit: Hit) -> Iterator[str]:
    """Title and place, the facts, the snippet: a line each."""
    best = hit.passages[0] if hit.passages else None
    title = clean_for_terminal(hit.title)
    name = clean_for_terminal(hit.path.name)
    place = describe_place(hit, best)
    yield ". ".join(part for part in (f"{number}", title, name if name != title else "", place) if part) + "."
    date = (describe_time(hit.modified) or "")[:10]
    folder = shorten_path(hit.path.parent)
    facts = [f"In {folder}", clean_for_terminal(hit.kind), f"of {date}" if date else ""]
    if hit.copies:
        facts.append(f"{len(hit.copies):,} more {'copy' if len(hit.copies) == 1 else 'copies'}")
    yield ", ".join(fact for fact in facts if fact) + "."
    if best is not None:
        yield cut_snippet(best)[0]


def describe_place(hit: Hit, passage: Passage | PassageHit | None) -> str:
    """Page or line, and heading; "" if there is none."""
    if passage is None:
        return ""
    where = f"{name_page(hit.kind)} {passage.page:,}" if passage.page is not None else ""
    where = where or (f"line {passage.line:,}" if passage.line is not None else "")
    heading = clean_for_terminal(passage.heading).replace(" › ", ", ")
    return ", ".join(part for part in (where, heading) if part)


def describe_text(number: int, hit: Hit, passages: Sequence[Passage]) -> Iterator[str]:
    """The best passage with its neighbours."""
    best = hit.passages[0] if hit.passages else None
    if best is None:
        yield f"Result {number} has no text."
        return
    around: dict[int, Passage] = {each.ordinal: each for each in passages}
    # It is read from its start, while the hit was told with the page and line of its best sentence.
    place = describe_place(hit, around.get(best.ordinal, best))
    for name, text in (
        ("Before", around[best.ordinal - 1].text if best.ordinal - 1 in around else ""),
        (f"The passage, from {place}" if place else "The passage", best.text),
        ("After", around[best.ordinal + 1].text if best.ordinal + 1 in around else ""),
    ):
        if text:
            yield f"{name}:"
            lines = clean_for_terminal(text, lines=True).replace("\t", ", ").split("\n")
            yield from (line for line in lines if line.strip())
    if not passages:
        yield "The rest of the document is not in the index any more."


def explain(number: int, hit: Hit, query: str) -> Iterator[str]:
    """How a hit was found, in sentences; `query` is "" if a file was asked with."""
    best = hit.passages[0] if hit.passages else None
    if best is None:
        yield f"Result {number} was found by its name."
        return
    said = [part for score in best.scores if (part := _explain_score(score))]
    yield f"Result {number} was found by {' and by '.join(said)}." if said else f"Result {number} is a near miss."
    if query:
        marks = best.marks or mark_words(query, best.text)
        words = dict.fromkeys(clean_for_terminal(best.text[start:end]).casefold() for start, end in marks)
        told = f"Words of the query in it: {', '.join(list(words)[:12])}."
        yield told if words else "None of its words is in the query."
    if len(hit.passages) > 1:
        yield f"{count_of(len(hit.passages) - 1, 'more passage')} of the document matched."


def _explain_score(score: Score) -> str:
    rank = f"rank {score.rank:,}" if score.rank is not None else "not listed"
    if score.source == "meaning":
        return f"meaning ({rank}, similarity {score.value:.2f})"
    if score.source == "file name":
        return "the name of the file, which holds all words of the query"
    return f"keywords ({rank}, score {score.value:.1f})" if score.rank is not None else ""


def describe_filters(filters: Filters) -> str:
    """The conditions in force, "" if there are none."""
    parts = [f"folder {shorten_path(path)}" for path in filters.folders]
    parts += [f"type {clean_for_terminal(kind)}" for kind in filters.types]
    parts += [f"language {clean_for_terminal(code)}" for code in filters.languages]
    if filters.since is not None:
        parts.append(f"since {(describe_time(filters.since) or '')[:10]}")
    if filters.until is not None:
        parts.append(f"until {(describe_time(filters.until) or '')[:10]}")
    return ", ".join(parts)
