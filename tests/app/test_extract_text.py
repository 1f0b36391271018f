"""The text family: every format gives its words, title, headings and lines."""

import json
from pathlib import Path

import pytest

from drama_app.errors import ExtractionError
from drama_app.extract import Source, extract_source
from drama_app.records import Document


def read(name: str, content: str | bytes) -> Document:
    """Extract content under a name and check what holds for every document."""
    data = content.encode() if isinstance(content, str) else content
    document = extract_source(Source(path=Path(name), name=name, data=data))
    starts = [heading.start for heading in document.headings]
    assert starts == sorted(starts)
    for heading in document.headings:
        assert document.text[heading.start :].startswith(heading.title)
    assert "\x1b" not in document.text
    assert "\r" not in document.text
    return document


def outline(document: Document) -> list[tuple[int, str]]:
    """Return the headings without offsets."""
    return [(heading.level, heading.title) for heading in document.headings]


def test_plain_text_keeps_its_lines_and_loses_escapes() -> None:
    """Line N stays line N, and a log's colours do not reach the terminal."""
    document = read("a.log", "one\r\n\x1b[31mtwo\x1b[0m\r\n\r\nfour")
    assert document.text == "one\ntwo\n\nfour"
    assert document.lines
    assert document.kind == "text"


def test_markdown_headings_title_and_lines() -> None:
    """ATX and setext headings count, code fences and lists do not, and the front matter names the document."""
    text = (
        '---\ntitle: "Garden notes"\n---\n# One **bold** [link](http://x.org) #\n\n```sh\n# no heading\n```\n'
        "Two\n---\n- item\n---\n~~~\n```\n## inside\n~~~\n### Three {#id}\n\n"
        "![x](data:image/png;base64," + "A" * 80 + ")"
    )
    document = read("a.md", text)
    assert outline(document) == [(1, "One bold link"), (2, "Two"), (3, "Three")]
    assert document.title == "Garden notes"
    assert document.lines
    assert document.text.split("\n")[8] == "Two"
    assert "AAAA" not in document.text
    assert read("b.md", "intro\n\n## Second\n\n# First").title == "First"


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("# Using `Vec<String>` in Rust", "Using Vec<String> in Rust"),
        ("# Vec<String> and <name>", "Vec<String> and <name>"),
        ("# The __init__ method of `__main__`", "The __init__ method of __main__"),
        ("# snake_case__name__here", "snake_case__name__here"),
        ("# `a*b*c` or ``x`y``", "a*b*c or x`y"),
        ("# **`x`**, [`y`](http://x.org/`z`) and __very *bold*__", "x, y and very bold"),
        ('# <a name="x"></a>H<sub>2</sub>O<br/> <img src="a.png"> <!-- hidden -->', "H2O"),
    ],
)
def test_markdown_headings_keep_their_words(line: str, title: str) -> None:
    """Marks and HTML go, code and names that look like them stay."""
    assert read("a.md", line).text == title


def test_code_on_one_line_opens_no_fence() -> None:
    """The headings behind it are headings."""
    assert outline(read("a.md", "```pip install x```\n# Next\n```sh\n# no\n```\n# Last")) == [(1, "Next"), (1, "Last")]


def test_rst_headings_by_order_of_underlines() -> None:
    """The first underline met is the highest level; an overline makes another style."""
    document = read("a.rst", "=====\nTitle\n=====\n\nPart\n----\ntext\n\nSub\n~~~\n\nNext\n----\nmore\n")
    assert outline(document) == [(1, "Title"), (2, "Part"), (3, "Sub"), (2, "Next")]
    assert (document.title, document.kind) == ("Title", "rst")


def test_org_headings_without_keywords_and_tags() -> None:
    """States, priorities and tags are no part of a title, and blocks hold no headings."""
    document = read("a.org", "#+TITLE: My list\n* TODO [#A] Call Ada :work:\n#+begin_src\n* no\n#+end_src\n** Then\n")
    assert outline(document) == [(1, "Call Ada"), (2, "Then")]
    assert document.title == "My list"


