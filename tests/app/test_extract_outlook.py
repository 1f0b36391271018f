"""Messages that Outlook saved: bodies and people, whatever form and code page they are in."""

from pathlib import Path

import pytest

from drama_app.extract import extract
from drama_app.extract.compressed_rtf import unpack_rtf
from tests.app.outlook_files import make_msg

# The two examples of MS-OXRTFCP.
HELLO = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
)
CROSSING = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")


def test_a_body_that_is_rtf_alone_is_read(tmp_path: Path) -> None:
    """What Outlook keeps compressed is read where there is no plain text and no HTML; a broken one is noted."""
    document = extract(make_msg(tmp_path / "a.msg", p0037001E=b"Greeting", p10090102=HELLO))
    assert document.text == "Greeting\n\nhello world" and document.notes == ()
    document = extract(make_msg(tmp_path / "a.msg", p0037001E=b"Greeting", p1000001E=b"hi", p10090102=HELLO))
    assert document.text == "Greeting\n\nhi"
    document = extract(make_msg(tmp_path / "a.msg", p0037001E=b"Greeting", p10090102=b"no RTF at all, and more"))
    assert document.text == "Greeting" and document.notes == ("the body, which is RTF, cannot be read",)


def test_people_and_bodies_are_read_in_the_code_page_of_the_message(tmp_path: Path) -> None:
    """Names of sender and recipients and 8-bit HTML are in the body's code page where the message names no other."""
    name = "張繼飛"
    path = make_msg(
        tmp_path / "a.msg",
        code_page=950,
        recipient={"p3001001E": f"{name}二".encode("big5"), "p39FE001E": b"two@example.org"},
        p0037001E="格式測試".encode("big5") + b"\0",
        p0C1A001E=name.encode("big5"),
        p0C1F001E=b"one@example.org",
        p1013001E=f"<p>{'高票當選雲林縣總工會模範勞工代表' * 3}</p>".encode("big5"),
    )
    assert extract(path).text.split("\n\n") == [
        "格式測試",
        f'From: "{name}" <one@example.org>\nTo: {name}二 <two@example.org>',
        "高票當選雲林縣總工會模範勞工代表" * 3,
    ]


def test_compressed_rtf_is_unpacked_within_a_limit() -> None:
    """References may run into what they append; what comes out is bounded, and nonsense is refused."""
    assert unpack_rtf(CROSSING, limit=1_000) == b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"
    assert unpack_rtf(CROSSING, limit=10) == b"{\\rtf1 WXY"
    assert unpack_rtf(CROSSING[:-6], limit=1_000) == b"{\\rtf1 WXYZ"
    claim = HELLO[:4] + b"\xff\xff\xff\x7f" + HELLO[8:16] + b"\xff" + b"\x00\x0f" * 8
    assert len(unpack_rtf(claim, limit=100)) == 100
    with pytest.raises(ValueError, match="not compressed"):
        unpack_rtf(bytes(20), limit=10)
