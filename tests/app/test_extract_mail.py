import base64
import quopri
from email.message import EmailMessage
from pathlib import Path

import pytest

from drama_app.errors import ExtractionError
from drama_app.extract import extract, mail
from drama_app.extract.builder import TextBuilder
from drama_app.extract.source import Source


def make_mail(subject: str = "Grüße aus Łódź", body: str = "Liebe Anna,\n\nbis bald!") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "Jürgen <j@example.org>", "Anna <a@example.org>"
    message["Date"], message["Subject"] = "Mon, 01 Jun 2026 09:56:31 +0200", subject
    message.set_content(body)
    return message


def test_a_letter_has_subject_people_and_body(tmp_path: Path) -> None:
    """The subject is the title; who wrote to whom and when comes first; plain text wins over HTML."""
    message = make_mail()
    message.add_alternative("<p>Liebe <b>Anna</b>,</p><p>bis bald!</p>", subtype="html")
    (tmp_path / "a.eml").write_bytes(bytes(message))
    document = extract(tmp_path / "a.eml")
    assert document.title == "Grüße aus Łódź" and document.kind == "eml"
    assert document.text.split("\n\n") == [
        "Grüße aus Łódź",
        "From: Jürgen <j@example.org>\nTo: Anna <a@example.org>\nDate: Mon, 01 Jun 2026 09:56:31 +0200",
        "Liebe Anna,",
        "bis bald!",
    ]


def test_a_letter_of_apple_mail_is_read(tmp_path: Path) -> None:
    """The length before a message and the property list behind it are no part of it."""
    raw = make_mail().as_bytes()
    plist = b'<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"><dict><key>flags</key></dict></plist>\n'
    (tmp_path / "a.eml").write_bytes(raw)
    for head in (b"%d\n", b"%d        \n"):
        (tmp_path / "1.emlx").write_bytes(head % len(raw) + raw + plist)
        assert extract(tmp_path / "1.emlx") == extract(tmp_path / "a.eml")


def test_what_stands_before_the_headers_does_not_end_them(tmp_path: Path) -> None:
    """A blank line or a byte order mark at the start costs neither the subject nor the body in base64."""
    raw = make_mail(body="Grüße").as_bytes()
    (tmp_path / "a.eml").write_bytes(raw)
    for head in (b"\r\n", b"\n\n", b"\xef\xbb\xbf"):
        (tmp_path / "b.eml").write_bytes(head + raw)
        assert extract(tmp_path / "b.eml") == extract(tmp_path / "a.eml")


def test_html_is_read_where_there_is_nothing_else(tmp_path: Path) -> None:
    """A mail of HTML only gives its text without markup."""
    message = make_mail()
    message.set_content("<h1>Sale</h1><script>x()</script><p>All <i>hives</i> must go</p>", subtype="html")
    (tmp_path / "a.eml").write_bytes(bytes(message))
    text = extract(tmp_path / "a.eml").text
    assert "All hives must go" in text and "<" not in text.partition("Sale")[2] and "x()" not in text


def make_multipart(kind: str, *parts: str) -> bytes:
    """Return a message of parts that each begin with their headers."""
    boundary = 'boundary="X"' if parts[1:] else ""
    body = "".join(f"--X\n{part}\n" for part in parts) + "--X--\n" if boundary else parts[0]
    return f"From: a@b.c\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/{kind}; {boundary}\n\n{body}".encode()


