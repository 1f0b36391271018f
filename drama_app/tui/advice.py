"""What the search screen says in words: counts, states, and what to do where there is nothing to show. Pure."""

from dataclasses import dataclass, field

from textual.content import Content
from textual.style import Style

from drama_app.listing import count_of
from drama_app.output import clean_for_terminal
from drama_app.records import Mode, Progress, Results, Status
from drama_app.tui.searching import Request

RECENT = 6  # queries that the empty screen offers

EXAMPLES = (
    ("ask in your words", "how do I cancel the contract"),
    ("name a thing", "invoice 4711"),
    ("insist on words", '"notice period"'),
    ("narrow it down", "roof repair type:pdf since:2023"),
)


@dataclass(frozen=True, slots=True)
class Situation:
    """All that decides what is said."""

    opened: bool = False
    has_index: bool = False
    status: Status | None = None
    progress: Progress | None = None
    request: Request = field(default_factory=Request)
    results: Results | None = None
    searching: bool = False
    error: str = ""
    hint: str = ""
    """A sentence about what was typed."""
    chosen: int = 0
    missing_phrase: str = ""
    """Quoted in the query, and in no hit."""


def describe_state(now: Situation) -> Content:
    """Returns the line under the query."""
    if now.error:
        return Content.styled(clean_for_terminal(now.error), "$text-error bold")
    if now.hint:
        hint = Content.styled(clean_for_terminal(now.hint), "$text-warning")
        found = now.results is not None and bool(now.results.hits)
        return Content(" · ").join([hint, Content(_describe_answer(now))]) if found else hint
    parts = [part for part in (_describe_answer(now), _describe_indexing(now)) if part]
    if now.chosen:
        parts.append(f"{now.chosen:,} selected")
    return Content(" · ".join(parts))


def _describe_answer(now: Situation) -> str:
    if not now.opened:
        return "Opening the index"
    if not now.has_index:
        return "No index yet"
    if now.searching and (now.results is None or now.request.is_empty):
        return "Searching"
    if now.results is not None and not now.request.is_empty:
        more = "at least " if len(now.results.hits) >= now.request.limit else ""
        said = f"{more}{count_of(len(now.results.hits), 'document')} in {now.results.seconds * 1000:,.0f} ms"
        return f"{said}, searching" if now.searching else said
    if now.status is None:
        return ""
    documents, passages = count_of(now.status.documents, "document"), count_of(now.status.passages, "passage")
    return f"{documents}, {passages}"


def _describe_indexing(now: Situation) -> str:
    progress = now.progress
    if progress is None:
        return ""
    if progress.phase == "scan":
        return "looking through folders"
    if progress.phase == "tidy":
        return "tidying the index"
    return f"indexing {progress.files_done:,} of {count_of(progress.files_total, 'file')}"


def describe_notice(now: Situation) -> str:
    """Returns the line above hits that are likely no answers; "" if they may be."""
    if now.results is None or not now.results.hits or now.request.is_empty:
        return ""
    if now.missing_phrase:
        return f'No hit holds "{now.missing_phrase}"; what is near it:'
    if not now.results.nothing_good_enough:
        return ""
    misses = "nearest miss" if len(now.results.hits) == 1 else "nearest misses"
    return f"Nothing good enough; {misses} below. Try: {', or '.join(_suggest(now))}"


def describe_nothing(now: Situation, recent: tuple[str, ...]) -> Content:
    """Returns what stands in place of hits: what this is, or why there is nothing, and what to press."""
    if not now.opened:
        return _teach(
            "Opening the index", "You can type your question now; it is answered as soon as the index is open."
        )
    if now.error and not now.has_index:
        return _teach("The index does not open", clean_for_terminal(now.error))
    if not now.has_index or (now.status is not None and not now.status.roots):
        return _teach(
            "No folder is searched yet",
            "Press F3 and add the folders that hold your files.",
            "You can search the first files while the others are still being read.",
            "Nothing leaves this computer.",
        )
    if now.error:
        return _teach("The search did not work", clean_for_terminal(now.error), "Press Ctrl+R to try again.")
    if now.request.is_empty:
        return _teach_queries(now, recent)
    if now.results is None:
        return Content("")
    return _teach("Nothing found", *(f"{each[0].upper()}{each[1:]}." for each in _suggest(now)))


def _suggest(now: Situation) -> list[str]:
    """What may find more, the likeliest first."""
    said = []
    if now.progress is not None:
        said.append("again later, since indexing goes on")
    if now.request.chips:
        said.append("take away a filter (F7, then Backspace)")
    mode: Mode = now.request.mode
    if now.request.similar is None and mode != "fused":
        said.append("search by meaning and keywords both (F6)")
    if now.request.similar is None and len(now.request.query.split()) < 3:
        said.append("say it in more words")
    return said or ["say it in other words"]


def _teach(title: str, *lines: str) -> Content:
    return Content("\n\n").join([Content.styled(title, "bold"), *(Content(line) for line in lines)])


def _teach_queries(now: Situation, recent: tuple[str, ...]) -> Content:
    """Kinds of queries, and those that were asked last; a click asks again."""
    documents = count_of(now.status.documents, "document") if now.status else "your documents"
    lines = [Content.styled(f"Search {documents}", "bold"), Content("")]
    if now.status is not None and not now.status.documents:
        waiting = "The first files are being read; they can be found in a moment."
        lines = [Content.styled("No file is searchable yet", "bold"), Content(""), Content(waiting), Content("")]
    width = max(len(what) for what, _ in EXAMPLES) + 2
    lines += [
        Content.assemble(Content.styled(what.ljust(width), "$foreground-muted"), example) for what, example in EXAMPLES
    ]
    if recent:
        lines += [Content(""), Content.styled("Asked before (Ctrl+Up)", "bold"), Content("")]
    for index, query in enumerate(recent[:RECENT]):
        click = Style.from_meta({"@click": f"screen.recall({index})"})
        lines.append(Content(clean_for_terminal(query)).truncate(60, ellipsis=True).stylize("underline").stylize(click))
    return Content("\n").join(lines)
