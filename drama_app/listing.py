"""What a person sees of hits, reports and states: rich texts, never markup strings, every foreign word cleaned.

Owns layout only. It neither prints nor searches; `output` prints what it returns.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rich.cells import cell_len
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from drama_app.output import clean_for_terminal, cut_snippet
from drama_app.records import Hit, PassageHit, Results, Skipped, Status, SyncReport

MATCH = Style(bold=True, color="yellow")
SENTENCE = Style(underline=True)
DIM = Style(dim=True)
NAME = Style(bold=True)
SHEETS = frozenset({"xlsx", "xls", "ods"})  # kinds whose pages are sheets
EXAMPLES = 5  # files named under each reason; `status --failed` lists all of them


def shorten_path(path: Path) -> str:
    """Returns the path from here, or from the home folder, whichever is shorter; cleaned."""
    forms = [str(path)]
    for base, prefix in ((_here(), ""), (Path.home(), "~" + os.sep)):
        if base != Path(base.anchor) and path.is_relative_to(base) and path != base:
            forms.append(prefix + str(path.relative_to(base)))
    return clean_for_terminal(min(forms, key=len))


def _here() -> Path:
    """The folder that we are in; the home folder where it was deleted under us."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path.home()


def show_results(
    results: Results, *, links: bool, explain: bool, passages: int = 1, verdicts: bool = True
) -> Iterator[Text | Padding]:
    """Yields the hits, best first, for a terminal.

    Args:
        results: What was found.
        links: Make each path clickable.
        explain: Add a table of scores under each passage.
        passages: How many passages of each hit to show.
        verdicts: Say between them what `narrate_results` says.
    """
    from drama_app.rank import count_likely

    if verdicts and (verdict := _join_verdict(results)):
        yield Text(verdict, NAME if results.hits else "")
    indent, likely = len(str(len(results.hits))) + 2, count_likely(results)
    for rank, hit in enumerate(results.hits, 1):
        if rank > 1:
            yield Text()
        if verdicts and rank == likely + 1:
            yield Text("less likely:\n", DIM)
        yield from _show_hit(rank, hit, indent, links=links)
        for number, passage in enumerate(hit.passages[:passages]):
            if number:
                yield Padding(_describe_place(hit, passage), (0, 0, 0, indent))
            yield Padding(_mark(passage), (0, 0, 0, indent))
            if explain:
                yield Padding(_explain(hit, passage), (0, 0, 0, indent))


def narrate_results(results: Results) -> Iterator[str]:
    """Yields what is to be known of the hits apart from them, a line each."""
    from drama_app.rank import count_likely

    if verdict := _join_verdict(results):
        yield verdict
    if (likely := count_likely(results)) < len(results.hits):
        yield f"less likely: from hit {likely + 1} on"


def _join_verdict(results: Results) -> str:
    return "; ".join(filter(None, describe_verdict(results)))


def describe_verdict(results: Results) -> tuple[str, str]:
    """Returns why the hits are not what was asked for, and what they are; "" and "" if they are."""
    from drama_app.rank import find_missing_phrase

    if not results.hits:
        return "nothing found", ""
    if phrase := find_missing_phrase(results):
        return f'no hit holds "{clean_for_terminal(phrase)}"', "what is near it:"
    if results.nothing_good_enough:
        return "nothing good enough", "nearest miss:" if len(results.hits) == 1 else "nearest misses:"
    return "", ""


def _show_hit(rank: int, hit: Hit, indent: int, *, links: bool) -> Iterator[Text | Padding]:
    link = hit.path.as_uri() if links and hit.path.is_absolute() else None
    line = Text(f"{rank}".rjust(indent - 2) + "  ", DIM)
    line.append(shorten_path(hit.path), NAME + Style(link=link) if link else NAME)
    line.overflow = "fold"
    yield line
    best = hit.passages[0] if hit.passages else None
    facts = [_describe_date(hit.modified), hit.kind]
    place = Text(" · ".join(clean_for_terminal(fact) for fact in facts if fact), DIM)
    if best:
        rest = _describe_place(hit, best)
        place = Text(" · ", DIM).join([rest, place]) if rest else place
        if best.language:
            place.append(f" · {clean_for_terminal(best.language)}", DIM)
    if hit.copies:
        place.append(f" · {len(hit.copies)} more {'copy' if len(hit.copies) == 1 else 'copies'}", DIM)
    yield Padding(place, (0, 0, 0, indent))


def name_page(kind: str) -> str:
    """Returns what a page of such a document is called: "page" or "sheet"."""
    return "sheet" if kind in SHEETS else "page"


def _describe_place(hit: Hit, passage: PassageHit) -> Text:
    """Page or line, and heading."""
    where = f"{name_page(hit.kind)} {passage.page}" if passage.page is not None else ""
    where = where or (f"line {passage.line}" if passage.line is not None else "")
    return Text(" · ".join(part for part in (where, clean_for_terminal(passage.heading)) if part), DIM)


