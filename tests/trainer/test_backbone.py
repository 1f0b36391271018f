"""Networks come from GGUFs, model folders, runs and retriever folders, or are refused with the reason."""

import hashlib
import json
import shutil
from dataclasses import replace
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
from trainer.contestants import open_exact  # noqa: E402
from trainer.encoder import Encoder, EncoderConfig, RopeScaling, make_rotation  # noqa: E402
from trainer.gguf_header import read_header  # noqa: E402
from trainer.input_checks import check  # noqa: E402
from trainer.model_files import describe_model  # noqa: E402
from trainer.outline import check_room, read_outline  # noqa: E402
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
    with pytest.raises(RetrieverError, match="missing; fetch"):
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


@pytest.mark.parametrize("taught", [True, False])
def test_a_step_without_its_table_takes_the_one_it_trained_on(taught: bool, tmp_path: Path) -> None:
    """A run that was stopped is opened by its last step, with the table that was taught, else the backbone's."""
    make_folder(tmp_path / "m")
    first = load_backbone(tmp_path / "m")
    keep: dict[str, Any] = {"tokenizer": first.tokenizer, "origin": first.origin}
    save_checkpoint(tmp_path / "run" / "backbone", first.network, **keep)
    expected = first.network.embed_tokens.weight.detach().clone()
    step = place_step(tmp_path / "run" / "train", 4)
    save_checkpoint(step, first.network, step=4, with_table=False, **keep)
    if taught:
        expected = expected + 1
        save_file({"embed_tokens.weight": expected}, tmp_path / "run" / "train" / "tokens.safetensors")
    found = load_backbone(tmp_path / "run")
    assert found.tokenizer.parent == step
    torch.testing.assert_close(found.network.embed_tokens.weight, expected, atol=0, rtol=0)


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
    with pytest.raises(RetrieverError, match="pools cls"):
        load_backbone(folder)


def test_embedders_that_do_more_than_the_mean_are_not_measured(tmp_path: Path) -> None:
    """A layer behind the mean, or the last token's row, would be left out in silence: neither is opened to compare."""
    folder = tmp_path / "m"
    make_folder(folder, "Qwen3", head_dim=8)
    assert open_exact(folder).encoder.dim == 32
    (folder / "1_Pooling").mkdir()
    pooling = folder / "1_Pooling" / "config.json"
    (folder / "modules.json").write_text("[]")
    pooling.write_text('{"pooling_mode": "mean", "include_prompt": true}')  # as sentence-transformers 5.4 says it
    assert open_exact(folder).encoder.dim == 32
    pooling.write_text('{"pooling_mode_lasttoken": true}')
    modules = ["Transformer", "Pooling", "Normalize"]
    for kinds, said in ((modules, "does not pool the mean"), ([*modules, "Dense"], "has a Dense layer")):
        rows = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
        (folder / "modules.json").write_text(json.dumps(rows))
        with pytest.raises(RetrieverError, match=f"{said}.*its GGUF form can be used"):
            open_exact(folder)


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


def write_gguf(
    path: Path,
    family: str = "llama",
    *,
    factors: Any = None,
    linear: float = 1.0,
    parts: int = 1,
    left_out: str = "",
) -> None:
    """A tiny network of a family with a byte-level tokenizer, in float32."""
    import numpy as np
    from gguf import GGUFWriter, RopeScalingType
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
    if linear != 1:
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(linear)
    if parts > 1:
        writer.add_uint16("split.count", parts)
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
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    for name, shape in named.items():
        if name == left_out:
            continue
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


