"""XML of the kinds that people's programs write."""

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
