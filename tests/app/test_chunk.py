"""Promises of the passages: complete, in order, of bounded size, cut where a reader would."""

import itertools
import time
import unicodedata

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from drama_app.chunk import SIZE, cut, cut_spans, embedded_text
from drama_app.records import Document, Heading, Passage
from drama_app.ruler import Ruler, estimate_tokens

PARAGRAPH = "The river rises in spring. Boats wait at the quay, and the ferry stops. Nobody crosses before noon. "
ANY_TEXT = st.text(
    alphabet=st.one_of(
        st.sampled_from(" \n\t.,。！ aàéßİ字かภทสาहिंदीनسلام한국어👩🏽‍💻🇩🇪0-9\u0301\u200d"),
        st.characters(exclude_categories=["Cs", "Cc"]),
    ),
    max_size=600,
)


def make_passage(text: str, heading: str = "") -> Passage:
    return Passage(0, 0, len(text), text, None, None, heading, "")


def covered(text: str, spans: list[tuple[int, int]]) -> str:
    seen = [False] * len(text)
    for start, end in spans:
        seen[start:end] = [True] * (end - start)
    return "".join(char for char, known in zip(text, seen, strict=True) if not known)


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT, st.sampled_from([16, 40, 256]), st.sampled_from([0, 8]))
def test_covers_all_text_in_order(text: str, size: int, overlap: int) -> None:
    """Every character that is not white space lies in a passage, and passages follow one another."""
    spans = list(cut_spans(Document(text, "text"), size=size, overlap=overlap))

    assert covered(text, spans).strip() == ""
    assert [end for _, end in spans] == sorted({end for _, end in spans})
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT)
def test_never_cuts_a_grapheme(text: str) -> None:
    """A passage ends and begins where a reader sees a character end."""
    borders = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    spans = list(cut_spans(Document(text, "text"), size=16, overlap=0))
    inner = {start for start, _ in spans[1:]} | {end for _, end in spans[:-1]}
    next_to_space = {p for p in inner if text[p - 1].isspace() or text[p : p + 1].isspace()}

    assert inner - next_to_space <= borders


def test_offsets_give_the_text() -> None:
    """A passage's text is the document's text between its offsets."""
    document = Document(PARAGRAPH * 40, "text")
    passages = cut(document)

    assert len(passages) > 2
    assert [document.text[p.start : p.end] for p in passages] == [p.text for p in passages]
    assert [p.ordinal for p in passages] == list(range(len(passages)))


def test_size_is_kept() -> None:
    """No passage is estimated more than an eighth above the size, and none is a tiny tail."""
    passages = cut(Document((PARAGRAPH * 3 + "\n\n") * 50 + "Tail.", "text"))
    sizes = [estimate_tokens(p.text) for p in passages]

    assert max(sizes) <= SIZE * 1.125
    assert min(sizes) >= SIZE / 4


def test_cuts_at_paragraphs_before_sentences() -> None:
    """Paragraphs that fit stay whole."""
    paragraph = (PARAGRAPH * 5).strip()
    passages = cut(Document("\n\n".join([paragraph] * 6), "text"))

    assert all(p.text.startswith("The river") and p.text.endswith("noon.") for p in passages)


def test_cuts_at_headings() -> None:
    """A section that is long enough begins a passage with its heading, and the path names those above."""
    body = PARAGRAPH * 8
    text = f"# Manual\n\n{body}\n\n## Setup\n\n{body}\n\n## Use\n\n{body}"
    headings = tuple(Heading(text.index(f"# {title}") + 2, level, title) for title, level in
                     (("Manual", 1), ("Setup", 2), ("Use", 2)))  # fmt: skip
    passages = cut(Document(text, "markdown", title="Manual", headings=headings))

    assert [p.text.split("\n")[0] for p in passages if p.text.startswith("#")] == ["# Manual", "## Setup", "## Use"]
    assert [p.heading for p in passages if p.text.startswith("#")] == ["", "Setup", "Use"]


def test_sections_that_share_a_passage_are_told_by_what_holds_for_all() -> None:
    """Short letters in one mailbox are not all the first one's; short sections of a chapter are the chapter's."""
    titles = ("Trip", "Monday", "Tuesday", "Invoice")
    text = "".join(f"{title}\nOne short line about it.\n\n" for title in titles)
    headings = tuple(Heading(text.index(title), 1 + title.endswith("day"), title) for title in titles)

    def tell(until: str) -> list[str]:
        document = Document(text[: text.index(until)], "mbox", headings=headings[: titles.index(until)])
        return [passage.heading for passage in cut(document)]

    assert (tell("Monday"), tell("Invoice")) == (["Trip"], ["Trip"])
    assert [passage.heading for passage in cut(Document(text, "mbox", headings=headings))] == [""]