LATEX = r"""\documentclass{article}
\usepackage{amsmath}
\title{On \emph{Caf\'e} tables}
\begin{document}
% hidden remark
\section{Schr\"odinger's \textbf{cat}}\label{sec:cat}
The \emph{na\"{\i}ve} cat~\cite{key} costs 5\,\% of $E = mc^2$ --- see \href{http://x.org}{the page}.
\begin{itemize}
\item \v{C}esk\'y, stra\ss e, {\L}\'od\'z
\end{itemize}
\end{document}
after the end
"""


def test_latex_reads_as_prose_on_the_same_lines() -> None:
    """Accents are letters, commands are gone, formulas stay, and a section stands on its own line."""
    document = read("a.tex", LATEX)
    lines = document.text.split("\n")
    assert outline(document) == [(2, "Schrödinger's cat")]
    assert document.title == "On Café tables"
    assert lines[5] == "Schrödinger's cat"
    assert lines[6] == "The naïve cat costs 5% of E = mc^2 — see the page."
    assert lines[8] == "• Český, straße, Łódź"
    assert not any(word in document.text for word in ("hidden", "amsmath", "after the end", "\\", "sec:cat"))


HTML = """<!DOCTYPE html><html><head><title>A page &amp; more</title><style>p{}</style></head><body>
<nav><a href="/">Home</a><a href="/x">Elsewhere</a></nav>
<article><h1>Tea <em>and</em> cake</h1><p>Caf&eacute; &#8212; open<br>daily.</p><script>var x = 1;</script>
<p hidden>secret</p><ul><li>first <b>item</b></li><li>second</li></ul>
<table><tr><th>Name</th><th>Price</th></tr><tr><td>Tea</td><td>2 &euro;</td></tr></table>
<h2>Code</h2><pre>a = 1
  b = 2</pre></article><div class="cookie-banner">Accept</div></body></html>"""


def test_html_reads_as_a_person_sees_it() -> None:
    """Paragraphs, lists and table rows come out; scripts, menus and hidden parts do not."""
    document = read("a.html", HTML)
    assert document.title == "A page & more"
    assert outline(document) == [(1, "Tea and cake"), (2, "Code")]
    assert "Café — open\ndaily." in document.text
    assert "• first item\n• second" in document.text
    assert "Name | Price\nTea | 2 €" in document.text
    assert "a = 1\n  b = 2" in document.text
    assert not any(word in document.text for word in ("Elsewhere", "secret", "var x", "Accept", "p{}"))


@pytest.mark.parametrize("end", ["</body></html>", "</BODY >\n</HTML>", "</html>", "</body></html>\n<html><body>"])
def test_nothing_behind_the_end_of_a_page_is_lost(end: str) -> None:
    """Words behind the closing tags, as mail servers and joined pages have them, are the page's."""
    text = read("a.html", f"<html><head><title>A</title></head><body><p>one</p>{end}<p>tail words</p>").text
    assert text == "one\n\ntail words"


def test_buttons_that_are_headings_and_what_was_typed_are_read() -> None:
    """The question that unfolds an answer is text, and so is a form's filled field; a button behind a title is not."""
    document = read(
        "a.html",
        '<div><h2 class="accordion-header"><button class="button">How long is the notice period?</button></h2>'
        "<p>Three months.</p></div><ul><li><svg></svg><button>Who pays?</button><p>We do.</p></li></ul>"
        "<h2>Install<button>Copy</button></h2><p>It is easy.<button>Send</button></p><textarea>Dear Ada</textarea>",
    )
    assert outline(document) == [(2, "How long is the notice period?"), (2, "Install")]
    assert "Who pays?" in document.text and "Dear Ada" in document.text
    assert "Copy" not in document.text and "Send" not in document.text


