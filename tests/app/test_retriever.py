"""The retriever folder: opened whole, or refused with the file and the reason."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from drama_app.embed import open_retriever
from drama_app.errors import RetrieverError
from drama_app.retriever import default_retriever_folder, open_retriever_folder, verify_retriever
from tests.tiny_retriever import make_tiny_retriever, restate, write_network


def test_a_valid_folder_is_described(tmp_path: Path) -> None:
    """What retriever.json states comes back typed, widths widest first."""
    folder = make_tiny_retriever(tmp_path / "r", dim=16, changes={"dims": [8, 16], "metrics": {"mean": 0.5}})
    retriever = open_retriever_folder(folder)
    assert (retriever.name, retriever.version, retriever.dims) == ("tiny", "1", (16, 8))
    assert retriever.metrics == {"mean": 0.5}
    assert retriever.folder == folder


def test_the_shipped_folder_is_valid() -> None:
    """The retriever that is shipped passes its own checks, hash included."""
    retriever = open_retriever_folder(default_retriever_folder())
    assert retriever.default_dim in retriever.dims
    assert (retriever.folder / "LICENSE").is_file()


def test_the_kept_drama_mini_is_whole_and_answers() -> None:
    """The folder beside the shipped one passes its checks, carries Gemma's terms, and finds across languages."""
    folder = Path(__file__).parents[2] / "assets" / "drama-mini"
    retriever = open_retriever_folder(folder)
    verify_retriever(retriever)
    assert "Gemma Terms of Use" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert "This is a modified version of a Gemma model" in (folder / "NOTICE").read_text(encoding="utf-8")
    encoder = open_retriever(folder, threads=1)
    texts = ["Bread is baked from flour and water.", "The river rises after heavy rain.", "The court hears the case."]
    asked = ["Woraus wird Brot gebacken?", "¿Cuándo sube el río?", "Where is the case heard?"]
    scores = encoder.encode_queries(asked) @ encoder.encode_passages(texts).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["retriever.json", "model.onnx", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """A folder without one of its files is refused with that file's name."""
    folder = make_tiny_retriever(tmp_path / "r")
    (folder / name).unlink()
    with pytest.raises(RetrieverError, match=f"{name}.*missing"):
        open_retriever_folder(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "schema 2 is not known"),
        ({"schema": None}, "schema None is not known"),
        ({"dims": "32"}, "'dims' must be a list"),
        ({"dims": [32, "16"]}, "each item of 'dims'"),
        ({"dims": []}, "'dims' must hold"),
        ({"dims": [32, 32]}, "different widths"),
        ({"dims": [32, 0]}, "at least 1"),
        ({"default_dim": 7}, "'default_dim' 7 is not one of"),
        ({"default_dim": True}, "'default_dim' must be a whole number"),
        ({"query_prefix": None}, "'query_prefix' is missing"),
        ({"query_prefix": 5}, "'query_prefix' must be text"),
        ({"max_tokens": 2}, "leaves no room"),
        ({"max_tokens": 64.5}, "'max_tokens' must be a whole number"),
        ({"pad_token_id": -1}, "negative"),
        ({"name": "../evil"}, "'name' must be letters"),
        ({"version": "1/2"}, "'version' must be letters"),
        ({"metrics": []}, "'metrics' must be an object"),
        ({"fingerprint": "sha256:12"}, "64 hexadecimal digits"),
        ({"fingerprint": "sha256:" + "0" * 64}, "fingerprint does not match"),
        ({"fingerprint_of": ["model.onnx", "../tokenizer.json"]}, "in the folder itself"),
        ({"fingerprint_of": ["tokenizer.json"]}, "must cover"),
        ({"dims": [64, 32]}, r"embedding must be float32 \[batch, 64\]"),
    ],
)
def test_a_wrong_statement_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    """Each contradiction in retriever.json is refused with its own reason."""
    folder = make_tiny_retriever(tmp_path / "r", dim=32)
    restate(folder, **changes)
    with pytest.raises(RetrieverError, match=reason):
        open_retriever_folder(folder)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[1]"])
def test_a_description_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    """Broken JSON, other encodings and other JSON values are refused by name."""
    folder = make_tiny_retriever(tmp_path / "r")
    (folder / "retriever.json").write_bytes(content)
    with pytest.raises(RetrieverError, match=r"retriever\.json: (cannot be read|must hold)"):
        open_retriever_folder(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"names": ("tokens", "attention_mask", "embedding")}, "inputs must be"),
        ({"names": ("input_ids", "attention_mask", "vector")}, "the output must be embedding"),
        ({"integers": "INT32"}, r"must be int64 \[batch, length\]"),
    ],
)
def test_another_graph_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    """A graph with other names or types of inputs and outputs is refused."""
    folder = make_tiny_retriever(tmp_path / "r", dim=32)
    write_network(folder / "model.onnx", dim=32, **change)
    restate(folder)
    with pytest.raises(RetrieverError, match=reason):
        open_retriever_folder(folder)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.onnx", b"not a graph", "not a model"),
        ("tokenizer.json", b"{}", "not a tokenizer"),
        ("tokenizer.json", b'{"model": {"type": "Unigram"}}', "not a tokenizer"),
        ("tokenizer.json", b"\xff", "not a tokenizer"),
    ],
)
def test_a_file_that_does_not_parse_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    """Model and tokenizer are opened before a folder is accepted, even if the fingerprint fits."""
    folder = make_tiny_retriever(tmp_path / "r")
    (folder / name).write_bytes(content)
    restate(folder)
    with pytest.raises(RetrieverError, match=f"{name}: {reason}"):
        open_retriever_folder(folder)


def test_a_changed_file_voids_the_stamp(tmp_path: Path) -> None:
    """A folder that was verified once is verified again after a file changed."""
    folder = make_tiny_retriever(tmp_path / "r")
    open_retriever_folder(folder, cache=tmp_path / "cache")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(RetrieverError, match="fingerprint does not match"):
        open_retriever_folder(folder, cache=tmp_path / "cache")


def test_a_stamp_spares_the_hash_but_not_a_verification(tmp_path: Path) -> None:
    """A later opening trusts sizes and times; `verify_retriever` reads every byte."""
    folder = make_tiny_retriever(tmp_path / "r")
    open_retriever_folder(folder, cache=tmp_path / "cache")
    path = folder / "model.onnx"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    retriever = open_retriever_folder(folder, cache=tmp_path / "cache")
    with pytest.raises(RetrieverError, match="fingerprint does not match"):
        verify_retriever(retriever)


def test_a_broken_stamp_is_no_stamp(tmp_path: Path) -> None:
    """A stamp that is damaged leads to a whole verification and is written anew."""
    folder, cache = make_tiny_retriever(tmp_path / "r"), tmp_path / "cache"
    open_retriever_folder(folder, cache=cache)
    (stamp,) = cache.glob("verified-*.json")
    stamp.write_bytes(b"{")
    open_retriever_folder(folder, cache=cache)
    assert json.loads(stamp.read_text())["files"]


def test_a_cache_that_cannot_be_written_is_not_needed(tmp_path: Path) -> None:
    """Where the cache directory cannot be made, the folder opens all the same."""
    (tmp_path / "file").write_text("in the way")
    folder = make_tiny_retriever(tmp_path / "r", kind="unigram")
    assert open_retriever_folder(folder, cache=tmp_path / "file").name == "tiny"
