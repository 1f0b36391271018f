"""Tells the formats apart that share a container: zip and OLE2.

Reads directories of containers only; opens no member but the few bytes that name a format.
"""

import zipfile
from typing import BinaryIO

from drama_app.errors import ExtractionError
from drama_app.extract.archive import reraise_disk_error
from drama_app.extract.source import Source

_OFFICE_PARTS = (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx"))
_MIME_KINDS = (
    ("application/epub+zip", "epub"),
    ("application/vnd.oasis.opendocument.text", "odt"),
    ("application/vnd.oasis.opendocument.spreadsheet", "ods"),
    ("application/vnd.oasis.opendocument.presentation", "odp"),
    ("application/vnd.oasis.opendocument.graphics", "odp"),
    ("application/vnd.oasis.opendocument.chart", "odp"),
    ("application/vnd.oasis.opendocument.formula", "odp"),
    ("application/vnd.sun.xml.writer", "odt"),
    ("application/vnd.sun.xml.calc", "ods"),
    ("application/vnd.sun.xml.impress", "odp"),
    ("application/vnd.sun.xml.draw", "odp"),
)
_ARCHIVES_OF_CODE = (".jar", ".apk", ".whl", ".xpi", ".war", ".aar", ".ipa", ".nupkg", ".vsix")

_OLE2_KINDS = (
    ("__properties_version1.0", "msg"),
    ("WordDocument", "doc"),
    ("Workbook", "xls"),
    ("Book", "xls"),
    ("PowerPoint Document", "ppt"),
)
# OLE2 stream -> what to tell the person. Order: an encrypted package holds nothing else.
_OLE2_REASONS = (
    ("EncryptedPackage", "encrypted: needs a password"),
    ("PP97_DUALSTORAGE", "legacy PowerPoint format: save as .pptx"),
    ("MatOST", "legacy Works format: save as .docx"),
    ("Quill", "Publisher format: export as PDF"),
    ("VisioDocument", "legacy Visio format: export as PDF"),
    ("FileHeader", "Hangul (HWP) format: save as .docx or PDF"),
)


def detect_zip(source: Source, *, expected: str) -> str:
    """Return the kind of a zip file.

    Args:
        source: The file.
        expected: What the name says it is, "" if nothing.

    Raises:
        ExtractionError: an archive (passed over), a damaged document, or a format that is not read.
    """
    try:
        with source.open() as stream, zipfile.ZipFile(stream) as container:
            names = container.namelist()
            kind = _name_by_members(container, set(names), source)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
        reraise_disk_error(error)
        if expected:
            reason = f"damaged {expected}: its zip container is cut off or broken"
            raise ExtractionError(reason) from error
        raise ExtractionError("damaged archive: no text inside", passed_over=True) from error
    if kind:
        return kind
    if expected and source.suffix not in _ARCHIVES_OF_CODE:
        raise ExtractionError(f"not a {expected}: a zip archive without its parts")
    raise ExtractionError("archive: its members are not searched", passed_over=True)


def _name_by_members(container: zipfile.ZipFile, names: set[str], source: Source) -> str:
    """Return the kind that the members show, "" for a plain archive."""
    mime = _read_mime_type(container, names)
    for prefix, kind in _MIME_KINDS:
        if mime.startswith(prefix):
            return kind
    if "[Content_Types].xml" in names or "_rels/.rels" in names:
        if "xl/workbook.bin" in names:
            raise ExtractionError("binary Excel workbook (.xlsb): save as .xlsx")
        for folder, kind in _OFFICE_PARTS:
            if any(name.startswith(folder) for name in names):
                return kind
    if "META-INF/container.xml" in names:
        return "epub"
    if any(name.endswith((".iwa", "Index.zip", "index.apxl", "index.xml")) for name in names):
        programme = {".key": "Keynote", ".numbers": "Numbers"}.get(source.suffix, "Pages")
        raise ExtractionError(f"Apple {programme} format: export as PDF")
    return ""


def _read_mime_type(container: zipfile.ZipFile, names: set[str]) -> str:
    """Return the start of the `mimetype` member that OpenDocument and EPUB carry."""
    if "mimetype" not in names:
        return ""
    with container.open("mimetype") as member:
        return member.read(120).decode("ascii", "replace").strip()


def detect_ole2(source: Source) -> str:
    """Return the kind of an OLE2 file: an Outlook message or a document of Office 97 to 2003.

    Raises:
        ExtractionError: another legacy format with what to do about it, an encrypted document, or neither.
    """
    with source.open() as stream:
        names = _list_ole2_streams(stream)
    for name, reason in _OLE2_REASONS:
        if name in names:
            raise ExtractionError(reason)
    for name, kind in _OLE2_KINDS:
        if name in names:
            return kind
    raise ExtractionError("binary file: no text inside", passed_over=True)


def _list_ole2_streams(stream: BinaryIO) -> set[str]:
    """Return the names of the streams and storages at the top of an OLE2 file."""
    import olefile

    try:
        with olefile.OleFileIO(stream) as container:
            return {entry[0] for entry in container.listdir(streams=True, storages=True)}
    except (OSError, ValueError, IndexError, AttributeError) as error:
        raise ExtractionError("damaged: its OLE2 container is cut off or broken") from error
