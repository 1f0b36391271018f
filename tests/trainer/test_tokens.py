"""Token rows taught by a teacher before the first step."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer, models

torch = pytest.importorskip("torch")

from drama_app.errors import UsageError  # noqa: E402
from tests.trainer.tiny_training import RECIPE, TOPICS, WORDS, load_world, make_network  # noqa: E402
from trainer.augment.filters import measure_width  # noqa: E402
from trainer.checkpoint import TOKENS, Origin, place_step, save_checkpoint  # noqa: E402
from trainer.encoder import EncoderConfig  # noqa: E402
from trainer.network import build_network, change_network  # noqa: E402
from trainer.outline import check_shape  # noqa: E402
from trainer.recipe import PruneRecipe, Recipe, TrainRecipe  # noqa: E402
from trainer.records import Passage, text_id  # noqa: E402
from trainer.train.clauses import LEAST, MOST, cut_clauses, draw_clauses  # noqa: E402
from trainer.train.data import TeacherVectors, divide_groups  # noqa: E402
from trainer.train.head import read_cosine  # noqa: E402
from trainer.train.taught_rows import teach_rows  # noqa: E402
from trainer.train.tokens import name_tokens, place_rows, pool_tokens, settle_layers, teach_tokens  # noqa: E402

TAUGHT = replace(RECIPE, head=12, widths=(12, 6), embedding_weight=1.0, token_passes=2, token_rate=0.02)
VOCABULARY, WIDTH = 2 + TOPICS * WORDS, 24


def _make_llm(family="gemma3", **more):
    shape = EncoderConfig(
        family=family, vocab_size=VOCABULARY, hidden_size=WIDTH, layers=2, heads=2, kv_heads=1, head_dim=8,
        ffn_size=32, embedding_scale=WIDTH**0.5, **more,
    )  # fmt: skip
    return build_network(shape, seed=3)


def _read_topics(world):
    """The world with a teacher that knows the topic of a text, and what it says of each token."""
    data = load_world(world)
    topics = np.random.default_rng(7).normal(size=(TOPICS, 12)).astype(np.float32)
    topics /= np.linalg.norm(topics, axis=1, keepdims=True)
    of_text = lambda rows: np.stack([topics[(rows[at][-1] - 2) // WORDS] for at in range(len(rows))])  # noqa: E731
    tokens = np.zeros((VOCABULARY, 12), dtype=np.float32)
    tokens[2:] = topics[np.arange(VOCABULARY - 2) // WORDS]
    teacher = TeacherVectors(queries=of_text(data.queries), passages=of_text(data.passages))
    return replace(data, teacher=teacher), tokens


def test_rows_hold_the_llm_and_the_teacher_apart():
    """A placed row has what was taught in the directions that varied least and the LLM's in the others; the head that
    reads these directions gives the mean of what was taught, however long each row's part is."""
    chooser = torch.Generator().manual_seed(1)
    spread = torch.cat([torch.ones(4), torch.full((6,), 5.0)])
    table, said = torch.randn(200, 10, generator=chooser) * spread, torch.randn(200, 4, generator=chooser)
    said[0] = 0
    placed, free = place_rows(table, said)

    assert torch.allclose(placed.norm(dim=1), table.norm(dim=1).mean().expand(200), rtol=1e-4)
    cosines = torch.nn.functional.cosine_similarity
    _, axes = torch.linalg.eigh(torch.cov(torch.nn.functional.normalize(table, dim=-1).T))
    assert torch.equal(free, axes[:, :4])
    assert cosines((placed @ free)[1:], said[1:], dim=-1).min() > 0.9999
    assert cosines(placed @ axes[:, 4:], table @ axes[:, 4:], dim=-1).min() > 0.9999
    assert (placed @ free)[0].norm() < 1e-4 * placed[0].norm()  # a token that says nothing stays the LLM's
    short = said.norm(dim=1) < said.norm(dim=1).quantile(0.98)
    ratios = (placed @ free)[short].norm(dim=1)[1:] / said[short].norm(dim=1)[1:]
    assert torch.allclose(ratios, ratios.mean().expand(len(ratios)), rtol=1e-4)


