"""What a run is to do: a frozen dataclass a stage, read from TOML and saved beside each artifact.

It holds numbers and checks them; it knows nothing of how a stage uses them.
"""

import json
import tomllib
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from drama_app.errors import UsageError
from trainer.recipe_limits import find_fault, find_fault_of_weights

Stage = TypeVar("Stage")
PRECISIONS = ("auto", "int8", "int8-smooth", "int8-levelled", "int8-down", "float32")
"""How an export may store products, the fastest first; "auto" takes the first that the development sets allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusRecipe:
    """From texts to passages."""

    least_characters: int = 60
    """Shorter passages are left out; a third of it for scripts without spaces."""
    most_characters: int = 2400
    """Longer ones are cut."""
    passage_tokens: int = 256
    """Size of the passages that whole documents are cut into, in the app's estimated tokens."""
    near_duplicate: float = 0.8
    """Share of common five-character sequences from which two passages are one; 1 compares exact texts only."""
    languages: tuple[str, ...] = ()
    """Only these; empty is all."""
    most_a_language: int = 0
    """Passages a language, the first ones; 0 is all."""

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentRecipe:
    """From passages to queries."""

    kinds: tuple[str, ...] = ("crop", "question")
    queries: int = 20_000
    """How many generated queries to write at most; 0 writes none."""
    crops: int = 100_000
    temperature: float = 0.8
    top_p: float = 0.9
    most_tokens: int = 64
    """Tokens of one generated query."""
    languages: tuple[str, ...] = ()
    reranked: int = 0
    """Queries whose first twenty passages the model puts in order; models under a billion weights cannot."""
    triplets: int = 0
    """Queries with an answer and a near miss that the model invents; the paper found no gain in them."""

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MineRecipe:
    """From queries to training groups.

    Ranks count from 1, among passages in the language of the query's own; they are those for a million passages and
    are scaled down for fewer.
    """

    positives: int = 10
    """Ranks 1 to this may answer a query that was made from a passage."""
    positive_margin: float = 0.1
    """A neighbour that answers lies at most this far (cosine) below the query's own passage."""
    first_negative: int = 31
    negatives: int = 20
    """How many hard negatives to take from there on."""
    margin: float = 0.05
    """A negative's cosine lies at least this far below the best positive's."""
    same_passage: float = 0.95
    """A passage whose cosine with a positive is higher says the same and is no negative."""
    round_trip: int = 20
    """A query's own passage must come back within this rank, or the query is left out; 0 takes any."""
    depth: int = 200
    """Ranks that are looked at for all this; 0 searches nothing: each query keeps its own passage, which is all that a
    training without hard negatives needs."""
    block: int = 8192
    """Passages scored at a time."""

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRecipe:
    """From an LLM to a compact backbone. A shape of 0 keeps the backbone's."""

    method: str = "importance"
    """"learned", "importance", "last-layers" (they go), "spaced-layers" (they stay) or "none"."""
    layers: int = 0
    heads: int = 0
    ffn_size: int = 0
    hidden_size: int = 0
    vocabulary: int = 0
    """Tokens to keep."""
    mask_steps: int = 200
    continue_steps: int = 400
    batch: int = 16
    length: int = 128
    learning_rate: float = 1e-4
    mask_learning_rate: float = 0.1

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """The contrastive stage."""

    steps: int = 500
    batch: int = 64
    """Queries a step, over all processes."""
    hard_negatives: int = 3
    """A query's own, a step."""
    query_tokens: int = 64
    passage_tokens: int = 256
    query_prefix: str = ""
    """What stands before a question; empty is the backbone's own, so that an embedder keeps what it learnt."""
    passage_prefix: str = ""
    temperature: float = 0.04
    widths: tuple[int, ...] = ()
    """Matryoshka prefixes, the full width first; empty is the full width alone."""
    width_weights: tuple[float, ...] = ()
    """One a width; empty weighs them alike."""
    reverse: float = 0.0
    """Weight of the loss from passage to query; 0 is the paper's."""
    margin: float = 0.1
    """A passage whose cosine lies this far above the positive's is taken for a missed answer; 0 or less keeps all."""
    learning_rate: float = 4e-5
    final_rate: float = 0.02
    """Share of the learning rate that is left at the end."""
    warmup: int = 50
    weight_decay: float = 0.01
    clip: float = 1.0
    freeze_tokens: bool = False
    """Leave the token table as it is."""
    learn_codes: bool = False
    """Let the codebooks of a frozen table of 2 bits learn with the layers: its rows keep their codes."""
    same_language: float = 0.7
    """Share of steps whose queries are all of one language."""
    neighbours: int = 0
    """Groups of one kind and language that are drawn together because the present retriever finds them alike, so that
    their passages are hard negatives of each other at no cost; 0 draws by chance. A batch that it does not divide, and
    the end of a round, cut a neighbourhood in two, and from there on what is drawn together is of two."""
    language_exponent: float = 0.5
    """A language is drawn in proportion to its groups to the power of this: 1 as they are, 0 alike."""
    mixture: MappingProxyType[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Share of each kind of group; kinds that are not named are left out, no names at all take them by count."""
    chunk_tokens: int = 8192
    """Tokens, padding included, that pass through the network at a time."""
    keep_tokens: int = 16_384
    """Tokens whose activations are kept; what a batch has beyond is computed twice, which saves their memory."""
    head: int = 0
    """Width of a linear head for a network that has none, fitted to the teacher before the first step (with
    `token_passes` it reads the directions in which rows were taught); 0 adds none."""
    token_passes: int = 0
    """Passes over a part of the texts that teach the token table alone, with no layer behind it, before the first step
    (and before them two of a network that all rows share); 0 leaves the table as it was."""
    token_share: float = 0.5
    """That part: groups chosen by chance, with all passages of no other group. The steps take the other groups."""
    token_rate: float = 1e-3
    """Learning rate of these passes at their start; the shared network has .3 of it."""
    clauses: int = 0
    """Short runs of words, of all passages, that the teacher reads for these passes too."""
    layer_scale: float = 0.05
    """What each branch of a layer adds when it is put back on a table that was taught, over what a token's row holds.
    At 0.05 the layers learn from the first step; fainter, they had added nothing after 460 steps (LOG.md)."""
    embedding_weight: float = 0.0
    """Distillation: matching the teacher's embeddings."""
    row_weight: float = 0.0
    """Distillation: matching each token's row behind each layer, where a BERT or XLM-R network lost some."""
    score_weight: float = 0.0
    """Distillation: matching the teacher's scores."""
    score_temperature: float = 0.04
    score_others: int = 0
    """Passages of the corpus, drawn at each step, on whose teacher's vectors the scores of queries and positives are
    matched: thousands of candidates that no network reads. A prefix is scored on the same prefix of theirs. 0, or a
    teacher of another width, takes the batch's passages, read by the student, for queries alone: half the loss."""
    spread: float = 0.0
    """Weight of the regulariser that spreads embeddings over the sphere."""
    save_every: int = 100
    keep_checkpoints: int = 3
    must_learn_by: int = 200
    """The loss must lie below its start by this step; 0 does not look."""
    average: int = 3
    """Checkpoints whose weights are averaged at the end; 1 takes the last."""
    start_share: float = 0.0
    """Share of the starting weights in the result."""
    seed: int = 0

    def __post_init__(self) -> None:
        _check_numbers(self)
        for name, weights in (("width_weights", self.width_weights), ("mixture", tuple(self.mixture.values()))):
            if fault := find_fault_of_weights(name, weights):
                raise ValueError(fault)
        _require(0 <= self.start_share < 1, "start_share", "must be 0 or more and below 1")
        _require(not self.head or self.imitates, "head", "needs a teacher: 'embedding_weight' or 'score_weight'")
        _require(not self.token_passes or bool(self.head), "token_passes", "needs a 'head'")
        _require(not self.clauses or bool(self.token_passes), "clauses", "needs 'token_passes'")
        _require(not self.row_weight or self.freeze_tokens, "row_weight", "needs 'freeze_tokens': the table is shared")
        _require(not self.score_others or self.score_weight > 0, "score_others", "needs a 'score_weight'")
        _require(
            not self.learn_codes or self.freeze_tokens, "learn_codes", "needs 'freeze_tokens': rows keep their codes"
        )
        _require(not (self.learn_codes and self.start_share), "learn_codes", "cannot be averaged with the start")
        _require(0 < self.token_share < 1, "token_share", "must be above 0 and below 1")
        alike = len(self.width_weights) in (0, len(self.widths))
        _require(alike, "width_weights", "needs one weight for each of 'widths'")

    @property
    def imitates(self) -> bool:
        """Whether it learns from a teacher's vectors or scores."""
        return bool(self.embedding_weight or self.score_weight)

    @property
    def reads_vectors(self) -> bool:
        """Whether it needs the present retriever's vectors of all texts: to imitate them, or to find neighbours."""
        return self.imitates or bool(self.neighbours)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRecipe:
    """Measuring what was made."""

    held_out: float = 0.05
    """Share of the documents whose queries never train: the development sets, one a language. With fewer than
    some 4,000 queries it is more, up to a quarter."""
    queries: int = 200
    """Queries a language in the development sets at most."""
    limit_queries: int = 0
    """Queries a set that is measured; 0 is all."""
    widths: tuple[int, ...] = ()
    """Beside the default one; empty is all that the retriever offers."""

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecipe:
    """From a checkpoint to a retriever folder."""

    precision: str = "auto"
    """One of PRECISIONS."""
    table_bits: int = 4
    """Of the token table: 2, 4, 8 or 32; "auto" goes on from 2 to 4, or from 4 to 8, if these cost too much."""
    largest_loss: float = 0.01
    """nDCG@10 that no language may lose against fp32."""
    widths: tuple[int, ...] = ()
    """Widths on offer; empty is those that were trained."""
    default_width: int = 0
    """0 is the widest."""
    whitening: float = 0.0
    """Power of its deviation that each direction of the vectors is divided by, 0 to 1; 0 leaves them as trained."""

    def __post_init__(self) -> None:
        _require(self.precision in PRECISIONS, "precision", f"must be one of {', '.join(PRECISIONS)}")
        _require(self.table_bits in (2, 4, 8, 32), "table_bits", "must be 2, 4, 8 or 32")
        _require(self.largest_loss >= 0, "largest_loss", "must be 0 or more")
        _require(0 <= self.whitening <= 1, "whitening", "must be between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole run."""

    name: str = "custom"
    backbone: str = "llm"
    """What is pruned and trained: "llm" the local LLM's own weights, "retriever" the present retriever's, or a path."""
    seed: int = 0
    corpus: CorpusRecipe = field(default_factory=CorpusRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    mine: MineRecipe = field(default_factory=MineRecipe)
    prune: PruneRecipe = field(default_factory=PruneRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    evaluate: EvaluateRecipe = field(default_factory=EvaluateRecipe)
    export: ExportRecipe = field(default_factory=ExportRecipe)

    def __post_init__(self) -> None:
        coded = self.export.table_bits == 2
        _require(coded or not self.train.learn_codes, "learn_codes", "in [train] needs 'table_bits' = 2 in [export]")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UsageError: The file cannot be read or says something that no stage understands; the text names the key.
    """
    try:
        with path.open("rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no TOML ({error})") from error
    return _build(Recipe, {"name": path.stem} | content, str(path))


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe with every value, so that `read_recipe` gives the same one back."""
    values = {each.name: getattr(recipe, each.name) for each in fields(recipe)}
    lines = [f"{name} = {_show(value)}" for name, value in values.items() if not is_dataclass(value)]
    for name, stage in values.items():
        if is_dataclass(stage):
            lines += ["", f"[{name}]"]
            lines += [f"{key.name} = {_show(getattr(stage, key.name))}" for key in fields(stage)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def describe(stage: object) -> dict[str, Any]:
    """The values of a stage as JSON has them, to be kept beside what was made by it."""
    values = {key.name: getattr(stage, key.name) for key in fields(stage)}  # type: ignore[arg-type]
    plain = {name: dict(value) if isinstance(value, MappingProxyType) else value for name, value in values.items()}
    described: dict[str, Any] = json.loads(json.dumps(plain))
    return described


def _check_numbers(stage: Any) -> None:
    if fault := find_fault(type(stage).__name__, {key.name: getattr(stage, key.name) for key in fields(stage)}):
        raise ValueError(fault)


def _require(condition: bool, key: str, text: str) -> None:
    if not condition:
        raise ValueError(f"'{key}' {text}")


def _build(kind: type[Stage], content: dict[str, Any], place: str) -> Stage:
    wanted = get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in wanted:
            raise UsageError(f"{place}: '{key}' is not known here; known: {', '.join(wanted)}")
        values[key] = _convert(value, wanted[key], f"{place}: '{key}'")
    try:
        return kind(**values)
    except ValueError as error:
        raise UsageError(f"{place}: {error}") from error


def _convert(value: Any, wanted: Any, place: str) -> Any:
    if is_dataclass(wanted) and isinstance(wanted, type):
        if not isinstance(value, dict):
            raise UsageError(f"{place} must be a table")
        return _build(wanted, value, f"{place.rpartition(': ')[0]}: [{place.rpartition(': ')[2][1:-1]}]")
    if wanted is float and type(value) is int:
        return float(value)
    if wanted == tuple[str, ...]:
        return _convert_list(value, str, place)
    if wanted in (tuple[int, ...], tuple[float, ...]):
        return _convert_list(value, wanted.__args__[0], place)
    if wanted == MappingProxyType[str, float]:
        if not isinstance(value, dict):
            raise UsageError(f"{place} must be a table of shares")
        return MappingProxyType({key: _convert(share, float, f"{place}, '{key}'") for key, share in value.items()})
    if type(value) is not wanted:
        raise UsageError(f"{place} must be {_NAMES[wanted]}, not {value!r}")
    return value


def _convert_list(value: Any, kind: type, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise UsageError(f"{place} must be a list, not {value!r}")
    return tuple(_convert(each, kind, f"each of {place}") for each in value)


def _show(value: Any) -> str:
    if isinstance(value, MappingProxyType):
        return "{" + ", ".join(f"{json.dumps(key)} = {share}" for key, share in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_show(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)


_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
