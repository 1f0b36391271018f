"""GGUF embedders: llama.cpp's vectors are those of the trainer's own network, and such a file may mine and teach."""

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.tiny_gguf import make_tiny_gguf
from trainer.contestants import open_contestant
from trainer.llama_encoder import LlamaEncoder, is_embedder

pytest.importorskip("llama_cpp")
TEXTS = ["a b", "ab ba " * 9, "", "b"]


def test_vectors_are_those_of_the_network(tmp_path: Path) -> None:
    """The same weights give the same directions in llama.cpp and in torch: mean pooled, texts in any order."""
    from trainer.backbone import load_backbone
    from trainer.network import change_network
    from trainer.torch_encoder import TorchEncoder

    path = make_tiny_gguf(tmp_path / "tiny.gguf", causal=False, pools=True)
    encoder = LlamaEncoder(path, threads=1)
    vectors = encoder.encode_passages(TEXTS)
    assert vectors.shape == (4, encoder.dim) == (4, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(encoder.encode_passages(TEXTS[::-1])[::-1], vectors, atol=1e-4)
    backbone = load_backbone(path, cache=tmp_path / "cache")
    own = TorchEncoder(type(backbone)(
        network=change_network(backbone.network, causal=False, lm_head="none"), tokenizer=backbone.tokenizer,
        origin=backbone.origin,
    ))  # fmt: skip
    ids = [own._tokenizer.encode(text).ids for text in TEXTS[:2]]
    assert ids[0][0] == 1  # both put the same token before a text, or the vectors could not agree
    assert (own.encode_passages(TEXTS[:2]) * vectors[:2]).sum(1) == pytest.approx(1, abs=1e-3)


def test_prefixes_follow_the_family(tmp_path: Path) -> None:
    """A file of a family whose card asks for prefixes gets them; its fingerprint tells."""
    plain = LlamaEncoder(make_tiny_gguf(tmp_path / "tiny.gguf", causal=False, pools=True), threads=1)
    named = LlamaEncoder(make_tiny_gguf(tmp_path / "multilingual-e5-tiny.gguf", causal=False, pools=True), threads=1)
    assert np.allclose(named.encode_queries(["ab"]), plain.encode_queries(["query: ab"]), atol=1e-5)
    assert np.allclose(named.encode_passages(["ab"]), plain.encode_passages(["passage: ab"]), atol=1e-5)
    assert named.fingerprint != plain.fingerprint


def test_only_embedders_are_taken_for_such(tmp_path: Path) -> None:
    """A language model states no pooling, a broken file nothing; an embedder competes under its own name."""
    assert not is_embedder(make_tiny_gguf(tmp_path / "llm.gguf"))
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "llm.gguf").read_bytes()[:5000])
    assert not is_embedder(tmp_path / "cut.gguf")
    (tmp_path / "text.gguf").write_text("no model")
    assert not is_embedder(tmp_path / "text.gguf")
    contestant = open_contestant(make_tiny_gguf(tmp_path / "small.gguf", causal=False, pools=True), threads=1)
    assert (contestant.name, contestant.widths) == ("small", (32,))
