"""The errors that drama shows a person: one sentence that says what to do, and an exit code.

DramaError                 2
|-- UsageError             2   the command line or the configuration is wrong
|-- NoIndexError           2   nothing has been indexed yet
|-- RetrieverError         2   a retriever folder was refused
|-- IndexDamagedError      2   the index on disk cannot be used as it is
|-- DiskError              2   the system does not let the index be read or written just now
|-- ExtractionError        -   one file gave no text: becomes a row, never ends a run
`-- Interrupted          130   the person stopped the run
"""


class DramaError(Exception):
    """Base of every error whose text is written for the person at the keyboard."""

    exit_code = 2


class UsageError(DramaError):
    """The command line or the configuration asks for something that cannot be done."""


class NoIndexError(DramaError):
    """There is no index to search yet."""


class RetrieverError(DramaError):
    """A retriever folder was refused; the text says which file and why."""


class IndexDamagedError(DramaError):
    """The index on disk is of another schema or cannot be read."""


class DiskError(DramaError):
    """The system does not let the index be read or written: a full disk, too many open files. Nothing is damaged."""


class ExtractionError(DramaError):
    """One file gave no text. `str(error)` is the reason shown in reports.

    Attributes:
        passed_over: True if nobody would expect text from the file (a photo, an empty file), so that
            it is counted and not reported as a failure.
    """

    def __init__(self, reason: str, *, passed_over: bool = False) -> None:
        super().__init__(reason)
        self.passed_over = passed_over


class Interrupted(DramaError):  # noqa: N818  a person's wish is no error
    """The person stopped the run; what was finished stays."""

    exit_code = 130


class TrainingError(DramaError):
    """A training that must not go on; the text says why and what to change."""
