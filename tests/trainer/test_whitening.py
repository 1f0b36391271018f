"""The directions of a network's vectors, evened out before an export."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from drama_app.errors import UsageError  # noqa: E402
from tests.tiny_retriever import WORDS  # noqa: E402
from tests.trainer.test_export import CONFIGS, make_backbone, make_network  # noqa: E402
from trainer.inputs import draw_texts  # noqa: E402
from trainer.recipe import Recipe, TrainRecipe  # noqa: E402
from trainer.records import Passage, RecordWriter, TrainingGroup  # noqa: E402
from trainer.run_folder import Inputs, RunFolder  # noqa: E402
from trainer.torch_encoder import TorchEncoder  # noqa: E402
from trainer.whitening import Texts, find_map, whiten  # noqa: E402

CHOOSER = random.Random(7)
SPOKEN = [" ".join(CHOOSER.choices(WORDS, k=CHOOSER.randint(2, 12))) for _ in range(300)]
TEXTS = Texts(SPOKEN[:150], SPOKEN[150:])


def _draw(count: int = 2000) -> np.ndarray:
    """Vectors [count, 6] of very unlike deviations, correlated, off the middle; the last never varies."""
    chooser = np.random.default_rng(3)
    turn, _ = np.linalg.qr(chooser.normal(size=(5, 5)))
    vectors = chooser.normal(size=(count, 5)) * [8.0, 4.0, 2.0, 1.0, 0.5] @ turn + 3.0
    return np.concatenate([vectors, np.full((count, 1), 2.0)], axis=1)


def test_directions_are_divided_by_a_power_of_their_deviation():
    """The map turns to the directions of variance, most first, and a variance v becomes v to (1 - strength)."""
    vectors = _draw()
    before = np.sort(np.linalg.eigvalsh(np.cov(vectors.T)))[::-1][:5]
    for strength in (0.0, 0.3, 1.0):
        matrix, middle = find_map(vectors, strength)
        after = np.cov(matrix @ (vectors - middle).T)
        spread = np.diag(after)
        assert np.abs(after - np.diag(spread)).max() < 1e-6 * spread.max()
        wanted = before ** (1 - strength)
        assert np.allclose(spread[:5] / spread[0], wanted / wanted[0], rtol=1e-6)


def test_lengths_stay_and_what_never_varies_is_not_blown_up():
    """All in all vectors are as long as before, and a direction without variance stays without."""
    vectors = _draw()
    for strength in (0.3, 1.0):
        matrix, middle = find_map(vectors, strength)
        mapped = (vectors - middle) @ matrix.T
        assert np.isclose((mapped**2).sum(), ((vectors - middle) ** 2).sum())
        assert np.abs(mapped[:, 5]).max() < 1e-6
        assert np.abs(matrix).max() < 100


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["gemma3", "xlm-r with head", "causal qwen3 with head"])
def test_the_network_says_what_the_map_makes_of_it(name: str, tmp_path: Path) -> None:
    """With or without a head before, vectors are the old ones through the map; the old network is left as it was."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS[name]))
    before = {key: tensor.clone() for key, tensor in backbone.network.state_dict().items()}
    told: list[str] = []

    evened = whiten(backbone, TEXTS, strength=0.5, width=32, report=told.append)

    with torch.no_grad():
        ids = torch.randint(5, 80, (40, 9), generator=torch.Generator().manual_seed(1))
        old = backbone.network.embed(ids)
        if not backbone.config.output_size:  # a head reads unit rows
            old = torch.nn.functional.normalize(old, dim=-1)
        old, new = old[:, :32].double(), evened.network.embed(ids).double()
    assert evened.config.output_size == new.shape[1] == 32
    # An affine map of 32 dimensions is known from 33 points; it must give the seven others as well.
    ones = torch.ones(40, 1, dtype=torch.float64)
    points = torch.cat([old, ones], dim=1)
    solved = torch.linalg.lstsq(points[:33], new[:33], driver="gelsd").solution
    assert (points[33:] @ solved - new[33:]).abs().max() < 1e-3 * new.abs().max()
    assert all(torch.equal(before[key], tensor) for key, tensor in backbone.network.state_dict().items())
    assert told == ["reading 300 texts to even out the 32 dimensions"]


