"""Puts the text of a file that was inside another into the text of that other: attachments of mails and PDFs.

Owns the limits on attachments. A part that gives no text becomes a note, never an error.
"""

from pathlib import PurePosixPath

from drama_app.errors import ExtractionError
from drama_app.extract.builder import TextBuilder
from drama_app.extract.clean import clean_line
from drama_app.extract.source import Source
from drama_app.records import Document

MAX_ATTACHMENTS = 200
MAX_ATTACHMENT_BYTES = 100_000_000


def add_attachments(
    builder: TextBuilder, parent: Source, parts: list[tuple[str, bytes]], *, level: int = 1
) -> list[str]:
    """Add attachments, each under a heading, and return notes on those that are not searchable.

    Args:
        builder: Of the document that holds them.
        parent: That document.
        parts: (file name, bytes) each.
        level: Of the headings "Attachment: name".
    """
    from drama_app.extract import extract_source

    notes = []
    for name, data in parts[:MAX_ATTACHMENTS]:
        name = clean_line(PurePosixPath(name.replace("\\", "/")).name) or "unnamed"
        if builder.full:
            break
        if len(data) > MAX_ATTACHMENT_BYTES:
            notes.append(f"attachment {name}: larger than {MAX_ATTACHMENT_BYTES // 1_000_000} MB")
            continue
        try:
            document = extract_source(Source(path=parent.path, name=name, data=data, depth=parent.depth + 1))
        except ExtractionError as error:
            # A photo without text is no failure, and its name may be what is looked for.
            if error.passed_over:
                builder.heading(level, f"Attachment: {name}")
            else:
                notes.append(f"attachment {name}: {error}")
            continue
        builder.heading(level, f"Attachment: {name}")
        add_document(builder, document, level=level)
        notes.extend(f"attachment {name}: {note}" for note in document.notes)
    if len(parts) > MAX_ATTACHMENTS:
        notes.append(f"only the first {MAX_ATTACHMENTS} of {len(parts)} attachments are searchable")
    return notes


def add_document(builder: TextBuilder, document: Document, *, level: int) -> None:
    """Add another document's text with its headings, which come to stand below `level`."""
    position = 0
    for heading in document.headings:
        line_start = document.text.rfind("\n", 0, heading.start) + 1
        # A heading inside a line ("## Title", "def title") stays text: cut out it would leave its line in pieces.
        if line_start == heading.start >= position:
            builder.paragraph(document.text[position : heading.start])
            builder.heading(level + heading.level, heading.title)
            position = heading.start + len(heading.title)
    builder.paragraph(document.text[position:])
