"""A GGUF gives other tools the vectors that the network gives, or is refused with the reason."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from drama_app.errors import RetrieverError  # noqa: E402
from tests.tiny_retriever import make_tiny_retriever  # noqa: E402
from trainer import gguf_export  # noqa: E402
from trainer.backbone import Backbone  # noqa: E402
from trainer.bidirectional import BidirectionalConfig  # noqa: E402
from trainer.checkpoint import Origin  # noqa: E402
from trainer.encoder import EncoderConfig, RopeScaling  # noqa: E402
from trainer.export import SENTENCES  # noqa: E402
from trainer.gguf_export import compare_gguf, write_checked_gguf, write_gguf  # noqa: E402
from trainer.network import NetworkConfig, build_network  # noqa: E402

PIECES = 400
COMMON: dict[str, Any] = {"vocab_size": PIECES, "hidden_size": 64, "layers": 3, "head_dim": 16, "ffn_size": 96}
LLAMA3 = RopeScaling(kind="llama3", factor=8.0, original_positions=16)
BERT = BidirectionalConfig(vocab_size=PIECES, hidden_size=64, layers=2, heads=4, ffn_size=96)
CASES: dict[str, tuple[NetworkConfig, str]] = {
    "xlm-r": (BERT, "unigram"),
    "bert": (BERT, "wordpiece"),
    "llama3": (
        EncoderConfig(family="llama", heads=4, kv_heads=2, rope_theta=500.0, rope_scaling=LLAMA3, **COMMON),
        "llama3",
    ),
    "llama, other scale": (EncoderConfig(family="llama", heads=4, kv_heads=4, query_scale=0.4, **COMMON), "gpt2"),
    "qwen3": (EncoderConfig(family="qwen3", heads=4, kv_heads=2, query_scale=0.4, **COMMON), "gpt2"),
    "gemma3": (
        EncoderConfig(
            family="gemma3", heads=4, kv_heads=1, window=10, sliding=(True, True, False), embedding_scale=6.0,
            query_scale=0.4, rope_theta=1e6, **COMMON,
        ),
        "pieces",
    ),
}  # fmt: skip


def make_tokenizer(path: Path, kind: str) -> Path:
    """A tokenizer of a kind, learnt from the sentences that are compared."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    splits: dict[str, Any] = {
        "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
        "llama3": pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(
                    Regex(
                        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                    ),
                    "isolated",
                ),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
    }
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer: Any = trainers.UnigramTrainer(vocab_size=PIECES, special_tokens=special, unk_token="<unk>")
    elif kind == "wordpiece":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=PIECES, special_tokens=special)
    elif kind == "pieces":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.decoder = decoders.ByteFallback()
        octets = [f"<0x{value:02X}>" for value in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=PIECES, special_tokens=[*special, *octets], limit_alphabet=60)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = splits[kind]
        trainer = trainers.BpeTrainer(vocab_size=PIECES, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    first, last = ("[CLS]", "[SEP]") if kind == "wordpiece" else ("<s>", "</s>")
    ends = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    single = f"{first} $A" + (f" {last}" if kind in ("unigram", "wordpiece") else "")
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=ends)
    tokenizer.save(str(path))
    return path


def make_backbone(folder: Path, config: NetworkConfig, tokenizer: str) -> Backbone:
    """Random weights that matter: every row, norm and bias is its own."""
    torch.set_num_threads(1)
    network = build_network(config)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_((0.2 if "norm" in name else 0.1) * torch.randn(parameter.shape, generator=generator))
    origin = Origin(name="random weights", licence="MIT", query_prefix="query: ", passage_prefix="passage: ")
    path = make_tokenizer(folder / "tokenizer.json", tokenizer)
    return Backbone(network=network, tokenizer=path, origin=origin)


