"""Owns what is looked at before a run begins: every input that a stage would refuse, told at once and not after hours.

It reads beginnings and headers, test sets whole. It runs no stage.
"""

import codecs
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from drama_app.config import expand_home
from drama_app.errors import UsageError
from trainer.augment.prompts import STYLES, match_language, read_query_prompts
from trainer.inputs import name_source, open_llm, open_teacher
from trainer.network import NetworkConfig
from trainer.outline import check_room, check_shape, read_outline
from trainer.recipe import Recipe
from trainer.records import iterate_lines
from trainer.run_folder import OWN_INDEX, Inputs, RunFolder
from trainer.text_files import divide_files, is_table, is_text

_OTHER_KINDS = "the app reads PDF, Word and others: drama-app index FOLDER, then --corpus index"
_OTHER_QUERIES = ("written", "weak", "parallel", "rerank", "triplet")
"""Kinds of queries that training meets beside those of [augment] 'kinds'."""
_BEGINNING = 65_536
"""Bytes by which a file is taken for text."""


def check(run: RunFolder) -> NetworkConfig | None:
    """Look at every input that a stage still has to read.

    Returns:
        The shape of the network that the run starts from; None if none is trained any more.

    Raises:
        DramaError: Something is missing or wrong; the text says what, and what to do.
    """
    inputs, recipe = run.inputs, run.recipe
    if "corpus" not in run.done:
        _check_texts(inputs)
    if inputs.sets:
        check_sets(Path(inputs.sets))
    if inputs.notice:
        _check_notice(Path(inputs.notice))
    _check_recipe(recipe)
    if "augment" not in run.done:
        _check_llm(run)
    if inputs.retriever:
        from drama_app.retriever import open_retriever_folder

        open_retriever_folder(Path(inputs.retriever))
    return None if "train" in run.done else _check_network(run)


def _check_network(run: RunFolder) -> NetworkConfig:
    """The network against the recipe, and what its head learns from."""
    from trainer.backbone import refuse_weights

    if "prune" in run.done:
        from trainer.checkpoint import open_checkpoint

        return open_checkpoint(run.backbone).config
    inputs, recipe = run.inputs, run.recipe
    source, weights = name_source(run), Path(inputs.weights) if inputs.weights else None
    refuse_weights(expand_home(source), weights)
    config = read_outline(source, weights=weights)
    check_room(source)
    check_shape(config, recipe)
    if inputs.teacher or recipe.train.head:
        width = open_teacher(run).dim
        if recipe.train.head > width:
            raise UsageError(f"[train] 'head' = {recipe.train.head}, but the teacher's vectors have {width} columns")
    return config


def check_sets(folder: Path) -> None:
    """Read each test set once: they are measured last, one after the other.

    Raises:
        UsageError: There is none, or one is not as it should be.
    """
    from trainer.evaluate import find_sets, read_set

    for each in find_sets(folder):
        read_set(each, name=each.name)


def _check_texts(inputs: Inputs) -> None:
    if not inputs.corpus and not inputs.pairs:
        raise UsageError(
            "there is nothing to learn from: name texts (--corpus PATH, or --corpus index) or --pairs FILE"
        )
    for name in inputs.corpus:
        _check_source(name)
    for name in inputs.pairs:
        if not Path(name).is_file():
            raise UsageError(f"{name}: is no file; pairs are JSONL with 'query' and 'positive'")
        _check_table(Path(name), ("query", "positive"))


def _check_source(name: str) -> None:
    path = Path(name)
    if name == OWN_INDEX:
        from trainer.own_index import count_index_passages

        if not count_index_passages():
            raise UsageError("the app's index holds no passage; index a folder first: drama-app index FOLDER")
    elif not path.exists():
        raise UsageError(f"{name}: no such file or folder")
    elif not path.is_dir():
        _check_file(path)
    elif texts := list_texts(path):
        for each in texts:
            if is_table(each) and each.stat().st_size:
                _check_table(each, ("text",))
    else:
        kinds = Counter(each.suffix.lower() or each.name for each in divide_files(path)[0])
        found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(3))
        raise UsageError(f"{name}: " + (f"holds no text ({found}); {_OTHER_KINDS}" if found else "holds no file"))


def list_texts(folder: Path) -> list[Path]:
    """The files of a folder that a corpus is made of."""
    return [each for each in divide_files(folder)[0] if is_text(each)]


def _check_file(path: Path) -> None:
    if is_table(path):
        _check_table(path, ("text",))
        return
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
        text = codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"{path}: is no text in UTF-8; {_OTHER_KINDS}")
    if not text.strip():
        raise UsageError(f"{path}: is empty")


def _check_table(path: Path, keys: Sequence[str]) -> None:
    """See that a JSONL file begins with a row that has these texts."""
    number, line = next(iterate_lines(path), (0, ""))
    if not number:
        raise UsageError(f"{path}: is empty")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}, line {number}: not JSON") from error
    if not isinstance(row, dict) or any(not isinstance(row.get(key), str) for key in keys):
        raise UsageError(f"{path}, line {number}: is no object with {' and '.join(map(repr, keys))}")


def _check_notice(path: Path) -> None:
    try:
        path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error


def _check_recipe(recipe: Recipe) -> None:
    """What no stage but the one that reads it could refuse."""
    known = ("crop", *STYLES)
    if unknown := [kind for kind in recipe.augment.kinds if kind not in known]:
        raise UsageError(f"[augment] 'kinds': {unknown[0]!r} is none of {', '.join(known)}")
    if unknown := [kind for kind in recipe.train.mixture if kind not in (*known, *_OTHER_QUERIES)]:
        named = ", ".join((*known, *_OTHER_QUERIES))
        raise UsageError(f"[train] 'mixture': {unknown[0]!r} is none of {named}")
    if not 0 <= recipe.evaluate.held_out < 1:
        raise UsageError("[evaluate] 'held_out' must be 0 or more and below 1")
    if recipe.seed < 0 or recipe.train.seed < 0:
        raise UsageError("the seed must be 0 or more")
    prompts = read_query_prompts()
    for code in recipe.augment.languages if _needs_llm(recipe) else ():
        if not match_language(code, prompts):
            raise UsageError(
                f"{code!r}: there are no prompts for this language; there are for {', '.join(sorted(prompts))}"
            )
    for code in recipe.corpus.languages:
        if not (2 <= len(code.partition("-")[0]) <= 3 and len(code) <= 8 and code.replace("-", "").isalpha()):
            raise UsageError(f"{code!r}: is no code of a language; it looks like de or pt-br")


def _needs_llm(recipe: Recipe) -> bool:
    augment = recipe.augment
    return bool((augment.queries and set(augment.kinds) - {"crop"}) or augment.reranked or augment.triplets)


def _check_llm(run: RunFolder) -> None:
    inputs = run.inputs
    if not _needs_llm(run.recipe):
        return
    if not inputs.local_llm and not inputs.llm_url:
        raise UsageError(
            "the recipe asks for generated queries: name a language model (--local-llm FILE.gguf or --llm-url URL), or "
            "do without them (--no-llm)"
        )
    if inputs.llm_url or not Path(inputs.local_llm).is_dir():
        open_llm(run).close()  # tells a file that is cut short, an encoder, an endpoint that is not there
    else:
        from trainer.augment.torch_generator import check_folder

        check_folder(Path(inputs.local_llm))