PLAIN = "Content-Type: text/plain; charset=utf-8\n\n"
HTML = "Content-Type: text/html; charset=utf-8\n\n"
INVOICE = f"{HTML}<p>Invoice 4711 of the ninth of May: a rotary hammer and its case, 99 euros in all, paid at once.</p>"


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (
            make_multipart("mixed", f"{HTML}<p>Launch in May.</p>", f"{PLAIN}-- the list"),
            "Launch in May.\n\n-- the list",
        ),
        (make_multipart("mixed", f"{PLAIN}Launch in May.", f"{HTML}<p>Launch <b>in</b> May.</p>"), "Launch in May."),
        (make_multipart("alternative", f"{PLAIN}Shows no HTML.", INVOICE), "Invoice 4711"),
        (
            make_multipart(
                "alternative", f"{PLAIN}Your programme shows no HTML.", f"{HTML}<p>A rotary hammer, 99 euros."
            ),
            "Your programme shows no HTML.\n\nA rotary hammer, 99 euros.",
        ),
        (
            make_multipart(
                "alternative", f"{PLAIN}A rotary hammer,", f"{HTML}<p>A rotary <b>hammer</b>, a case, 99 euros."
            ),
            "A rotary hammer, a case, 99 euros.",
        ),
        (
            make_multipart(
                "alternative",
                f"{PLAIN}A rotary hammer, 99 euros.\nhttp://x.org/track?id=4711",
                f"{HTML}<p>A <a>rotary hammer</a>, 99 euros.",
            ),
            "A rotary hammer, 99 euros.\nhttp://x.org/track?id=4711",
        ),
        (make_multipart("alternative", f"{HTML}<p>in <b>May</b>", f"{PLAIN}in May, plainly"), "in May, plainly"),
        (make_multipart("alternative", f"{PLAIN} ", f"{HTML}<p>in May"), "in May"),
        (make_multipart("alternative", "The body text.\n"), "The body text."),
        (make_multipart("mixed", "<html><body><p>The body <b>text</b>.</p></body></html>\n"), "The body text."),
    ],
)
def test_every_part_of_the_body_is_read_once(tmp_path: Path, raw: bytes, body: str) -> None:
    """HTML beside a plain footer, instead of a stub, or without a boundary is the body, and nothing comes twice."""
    (tmp_path / "a.eml").write_bytes(raw)
    document = extract(tmp_path / "a.eml")
    text = document.text.removeprefix("x\n\nFrom: a@b.c\n\n")
    assert text.startswith(body) if body == "Invoice 4711" else text == body
    assert [heading.title for heading in document.headings] == ["x"]


ORDER = "thank you for your order. We pack it today and send it with the first post of tomorrow morning."
TABLE = "<table><tr><td>Order</td><td>KX-77120</td></tr><tr><td>One rotary hammer</td><td>99 euros</td></tr></table>"


@pytest.mark.parametrize(
    ("plain", "html", "body"),
    [
        (ORDER, f"<p>{ORDER}</p>{TABLE}", "KX-77120"),
        (f"{ORDER}\nhttps://shop.example.org/track?{'id=4711&' * 20}", f"<p>{ORDER}</p>{TABLE}", "KX-77120"),
        (f"{ORDER}\nOrder KX-77120: one rotary hammer, 99 euros.", f"<p>{ORDER}</p><p>See our shop.</p>", "KX-77120"),
        (f"> {ORDER[:60]}\n> {ORDER[60:]}", f"<p>{ORDER}</p>", f"> {ORDER[:60].strip()}"),
        (ORDER, f"<p>View in browser</p><p>{ORDER}</p>", "View in browser"),
    ],
)
def test_of_two_versions_that_differ_the_fuller_one_is_read(tmp_path: Path, plain: str, html: str, body: str) -> None:
    """What only one version of a letter says is found, and what both say is there once."""
    (tmp_path / "a.eml").write_bytes(make_multipart("alternative", f"{PLAIN}{plain}", f"{HTML}{html}"))
    text = extract(tmp_path / "a.eml").text
    assert body in text and text.count("thank you") == 1


