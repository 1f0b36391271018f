"""Exact search in blocks against search at once."""

import tracemalloc

import numpy as np
import pytest

from drama_app.errors import UsageError
from trainer.retrieve import encode_corpus, gather, search


def _unit(rows, columns, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [1, 7, 100, 5000])
def test_blocks_find_what_a_full_sort_finds(block):
    """Any block size gives the k best of all, in order."""
    queries, passages = _unit(300, 16), _unit(1000, 16, seed=1)
    if block == 1:
        queries, passages = queries[:5], passages[:60]
    scores, rows = search(queries, passages, 10, block=block)
    truth = queries @ passages.T
    expected = np.argsort(-truth, axis=1, kind="stable")[:, :10]

    assert np.array_equal(rows, expected)
    assert np.allclose(scores, np.take_along_axis(truth, expected, 1), atol=1e-6)


def test_equal_cosines_come_in_order_of_rows_and_small_corpora_give_what_they_have():
    """Copies are listed by row; more than there is cannot be had."""
    passages = np.concatenate([_unit(3, 8)] * 3)
    scores, rows = search(passages[:2], passages, 50, block=4)

    assert rows.shape == (2, 9)
    assert rows[0, :3].tolist() == [0, 3, 6] and rows[1, :3].tolist() == [1, 4, 7]
    assert (np.diff(scores) <= 1e-6).all()


def test_memory_is_that_of_a_block(tmp_path):
    """Searching 60,000 stored passages of 64 dimensions takes less memory than their vectors in float32."""
    vectors = _unit(60_000, 64).astype(np.float16)
    vectors.tofile(tmp_path / "v")
    stored = np.memmap(tmp_path / "v", dtype=np.float16, mode="r", shape=vectors.shape)
    queries = _unit(64, 64, seed=3)
    tracemalloc.start()
    search(queries, stored, 50, block=2048)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6 < vectors.size * 4


def test_an_interrupted_encoding_goes_on(tmp_path):
    """What was encoded is not encoded again, the result is that of one run, and a finished file is only opened."""
    vectors = _unit(3000, 8)
    texts = [str(number) for number in range(3000)]
    calls = []

    def encode(block, stop=10**9):
        if int(block[0]) >= stop:
            raise KeyboardInterrupt
        calls.append(int(block[0]))
        return vectors[[int(each) for each in block]]

    path = tmp_path / "work" / "v.f16"
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(lambda block: encode(block, 2000), texts, path, key="a")
    assert not path.exists()
    with path.with_name("v.f16.partial").open("ab") as stream:
        stream.write(b"half a row")
    stored = encode_corpus(encode, texts, path, key="a")

    assert calls == [0, 1024, 2048]
    assert np.array_equal(stored, vectors.astype(np.float16))
    assert np.array_equal(encode_corpus(encode, texts, path, key="a"), stored)
    assert len(calls) == 3
    assert gather(stored, [5, 2]).dtype == np.float32


def test_rows_that_a_power_cut_took_are_encoded_again(tmp_path):
    """A description that is ahead of its file, or a file that has its last name before it, gives no row of zeros."""
    vectors = _unit(3000, 8)
    texts = [str(number) for number in range(3000)]
    asked: list[str] = []

    def encode(block):
        asked.extend(block)
        return vectors[[int(each) for each in block]]

    path = tmp_path / "v.f16"
    encode_corpus(encode, texts, path, key="a")
    described = path.with_name("v.f16.json")
    described.write_text(described.read_text().replace("true", "false"))
    asked.clear()
    assert np.array_equal(encode_corpus(encode, texts, path, key="a"), vectors.astype(np.float16))
    assert not asked
    described.write_text(described.read_text().replace("true", "false"))
    path.rename(path.with_name("v.f16.partial"))
    with path.with_name("v.f16.partial").open("r+b") as stream:
        stream.truncate(2 * 8 * 2000 + 5)
    assert np.array_equal(encode_corpus(encode, texts, path, key="a"), vectors.astype(np.float16))
    assert asked == texts[2000:]


def test_another_encoder_encodes_anew(tmp_path):
    """Vectors of two encoders never mix, nor do those of an interrupted run of another."""
    path = tmp_path / "v.f16"
    first = encode_corpus(lambda block: np.ones((len(block), 4)), ["a"] * 5, path, key="one")
    assert first[0, 0] == 1
    second = encode_corpus(lambda block: np.zeros((len(block), 2)), ["a"] * 5, path, key="two")
    assert second.shape == (5, 2) and second[0, 0] == 0


def test_no_text_is_an_error(tmp_path):
    """An empty corpus ends in a sentence."""
    with pytest.raises(UsageError, match="no passages"):
        encode_corpus(lambda block: np.ones((len(block), 4)), [], tmp_path / "v", key="k")
