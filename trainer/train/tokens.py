"""Owns token rows that a teacher has taught: the start of a student in which no layer has a part yet.

What a text is about lies for the most part in its tokens, and a table learns that far faster than layers do (LOG.md).
So the table is trained first, as a bag of tokens in the teacher's columns, and the layers are put back at a share of a
row that does not drown what the table knows. Each row keeps the directions in which the LLM's rows vary most, and gets
what was taught in those that vary least; all rows are of one length, so that the norm in front of the head changes
nothing.

Shapes: V tokens, H width of a row, T width of the head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from drama_app.errors import UsageError
from trainer.checkpoint import TABLE, find_latest, read_tensors
from trainer.encoder import Encoder, Layer, RootMeanSquareNorm
from trainer.network import Network, change_network
from trainer.recipe import TrainRecipe
from trainer.records import make_key
from trainer.train.data import Ragged, TrainingData
from trainer.train.head import READ_AS, is_start, save_start
from trainer.train.taught_rows import teach_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    Rows = Sequence[NDArray[np.int32]]

_FORM, _FORM_OF_CLAUSES = 2, 3
"""Of how rows are taught; what was kept by another is taught anew, or refused if steps were taken on it."""
_MEASURED = 3000
"""Queries of the steps that tell how near the table comes."""
_SETTLED = 64
"""Texts on which the layers' outputs are measured."""
_USUAL, _MOST = 0.95, 0.98
"""Share of a row's length that was taught: in one of a hundred more than the first, in none more than the second."""
_MADE_BY = ("head", "token_passes", "token_share", "token_rate", "clauses", "seed", *READ_AS)
"""What of a recipe decides what is taught."""
_KEPT = ("norm.weight", "head.weight", "head.bias")


@dataclass(frozen=True, slots=True)
class Clauses:
    """Short texts for the table alone."""

    rows: Ragged
    vectors: "NDArray[np.floating[Any]]"
    """The teacher's [clauses, T]."""


@dataclass(frozen=True, slots=True)
class _Texts:
    """What the table is trained on."""

    rows: "Rows"
    wanted: "NDArray[np.float16]"
    """The teacher's vectors [texts, T]."""


def name_tokens(tokenizer: "Tokenizer") -> list[str]:
    """Each token of the vocabulary as a text of its own; empty where it is no text (a control, a part of a letter)."""
    names = (tokenizer.decode([number], skip_special_tokens=True) for number in range(tokenizer.get_vocab_size()))
    return ["" if "\ufffd" in name else name.strip() for name in names]


def teach_tokens(
    network: Network, data: TrainingData, later: TrainingData, taught: "NDArray[np.floating[Any]]",
    recipe: TrainRecipe, path: Path, *, read_clauses: Callable[[], Clauses | None] = lambda: None,
    report: Callable[[str], None],
) -> Network:  # fmt: skip
    """The network with a head and a table that make its teacher's vectors without a layer, and its layers faint.

    Args:
        network: Of an LLM, without a head.
        data: With a teacher.
        later: What the steps train on. No row is taught with its texts as they are (clauses of its passages may be
            among what is read): a table knows by heart what it was taught, and would leave the layers nothing to learn.
        taught: The teacher's vectors [V, T] of single tokens; zeros where there is no text.
        recipe: `head`, `token_passes`, `token_rate`, `layer_scale`, `seed`.
        path: File of what was taught: read if it is there, so that a run which goes on starts from the same weights.
        read_clauses: Gives short texts that the teacher has read as well; called if there is something to teach.
        report: Told how near the table comes.

    Raises:
        UsageError: The network is no LLM's, its rows have no room for the head, or steps were taken on another table.
    """
    changed = _add_room(network, recipe, taught.shape[1])
    key = make_key(
        {"rows": _FORM_OF_CLAUSES if recipe.clauses else _FORM} | {name: getattr(recipe, name) for name in _MADE_BY}
    )
    if not is_start(path, key):
        if path.is_file() and find_latest(path.parent):
            raise UsageError(f"{path}: an older version taught this table, and steps were taken on it; begin a new run")
        known = torch.from_numpy(taught[:, : recipe.head].astype(np.float32))
        _teach(changed, _collect(data, later, read_clauses(), recipe), known, recipe, report)
        cosine = _measure(changed, later)
        report(f"token rows taught: cosine {cosine:.3f} on the queries of the steps, without a layer")
        kept = {name: tensor for name, tensor in changed.state_dict().items() if name in (TABLE, *_KEPT)}
        save_start(kept, path, key=key, cosine=cosine)
    changed.load_state_dict(read_tensors(path), strict=False)
    settle_layers(changed, recipe.layer_scale, later.queries)
    return changed


def _add_room(network: Network, recipe: TrainRecipe, width: int) -> Encoder:
    """The network with a head as wide as the recipe says, of a teacher of `width` columns."""
    if not isinstance(network, Encoder):
        raise UsageError("[train] 'token_passes' is for an LLM's network; this one's table suits its layers already")
    if recipe.head >= network.config.hidden_size:
        raise UsageError(f"[train] 'head' = {recipe.head} leaves no room in rows of {network.config.hidden_size}")
    if recipe.head > width:
        raise UsageError(f"[train] 'head' = {recipe.head}, but the teacher's vectors have {width} columns")
    changed = change_network(network, output_size=recipe.head)
    assert isinstance(changed, Encoder)
    return changed