@pytest.mark.parametrize("text", ["Die Bienen fliegen.", "Die Bienen fliegen!!", "Die Bienen fliegen im Mai. " * 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_a_server_appends_to_base64_spoils_no_letter(tmp_path: Path, text: str, end: str) -> None:
    """Body and appended lines are both read, whether or not the base64 ends in padding."""
    head = "Subject: x\nContent-Type: text/{}; charset=utf-8\nContent-Transfer-Encoding: BASE64\n\n"
    footer = "\n_____________\nFreunde der Imkerei\nAbmelden: liste@example.org für alle\n"
    for kind in ("plain", "html"):
        raw = head.format(kind) + base64.encodebytes(text.encode()).decode() + footer
        (tmp_path / "a.eml").write_bytes(raw.replace("\n", end).encode())
        found = extract(tmp_path / "a.eml").text
        assert found == f"x\n\n{text.strip()}\n\n{footer.strip()}"


@pytest.mark.parametrize(
    ("parameters", "sent", "body"),
    [
        ("", "The bees \nfly  \nhome. \n> yes", "The bees fly home.\n> yes"),
        ("; delsp=yes", "Die Bie \nnen  \nfliegen.", "Die Bienen fliegen."),
        ("; delsp=no", "The bees \nfly.", "The bees fly."),
        ("", "Bye \n-- \nAnna \nB.", "Bye\n--\nAnna B."),
        ("; delsp=YES", "-- \nAnna", "--\nAnna"),
    ],
)
def test_flowing_lines_are_joined(tmp_path: Path, parameters: str, sent: str, body: str) -> None:
    """Lines that go on become one, with or without a space as the sender says; a signature stands by itself."""
    raw = f"Subject: x\nContent-Type: text/plain; format=Flowed{parameters}\n\n{sent}\n"
    (tmp_path / "a.eml").write_bytes(raw.encode())
    text = extract(tmp_path / "a.eml").text.removeprefix("x\n\n")
    assert "\n".join(line.rstrip() for line in text.split("\n")) == body


def test_wrong_charsets_are_repaired(tmp_path: Path) -> None:
    """UTF-8 sent as ASCII or Latin-1, and a subject of raw bytes, come out as they were written."""
    text = "Die Bienen fliegen über die grünen Wiesen nach Süden."
    for number, charset in enumerate(("us-ascii", "x-unknown", "utf-8")):
        raw = f"Subject: Größe\nFrom: a@b.c\nContent-Type: text/plain; charset={charset}\n\n{text}\n".encode()
        (tmp_path / f"{number}.eml").write_bytes(raw)
        document = extract(tmp_path / f"{number}.eml")
        assert document.title == "Größe"
        assert text in document.text


def test_attachments_are_read_by_their_own_kind(tmp_path: Path) -> None:
    """An attachment stands under its name; one that cannot be read is a note, and a photo is only named."""
    message = make_mail()
    message.add_attachment(b"# Plan\n\nfeed the bees", maintype="text", subtype="markdown", filename="plan.md")
    message.add_attachment(b"%PDF-1.4 broken", maintype="application", subtype="pdf", filename="../../x.pdf")
    message.add_attachment(b"\x89PNG\r\n\x1a\n" + bytes(50), maintype="image", subtype="png", filename="hive.png")
    (tmp_path / "a.eml").write_bytes(bytes(message))
    document = extract(tmp_path / "a.eml")
    assert "Attachment: plan.md" in [h.title for h in document.headings]
    assert "Attachment: hive.png" in [h.title for h in document.headings]
    assert "feed the bees" in document.text
    assert len(document.notes) == 1 and document.notes[0].startswith("attachment x.pdf: damaged")
    for heading in document.headings:
        assert document.text[heading.start :].startswith(heading.title)


def test_a_saved_page_is_its_text_without_its_dress(tmp_path: Path) -> None:
    """Styles, scripts and nameless pictures of an .mhtml are left out; a file that is named stays an attachment."""
    parts = [
        f"{HTML}<p>Hives in May</p>",
        "Content-Type: text/css\nContent-Location: cid:css-1\n\nbody {color: red}",
        "Content-Type: application/javascript\n\nalert(1)",
        "Content-Type: image/png\nContent-Location: https://example.org/a.png\n\nx",
        'Content-Type: text/plain; name="plan.txt"\n\nPlant beans',
    ]
    (tmp_path / "a.mhtml").write_bytes(make_multipart("related", *parts))
    document = extract(tmp_path / "a.mhtml")
    assert document.text.split("\n\n")[2:] == ["Hives in May", "Attachment: plan.txt", "Plant beans"]


def test_mails_in_mails_are_followed_three_deep(tmp_path: Path) -> None:
    """A forwarded mail is text; the fourth level of nesting is refused with a note."""
    message = make_mail("level 0", "words 0")
    for depth in range(1, 6):
        outer = make_mail(f"level {depth}", f"words {depth}")
        outer.add_attachment(message)
        message = outer
    (tmp_path / "a.eml").write_bytes(bytes(message))
    document = extract(tmp_path / "a.eml")
    assert "words 5" in document.text and "words 2" in document.text and "words 1" not in document.text
    assert any("nested more than 3 deep" in note for note in document.notes)


@pytest.mark.parametrize("encoding", ["base64", "Quoted-Printable"])
@pytest.mark.parametrize("is_encoded", [True, False])
def test_a_forwarded_letter_that_is_encoded_is_read(tmp_path: Path, encoding: str, is_encoded: bool) -> None:
    """Its subject, headers and body are found whether it is encoded, or only said to be."""
    raw = (
        f"Received: from mail.example.org by mx.example.org with id {'4711' * 20}\nSubject: hives in May\n"
        "From: Ada <ada@example.org>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=abc\n\n"
        "--abc\nContent-Type: text/plain; charset=utf-8\n\nDie Bienen fliegen über die Wiesen.\n--abc--\n"
    ).encode()
    if is_encoded:
        raw = base64.encodebytes(raw) if encoding == "base64" else raw
        raw = quopri.encodestring(raw) if encoding == "Quoted-Printable" else raw
    part = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: {encoding}\n\n{raw.decode()}"
    (tmp_path / "a.eml").write_bytes(make_multipart("mixed", f"{PLAIN}See below.", part))
    document = extract(tmp_path / "a.eml")
    assert document.text.split("\n\n")[2:] == [
        "See below.",
        "Attachment: hives in May.eml",
        "hives in May",
        "From: Ada <ada@example.org>",
        "Die Bienen fliegen über die Wiesen.",
    ]


def test_a_letter_too_large_does_not_cost_the_mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its headers and beginning are read, a note says that the rest is not, and the other letters are whole."""
    monkeypatch.setattr(mail, "MAX_LETTER_BYTES", 2_000_000)
    head = "From a@b.c Mon Jun  1 09:00:00 2026\nSubject: {}\n\n{}\n\n"
    bodies = {"first": "wax", "large": "honey" + "\n\nbees" * 500_000 + "\n\nbrood", "last": "queen"}
    (tmp_path / "a.mbox").write_text("".join(head.format(name, body) for name, body in bodies.items()))
    document = extract(tmp_path / "a.mbox")
    assert [heading.title for heading in document.headings] == ["first", "large", "last"]
    assert all(word in document.text for word in ("wax", "honey", "queen")) and "brood" not in document.text
    assert document.notes == ("of 1 of its messages only the first 2 MB are searchable",)


def test_a_mailbox_is_read_message_by_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message stands under its subject; a line that begins with "From " inside one does not end it."""
    parts = [f"From a@b.c Mon Jun  1 09:00:00 2026\nSubject: letter {n}\n\nbody {n}\n>From here\n" for n in range(3)]
    (tmp_path / "a.mbox").write_text("\n".join(parts))
    document = extract(tmp_path / "a.mbox")
    assert [h.title for h in document.headings] == ["letter 0", "letter 1", "letter 2"]
    assert "body 1\nFrom here" in document.text
    monkeypatch.setattr(mail, "MAX_MESSAGES", 2)
    document = extract(tmp_path / "a.mbox")
    assert len(document.headings) == 2 and document.notes == ("only the first 2 messages are searchable",)


def test_a_sentence_that_begins_like_a_separator_stays_in_its_letter(tmp_path: Path) -> None:
    """Only a sender, a time and a header behind them part two letters of a mailbox."""
    body = "Hello.\n\nFrom here on the map leads north.\n\nFrom Monday at 10:30 we dig:\n\nFrom there.\n\n"
    marks = (
        "From a@b.c Mon Jan  1 10:00:00 2024",
        "From - Mon Jan 01 10:00:00 2024",
        "From  x@y Mon Jan  1 10:00:00 2024",
    )
    (tmp_path / "a.mbox").write_bytes("".join(f"{mark}\r\nSubject: s\r\n\r\n{body}" for mark in marks).encode())
    document = extract(tmp_path / "a.mbox")
    assert document.text == "\n\n".join([f"s\n\n{body.strip()}"] * 3)
    assert len(document.headings) == 3


def test_encrypted_messages_say_so(tmp_path: Path) -> None:
    """A PGP message keeps its headers and notes that its body is encrypted."""
    raw = b'Subject: hush\nMIME-Version: 1.0\nContent-Type: multipart/encrypted; boundary="b"\n\n--b\n\nx\n--b--\n'
    (tmp_path / "a.eml").write_bytes(raw)
    document = extract(tmp_path / "a.eml")
    assert document.text == "hush" and document.notes == ("the message is encrypted",)


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", "an S/MIME signature is not searched"),
        ("application/x-pkcs7-mime; smime-type=signed-data", "an S/MIME signature is not searched"),
        ("application/x-pkcs7-mime; smime-type=enveloped-data; name=smime.p7m", "the message is encrypted"),
        ("application/ms-tnef; name=winmail.dat", "winmail.dat is not searched"),
        ("application/octet-stream; name=WINMAIL.DAT", "winmail.dat is not searched"),
    ],
)
def test_what_hides_the_text_of_a_message_is_named(tmp_path: Path, kind: str, note: str) -> None:
    """Signatures around the text and Outlook's own packing become a note, not a heading without text."""
    (tmp_path / "a.eml").write_bytes(f"Subject: hush\nMIME-Version: 1.0\nContent-Type: {kind}\n\nMIAGCSqGSIb3".encode())
    document = extract(tmp_path / "a.eml")
    assert document.text == "hush" and len(document.notes) == 1 and document.notes[0].endswith(note)


