"""XML of the kinds that people's programs write."""

import base64
from pathlib import Path

import pytest

from drama_app.errors import ExtractionError
from drama_app.extract import Source, extract_source
from drama_app.records import Document


def read(xml: str) -> Document:
    """Extract an XML document."""
    return extract_source(Source(path=Path("a.xml"), name="a.xml", data=xml.encode()))


def test_an_outline_keeps_its_text_in_attributes() -> None:
    """Each element of an outline is a line of its words and its note, said once."""
    document = read(
        '<opml><head><title>Garden</title></head><body><outline text="Plan" title="Plan">'
        '<outline text="Plant tomatoes" _note="Needs sun"/></outline></body></opml>'
    )
    assert document.text == "Garden\n\nPlan\nPlant tomatoes | Needs sun"


def test_a_backup_of_messages_keeps_its_text_in_attributes() -> None:
    """Of a message what was said and by whom is read; numbers, codes empty marks and repetitions are not."""
    document = read(
        '<smses><sms address="+4917" date="1700000000000" body="Dinner at eight" subject="null" toa="null" '
        'contact_name="Anna"/><row Body="&lt;p&gt;How do &lt;b&gt;bees&lt;/b&gt; sleep?&lt;/p&gt;" Id="7"/>'
        '<part alt="a picture"/><part alt="a picture"/></smses>'
    )
    assert document.text == "Dinner at eight | contact_name: Anna\nHow do bees sleep?\nalt: a picture"


def test_attributes_of_drawings_are_no_text() -> None:
    """Paths, styles and names of layers make no text of a drawing."""
    with pytest.raises(ExtractionError, match="no text inside"):
        read(
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:i="http://x.org/i" viewBox="0 0 9 9" '
            'preserveAspectRatio="xMidYMid meet"><g i:label="upper layer" class="dark thin line" '
            'style="font: bold italic"><path d="M 1 2 LL mm 3" fill="none"/></g></svg>'
        )


@pytest.mark.timeout(10)
def test_hostile_attributes_cost_no_more_than_long_ones() -> None:
    """No attribute takes time that grows with the square of its length."""
    assert read(f'<a><b c="{"x" * 500_000}" d="{"xx, " * 100_000}" e="xx{" " * 500_000}1"/><p>words</p></a>').text


def test_entities_that_are_text_are_expanded() -> None:
    """What a document defines and the names of HTML are read as text; code that quotes an entity stays code."""
    document = read(
        '<!DOCTYPE a [<!ENTITY version "4.2"><!ENTITY co "A &amp; &quot;B&quot;, &version;"><!ENTITY co "C">'
        "<!ENTITY shop '<b>Shop</b>'><!ENTITY who 'the \"bee\"'>]>"
        '<a><p>M&uuml;nchen &mdash; &co; &shop; &version;</p><p>&Auml;</p><q title="&who;"/><p>&amp;uuml; &lt;</p></a>'
    )
    assert document.text == 'München — A & "B", 4.2 Shop 4.2\nÄ\nthe "bee"\n&uuml; <'


def test_entities_in_uses_are_not_taken_for_definitions() -> None:
    """Two uses behind a definition are no bomb; two in one definition are, whichever its quotes."""
    assert read('<!DOCTYPE a [<!ENTITY v "4"><!ENTITY w "5">]><a><p t="x">&v; and &w; and &v;</p></a>').text == (
        "4 and 5 and 4"
    )
    for quote in "\"'":
        with pytest.raises(ExtractionError, match="entities"):
            read(f'<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m {quote}&l; &l;{quote}>]><a>&m;</a>'.replace(' " ', " "))


@pytest.mark.timeout(20)
def test_entities_add_no_more_than_a_book() -> None:
    """A long entity used a million times is expanded until there is no more room, and then stays a name."""
    text = read(f'<!DOCTYPE a [<!ENTITY v "{"ha " * 600}">]><a>{"<p>&v;</p>" * 5_000}</a>').text
    assert len(text) < 2_100_000 and "ha ha" in text and text.endswith("&v;")
    with pytest.raises(ExtractionError, match="damaged"):
        read("<!DOCTYPE a [" + "<!ENTITY v '&a" * 5_000 + "]><a>words</a>")


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<section><title><p>First</p><p>Salon</p></title></section>", "First Salon"),
        ("<p>it ends<lb/>second li<lb break='no'/>ne</p>", "it ends second line"),
        (
            "<para>List:<list><listitem><para>one</para></listitem><listitem>two</listitem></list>end</para>",
            "List: one two end",
        ),
        ("<p>word<footnote><para>a note</para></footnote> H<sub>2</sub>O.</p>", "word a note H2O."),
    ],
)
def test_words_end_where_blocks_begin(xml: str, expected: str) -> None:
    """Paragraphs, lines and items inside running text do not glue words; marks inside a word do not cut it."""
    assert read(f"<a>{xml}</a>").text == expected


def test_encoded_binary_is_no_text() -> None:
    """Pictures in a book are left out, whatever the element is called; prose without any point is not taken for one."""
    picture = base64.encodebytes(bytes(range(256)) * 8).decode()
    prose = "we went to the sea and looked for whales " * 20
    document = read(
        f"<book><binary>{picture}</binary><binary>iVBO</binary><data>{picture}</data>"
        f"<x>{picture.replace(chr(10), '')}</x><p>{prose}</p></book>"
    )
    assert document.text == prose.strip()


@pytest.mark.timeout(20)
def test_nothing_is_lost_behind_a_large_or_deep_element() -> None:
    """Words behind a picture of 12 million letters and below a thousand levels are read, titles in titles too."""
    deep = f"{'<title>' * 1_000}{'deep words ' * 50_000}{'</title>' * 1_000}"
    text = read(f"<a><p>first</p><binary>{'QUJD' * 3_000_000}</binary>{deep}<p>last</p></a>").text
    assert text.startswith("first") and "deep words" in text and text.endswith("last")


def test_chapters_in_files_of_their_own_leave_the_others_their_headings() -> None:
    """An entity between sections, which stands for another file, makes no paragraph of the book."""
    document = read(
        '<!DOCTYPE book [<!ENTITY one SYSTEM "c1.xml">]><book><title>My Guide</title>&one;'
        "<chapter><title>Install</title><para>First do this.</para></chapter></book>"
    )
    assert document.title == "My Guide" and [each.title for each in document.headings] == ["My Guide", "Install"]


def test_what_xml_itself_defines_may_be_defined_again() -> None:
    """Declarations of &lt; and &amp; as the standard writes them change nothing, nor is code in CDATA rewritten."""
    text = read(
        '<!DOCTYPE r [<!ENTITY lt "&#38;#60;"><!ENTITY amp "&#38;#38;"><!ENTITY co "A &#38;#38; B">]>'
        "<r><p>AT&amp;T sells a &lt; b of &co; here</p><p><![CDATA[Use &nbsp; and &co; in code]]></p></r>"
    ).text
    assert "AT&T sells a < b of A & B here" in text and "Use &nbsp; and &co; in code" in text