def test_pictures_in_headings_and_cells_are_read() -> None:
    """What is said of a picture counts where the picture is all there is, and in words also beside other text."""
    document = read(
        "a.html",
        '<h1><img alt="Harbour Office"></h1><h2>Map <img alt="icon"></h2><table><tr><td>Wheelchair</td><td>'
        '<img alt="yes"></td></tr><tr><td>Bus <img alt="stops at the gate"></td><td>5</td></tr></table>',
    )
    assert outline(document) == [(1, "Harbour Office"), (2, "Map")]
    assert "Wheelchair | yes\nBus stops at the gate | 5" in document.text


def test_a_menu_is_left_out_only_if_it_is_made_of_links() -> None:
    """A restaurant's menu is text, a site's menu and a table of contents are not."""
    links = "".join(f'<li><a href="/{name}"><b>{name}</b></a> |</li>' for name in ("Start", "Contact", "Shop"))
    text = read(
        "a.html",
        f'<ul class="menu">{links}</ul><div id="toc"><h2>Contents</h2><ol>{links}</ol></div><section id="menu">'
        '<h2>Dishes</h2><p>Ossobuco with gremolata, <a href="/wine">wines</a></p></section><p class="toc">A word.</p>',
    ).text
    assert text == "Dishes\n\nOssobuco with gremolata, wines\n\nA word."


def test_readings_above_words_do_not_tear_them_apart() -> None:
    """A sentence with furigana is found as it is written without them, in headings and cells too."""
    ruby = "私は<ruby>東京<rt>とうきょう</rt></ruby>へ<ruby>行<rp>(</rp><rt>い</rt><rp>)</rp></ruby>きました"
    document = read("a.html", f"<h1>{ruby}</h1><p>{ruby}</p><table><tr><td>{ruby}</td><td>1</td></tr></table>")
    said = "私は東京へ行きました"
    assert document.text == f"{said}\n\n{said}\n\n{said} | 1"
    assert "京" in read("b.html", "<p><ruby>東<rt>とう<rb>京<rt>きょう</ruby>に").text
    assert "second" in read("c.html", "<p><ruby>東<rt>とう<p>second</p>").text


def test_html_charset_declared_rightly_and_wrongly() -> None:
    """The declared charset is used where it makes sense and not where it does not."""
    page = '<html><head><meta charset="{}"></head><body><p>Все люди рождаются свободными и равными.</p></body></html>'
    for declared, real in (("windows-1251", "cp1251"), ("iso-8859-1", "cp1251"), ("windows-1251", "utf-8")):
        assert "Все люди" in read("a.html", page.format(declared).encode(real)).text


def test_a_page_made_of_menus_is_not_emptied() -> None:
    """Where dropping menus would leave next to nothing, they are kept."""
    menu = "<p>all the words are here</p>" * 20
    document = read("a.html", f"<html><body><nav>{menu}</nav><p>x</p></body></html>")
    assert "all the words" in document.text


@pytest.mark.timeout(10)
@pytest.mark.parametrize("count", [600, 3_000])
@pytest.mark.parametrize("tag", ["font", "div", "blockquote", "table><tr><td", "h1"])
def test_deep_html_loses_no_words(tag: str, count: int) -> None:
    """Tags that are opened again and again and never closed cost neither the paragraphs behind them nor much time."""
    page = "<html><title>Old</title><body>" + "".join(f"<{tag}>word{index}<br>\n" for index in range(count))
    document = read("a.html", f"{page}<script>var x</script>")
    assert document.title == "Old" and "var x" not in document.text
    assert len(document.text.split()) == count and document.text.endswith(f"word{count - 1}")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("tag", ["div", "nav", "x", "svg", "li"])
def test_hostile_html_does_not_break(tag: str) -> None:
    """A hundred thousand levels and entities that expand one another are a row, never a crash."""
    laughs = '<!DOCTYPE html [<!ENTITY l "ha"><!ENTITY m "&l;&l;&l;&l;">]><html>&m;'
    assert (
        "last"
        in read("a.html", laughs + f"<{tag}>" * 100_000 + "deep" + f"</{tag}>" * 100_000 + "<p>last words</p>").text
    )


RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>News</title><item><title>Rain</title>
<description>&lt;p&gt;It &lt;b&gt;rained&lt;/b&gt;.&lt;/p&gt;</description><author>Ada</author></item>
</channel></rss>"""


def test_xml_titles_prose_and_records() -> None:
    """Titles are headings, quoted HTML becomes text, short values keep their names."""
    document = read("feed.xml", RSS)
    assert [title for _, title in outline(document)] == ["News", "Rain"]
    assert document.title == "News"
    assert "It rained." in document.text
    assert "author: Ada" in document.text


def test_xml_mixed_content_is_one_paragraph_and_citations_are_no_headings() -> None:
    """Inline marks do not cut sentences, and the title of a cited work opens no section."""
    document = read(
        "a.xml",
        "<article><body><sec><title>Results</title><p>Water <italic>boils</italic> at <b>100</b> degrees.</p></sec>"
        "</body><back><ref><article-title>Cited work</article-title></ref></back></article>",
    )
    assert [title for _, title in outline(document)] == ["Results"]
    assert "Water boils at 100 degrees." in document.text
    assert "Cited work" in document.text


def test_xml_entities_never_expand() -> None:
    """Files are not included, and entities that expand one another are refused."""
    outside = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><p>kept &x; text</p></a>'
    assert "root:" not in read("a.xml", outside).text
    laughs = '<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "&l;&l;&l;&l;">]><a>&m;</a>'
    with pytest.raises(ExtractionError, match="entities"):
        read("a.xml", laughs)


def test_csv_rows_carry_their_column_names() -> None:
    """Each row reads on its own; empty cells are left out, and a cell of two lines shifts no line number."""
    document = read("a.csv", 'Name;City;Note\nAda;London;"first\nsecond"\nLi;;x, y\n')
    assert document.text.split("\n")[:4] == [
        "Name, City, Note",
        "Name: Ada; City: London; Note: first second",
        "",
        "Name: Li; Note: x, y",
    ]
    assert document.lines


def test_tsv_and_tables_without_header() -> None:
    """Tabs are told by the content, and a first row of numbers names nothing."""
    assert "Name: Ada; Age: 36" in read("a.tsv", "Name\tAge\nAda\t36\n").text
    assert read("a.csv", "1,2\n3,4\n").text.split("\n")[1] == "3; 4"


@pytest.mark.parametrize(
    "preamble",
    [
        "Kontonummer:;DE12 3456\nZeitraum:;01.01.2024\n\n",
        "Kontonummer:;DE12 3456;;\nZeitraum:;01.01.2024;;\n;;;\n",
        "sep=;\n",
        "Sehr geehrte Kundin\n",
    ],
)
def test_rows_before_the_names_of_the_columns_name_nothing(preamble: str) -> None:
    """What a bank or Excel puts before a table stays as it is, and the table's own names are found below it."""
    table = "Buchung;Betrag;Text\n01.01.2024;1,00;Brot\n02.01.2024;2,00;\n"
    lines = read("a.csv", preamble + table).text.split("\n")
    assert lines[:-4] == [line.rstrip(";").replace(":;", ":; ") for line in preamble.split("\n")[:-1]]
    assert lines[-4:] == [
        "Buchung, Betrag, Text",
        "Buchung: 01.01.2024; Betrag: 1,00; Text: Brot",
        "Buchung: 02.01.2024; Betrag: 2,00",
        "",
    ]


@pytest.mark.parametrize(
    "table",
    [
        "Name,Notes\nBen,likes dogs, cats and fish\nAnna,tea\nCid,milk, honey\n",
        "Name,City\nBen,Rome,likes dogs\nAnna,Berlin,tea\nCid,Oslo,milk\n",
    ],
)
def test_names_of_columns_may_be_fewer_than_the_cells(table: str) -> None:
    """The first row names the columns though others are wider; nobody's row names those of others."""
    assert read("a.csv", table).text.split("\n")[2].startswith("Name: Anna; ")