def _describe_date(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return ""


def _mark(passage: PassageHit) -> Text:
    """The snippet, with the words that match bold and the best sentence underlined."""
    snippet, offsets = cut_snippet(passage)
    text = Text(snippet)
    if passage.sentence:
        _style_stretch(text, offsets, passage.sentence, SENTENCE)
    for stretch in passage.marks:
        _style_stretch(text, offsets, stretch, MATCH)
    return text


def _style_stretch(text: Text, offsets: list[int], stretch: tuple[int, int], style: Style) -> None:
    inside = [index for index, offset in enumerate(offsets) if stretch[0] <= offset < stretch[1]]
    if inside:
        text.stylize(style, inside[0], inside[-1] + 1)


def _explain(hit: Hit, passage: PassageHit) -> Table:
    table = Table("source", "value", "rank", "share", box=None, padding=(0, 2, 0, 0), header_style=DIM, style=DIM)
    for score in passage.scores:
        rank = str(score.rank) if score.rank is not None else "-"
        table.add_row(Text(score.source), f"{score.value:.4f}", rank, f"{score.share:.4f}")
    table.add_row("passage", f"{passage.score:.4f}", "", "")
    table.add_row("document", f"{hit.score:.4f}", "", "")
    return table


def describe_report(report: SyncReport) -> Iterator[str]:
    """Yields the summary of a sync, a line each."""
    counts = {word: getattr(report, word) for word in ("added", "changed", "moved", "removed")}
    done = [f"{count:,} {word}" for word, count in counts.items() if count]
    yield f"{', '.join(done) or 'nothing changed'}; {describe_seconds(report.seconds)}"
    verb = "is" if report.documents == 1 else "are"
    yield f"{count_of(report.documents, 'document')} with {count_of(report.passages, 'passage')} {verb} searchable"
    if report.passed_over:
        files = count_of(report.passed_over, "file")
        yield f"{files} without text passed over (drama-app status --passed-over lists them)"
    yield from report.notes
    if report.failed:
        yield f"{count_of(len(report.failed), 'file')} failed:"
        yield from list_by_reason(report.failed, examples=EXAMPLES)


def list_by_reason(files: Iterable[Skipped], *, examples: int | None = None) -> Iterator[str]:
    """Yields each reason, the most frequent first, with its files; at most `examples` a reason."""
    groups: dict[str, list[Path]] = {}
    for each in files:
        groups.setdefault(each.reason, []).append(each.path)
    for reason, paths in sorted(groups.items(), key=lambda group: -len(group[1])):
        yield f"  {clean_for_terminal(reason)} ({len(paths):,})"
        for path in paths[:examples]:
            yield f"    {shorten_path(path)}"
        if examples is not None and len(paths) > examples:
            yield f"    ... and {len(paths) - examples:,} more: drama-app status --failed"


def describe_status(status: Status) -> Iterator[str]:
    """Yields the state of the index, a line each."""
    facts = [
        ("documents", f"{status.documents:,}"),
        ("passages", f"{status.passages:,}"),
        ("languages", _list_counts(status.languages)),
        ("types", _list_counts(status.kinds)),
        ("size", describe_bytes(status.bytes)),
        ("retriever", clean_for_terminal(status.retriever) or "-"),
        ("pending", f"{status.pending:,}"),
        ("failed", f"{len(status.failed):,}" + ("  (--failed lists them)" if status.failed else "")),
        ("passed over", f"{status.passed_over:,}" + ("  (--passed-over lists them)" if status.passed_over else "")),
        ("watch", clean_for_terminal(status.watching) or "not running"),
    ]
    yield from (f"{name:<12} {value}" for name, value in facts)
    if status.left_out:
        yield f"{'left out':<12} {_list_left_out(status.left_out)}"
    yield from ("note         " + clean_for_terminal(note) for note in status.notes)
    yield "folders"
    names = [shorten_path(root.path) for root in status.roots]
    width = max(map(cell_len, names), default=0)
    for name, root in zip(names, status.roots, strict=True):
        synced = _describe_date(root.synced) if root.synced else "never"
        padded = name + " " * (width - cell_len(name))
        counts = f"{count_of(root.documents, 'document')}, {count_of(root.passages, 'passage')}"
        yield f"  {padded}  {counts}, {root.state}, synced {synced}"


def _list_left_out(paths: Sequence[Path]) -> str:
    """What was forgotten below a folder that is indexed: nobody would find it missing by chance."""
    rest = f", and {len(paths) - EXAMPLES:,} more (--json lists them)" if len(paths) > EXAMPLES else ""
    return f"{len(paths):,}: {', '.join(map(shorten_path, paths[:EXAMPLES]))}{rest}"


def _list_counts(counts: Mapping[str, int]) -> str:
    most = Counter(counts).most_common(12)
    rest = f", and {len(counts) - len(most)} more" if len(counts) > len(most) else ""
    return ", ".join(f"{clean_for_terminal(name) or 'unknown'} {count:,}" for name, count in most) + rest or "-"


def count_of(number: int, noun: str) -> str:
    """Returns "1 file", "2 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def describe_bytes(size: int) -> str:
    """Returns a size in the largest unit that fits."""
    amount, unit = float(size), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def describe_seconds(seconds: float) -> str:
    """Returns a stretch of time as a person says it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