def test_what_no_text_holds_is_guessed_from_the_tokens_that_texts_hold():
    """A token that occurs in no text says what the teacher's reading of it alone says to the others' rule."""
    chooser = np.random.default_rng(5)
    meant = chooser.normal(size=(300, 8)).astype(np.float32)
    rule = np.linalg.qr(chooser.normal(size=(8, 8)))[0].astype(np.float32)
    taught = meant @ rule  # what the teacher says of a token alone is turned from what it says among others
    rows = [chooser.integers(0, 240, size=6).astype(np.int32) for _ in range(3000)]
    wanted = np.stack([meant[row].mean(0) for row in rows])
    told = []
    said = teach_rows(
        rows, wanted, torch.from_numpy(taught), passes=2, rate=0.01, seed=1, report=told.append
    )  # fmt: skip
    unseen = torch.nn.functional.cosine_similarity(said[240:], torch.from_numpy(meant[240:]), dim=-1)
    alone = torch.nn.functional.cosine_similarity(torch.from_numpy(taught[240:]), torch.from_numpy(meant[240:]), dim=-1)
    assert unseen.mean() > 0.8 > 0.3 > alone.mean()
    assert told


@pytest.mark.parametrize("family", ["gemma3", "llama", "qwen3"])
def test_silent_layers_leave_a_bag_of_tokens(family):
    """With layers that add nothing a network's embedding is its head on the mean of its normalised token rows."""
    network = change_network(_make_llm(family), output_size=12)
    rows = [np.array([3, 9, 4, 200], dtype=np.int32), np.array([7, 8], dtype=np.int32)]
    with torch.no_grad():
        whole = torch.cat([network.embed(torch.tensor([row.tolist()])) for row in rows])
        settle_layers(network, 0.0, rows)
        silent = torch.cat([network.embed(torch.tensor([row.tolist()])) for row in rows])
        bag = network.head(pool_tokens(network, rows))
    assert torch.allclose(silent, bag, atol=1e-5)
    assert not torch.allclose(whole, bag, atol=1e-3)


@pytest.mark.parametrize("family", ["gemma3", "llama", "qwen3"])
def test_each_branch_adds_the_same_share_of_a_row(family):
    """However loud a branch was, it adds the share of a token's row that is asked for."""
    network, chooser = _make_llm(family), np.random.default_rng(2)
    rows = [chooser.integers(2, VOCABULARY, size=12).astype(np.int32) for _ in range(9)]
    ids = torch.from_numpy(np.stack(rows).astype(np.int64))
    with torch.no_grad():
        network.layers[0].self_attn.o_proj.weight.mul_(50)
        network.layers[1].mlp.down_proj.weight.mul_(0.01)
        settle_layers(network, 0.2, rows)
        states = [network.embed_tokens(ids) * network.config.embedding_scale]
        heard = [part for layer in network.layers for part in _list_parts(layer)]
        hooks = [part.register_forward_hook(lambda _, __, out: states.append(out)) for part in heard]
        network(ids)
        for hook in hooks:
            hook.remove()
    sizes = [float(state.pow(2).mean().sqrt()) for state in states]
    assert len(sizes) == 5 and np.allclose(np.array(sizes[1:]) / sizes[0], 0.2, rtol=1e-3)


def _list_parts(layer):
    if layer.gemma:
        return layer.post_attention_layernorm, layer.post_feedforward_layernorm
    return layer.self_attn, layer.mlp


def test_a_table_learns_its_teacher(world, tmp_path):
    """After a few passes the network stands near its teacher on texts that it has not seen, faint layers included."""
    data, tokens = _read_topics(world)
    early, later = divide_groups(data, 0.5, seed=0)
    told = []
    network = teach_tokens(_make_llm(), early, later, tokens, TAUGHT, tmp_path / TOKENS, report=told.append)

    unseen = [later.queries[row] for row in range(len(later.queries))]
    with torch.no_grad():
        mine = torch.cat([network.embed(torch.tensor([row.tolist()])) for row in unseen])
    wanted = torch.from_numpy(data.teacher.queries[later.lines])
    assert torch.nn.functional.cosine_similarity(mine, wanted, dim=-1).mean() > 0.85
    assert "taught" in told[-1]
    assert 0.8 < read_cosine(tmp_path / TOKENS) <= 1


def test_a_run_that_goes_on_has_the_same_rows(world, tmp_path):
    """A second call reads what the first has taught and teaches nothing, unless it is told to teach otherwise."""
    data, tokens = _read_topics(world)
    halves, told = divide_groups(data, 0.5, seed=0), []
    first = teach_tokens(_make_llm(), *halves, tokens, TAUGHT, tmp_path / TOKENS, report=lambda text: None)
    second = teach_tokens(_make_llm(), *halves, tokens, TAUGHT, tmp_path / TOKENS, report=told.append)
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    assert not told and not first.embed_tokens.sparse
    other = replace(TAUGHT, token_rate=TAUGHT.token_rate / 2)
    third = teach_tokens(_make_llm(), *halves, tokens, other, tmp_path / TOKENS, report=told.append)
    assert told and not torch.equal(third.embed_tokens.weight, first.embed_tokens.weight)


