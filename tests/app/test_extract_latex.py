"""LaTeX: notes, boxes, statements and slides."""

import time
from pathlib import Path

import pytest

from drama_app.extract import Source, extract_source
from drama_app.records import Document


def read(body: str) -> Document:
    """Extract a LaTeX document with this body, which begins in line 1."""
    tex = r"\begin{document}" + body + r"\end{document}"
    return extract_source(Source(path=Path("a.tex"), name="a.tex", data=tex.encode()))


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"to Berlin\footnote{Capital of \emph{Germany}.} in", "to Berlin (Capital of Germany.) in"),
        (r"energy\footnote{It is $E$ here.}", "energy It is E here."),
        (r"\marginpar{Margin note}here", "(Margin note)here"),
        (r"\textcolor{red}{Warning} and \colorbox[rgb]{1,0,0}{caution}", "Warning and caution"),
        (r"\multicolumn{2}{c}{Revenue} & \multirow{2}{*}{Margin} \multirow{2}*{Cost}", "Revenue Margin Cost"),
        (r"\parbox[t]{5cm}{Boxed words} \resizebox{\textwidth}{!}{Table}", "Boxed words Table"),
        (r"\begin{theorem}[Pythagoras] Squares add up.", "Pythagoras. Squares add up."),
        (r"\begin{figure}[ht] A cat \begin{tabular}{lp{3cm}r} b", "A cat b"),
        (r"\begin{block}{a proof of it} Words.", "a proof of it Words."),
    ],
)
def test_arguments_of_layout_are_no_words_and_notes_stick_to_none(tex: str, expected: str) -> None:
    """Colours, lengths and columns are left out, and what stands beside the text does not run into it."""
    assert read(tex).text == expected


def test_frames_are_sections() -> None:
    """A slide's title is a heading whatever its letters; a frame without one has none."""
    document = read("\\begin{frame}[fragile]{introduction to cats}\nCats purr.\n\\end{frame}\\begin{frame}\nDogs.")
    assert [heading.title for heading in document.headings] == ["introduction to cats"]
    assert document.text == "introduction to cats\nCats purr.\n\nDogs."


def test_comment_environments_are_left_out() -> None:
    """What an author commented out is no text and shifts no line; what is never closed stays."""
    tex = "one\n\\begin{comment}\nsecret\n\\end{comment}\ntwo \\begin{comment} three"
    assert read(tex).text == "one\n\n\n\ntwo three"


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "part",
    ["\\footnote", "\\footnote{a", "\\multirow{1}", "\\begin{comment}", "\\begin{frame}[", "\\begin{proof}[a", "\n"],
)
def test_hostile_latex_costs_no_more_than_long_latex(part: str) -> None:
    """No command takes time that grows with the square of the file."""
    assert "words" in read("words \\parbox{a}" + part * 20_000 + "x").text


def test_a_row_that_ends_with_a_space_opens_no_formula() -> None:
    r"""`\\\\[2pt]` ends a row of a table; what follows it is stripped as ever, and a long table takes no long time."""
    text = read(r"Heron & \textbf{grey} \\[2pt] Egret & \emph{white} \\ Text with \textbf{bold}. \[ a = b \]").text
    assert "textbf" not in text and "emph" not in text and text.endswith("Text with bold. a = b")
    began = time.perf_counter()
    read("Heron & grey \\\\[2pt]\n" * 5000)
    assert time.perf_counter() - began < 60  # the square of it took minutes


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        ("\\begin{verbatim}\nif x % 2: even\n\\end{verbatim} % gone", "if x % 2: even"),
        (r"\verb|100%| sure % gone", "|100%| sure"),
        (r"\url{http://x.org/a%20b} after", "http://x.org/a%20b after"),
        (r"50\% of it \\% gone", "50% of it"),
    ],
)
def test_a_percent_sign_is_a_comment_only_where_it_is_one(tex: str, expected: str) -> None:
    """Program text, addresses and an escaped sign keep it and what follows."""
    assert " ".join(read(tex + "\n").text.split()) == expected


def test_long_formulas_are_formulas() -> None:
    """However long, they are kept as they are written, and what follows is text; also behind the end of a row."""
    long = "x+" * 3000
    for before, after in (("$$", "$$"), (r"\[", r"\]")):
        text = read(
            rf"{before}{long}\frac{{a}}{{b}}{after} Some \emph{{weighty}} words $c$ and \textbf{{bold}} ones"
        ).text
        assert text == rf"{long}\frac{{a}}{{b}} Some weighty words c and bold ones"
    assert read(r"Row\\\[ \frac{a}{b} \] on").text == r"Row \frac{a}{b} on"


def test_what_is_never_closed_takes_no_long_time() -> None:
    """Thousands of openings of program text or formulas are looked at once each."""
    for opening in (r"\begin{verbatim} x", r"\[ y", r"\( z", "$$ w"):
        began = time.perf_counter()
        read(f"{opening}\n" * 5000)
        assert time.perf_counter() - began < 60