def test_rotations_of_a_gguf_are_stretched_as_it_says(tmp_path: Path) -> None:
    """Llama 3's factors and a linear scaling reach the network, of which transformers reads neither; a network kept
    by a version that did not see them is made anew."""
    plain = EncoderConfig(
        family="llama", vocab_size=9, hidden_size=32, layers=1, heads=4, kv_heads=2, head_dim=8, ffn_size=8,
        rope_theta=10000.0,
    )  # fmt: skip

    def turn(scaling: RopeScaling | None) -> Any:
        rotation = make_rotation(replace(plain, rope_scaling=scaling), 2, torch.device("cpu"), sliding=False)
        return torch.atan2(rotation[1, 1, :4].double(), rotation[0, 1, :4].double())

    for positions in (1500, 48):  # of which one frequency lies between those that are kept and stretched, and none
        wanted = RopeScaling(kind="llama3", factor=32.0, original_positions=positions)
        path = tmp_path / f"{positions}.gguf"
        write_gguf(path, factors=(turn(None) / turn(wanted)).float().numpy())
        found = load_backbone(path, cache=tmp_path / "cache").config
        assert isinstance(found, EncoderConfig)
        assert found.rope_scaling is not None
        torch.testing.assert_close(turn(found.rope_scaling), turn(wanted), rtol=1e-4, atol=0)
        assert read_outline(str(path)).rope_scaling == found.rope_scaling  # type: ignore[union-attr]
    write_gguf(tmp_path / "g.gguf", "gemma3", linear=8.0)
    old = tmp_path / "cache" / f"gguf-{hashlib.sha256((tmp_path / 'g.gguf').read_bytes()).hexdigest()[:24]}"
    old.mkdir()
    found = load_backbone(tmp_path / "g.gguf", cache=tmp_path / "cache").config
    assert isinstance(found, EncoderConfig)
    assert found.rope_scaling == RopeScaling(kind="linear", factor=8.0)
    assert not old.exists()


def test_room_for_a_ggufs_weights_is_looked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that does not fit into memory or into the cache is told before anything is done; one that is kept
    already needs no room on the disk."""
    from collections import namedtuple

    from trainer import outline
    from trainer.augment import llama_generator

    monkeypatch.setenv("DRAMA_APP_HOME", str(tmp_path / "home"))
    write_gguf(tmp_path / "a.gguf")
    check_room(str(tmp_path / "a.gguf"))
    needed = 4 * read_header(tmp_path / "a.gguf").weights
    monkeypatch.setattr(llama_generator, "measure_free_memory", lambda: int(1.5 * needed))
    with pytest.raises(UsageError, match="of memory as float32"):  # it is held twice while it is read
        check_room(str(tmp_path / "a.gguf"))
    monkeypatch.setattr(llama_generator, "measure_free_memory", lambda: 3 * needed)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(outline.shutil, "disk_usage", lambda place: usage(1000))
    with pytest.raises(UsageError, match=r"for the weights of .*a\.gguf, 0 MB are free"):
        check_room(str(tmp_path / "a.gguf"))
    load_backbone(tmp_path / "a.gguf")
    monkeypatch.setattr(llama_generator, "measure_free_memory", lambda: int(1.5 * needed))
    check_room(str(tmp_path / "a.gguf"))
    monkeypatch.setattr(llama_generator, "measure_free_memory", lambda: 1000)
    with pytest.raises(UsageError, match="of memory as float32, 0 MB are free; name a smaller network"):
        check_room(str(tmp_path / "a.gguf"))


def test_ggufs_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    """A part of a split file, missing weights and rotations of another kind are told at once, by the file's name."""
    write_gguf(tmp_path / "part.gguf", parts=2)
    write_gguf(tmp_path / "other.gguf", factors=torch.tensor([1.0, 3.0, 2.0, 4.0]).numpy())
    for name, reason in (("part", "one part of several.*--merge"), ("other", "other.gguf: its rotary factors")):
        for read in (read_outline, lambda source: load_backbone(source, cache=tmp_path / "cache")):
            with pytest.raises(RetrieverError, match=reason):
                read(str(tmp_path / f"{name}.gguf"))
    write_gguf(tmp_path / "holes.gguf", left_out="blk.1.ffn_up.weight")
    with pytest.raises(RetrieverError, match=r"lacks model\.layers\.1\.mlp\.up_proj\.weight"):
        load_backbone(tmp_path / "holes.gguf", cache=tmp_path / "cache")


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