def test_a_parsed_letter_is_laid_out_whatever_its_format(tmp_path: Path) -> None:
    """What Outlook messages are turned into gives the same layout as other mail."""
    letter = mail.Letter(
        subject="Offer", headers=[("From", "Ada")], body=[("html", "<p>see table</p>")], notes=["a note"]
    )
    builder = TextBuilder()
    notes = mail.add_letter(builder, Source(path=tmp_path, name="a.msg"), letter)
    assert builder.build("msg").text == "Offer\n\nFrom: Ada\n\nsee table"
    assert notes == ["a note"]


@pytest.mark.parametrize("suffix", ["msg", "doc", "xls", "ppt"])
def test_broken_ole2_files_give_a_reason(tmp_path: Path, suffix: str) -> None:
    """An OLE2 file that is cut off is refused with a sentence."""
    (tmp_path / f"a.{suffix}").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504))
    with pytest.raises(ExtractionError, match=r"cut off or broken|damaged"):
        extract(tmp_path / f"a.{suffix}")


def test_a_letter_that_cannot_be_read_does_not_cost_the_mailbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are searchable, and a note counts it; what declares itself XML without an end is HTML all the same."""
    head = "From a@b.c Mon Jun  1 09:00:00 2026\nSubject: {}\nContent-Type: text/html; charset=utf-8\n\n"
    page = '<?xml version="1.0" encoding="UTF-8"><html><body><p>honey</p></body></html>\n'
    (tmp_path / "a.mbox").write_text(head.format("good") + page + "\n" + head.format("odd") + page)
    assert extract(tmp_path / "a.mbox").text.count("honey") == 2
    parse = mail._parse

    def fail(raw: bytes) -> mail.Letter:
        if b"odd" in raw:
            raise ValueError("a letter from another world")
        return parse(raw)

    monkeypatch.setattr(mail, "_parse", fail)
    document = extract(tmp_path / "a.mbox")
    assert document.text.count("honey") == 1 and document.notes == ("1 of its messages cannot be read whole",)