def test_column_names_need_not_be_whole() -> None:
    """A column without a name costs the others nothing, nor do rows that end early or with one delimiter more."""
    assert read("a.csv", "Name;City;\nAda;London;x\nLi;Rome;y\n").text.split("\n")[1] == "Name: Ada; City: London; x"
    assert read("a.csv", "Name;City\nAda;London;\nLi;Rome;\n").text.split("\n")[2] == "Name: Li; City: Rome"
    assert read("a.csv", "Name;City;Note\nAda;London\nLi;Rome\n").text.split("\n")[2] == "Name: Li; City: Rome"


def test_a_very_wide_row_is_bounded() -> None:
    """A matrix of ten thousand columns does not become one endless line, and the row says that it is cut."""
    document = read("a.csv", ",".join(["word"] * 10_000) + "\n")
    assert max(map(len, document.text.split("\n"))) <= 4_000
    assert document.notes == ("rows so wide that only prose and 4,000 characters of each are searchable: 1",)


def test_prose_in_a_long_row_is_kept() -> None:
    """An article in a cell is whole, and so is prose behind it; a vector between them is cut, with a note."""
    article = "A sentence about the vault and its doors. " * 300 + "The password is zebra."
    vector = " ".join(["0.125"] * 2_000)
    document = read("a.csv", f'id,body,vector,end\n1,"{article}",{vector},"{article}"\n')
    assert f"id: 1; body: {article}; vector: 0.125" in document.text
    assert (
        len(document.text) < 2 * len(article) + 4_100
        and document.text.endswith(f"; end: {article}\n")
        and len(document.notes) == 1
    )
    assert read("a.csv", f'id,body,end\n1,"{article}","last words"\n').text.endswith("zebra.; end: last words\n")
    assert read("a.csv", f"id,body\n1,{article * 100}\n").text.count("zebra") == 100