def test_a_slide_without_a_title_has_not_the_one_before() -> None:
    """What is told of a slide stands on it."""
    text = "Bees\n\nHow they dance.\n\nNothing but notes."
    pages = (0, text.index("Nothing"))
    passages = cut(Document(text, "pptx", pages=pages, headings=(Heading(0, 1, "Bees"),)))

    assert [(passage.page, passage.heading) for passage in passages] == [(1, "Bees"), (2, "")]


def test_no_heading_is_left_alone() -> None:
    """A passage never ends with a heading whose section goes on in the next."""
    lines, headings, offset = [], [], 0
    for i in range(30):
        title = f"Section {i}"
        headings.append(Heading(offset, 2, title))
        part = f"{title}\n{PARAGRAPH * (i % 9 + 1)}\n"
        lines.append(part)
        offset += len(part)
    passages = cut(Document("".join(lines), "text", headings=tuple(headings)))

    assert not [p for p in passages if regex.search(r"Section \d+$", p.text)]


def test_heading_path_is_bounded() -> None:
    """A deep path of long titles keeps its innermost part and stays under 200 characters."""
    titles = [f"{i} " + "long title " * 8 for i in range(4)]
    text = "\n".join(titles) + "\n" + PARAGRAPH
    headings = tuple(Heading(text.index(title), level + 1, title) for level, title in enumerate(titles))
    passage = cut(Document(text + "\n\n" + PARAGRAPH * 20, "text", headings=headings))[-1]

    assert len(passage.heading) <= 200
    assert passage.heading.split(" › ")[-1].startswith("3 long")


def test_pages_and_lines() -> None:
    """A passage tells the page and line where it starts."""
    text = (PARAGRAPH + "\n") * 60
    middle = text.index("\n", len(text) // 2) + 1
    passages = cut(Document(text, "pdf", pages=(0, middle), lines=True))

    assert {p.page for p in passages} == {1, 2}
    assert [p.line for p in passages] == [text.count("\n", 0, p.start) + 1 for p in passages]


def test_slides_are_not_joined() -> None:
    """A slide is a passage of its own, however short."""
    text = "First slide.\n\nSecond slide.\n\nThird slide."
    pages = (0, text.index("Second"), text.index("Third"))

    assert [p.page for p in cut(Document(text, "pptx", pages=pages))] == [1, 2, 3]


def test_overlap_repeats_whole_sentences() -> None:
    """With overlap a passage begins with the last sentences of the one before."""
    passages = cut(Document(PARAGRAPH * 30, "text"), overlap=40)

    assert all(later.start < earlier.end for earlier, later in itertools.pairwise(passages))
    assert all(p.text[0] in "TBN" for p in passages)


def test_nothing_makes_no_passage() -> None:
    """An empty document has no passages."""
    assert cut(Document(" \n\t\n ", "text")) == []


@pytest.mark.parametrize("unit", ["x", "字", "word ", "e\u0301", "a\n", "{};"])
def test_linear_time(unit: str) -> None:
    """Ten times the characters without a good place to cut take far less than a hundred times as long."""
    seconds = []
    for characters in (50_000, 500_000):
        text = unit * (characters // len(unit))
        started = time.process_time()
        spans = list(cut_spans(Document(text, "text"), size=SIZE, overlap=0))
        seconds.append(time.process_time() - started)

    assert seconds[1] < 40 * max(seconds[0], 0.01)
    assert sum(end - start for start, end in spans) >= 0.45 * len(text)


def test_embedded_text_names_title_and_heading_once() -> None:
    """Title and headings stand above the text unless it begins with them."""
    assert embedded_text("Manual", make_passage("Turn it on.", "Setup")) == "Manual\nSetup\nTurn it on."
    assert embedded_text("Manual", make_passage("Manual\nTurn it on.")) == "Manual\nTurn it on."


def test_estimate_adds_up() -> None:
    """Neighbouring stretches measure as much as the whole."""
    text = unicodedata.normalize("NFC", PARAGRAPH + "東京タワー 1234 Übergröße ภาษาไทย")
    ruler = Ruler(text)

    assert ruler.measure(0, 20) + ruler.measure(20, len(text)) == pytest.approx(estimate_tokens(text))


def test_code_has_no_language() -> None:
    """Source code is not put under a language by its comments."""
    assert {p.language for p in cut(Document("# The river rises in spring and boats wait\nx = 1\n", "code"))} == {""}