@pytest.mark.usefixtures("one_thread")
def test_vectors_are_centred_and_the_first_dimensions_hold_most(tmp_path: Path) -> None:
    """Of the texts that were measured vectors lie around nought, and a cut to few dimensions keeps most variance."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["xlm-r with head"]))

    evened = whiten(backbone, TEXTS, strength=0.3, report=lambda _: None)

    rows = [*TEXTS.queries, *TEXTS.passages]
    encoder = TorchEncoder(evened)
    raw = _embed(evened, rows)
    assert np.abs(raw.mean(0)).max() < 1e-3 * raw.std(0).max() + 1e-5
    spread = raw.var(0)
    assert (np.diff(spread) < 1e-9).all()
    cut = TorchEncoder(replace(evened, origin=replace(evened.origin, dims=(16,)))).encode_passages(SPOKEN[:5])
    whole = encoder.encode_passages(SPOKEN[:5])[:, :16]
    assert np.allclose(cut, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-5)


def _embed(backbone, texts: list[str]) -> np.ndarray:
    """Vectors float32 [texts, width] as they leave the network, prefixes included."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(backbone.tokenizer))
    tokenizer.enable_truncation(64)
    prefixes = [backbone.origin.query_prefix] * len(TEXTS.queries) + [backbone.origin.passage_prefix] * len(texts)
    with torch.no_grad():
        return np.concatenate(
            [
                backbone.network.embed(torch.tensor([tokenizer.encode(prefix + text).ids])).numpy()
                for prefix, text in zip(prefixes, texts, strict=False)
            ]
        )


def test_too_few_texts_leave_vectors_alone(tmp_path: Path) -> None:
    """Of fewer than four texts a dimension nothing is measured: the network stays, and it is told."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS["xlm-r with head"]))
    told: list[str] = []

    same = whiten(backbone, Texts(SPOKEN[:50], SPOKEN[50:100]), strength=0.3, report=told.append)

    assert same is backbone
    assert told == ["100 texts are too few to even out 48 dimensions: vectors stay as they were trained"]


@pytest.mark.parametrize("name", ["gemma3", "xlm-r with head"])
def test_what_was_never_taught_is_not_brought_to_the_front(name: str, tmp_path: Path) -> None:
    """More dimensions than the network has, or was trained for, are refused before any text is read."""
    backbone = make_backbone(tmp_path, make_network(CONFIGS[name]))
    narrow = replace(backbone, origin=replace(backbone.origin, dims=(24, 16)))

    for network, width in ((backbone, backbone.config.dim + 1), (narrow, 25)):
        with pytest.raises(UsageError, match=f"width {width} is more than the {width - 1} that were trained"):
            whiten(network, TEXTS, strength=0.3, width=width, report=pytest.fail)


def test_queries_are_drawn_as_the_mixture_says(tmp_path: Path) -> None:
    """Of a kind that has a tenth of the mixture come a tenth of the queries, however many there are; none of others."""
    run = RunFolder.begin(
        tmp_path / "run", Recipe(train=TrainRecipe(mixture=MappingProxyType({"written": 0.9, "crop": 0.1}))), Inputs()
    )
    with RecordWriter(run.groups) as groups, RecordWriter(run.training_passages) as passages:
        for number in range(4000):
            passages.write(Passage(id=f"{number:04}", text=f"passage {number}"))
            for kind in ("written", "crop", "claim"):
                groups.write(TrainingGroup(query=f"{kind} {number}", positives=("1",), kind=kind))

    texts = draw_texts(run, 16)

    assert Counter(query.split()[0] for query in texts.queries) == {"written": 2700, "crop": 300}
    assert len(texts.passages) == len(set(texts.passages)) == 3000
    assert draw_texts(run, 16) == texts
    assert len(draw_texts(run, 2000).passages) == 4000  # a wider network needs more
