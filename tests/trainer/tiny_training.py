"""A world in which training is quick: topics with words of their own, a tokenizer of words, a network of two layers.

Run as a program it is one process of a training: `tiny_training.py FOLDER OUT [taught]`.
"""

import json
import os
import random
import sys
from dataclasses import replace
from pathlib import Path

from trainer.recipe import TrainRecipe
from trainer.records import Passage, RecordWriter, TrainingGroup, text_id

TOPICS, WORDS = 40, 12
RECIPE = TrainRecipe(
    steps=12, batch=16, hard_negatives=2, query_tokens=8, passage_tokens=24, query_prefix="", temperature=0.1,
    widths=(16, 8), reverse=0.3, learning_rate=3e-3, warmup=2, chunk_tokens=96, keep_tokens=200, save_every=5,
    average=2, must_learn_by=0, spread=0.05,
)  # fmt: skip
KEPT = (1, 3)
TAUGHT = replace(RECIPE, row_weight=2.0, freeze_tokens=True, spread=0.0, widths=(), reverse=0.0)
"""For a student of token rows."""


def make_world(folder: Path) -> None:
    """Write groups.jsonl, passages.jsonl and tokenizer.json."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    chooser = random.Random(1)
    vocabulary = {"<pad>": 0, "<unk>": 1}
    passages: list[list[Passage]] = []
    for topic in range(TOPICS):
        words = [f"t{topic}w{number}" for number in range(WORDS)]
        vocabulary |= {word: len(vocabulary) + place for place, word in enumerate(words)}
        texts = [" ".join(chooser.choices(words, k=chooser.randint(5, 20))) for _ in range(4)]
        passages.append([Passage(id=text_id(text), text=text, language="ab"[topic % 2]) for text in texts])
    with RecordWriter(folder / "passages.jsonl") as writer:
        for passage in (each for row in passages for each in row):
            writer.write(passage)
    with RecordWriter(folder / "groups.jsonl") as writer:
        for number in range(3 * TOPICS):
            topic = number % TOPICS
            words = [f"t{topic}w{chooser.randrange(WORDS)}" for _ in range(3)]
            answers = [each.id for each in passages[topic]]
            others = [passages[(topic + step) % TOPICS][0].id for step in (1, 2, 3)]
            writer.write(
                TrainingGroup(
                    query=" ".join(words), positives=tuple(answers[: 1 + number % 3]), negatives=tuple(others),
                    kind="written" if number % 3 else "crop", language="ab"[topic % 2],
                )
            )  # fmt: skip
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def make_network():
    """Two layers of 16, the same every time."""
    from trainer.bidirectional import BidirectionalConfig
    from trainer.network import build_network

    shape = BidirectionalConfig(vocab_size=600, hidden_size=16, layers=2, heads=2, ffn_size=32, max_tokens=32)
    return build_network(shape, seed=5)


def make_whole():
    """Four layers of 16, each of which changes much: losing one costs something."""
    import torch

    from trainer.bidirectional import BidirectionalConfig
    from trainer.network import build_network

    shape = BidirectionalConfig(vocab_size=600, hidden_size=16, layers=4, heads=2, ffn_size=32, max_tokens=32)
    network = build_network(shape, seed=6)
    with torch.no_grad():
        for layer in network.layers:
            layer.down.weight.mul_(2000)
    return network


def make_student():
    """Two of those layers, and the whole network as their teacher."""
    from trainer.prune.slicing import drop_layers
    from trainer.train.rows import WholeNetwork

    student = drop_layers(make_whole(), KEPT).train().requires_grad_(True)
    student.embed_tokens.requires_grad_(False)
    return student, WholeNetwork(make_whole(), KEPT, TAUGHT.row_weight)


def load_world(folder: Path, recipe: TrainRecipe = RECIPE, **more):
    """The world as training data."""
    from trainer.train.data import load_data

    files = (folder / name for name in ("groups.jsonl", "passages.jsonl", "tokenizer.json"))
    return load_data(*files, recipe, pad=0, **more)


def train_world(folder: Path, out: Path, recipe: TrainRecipe = RECIPE, *, network=None, data=None, **more):
    """Train on the world, on the CPU."""
    from trainer.checkpoint import Origin
    from trainer.train.run import train

    return train(
        network or make_network(), data or load_world(folder, recipe), recipe, out,
        tokenizer=folder / "tokenizer.json", origin=Origin(name="tiny"), cpu=True, **more,
    )  # fmt: skip


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    losses: list[float] = []
    student, whole = make_student() if "taught" in sys.argv else (None, None)
    train_world(
        Path(sys.argv[1]), Path(sys.argv[2]), replace(TAUGHT if whole else RECIPE, steps=4), network=student,
        whole=whole, report=lambda progress: losses.append(progress.loss),
    )  # fmt: skip
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(json.dumps(losses) + "\n")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