@pytest.mark.parametrize("name", CASES)
def test_llama_cpp_gives_the_networks_vectors(name: str, tmp_path: Path) -> None:
    """For every architecture llama.cpp's vectors are the network's, in many scripts."""
    pytest.importorskip("llama_cpp")
    backbone = make_backbone(tmp_path, *CASES[name])
    write_gguf(backbone, tmp_path / "whole.gguf", kind="f32")
    agreement = compare_gguf(backbone, tmp_path / "whole.gguf")
    assert agreement.least > 0.9999
    # Its WordPiece strips the vowel signs of Devanagari and Hangul, which BERT keeps.
    assert len(agreement.otherwise) == (2 if name == "bert" else 0)
    told = write_checked_gguf(backbone, tmp_path / "half.gguf")
    assert "'query: ' before a question" in told
    assert ("2 into other tokens" in told) == (name == "bert")
    assert "mean cosine" in write_checked_gguf(backbone, tmp_path / "byte.gguf", kind="q8_0")
    sizes = [(tmp_path / f"{kind}.gguf").stat().st_size for kind in ("byte", "half", "whole")]
    assert sizes == sorted(set(sizes))


def test_a_head_is_left_out_only_when_told(tmp_path: Path) -> None:
    """A network with a head is refused; without the head its vectors are those before the head."""
    backbone = make_backbone(tmp_path, replace(BERT, output_size=48), "unigram")
    with pytest.raises(RetrieverError, match="no place for this network's linear head"):
        write_checked_gguf(backbone, tmp_path / "a.gguf")
    assert not list(tmp_path.glob("*.gguf*"))
    pytest.importorskip("llama_cpp")
    assert "mean cosine" in write_checked_gguf(backbone, tmp_path / "a.gguf", without_head=True)


def test_other_vectors_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose vectors are not the network's is not left behind."""
    pytest.importorskip("llama_cpp")
    backbone = make_backbone(tmp_path, *CASES["llama3"])
    monkeypatch.setattr(gguf_export, "_describe_rope", lambda config, writer: None)
    with pytest.raises(RetrieverError, match="vectors are not the network's"):
        write_checked_gguf(backbone, tmp_path / "a.gguf")
    assert not list(tmp_path.glob("a.gguf*"))


def test_without_llama_cpp_it_says_that_nothing_was_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where llama.cpp is not installed the file is written, and the person told."""
    backbone = make_backbone(tmp_path, *CASES["qwen3"])
    monkeypatch.setattr(gguf_export, "find_spec", lambda name: None)
    assert "not compared" in write_checked_gguf(backbone, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").is_file()


def test_what_llama_cpp_cannot_do_is_refused(tmp_path: Path) -> None:
    """Causal networks, windows that are not Gemma's, and tokenizers of other kinds are told."""
    qwen = CASES["qwen3"][0]
    assert isinstance(qwen, EncoderConfig)
    for change, reason in (
        ({"causal": True}, "reads one way"),
        ({"window": 8, "sliding": (True, True, False)}, "no sliding windows for qwen3"),
    ):
        with pytest.raises(RetrieverError, match=reason):
            write_gguf(make_backbone(tmp_path, replace(qwen, **change), "gpt2"), tmp_path / "a.gguf")
    backbone = make_backbone(tmp_path, BERT, "unigram")
    words = make_tiny_retriever(tmp_path / "words") / "tokenizer.json"
    with pytest.raises(RetrieverError, match="no tokenizer of the kind WordLevel"):
        write_gguf(replace(backbone, tokenizer=words), tmp_path / "a.gguf")
    folded = make_tiny_retriever(tmp_path / "folded", kind="unigram") / "tokenizer.json"
    with pytest.raises(RetrieverError, match=r"normalises texts by NFKC, which llama\.cpp does not"):
        write_gguf(replace(backbone, tokenizer=folded), tmp_path / "a.gguf")


def test_texts_that_are_too_long_for_the_network_are_not_compared(tmp_path: Path) -> None:
    """A network with few positions is compared by the texts that it takes whole."""
    pytest.importorskip("llama_cpp")
    backbone = make_backbone(tmp_path, replace(BERT, max_tokens=48), "unigram")
    write_gguf(backbone, tmp_path / "a.gguf", kind="f32")
    agreement = compare_gguf(backbone, tmp_path / "a.gguf")
    assert agreement.least > 0.9999
    assert 4 < agreement.texts < len(SENTENCES)
