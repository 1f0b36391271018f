"""Why a document was found: every score in words. Owns the explanation only; the scores are the search's."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.style import Style
from textual.widgets import Static

from drama_app.output import clean_for_terminal
from drama_app.records import Hit, PassageHit, Results, Score
from drama_app.tui.enduring import Enduring
from drama_app.tui.widgets.hit_row import describe_place, mark_snippet
from drama_app.tui.widgets.key_line import KeyLine

MODES = {
    "fused": "Meaning and keywords together decide the order.",
    "meaning": "Only meaning decides the order: how near passage and question lie.",
    "keywords": "Only keywords decide the order: how often and how close the words stand.",
}
PUT_FIRST = 15.0  # a share of this size is given to exact matches only: without, both sources together stay below
SNIPPET = 300


def explain(results: Results, hit: Hit, rank: int) -> Content:
    """Returns the explanation of a hit."""
    lines = [
        Content.styled(clean_for_terminal(hit.title.strip() or hit.path.name), "bold"),
        Content.styled(clean_for_terminal(str(hit.path)), "$foreground-muted"),
        Content(""),
        Content(f"Place {rank:,} of {len(results.hits):,} for: {clean_for_terminal(results.query)}"),
        Content(MODES[results.mode] + " A document counts as much as its best passage."),
    ]
    if results.nothing_good_enough:
        lines.append(Content("Even the best of these is likely no answer: far in meaning, and most words are missing."))
    for number, passage in enumerate(hit.passages, 1):
        lines += ["", *_explain_passage(hit, passage, number)]  # type: ignore[list-item]  # join takes both
    lines += [Content(""), Content.styled("Scores compare within one query only; they are no percentages.", "dim")]
    return Content("\n").join(lines)


def _explain_passage(hit: Hit, passage: PassageHit, number: int) -> list[Content]:
    place = " · ".join(part for part in (describe_place(hit, passage), clean_for_terminal(passage.heading)) if part)
    lines = [Content.styled(f"Passage {number}{f': {place}' if place else ''}", "bold $primary")]
    lines += [Content(f"  {_explain_score(score)}") for score in passage.scores]
    if len(passage.scores) > 1:
        lines.append(Content(f"  Score {passage.score:.2f}: the sum."))
    found = list(dict.fromkeys(passage.text[start:end].casefold() for start, end in passage.marks))
    if found:
        lines.append(
            Content(f"  Words found: {', '.join(clean_for_terminal(' '.join(word.split())) for word in found)}")
        )
    elif number == 1 and _is_by_meaning_alone(passage):
        lines.append(Content("  None of the words stands in it: it was found by its meaning."))
    marks = {"mark": Style.parse("bold"), "sentence": Style.parse("underline")}
    return [*lines, Content("  ") + mark_snippet(passage, SNIPPET, **marks)]


def _is_by_meaning_alone(passage: PassageHit) -> bool:
    """Words that are too common to be marked may count all the same; meaning may count less than nothing."""
    sources = {score.source for score in passage.scores if score.source == "meaning" or score.share > 0}
    return sources == {"meaning"}


def _explain_score(score: Score) -> str:
    """One source in a sentence."""
    if score.source == "file name":
        return f"File name: it holds all words of the query, so it is put first; adds {score.share:.2f}."
    if score.source == "meaning":
        what = f"Meaning: likeness {score.value:.3f} of 1 (cosine)"
        place = f", number {score.rank:,} among the nearest" if score.rank else ", not among the nearest hundred"
    else:
        what = f"Keywords: {score.value:.2f} points (BM25)"
        place = f", number {score.rank:,} among the matches" if score.rank else ""
    sentence = f"{what}{place}; adds {score.share:.2f}."
    if score.source == "keywords" and score.share >= PUT_FIRST:
        sentence += " It holds the phrase, name or code exactly as written, so it is put first."
    return sentence


class WhyScreen(Enduring, ModalScreen[None]):
    """Shows the explanation of one hit."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,w,q,enter", "dismiss", "Close", id="why.close"),
        Binding("down,j", "scroll(1)", "Down", id="why.down", show=False),
        Binding("up,k", "scroll(-1)", "Up", id="why.up", show=False),
    ]
    DEFAULT_CSS = """
    WhyScreen {
        align: center middle;
        & > VerticalScroll {
            width: 90%; max-width: 100; height: auto; max-height: 85%;
            border: round $primary; background: $surface; padding: 0 2;
        }
        & > VerticalScroll > Static { height: auto; }
    }
    """

    def __init__(self, results: Results, hit: Hit) -> None:
        super().__init__()
        self._explanation = explain(results, hit, results.hits.index(hit) + 1 if hit in results.hits else 1)

    def compose(self) -> ComposeResult:
        """Parts."""
        with VerticalScroll() as scroll:
            scroll.border_title = "Why this hit"
            yield Static(self._explanation)
        yield KeyLine()

    def action_scroll(self, lines: int) -> None:
        """Moves the text."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
