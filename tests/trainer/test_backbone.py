"""Networks come from GGUFs, model folders, runs and retriever folders, or are refused with the reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from drama_app.errors import RetrieverError, UsageError  # noqa: E402
from tests.tiny_retriever import make_tiny_retriever  # noqa: E402
from trainer.backbone import load_backbone  # noqa: E402
from trainer.checkpoint import place_step, save_checkpoint  # noqa: E402
from trainer.encoder import Encoder, EncoderConfig  # noqa: E402
from trainer.input_checks import check  # noqa: E402
from trainer.model_files import describe_model  # noqa: E402
from trainer.recipe import AugmentRecipe, PruneRecipe, Recipe  # noqa: E402
from trainer.run_folder import Inputs, RunFolder  # noqa: E402

SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


pytestmark = pytest.mark.usefixtures("one_thread")


def make_folder(folder: Path, kind: str = "Llama", **options: Any) -> Any:
    """A model folder as the hub has it, with a tokenizer; returns the model."""
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**SHAPE | options))
    model.save_pretrained(folder)
    tokenizer = make_tiny_retriever(folder.parent / "for-tokenizer") / "tokenizer.json"
    shutil.copy(tokenizer, folder / "tokenizer.json")
    return model.eval()


def check_same(model: Any, network: Any) -> None:
    ids = torch.randint(5, 290, (2, 20))
    with torch.no_grad():
        expected = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        torch.testing.assert_close(network(ids), expected, atol=1e-5, rtol=0)


def test_model_folders(tmp_path: Path) -> None:
    """A transformers folder loads whole, also in shards, with its licence, its notice and its padding."""
    model = make_folder(tmp_path / "m", pad_token_id=1)
    (tmp_path / "m" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    backbone = load_backbone(tmp_path / "m")
    check_same(model, backbone.network)
    assert backbone.origin.licence == "apache-2.0"
    assert backbone.origin.pad_token_id == 1
    assert backbone.tokenizer == tmp_path / "m" / "tokenizer.json"
    (tmp_path / "m" / "NOTICE.txt").write_text("Made by others.\n")  # Apache-2.0 asks that it goes along
    assert load_backbone(tmp_path / "m").origin.notices == ("Made by others.",)
    model.save_pretrained(tmp_path / "m", max_shard_size="20KB")
    (tmp_path / "m" / "model.safetensors").unlink()
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 2
    check_same(model, load_backbone(tmp_path / "m").network)
    next(iter((tmp_path / "m").glob("model-*.safetensors"))).unlink()
    with pytest.raises(RetrieverError, match="is missing"):
        load_backbone(tmp_path / "m")


def test_multilingual_e5_folders(tmp_path: Path) -> None:
    """An XLM-R or BERT embedder of that name gets its two prefixes."""
    for kind in ("XLMRoberta", "Bert"):
        folder = tmp_path / f"multilingual-e5-{kind}"
        model = make_folder(folder, kind, pad_token_id=1, type_vocab_size=1)
        backbone = load_backbone(folder)
        check_same(model, backbone.network)
        assert (backbone.origin.query_prefix, backbone.origin.passage_prefix) == ("query: ", "passage: ")


def test_released_drama_checkpoints(tmp_path: Path) -> None:
    """A released checkpoint is bidirectional, asks with `Query: `, is cut as its card says, and keeps its notices."""
    make_folder(tmp_path / "d", hidden_size=1024, num_attention_heads=16, num_hidden_layers=1)
    path = tmp_path / "d" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": ["DramaModel"]}))
    backbone = load_backbone(tmp_path / "d")
    assert isinstance(backbone.network, Encoder)
    assert not backbone.network.config.causal
    assert backbone.query_prefix == "Query: "
    assert backbone.origin.passage_prefix == ""
    assert backbone.origin.dims == (1024, 768, 512, 256)
    assert backbone.origin.licence == "CC-BY-NC-4.0"
    assert any("Llama" in notice for notice in backbone.origin.notices)


def test_earlier_runs(tmp_path: Path) -> None:
    """A checkpoint, and a run's folder by its last step, give back network, tokenizer and origin."""
    make_folder(tmp_path / "m")
    first = load_backbone(tmp_path / "m")
    run = tmp_path / "run"
    save_checkpoint(place_step(run, 3), first.network, tokenizer=first.tokenizer, origin=first.origin, step=3)
    for source in (run, place_step(run, 3)):
        again = load_backbone(source)
        assert again.origin == first.origin
        assert again.config == first.config
        assert again.tokenizer.parent == place_step(run, 3)
    # The folder of a whole run: what it would start from, its last step, what it ended with.
    for place in (
        tmp_path / "r" / "backbone",
        place_step(tmp_path / "r" / "train", 5),
        tmp_path / "r" / "train" / "final",
    ):
        save_checkpoint(place, first.network, tokenizer=first.tokenizer, origin=first.origin, step=5)
        assert load_backbone(tmp_path / "r").tokenizer.parent == place