@torch.no_grad()
def settle_layers(network: Encoder, scale: float, rows: "Rows | Ragged") -> None:
    """Let each branch of each layer add so many times what a row holds, measured on some texts, one after the other.

    Gemma's branches add 2 to 35 times what a row holds, each its own; one factor for all drowns the table or leaves
    them so faint that no step brings them back (LOG.md).

    Args:
        network: It is changed: the norm behind a branch where there is one, else the branch's last product.
        scale: Root mean square of what a branch adds, over that of a token's row.
        rows: Token ids of texts; the longest are read.
    """

    def scale_output(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        factor = scale * size / max(_measure_size(output), 1e-12)
        offset = module.offset if isinstance(module, RootMeanSquareNorm) else 0.0
        weight = module.weight
        assert isinstance(weight, Tensor)
        weight.copy_((weight + offset) * factor - offset)
        return output * factor

    ids = _cut_alike(rows).to(network.embed_tokens.weight.device)
    size = _measure_size(network.embed_tokens(ids) * network.config.embedding_scale)
    hooks = [last.register_forward_hook(scale_output) for layer in network.layers for last in _list_last(layer)]
    network(ids)
    for hook in hooks:
        hook.remove()


def _cut_alike(rows: "Rows | Ragged") -> Tensor:
    """The longest texts, cut to one length so that none is padded: int64 [texts, length]."""
    longest = sorted((rows[at] for at in range(len(rows))), key=len)[-_SETTLED:]
    return torch.from_numpy(np.stack([row[: len(longest[0])] for row in longest]).astype(np.int64))


def _list_last(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    """What each branch of a layer ends with."""
    assert isinstance(layer, Layer)
    if layer.gemma:
        return layer.post_attention_layernorm, layer.post_feedforward_layernorm
    return layer.self_attn.o_proj, layer.mlp.down_proj


def _measure_size(rows: Tensor) -> float:
    return float(rows.float().pow(2).mean().sqrt())


@torch.no_grad()
def place_rows(table: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [V, H], all of one length, with what was taught in the directions that vary least; and those directions.

    Args:
        table: The LLM's [V, H].
        said: What each token says [V, T], T below H. Its length is the share of the row that it takes; what is left is
            the LLM's. A length above that of 99 rows in a hundred is cut.

    Returns:
        The rows and the directions [H, T]: a head of these on the mean of rows points where the mean of what was
            taught does.
    """
    unit: Tensor = functional.normalize(table, dim=-1)
    _, axes = torch.linalg.eigh(torch.cov(unit.T))  # least first
    free = axes[:, : said.shape[1]]
    lengths = said.norm(dim=1, keepdim=True)
    shares = (lengths * _USUAL / lengths.quantile(0.99).clamp(min=1e-12)).clamp(max=_MOST)
    own = functional.normalize(unit - (unit @ free) @ free.T, dim=-1)
    mixed = own * (1 - shares**2).sqrt() + functional.normalize(said, dim=-1) * shares @ free.T
    return mixed * table.norm(dim=1).mean(), free


def pool_tokens(network: Encoder, rows: "Rows") -> Tensor:
    """Unit means float32 [texts, H] of normalised token rows, as if the network had no layer."""
    numbers, places = np.unique(np.concatenate(rows), return_inverse=True)
    starts = torch.from_numpy(np.cumsum([0, *(len(row) for row in rows[:-1])]))
    seen = network.norm(network.embed_tokens(torch.from_numpy(numbers)) * network.config.embedding_scale)
    pooled: Tensor = functional.embedding_bag(torch.from_numpy(places), seen, starts, mode="mean")
    unit: Tensor = functional.normalize(pooled, dim=-1)
    return unit


def _collect(data: TrainingData, later: TrainingData, clauses: Clauses | None, recipe: TrainRecipe) -> _Texts:
    """Queries, all passages but those of `later`, and clauses."""
    assert data.teacher is not None  # the recipe has seen to it
    passages = np.setdiff1d(np.arange(len(data.passages)), later.positives.flat)
    rows = [data.queries[row] for row in range(len(data.queries))] + [data.passages[int(row)] for row in passages]
    wanted = [data.teacher.queries[data.lines], data.teacher.passages[passages]]
    if clauses:
        rows += [clauses.rows[row] for row in range(len(clauses.rows))]
        wanted.append(clauses.vectors)
    return _Texts(rows, np.concatenate([each[:, : recipe.head].astype(np.float16) for each in wanted]))


def _teach(network: Encoder, texts: _Texts, taught: Tensor, recipe: TrainRecipe, report: Callable[[str], None]) -> None:
    """Teach the table, and let the head read what was taught."""
    said = teach_rows(
        texts.rows, texts.wanted, taught, passes=recipe.token_passes, rate=recipe.token_rate, seed=recipe.seed,
        report=report,
    )  # fmt: skip
    with torch.no_grad():
        network.norm.weight.fill_(1.0 - network.norm.offset)  # the LLM's was for its language model
        placed, free = place_rows(network.embed_tokens.weight, said)
        network.embed_tokens.weight.copy_(placed)
        network.head.load_state_dict({"weight": free.T.contiguous(), "bias": torch.zeros(len(free.T))})


@torch.no_grad()
def _measure(network: Encoder, later: TrainingData) -> float:
    """Mean cosine to the teacher on queries that no row was taught with, nor their passages as they are.

    Clauses of these passages may have been taught, so that of a cropped sentence this says too much.
    """
    assert later.teacher is not None
    places = np.random.default_rng(0).permutation(len(later.queries))[:_MEASURED]
    wanted = later.teacher.queries[later.lines[places]][:, : network.config.output_size].astype(np.float32)
    made = network.head(pool_tokens(network, [later.queries[int(place)] for place in places]))
    return float(functional.cosine_similarity(made, torch.from_numpy(wanted), dim=-1).mean())