@pytest.mark.parametrize(("name", "delimiter"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_a_stray_quote_swallows_nothing(name: str, delimiter: str) -> None:
    """A quote that is an inch mark leaves every row its line; a quoted cell of several lines stays one row."""
    rows = [["name", "size", "note"], ["screw", '"5 inch', "ok"], ["nut", "7", '"two\nlines"']]
    rows += [[f"bolt{index}", '"6 inch' if index == 900 else str(index), "fits"] for index in range(2_000)]
    text = "".join(delimiter.join(row) + "\n" for row in rows)
    document = read(name, text)
    lines = document.text.split("\n")
    assert lines[:4] == [
        "name, size, note",
        'name: screw; size: "5 inch; note: ok',
        "name: nut; size: 7; note: two lines",
        "",
    ]
    assert lines[904:906] == ['name: bolt900; size: "6 inch; note: fits', "name: bolt901; size: 901; note: fits"]
    assert len(lines) == text.count("\n") + 1 and not document.notes


def test_json_strings_with_key_paths() -> None:
    """Values keep their path; vectors and encoded binary are left out."""
    value = {"title": "Plan", "steps": [{"do": "dig"}, {"do": "plant"}], "v": list(range(20)), "img": "A" * 400}
    document = read("a.json", json.dumps(value))
    assert document.title == "Plan"
    assert document.text == "title: Plan\nsteps.do: dig\nsteps.do: plant"


def test_json_lines_are_one_record_a_line() -> None:
    """JSON lines keep their lines; a broken one stays as it is."""
    document = read("a.jsonl", '{"a": "x", "b": 1}\n{broken\n{"a": "y"}')
    assert document.text == "a: x; b: 1\n{broken\na: y"
    assert document.lines


def test_deeply_nested_json_is_read_or_shown() -> None:
    """A hundred thousand brackets are no crash."""
    assert read("a.json", "[" * 100_000 + '"x"' + "]" * 100_000).text


def test_notebook_without_images() -> None:
    """Markdown, code and short outputs are read; pictures are not."""
    cells = [
        {"cell_type": "markdown", "source": ["# Growth\n", "Of *beans*."]},
        {
            "cell_type": "code",
            "source": "plot(beans)",
            "outputs": [{"data": {"image/png": "iVBOR" * 200, "text/plain": ["<Figure>"]}}, {"text": ["3 beans\n"]}],
        },
    ]
    document = read("a.ipynb", json.dumps({"cells": cells, "nbformat": 4}))
    assert outline(document) == [(1, "Growth")]
    assert document.title == "Growth"
    assert document.text == "Growth\n\nOf *beans*.\n\nplot(beans)\n\n3 beans"


def test_notebook_outputs_say_what_was_shown() -> None:
    """Errors, Markdown and printed markup are read; how Python names an object without text is not."""
    outputs: list[dict[str, object]] = [
        {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": ["..."]},
        {
            "data": {
                "text/markdown": ["The **harvest** was rich"],
                "text/plain": ["<IPython.core.display.Markdown object>"],
            }
        },
        {"output_type": "stream", "name": "stdout", "text": ["<b>Totals</b> of the orchard\n"]},
        {"data": {"text/plain": ["<Axes: xlabel='year'>"]}},
        {"data": {"text/plain": ["<matplotlib.image.AxesImage at 0x7f>"]}},
        {"data": {"text/plain": "<8 bushels"}},
    ]
    cells = [{"cell_type": "code", "source": "1/0", "outputs": outputs}]
    document = read("a.ipynb", json.dumps({"cells": cells, "nbformat": 4}))
    shown = ["ZeroDivisionError: division by zero", "The **harvest** was rich", "<b>Totals</b> of the orchard"]
    assert document.text.split("\n\n") == ["1/0", *shown, "<8 bushels"]


def test_subtitles_read_as_text() -> None:
    """Cues join to sentences; numbers, times, tags and repeated lines are gone."""
    document = read(
        "a.srt",
        "1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>We went</i>\r\n\r\n2\r\n00:00:02,100 --> 00:00:03,000\r\nWe went\r\n"
        "{\\an8}to the sea.\r\n\r\n3\r\n00:00:20,000 --> 00:00:21,000\r\nLater.\r\n",
    )
    assert document.text == "We went to the sea.\n\nLater."


def test_cues_without_blank_lines_between_them_are_kept() -> None:
    """The number of the next cue ends a cue as a blank line does, and is no part of it."""
    times = "00:00:0{0},000 --> 00:00:0{0},900\n"
    cues = "".join(f"{n}\n{times.format(n)}{text}\n" for n, text in ((1, "In 1999"), (2, "we saw"), (3, "12")))
    assert read("a.srt", f"{cues}\n4\n{times.format(4)}whales.\n").text == "In 1999 we saw 12 whales."
    assert read("a.srt", f"{times.format(1)}No\n{times.format(2)}numbers\n").text == "No numbers"


@pytest.mark.parametrize(
    "cues",
    [
        "1\n{0} --> {0}\nHello\n \nworld\n\n2\n{0} --> {0}\nagain\n",
        "1\n{0} --> {0}\n\nHello world\n\n2\n{0} --> {0}\nagain\n",
        "1\r\r\n{0} --> {0}\r\r\nHello\r\r\nworld\r\r\n\r\r\n2\r\r\n{0} --> {0}\r\r\nagain\r\r\n",
    ],
)
@pytest.mark.parametrize("time", ["00:00:01,500", "00:00:01", "00:00:01:500", "0:00:01, 500"])
def test_subtitles_of_careless_editors_are_read(cues: str, time: str) -> None:
    """Blank lines within a cue, line ends made twice and times written otherwise lose nothing."""
    assert read("a.srt", cues.format(time)).text == "Hello world again"


def test_a_number_that_is_said_is_no_number_of_a_cue() -> None:
    """Where cues have none nothing is taken away; where they have, also written "#2", the last one said stays."""
    times = "00:00:0{0},000 --> 00:00:0{0},900\n"
    said = ("Which year?", "1984", "How many?", "42")
    bare = "\n".join(f"{times.format(n)}{text}\n" for n, text in enumerate(said))
    marked = "\n".join(f"#{n}\n{times.format(n)}{text}\n" for n, text in enumerate(said))
    assert read("a.srt", bare).text == read("a.srt", marked).text == " ".join(said)
    assert read("a.srt", f"1\n{times.format(1)}Now\n\n2\n").text == "Now"
    assert read("a.srt", f"1\n\n{times.format(1)}Now\n\n2\n\n{times.format(2)}then\n").text == "Now then"
    assert (
        read("a.srt", f"WEBVTT\n\n{times.format(1)}Hello\n\nNOTE hidden\n\n{times.format(2)}you\n").text == "Hello you"
    )


def test_two_people_in_one_cue_both_speak() -> None:
    """Each voice of a cue keeps its name, and what both say is not taken for a rolling caption."""
    cue = "00:01.000 --> 00:02.000\n<v Anna>Hi <b>you</b>\nand you\n<v Bob>And me\n"
    assert read("a.vtt", f"WEBVTT\n\n{cue}").text == "Anna: Hi you and you\n\nBob: And me"
    cues = "1\n00:00:01,000 --> 00:00:02,000\n- No.\n- No.\n\n2\n00:00:02,000 --> 00:00:03,000\n- No.\n- Why?\n"
    assert read("a.srt", cues).text == "- No. - No. - Why?"


def test_long_subtitles_show_where_one_is() -> None:
    """A recording longer than five minutes has its times as headings."""
    cues = "".join(f"{m:02}:00.000 --> {m:02}:59.000\n<v Ada>Minute {m}.\n\n" for m in range(12))
    document = read("a.vtt", f"WEBVTT - talk\n\nNOTE no\n\n{cues}")
    assert outline(document) == [(1, "0:00:00"), (1, "0:05:00"), (1, "0:10:00")]
    assert "Ada: Minute 0." in document.text
    assert "NOTE" not in document.text


def test_calendar_events() -> None:
    """Folded and escaped lines become readable ones under the event's name."""
    document = read(
        "a.ics",
        "BEGIN:VCALENDAR\r\nX-WR-CALNAME:Home\r\nBEGIN:VEVENT\r\nDTSTART;TZID=Europe/Berlin:20250612T140000\r\n"
        'SUMMARY:Den\r\n tist\\, again\r\nATTENDEE;CN="Li: Wei":mailto:li@example.org\r\n'
        "DESCRIPTION:Bring\\nthe card\r\n"
        "BEGIN:VALARM\r\nACTION:DISPLAY\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
    )
    assert document.title == "Home"
    assert outline(document) == [(1, "Dentist, again")]
    assert "Start: 2025-06-12 14:00\nAttendee: Li: Wei <li@example.org>" in document.text
    assert document.text.endswith("Bring\nthe card")


def test_an_alarm_is_not_the_event() -> None:
    """What an alarm within an event says of itself takes neither the event's name nor a line of its text."""
    document = read(
        "a.ics",
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nBEGIN:VALARM\nSUMMARY:Alarm\nDESCRIPTION:A reminder\nEND:VALARM\n"
        "SUMMARY:Dentist\nLOCATION:12345678\nDESCRIPTION:Bring the card\nEND:VEVENT\nEND:VCALENDAR\n",
    )
    assert document.text == "Dentist\n\nLocation: 12345678\n\nBring the card"


def test_an_alarm_that_does_not_end_takes_no_event_with_it() -> None:
    """A careless END, or none, leaves the event its name."""
    for end in ("END:VALARM \n", ""):
        event = f"BEGIN:VALARM\n{end}SUMMARY:Dinner\nDESCRIPTION:Bring food\n"
        document = read("a.ics", f"BEGIN:VCALENDAR\nBEGIN:VEVENT\n{event}END:VEVENT\nEND:VCALENDAR\n")
        assert document.text == "Dinner\n\nBring food"


def test_eight_digits_are_a_date_only_where_a_date_belongs() -> None:
    """A telephone number of Oslo or Singapore stays as it is written; a birthday is told as a date."""
    document = read("a.vcf", "BEGIN:VCARD\nFN:Li\nTEL:22334455\nBDAY:19900102\nNOTE:20240102\nEND:VCARD\n")
    assert document.text == "Li\n\nPhone: 22334455\nBirthday: 1990-01-02\n\n20240102"


def test_address_cards() -> None:
    """Old quoted-printable cards and new ones give names and fields, never photos."""
    document = read(
        "a.vcf",
        "BEGIN:VCARD\nVERSION:2.1\nFN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:J=C3=BCrgen =\nKlein\nTEL;CELL:123\n"
        "PHOTO;ENCODING=BASE64:AAAA\nEND:VCARD\nBEGIN:VCARD\nVERSION:4.0\nN:Ito;Mai;;;\n"
        "ADR:;;1 Road;Kyoto;;600;Japan\nitem1.EMAIL:mai@example.org\nEND:VCARD\n",
    )
    assert outline(document) == [(1, "Jürgen Klein"), (1, "Mai Ito")]
    assert "Phone: 123" in document.text
    assert "Address: 1 Road, Kyoto, 600, Japan\nMail: mai@example.org" in document.text
    assert "AAAA" not in document.text


def test_only_quoted_values_of_a_card_go_on_after_an_equals_sign() -> None:
    """A link or a photo that ends with "=" swallows no field behind it, though the card's name is quoted."""
    document = read(
        "a.vcf",
        "BEGIN:VCARD\r\nVERSION:2.1\r\nFN;ENCODING=QUOTED-PRINTABLE:J=C3=BC=\r\nrgen=\r\n Klein\r\n"
        "URL:https://example.org/?id=\r\nTEL;CELL:123\r\nPHOTO;ENCODING=BASE64:AAAA==\r\nEMAIL:j@example.org\r\n"
        "END:VCARD\r\n",
    )
    lines = ["Link: https://example.org/?id=", "Phone: 123", "Mail: j@example.org"]
    assert document.text == "\n\n".join(["Jürgen Klein", "\n".join(lines)])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", "class Bee:\n    def hum(self):\n        pass\n", [(1, "class Bee"), (2, "def hum")]),
        ("a.ts", "export default async function run() {}\n", [(1, "function run")]),
        ("a.rs", "pub(crate) fn go() {}\nimpl Bee {\n", [(1, "fn go"), (1, "impl Bee")]),
        ("a.go", "func (b *Bee) Hum() {}\n", [(1, "func (b *Bee) Hum")]),
        ("a.sql", "-- x\nCREATE TABLE IF NOT EXISTS bees (id int);\n", [(1, "CREATE TABLE IF NOT EXISTS bees")]),
        ("run", "#!/bin/sh\nclean() {\n}\n", [(1, "clean()")]),
    ],
)
def test_code_keeps_lines_and_shows_definitions(name: str, text: str, expected: list[tuple[int, str]]) -> None:
    """Source stays as it is, with classes and functions as headings."""
    document = read(name, text)
    assert outline(document) == expected
    assert document.text == text
    assert (document.kind, document.lines) == ("code", True)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "# " + " \t" * 200_000 + "x"),
        ("a.org", "* " + " :a" * 200_000),
        ("a.vcf", "BEGIN:VCARD\nFN:x\nTEL;" + "a" * 400_000 + "\nEND:VCARD"),
        ("a.csv", "1" * 400_000 + "x,2\n3,4\n"),
        ("a.csv", 'a","c\n' * 100_000),
        ("a.json", '{"a": "' + "A" * 400_000 + ' x"}'),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n" + "<v" * 20_000),
        ("a.html", "<p>" + "<b " * 20_000 + "x"),
        ("a.tex", "words \\section " + "{ " * 2_000),
    ],
    ids=lambda value: value[:12],  # or a log of the tests holds all of them
)
def test_hostile_lines_cost_no_more_than_long_ones(name: str, text: str) -> None:
    """No pattern takes time that grows with the square of a line."""
    try:
        assert read(name, text).text
    except ExtractionError as error:
        assert str(error)