def test_an_embedders_own_description_counts(tmp_path: Path) -> None:
    """Its prompts become prefixes, its licence comes along, and another pooling than the mean is refused."""
    folder = tmp_path / "home-of-e5-fans" / "bge-like"
    make_folder(folder, "Bert", pad_token_id=0)
    assert load_backbone(folder).origin.query_prefix == ""  # the path above it says nothing
    assert load_backbone(folder).origin.name == "bge-like"
    stored = tmp_path / "hub" / "models--someone--multilingual-e5-tiny" / "snapshots" / "0a1b"
    stored.parent.mkdir(parents=True)
    shutil.copytree(folder, stored)
    assert load_backbone(stored).origin.name == "someone/multilingual-e5-tiny"
    assert load_backbone(stored).origin.query_prefix == "query: "
    (folder / "LICENSE").write_text("Free.")
    described = folder / "config_sentence_transformers.json"
    described.write_text(json.dumps({"prompts": {"query": "ask: ", "document": "text: "}}))
    origin = load_backbone(folder).origin
    assert (origin.query_prefix, origin.passage_prefix, origin.licence_text) == ("ask: ", "text: ", "Free.")
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(RetrieverError, match="pools cls_token"):
        load_backbone(folder)


@pytest.mark.parametrize(
    ("name", "licence", "made_from", "llama"),
    [
        ("tinyllama-1.1b", "apache-2.0", "", False),
        ("SmolLM2-135M", "", "/home/someone/llama.cpp/models", False),
        ("SmolLM2-135M", "", "assets/llama.cpp", False),  # a folder here
        ("model", "llama3.2", "", True),
        ("model", "other", "meta-llama/Llama-3.2-1B", True),
        ("Llama-3.2-1B", "", "", True),
    ],
)
def test_metas_notice_goes_by_the_licence(
    name: str, licence: str, made_from: str, llama: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A licence that is stated decides, else the model's own name; the folder it lies in says nothing."""
    (tmp_path / "assets" / "llama.cpp").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config = EncoderConfig(
        family="llama", vocab_size=300, hidden_size=32, layers=1, heads=4, kv_heads=2, head_dim=8, ffn_size=48
    )
    notices = describe_model({"_name_or_path": made_from}, name, licence, config).notices
    assert any("Built with Llama" in each for each in notices) is llama


def write_gguf(path: Path, family: str = "llama") -> None:
    """A tiny network of a family with a byte-level tokenizer, in float32."""
    import numpy as np
    from gguf import GGUFWriter
    from tokenizers.pre_tokenizers import ByteLevel

    chooser = np.random.default_rng(0)
    head = 128 if family == "qwen3" else 8  # transformers asks no GGUF how wide a Qwen3 head is: all released have 128
    writer = GGUFWriter(path, family)
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    if family == "llama":
        writer.add_rope_dimension_count(head)
    else:
        writer.add_key_length(head)
        writer.add_value_length(head)
    if family == "gemma3":
        writer.add_sliding_window(5)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(260)
    tokens = ["<s>", "</s>", *sorted(ByteLevel.alphabet()), "he", "an"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * 258)
    writer.add_token_merges(["h e", "a n"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    shapes = {
        "attn_q": (4 * head, 32),
        "attn_k": (2 * head, 32),
        "attn_v": (2 * head, 32),
        "attn_output": (32, 4 * head),
    }
    shapes |= {"ffn_gate": (48, 32), "ffn_up": (48, 32), "ffn_down": (32, 48), "attn_norm": (32,), "ffn_norm": (32,)}
    if family != "llama":
        shapes |= {"attn_q_norm": (head,), "attn_k_norm": (head,)}
    if family == "gemma3":
        shapes |= {"post_attention_norm": (32,), "post_ffw_norm": (32,)}
    named = {f"blk.{layer}.{name}.weight": shape for layer in range(2) for name, shape in shapes.items()}
    named |= {"token_embd.weight": (260, 32), "output_norm.weight": (32,)}
    for name, shape in named.items():
        writer.add_tensor(name, (0.3 * chooser.standard_normal(shape)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_gguf_files(family: str, tmp_path: Path) -> None:
    """A GGUF of each family gives the logits that transformers reads out of it, the second time from its cache."""
    write_gguf(tmp_path / "tiny.gguf", family)
    backbone = load_backbone(tmp_path / "tiny.gguf", cache=tmp_path / "cache")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf").eval()
    ids = torch.randint(2, 260, (1, 30))
    assert isinstance(backbone.network, Encoder)
    assert backbone.network.config.family == family
    with torch.no_grad():
        found = backbone.network.predict(backbone.network(ids))
        torch.testing.assert_close(found, model(ids).logits, atol=1e-4, rtol=0)
    kept = next((tmp_path / "cache").glob("gguf-*"))
    before = (kept / "model.safetensors").stat().st_mtime_ns
    again = load_backbone(tmp_path / "tiny.gguf", cache=tmp_path / "cache")
    assert (kept / "model.safetensors").stat().st_mtime_ns == before
    assert again.origin == backbone.origin
    assert json.loads(backbone.tokenizer.read_text())["model"]["type"] == "BPE"


@pytest.mark.parametrize(("name", "layers", "least"), [("retriever", 12, 0.99), ("e5-mini-half", 6, 0.6)])
def test_the_shipped_weights_give_the_shipped_vectors(name: str, layers: int, least: float) -> None:
    """e5-mini's training weights with its graph's table agree with the int8 graph; its half points that way. What is
    made of weights that were named says their name, not that of the folder whose tokenizer they use."""
    from drama_app.embed import open_retriever
    from drama_app.retriever import default_retriever_folder

    folder = default_retriever_folder()
    weights = Path(__file__).parents[2] / "assets" / f"{name}.safetensors"
    if not weights.is_file():
        pytest.skip("the training weights of the shipped retriever are not beside it")
    from tokenizers import Tokenizer

    backbone = load_backbone(folder, weights=weights)
    assert backbone.config.layers == layers
    assert backbone.origin.name.startswith(f"{name}, with the tokenizer of e5-mini ")
    tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
    texts = ["How do bees find nectar?", "长城是古代军事防御工程。", "هذا نص قصير", "Der Hafen. " * 40]
    with torch.no_grad():
        found = torch.cat([backbone.network.embed(torch.tensor([tokenizer.encode("query: " + t).ids])) for t in texts])
    shipped = torch.from_numpy(open_retriever(folder, threads=1).encode_queries(texts))
    assert (torch.nn.functional.normalize(found, dim=-1) * shipped).sum(1).min() > least


def test_refusals_name_the_reason(tmp_path: Path) -> None:
    """What is not there, not whole or not supported is told in a sentence."""
    with pytest.raises(RetrieverError, match="no such file or folder"):
        load_backbone(tmp_path / "nothing")
    with pytest.raises(RetrieverError, match="neither a checkpoint"):
        load_backbone(tmp_path)
    (tmp_path / "a.gguf").write_bytes(b"<html>not found</html>")
    with pytest.raises(RetrieverError, match="not a GGUF"):
        load_backbone(tmp_path / "a.gguf")
    write_gguf(tmp_path / "b.gguf")
    (tmp_path / "b.gguf").write_bytes((tmp_path / "b.gguf").read_bytes()[:9000])
    with pytest.raises(RetrieverError, match=r"cut short|cannot be read"):
        load_backbone(tmp_path / "b.gguf", cache=tmp_path / "cache")
    folder = tmp_path / "m"
    make_folder(folder)
    stated = json.loads((folder / "config.json").read_text())
    for change, reason in (
        ({"model_type": "mamba"}, "'mamba' is not supported; supported are llama, qwen3"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "'yarn' is not supported"),
        ({"num_hidden_layers": 3}, "do not fit: layers.2"),
    ):
        (folder / "config.json").write_text(json.dumps(stated | change))
        with pytest.raises(RetrieverError, match=reason):
            load_backbone(folder)
    (folder / "config.json").write_text(json.dumps(stated))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(RetrieverError, match="cut short"):
        load_backbone(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(RetrieverError, match="pickles"):
        load_backbone(folder)


def test_retriever_folders_without_training_weights(tmp_path: Path) -> None:
    """A retriever folder alone cannot be trained further, and says so."""
    with pytest.raises(RetrieverError, match="training weights are neither in it nor beside it"):
        load_backbone(make_tiny_retriever(tmp_path / "r"))


def test_weights_are_for_retriever_folders_only(tmp_path: Path) -> None:
    """Weights named beside a network that has its own are refused, not ignored; a run is refused before its stages."""
    make_folder(tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    with pytest.raises(UsageError, match="m: is no retriever folder, and --weights is for these"):
        load_backbone(tmp_path / "m", weights=weights)
    (tmp_path / "text.txt").write_text("Bread needs flour and water, and time.\n" * 3)
    inputs = Inputs(corpus=(str(tmp_path / "text.txt"),), backbone=str(tmp_path / "m"), weights=str(weights))
    recipe = Recipe(augment=AugmentRecipe(kinds=("crop",)), prune=PruneRecipe(method="none"))
    with pytest.raises(UsageError, match="is no retriever folder"):
        check(RunFolder(tmp_path / "run", recipe, inputs))


def test_extra_and_missing_tensors(tmp_path: Path) -> None:
    """A checkpoint with a tensor too many or too few is refused by that tensor's name."""
    make_folder(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"layers.0.self_attn.sinks": torch.ones(4)}, path)
    with pytest.raises(RetrieverError, match="sinks is not known"):
        load_backbone(tmp_path / "m")
    del tensors["norm.weight"]
    save_file(tensors, path)
    with pytest.raises(RetrieverError, match=r"norm\.weight is missing"):
        load_backbone(tmp_path / "m")