def test_halves_share_no_group(world):
    """Groups are divided without rest, each with its own query, place and passages."""
    data, _ = _read_topics(world)
    early, later = divide_groups(data, 0.3, seed=1)
    assert len(early.queries) == int(0.3 * len(data.queries))
    assert sorted([*early.lines, *later.lines]) == sorted(data.lines)
    for part in (early, later):
        for row, line in enumerate(part.lines):
            assert np.array_equal(part.queries[row], data.queries[line])
            assert np.array_equal(part.positives[row], data.positives[line])
            assert part.stratum[row] == data.stratum[line]


def test_networks_without_room_are_refused(world, tmp_path):
    """A network that is no LLM's, and rows no wider than the head, are told before anything is taught."""
    data, tokens = _read_topics(world)
    halves = divide_groups(data, 0.5, seed=0)
    with pytest.raises(UsageError, match="an LLM's network"):
        teach_tokens(make_network(), *halves, tokens, TAUGHT, tmp_path / TOKENS, report=print)
    with pytest.raises(UsageError, match="no room in rows of 24"):
        teach_tokens(_make_llm(), *halves, tokens, replace(TAUGHT, head=24), tmp_path / TOKENS, report=print)


def test_a_network_without_room_is_told_before_a_run():
    """The plan of a run names what its network lacks, before a corpus is read."""
    recipe = Recipe(prune=PruneRecipe(method="none"), train=replace(TAUGHT, widths=(12,), query_tokens=8))
    check_shape(_make_llm().config, recipe)
    with pytest.raises(UsageError, match="an LLM's network"):
        check_shape(make_network().config, recipe)
    with pytest.raises(UsageError, match="no room in token rows of 24"):
        check_shape(_make_llm().config, replace(recipe, train=replace(recipe.train, head=24)))
    with pytest.raises(UsageError, match="no room in token rows of 8"):
        check_shape(_make_llm().config, replace(recipe, prune=PruneRecipe(hidden_size=8)))


def test_a_recipe_needs_a_head_and_a_share():
    """Passes over tokens without a head, or over all of the texts, are refused by name."""
    with pytest.raises(ValueError, match="token_passes"):
        TrainRecipe(token_passes=1)
    with pytest.raises(ValueError, match="clauses"):
        TrainRecipe(clauses=5)
    with pytest.raises(ValueError, match="token_share"):
        replace(TAUGHT, token_share=1.0)


