"""Records and their files."""

import pytest
import zstandard

from drama_app.errors import UsageError
from trainer.records import (
    Passage,
    Query,
    RecordWriter,
    TrainingGroup,
    iterate_lines,
    read_partial,
    read_records,
    text_id,
)

GROUP = TrainingGroup(
    query="wo?", positives=("a", "b"), negatives=("c",), language="de", positive_scores=(0.5, 0.25),
)  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    """Records of all kinds survive their file, line ends and lone surrogates included."""
    passage = Passage(id="1", text="eins\nzwei \u2028 drei", title="T")
    query = Query(id="2", text="?", passage="1", kind="crop", exact=True)
    for record in (passage, query, GROUP):
        with RecordWriter(tmp_path / "x.jsonl") as writer:
            writer.write(record)
            writer.write(record)
        assert list(read_records(tmp_path / "x.jsonl", type(record))) == [record, record]


def test_a_file_has_its_name_only_when_it_is_finished(tmp_path):
    """An interrupted file never looks finished; the next run goes on behind its last whole line."""
    path = tmp_path / "groups.jsonl"
    with pytest.raises(KeyboardInterrupt), RecordWriter(path) as writer:
        writer.write(GROUP)
        raise KeyboardInterrupt
    assert not path.exists()
    with (tmp_path / "groups.jsonl.partial").open("ab") as stream:
        stream.write(b'{"query": "cut off')

    assert list(read_partial(path, TrainingGroup)) == [GROUP]
    with RecordWriter(path, resume=True) as writer:
        assert writer.written == 1
        writer.write(GROUP)
    assert list(read_records(path, TrainingGroup)) == [GROUP, GROUP]
    assert list(read_partial(path, TrainingGroup)) == []


def test_a_writer_can_go_on_behind_a_line(tmp_path):
    """Lines beyond what the rest of the work had reached are written again."""
    path = tmp_path / "groups.jsonl"
    with pytest.raises(KeyboardInterrupt), RecordWriter(path) as writer:
        for _ in range(5):
            writer.write(GROUP)
        raise KeyboardInterrupt
    with RecordWriter(path, resume=True, keep=2) as writer:
        assert writer.written == 2
    assert list(read_records(path, TrainingGroup)) == [GROUP, GROUP]


def test_without_resume_a_partial_file_is_begun_anew(tmp_path):
    """What an earlier run left is not mixed with what this one writes."""
    path = tmp_path / "groups.jsonl"
    (tmp_path / "groups.jsonl.partial").write_text('{"query": "old", "positives": []}\n')
    with RecordWriter(path) as writer:
        assert writer.written == 0
        writer.write(GROUP)
    assert list(read_records(path, TrainingGroup)) == [GROUP]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: is no TrainingGroup"),
        ('{"query": "x", "positives": [], "other": 1}', "line 2: is no TrainingGroup"),
        ('{"query": "x"}', "line 2: 'positives' is missing"),
        ('{"query": 3, "positives": []}', "line 2: 'query' must be a text"),
    ],
)
def test_broken_line_is_named(tmp_path, line, message):
    """A line that is no record is refused with file and number."""
    path = tmp_path / "groups.jsonl"
    path.write_text('{"query": "x", "positives": ["a"]}\n' + line + "\n")
    with pytest.raises(UsageError, match=message):
        list(read_records(path, TrainingGroup))


def test_compressed_files_are_read_and_broken_ones_refused(tmp_path):
    """A .zst file reads like any other; one that is not compressed is an error in a sentence."""
    path = tmp_path / "x.jsonl.zst"
    path.write_bytes(zstandard.compress('{"id": "1", "text": "é"}\n'.encode()))
    assert [each.text for each in read_records(path, Passage)] == ["é"]
    path.write_bytes(b"plain text")
    with pytest.raises(UsageError, match="zstd"):
        list(iterate_lines(path))
    with pytest.raises(UsageError, match="cannot be read"):
        list(iterate_lines(tmp_path / "missing"))


def test_a_damaged_byte_names_its_line(tmp_path):
    """A byte that is no UTF-8 is an error with its line, however far down; so is a line that is nested without end."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"id": "1", "text": "a"}\n' * 5000 + b'{"id": "2", "text": "caf\xe9"}\n')
    with pytest.raises(UsageError, match=r"x.jsonl, line 5001: is no UTF-8 \(from character 25 on\)"):
        list(iterate_lines(path))
    path.write_text("[" * 100_000)
    with pytest.raises(UsageError, match="line 1: not JSON"):
        list(read_records(path, Passage))


def test_ids_see_through_form_case_and_space():
    """Texts that differ only in Unicode form, case or white space have one id, others have another."""
    assert text_id("Ｃafé  au\nlait") == text_id("cafe\u0301 AU lait")
    assert text_id("cafe au lait") != text_id("café au lait")


def test_title_is_read_once():
    """An encoder reads the title above the text, but not twice."""
    assert Passage(id="", text="Rain falls.", title="Weather").embedded == "Weather\nRain falls."
    assert Passage(id="", text="Weather is.", title="Weather").embedded == "Weather is."