def test_tokens_are_named_as_texts():
    """A token's name is its text; controls and lone bytes have none."""
    from tokenizers import AddedToken, Tokenizer, decoders, models

    pieces = {"<s>": 0, "<0xC3>": 1, "▁bee": 2, "s": 3, "▁": 4}
    tokenizer = Tokenizer(models.BPE(pieces, [], byte_fallback=True))
    tokenizer.add_special_tokens([AddedToken("<s>", special=True)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    assert name_tokens(tokenizer) == ["", "", "bee", "s", ""]


def test_clauses_are_the_text_in_short_runs():
    """Clauses follow each other in the text, 24 to 96 columns wide, in scripts with and without spaces."""
    texts = {
        "en": "The river carries snow from the mountains, and bread needs flour; water and time. " * 4,
        "zh": "河水从山上带来雪，面包需要面粉和时间。" * 8,
        "th": "แม่น้ำพาหิมะลงมาจากภูเขาและขนมปังต้องการแป้งกับเวลา" * 4,
    }
    for text in texts.values():
        clauses = cut_clauses(text, random.Random(3))
        assert len(clauses) > 2
        assert all(LEAST // 2 <= measure_width(clause) <= MOST + 3 for clause in clauses)
        places = [text.find(clause) for clause in clauses]
        assert min(places) >= 0
        assert "".join(clauses).replace(" ", "") == text.replace(" ", "")[: len("".join(clauses).replace(" ", ""))]
    assert all(clause[-1] in ",;." for clause in cut_clauses(texts["en"], random.Random(3)))
    assert cut_clauses("too short", random.Random(3)) == []


def test_clauses_are_drawn_from_all_passages_alike():
    """No more than are asked for, the same again with the same seed, none longer passages' alone."""
    passages = [
        Passage(id=text_id(name), text=f"{name} " + "the bee dances on the comb, and others follow her; " * count)
        for name, count in (("first", 40), ("second", 4), ("third", 4))
    ]
    drawn = list(draw_clauses(passages, 9, among=3, seed=1))
    assert drawn == list(draw_clauses(passages, 9, among=3, seed=1)) != list(draw_clauses(passages, 9, among=3, seed=2))
    assert [sum(clause in each.text for clause in drawn) >= 3 for each in passages] == [True] * 3
    assert len(drawn) == 9
    many = [replace(passages[0], id=text_id(f"{number}")) for number in range(50)]
    assert len(list(draw_clauses(many, 120, among=50, seed=1))) == 120  # 2.4 a passage, to the last
    assert len(list(draw_clauses(many[25:], 60, among=25, seed=1))) == 60


def test_clauses_end_between_numbers_not_within():
    """A mark ends a clause where a space follows it; numbers, times and names of hosts stay whole."""
    text = "It cost 3.14 million until 12:30 on www.example.org, and 1,000,000 people came; " * 5
    clauses = cut_clauses(text, random.Random(1))
    assert len(clauses) > 5
    for kept in ("3.14", "12:30", "www.example.org", "1,000,000"):
        assert sum(kept in clause for clause in clauses) >= 4, kept  # of five, what is left at the end is no clause


def test_nothing_known_of_tokens_is_no_failure():
    """Where the teacher says nothing of single tokens, rows are taught by their texts alone."""
    chooser = np.random.default_rng(3)
    rows = [chooser.integers(0, 20, size=4).astype(np.int32) for _ in range(200)]
    wanted = chooser.normal(size=(200, 6)).astype(np.float16)
    said = teach_rows(rows, wanted, torch.zeros(20, 6), passes=1, rate=0.01, seed=1, report=lambda text: None)
    assert torch.isfinite(said).all() and said.abs().sum() > 0


def test_steps_on_another_table_are_not_gone_on_with(world, tmp_path):
    """Where steps were taken on a table that was taught otherwise, nothing is taught anew in its place."""
    data, tokens = _read_topics(world)
    halves = divide_groups(data, 0.5, seed=0)
    network = teach_tokens(_make_llm(), *halves, tokens, TAUGHT, tmp_path / TOKENS, report=lambda text: None)
    before = (tmp_path / TOKENS).read_bytes()
    save_checkpoint(place_step(tmp_path, 5), network, tokenizer=_write_tokenizer(tmp_path), origin=Origin(name="tiny"))
    with pytest.raises(UsageError, match="begin a new run"):
        other = replace(TAUGHT, token_rate=TAUGHT.token_rate / 2)
        teach_tokens(_make_llm(), *halves, tokens, other, tmp_path / TOKENS, report=lambda text: None)
    assert (tmp_path / TOKENS).read_bytes() == before


def _write_tokenizer(folder):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


class _Reader:
    """A teacher that cannot read an empty text, as some cannot."""

    fingerprint, dim = "reader", 3

    def encode_passages(self, texts):
        assert all(texts)
        return np.array([[len(text), 1, 0] for text in texts], dtype=np.float32)


@pytest.mark.parametrize("rows", [9, 5])
def test_a_table_of_another_size_than_its_tokenizer_has_a_row_each(rows, tmp_path, monkeypatch):
    """A padded table gets zeros beyond the tokens, a shorter one no more than it has; no empty name is asked for."""
    from trainer import train_stage

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "bb": 2, "ccc": 3, "\ufffd": 4, "dd": 5}, "[UNK]"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(train_stage, "open_teacher", lambda _: _Reader())
    run = SimpleNamespace(vectors=tmp_path / "vectors")
    backbone = SimpleNamespace(tokenizer=tmp_path / "tokenizer.json", config=SimpleNamespace(vocab_size=rows))

    known = train_stage._read_tokens(run, backbone, print)

    assert known[:, 0].tolist() == [5, 1, 2, 3, 0, 2, 0, 0, 0][:rows]


def test_another_teacher_begins_a_training_anew(tmp_path, monkeypatch):
    """Where nothing was searched the groups do not tell who teaches: the training of another teacher is not gone on."""
    from trainer import train_stage
    from trainer.checkpoint import TOKENIZER, WEIGHTS

    run = SimpleNamespace(
        groups=tmp_path / "groups.jsonl", training_passages=tmp_path / "passages.jsonl", backbone=tmp_path / "backbone",
        training=tmp_path / "train", inputs=SimpleNamespace(teacher="one"),
        recipe=SimpleNamespace(train=SimpleNamespace(reads_vectors=True), mine=SimpleNamespace(depth=0)),
    )  # fmt: skip
    run.backbone.mkdir()
    for path in (run.groups, run.training_passages, run.backbone / WEIGHTS, run.backbone / TOKENIZER):
        path.write_text("{}")
    monkeypatch.setattr(train_stage, "open_teacher", lambda run: SimpleNamespace(fingerprint=run.inputs.teacher))
    told = []
    train_stage._remove_other_training(run, told.append)
    (run.training / "step").touch()
    train_stage._remove_other_training(run, told.append)
    assert (run.training / "step").exists() and not told
    run.inputs.teacher = "two"
    train_stage._remove_other_training(run, told.append)
    assert not (run.training / "step").exists() and "anew" in told[0]
