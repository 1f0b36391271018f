"""Owns checkpoints: a folder with weights, tokenizer and what they came from, whose marker is written last.

    model.safetensors    the weights, in this trainer's names
    tokenizer.json       the tokenizer that belongs to them
    meta.json            configuration, origin, recipe, step, metrics
    state.pt             optimizer, schedule, random generators: only where a run may go on
    complete.json        name and size of each file above; without it the folder is refused

It runs no training and chooses no checkpoint by quality. `state.pt` is read as tensors and plain values only.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drama_app.errors import RetrieverError
from trainer.network import Network, NetworkConfig, build_network, describe_config, parse_config

if TYPE_CHECKING:
    from torch import Tensor

FINAL = "final"
"""Folder of a training's averaged checkpoint."""
WEIGHTS, TOKENIZER, META, STATE, MARKER = (
    "model.safetensors",
    "tokenizer.json",
    "meta.json",
    "state.pt",
    "complete.json",
)
TABLE = "embed_tokens.weight"
TOKENS = "tokens.safetensors"
"""Beside a run's steps: what a table that was taught before the first of them has become."""
"""The token table: half of a multilingual model and the part that a run may leave as it was."""
_STEP = "step-{:07d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What must follow weights wherever they go: where they came from, on what terms, and how to feed them."""

    name: str
    licence: str = ""
    notices: tuple[str, ...] = ()
    """Sentences that `NOTICE` of a derivative must carry."""
    licence_text: str = ""
    """What `LICENSE` of a derivative is to hold."""
    query_prefix: str = ""
    passage_prefix: str = ""
    dims: tuple[int, ...] = ()
    """Widths that the weights were trained to be cut to; empty is the full width only."""
    max_tokens: int = 512
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        # JSON has no tuples.
        object.__setattr__(self, "notices", tuple(self.notices))
        object.__setattr__(self, "dims", tuple(self.dims))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    config: NetworkConfig
    origin: Origin
    step: int
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Path:
        """Its `tokenizer.json`."""
        return self.folder / TOKENIZER


def save_checkpoint(
    folder: Path,
    network: Network,
    *,
    tokenizer: Path,
    origin: Origin,
    step: int = 0,
    recipe: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    half: bool = False,
    with_table: bool = True,
) -> Checkpoint:
    """Write a checkpoint; a crash at any moment leaves either the whole of it or one that is refused.

    Args:
        folder: Where to; what lies there is replaced.
        network: Whose weights to write; `tokenizer` and `origin` belong to them.
        tokenizer: A `tokenizer.json`.
        origin: What they came from.
        step: Training steps done.
        recipe: The recipe and its inputs, as JSON values.
        metrics: What was measured, as JSON values.
        state: What a run needs to go on: tensors and plain values.
        half: Write weights as float16, for what is to be kept or sent.
        with_table: Also write the token table; without it `load_network` needs one from elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).unlink(missing_ok=True)
    _write_weights(folder, network, half=half, with_table=with_table)
    if tokenizer.resolve() != (folder / TOKENIZER).resolve():
        shutil.copyfile(tokenizer, folder / TOKENIZER)
    about = {"origin": asdict(origin), "step": step, "recipe": dict(recipe or {}), "metrics": dict(metrics or {})}
    _write_json(folder / META, {"config": describe_config(network.config)} | about)
    _write_state(folder, state)
    _write_marker(folder)
    return open_checkpoint(folder)


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint, whole or not."""
    return (folder / MARKER).is_file() or ((folder / META).is_file() and (folder / WEIGHTS).is_file())


def open_checkpoint(folder: Path) -> Checkpoint:
    """What a checkpoint states, once it is known to be whole.

    Raises:
        RetrieverError: It is half written, cut short or damaged.
    """
    try:
        sizes = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RetrieverError(f"{folder}: this checkpoint was not finished ({MARKER} is missing)") from None
    except ValueError as error:
        raise RetrieverError(f"{folder / MARKER}: cannot be read ({error})") from error
    for name, size in sizes.items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            state = "missing" if found is None else f"{found} bytes long where {size} were written"
            raise RetrieverError(f"{folder / name}: this file of the checkpoint is {state}")
    try:
        described = json.loads((folder / META).read_text(encoding="utf-8"))
        known = {one.name for one in fields(Origin)}
        return Checkpoint(
            folder=folder,
            config=parse_config(described["config"]),
            origin=Origin(**{key: value for key, value in described["origin"].items() if key in known}),
            step=described["step"],
            recipe=described["recipe"],
            metrics=described["metrics"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RetrieverError(f"{folder / META}: not the description of a checkpoint ({error})") from error


def load_network(checkpoint: Checkpoint, *, table: "Tensor | None" = None) -> Network:
    """The network with the checkpoint's weights, float32, in evaluation mode.

    Args:
        checkpoint: Whose weights.
        table: The token table [vocabulary, H], for a checkpoint that was written without one.

    Raises:
        RetrieverError: The weights do not fit the configuration, or there is no token table.
    """
    tensors = read_tensors(checkpoint.folder / WEIGHTS)
    if table is not None:
        tensors.setdefault(TABLE, table)
    if TABLE not in tensors:
        raise RetrieverError(f"{checkpoint.folder / WEIGHTS}: written without its token table, and none was given")
    return fill_network(checkpoint.config, tensors, str(checkpoint.folder))


def find_table(step: Path) -> "Tensor | None":
    """The token table of a run's step, None if it holds one itself.

    A table that does not train is not written with every step: it is the one that was taught, or the backbone's.
    """
    from safetensors import safe_open

    with safe_open(step / WEIGHTS, framework="pt") as file:
        if TABLE in file.keys():  # noqa: SIM118  # no mapping
            return None
    for path in (step.parent / TOKENS, step.parent.parent / "backbone" / WEIGHTS):
        if path.is_file() and (found := read_tensors(path).get(TABLE)) is not None:
            return found
    return None


def load_state(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """What the run needs to go on, None if the checkpoint was written without it.

    Raises:
        RetrieverError: The file is damaged, or holds more than tensors and plain values.
    """
    import pickle

    import torch

    if not (checkpoint.folder / STATE).is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(checkpoint.folder / STATE, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise RetrieverError(f"{checkpoint.folder / STATE}: cannot be read ({str(error)[:200]})") from error
    return state


def place_step(run: Path, step: int) -> Path:
    """The folder for a run's checkpoint at a step."""
    return run / _STEP.format(step)


def find_latest(run: Path) -> Checkpoint | None:
    """The complete checkpoint with the most steps in a run's folder; half ones are passed over."""
    for folder in sorted(_list_steps(run), reverse=True):
        try:
            return open_checkpoint(folder)
        except RetrieverError:
            continue
    return None


def remove_old(run: Path, *, keep: int, every: int = 1) -> None:
    """Delete all but the last `keep` complete checkpoints of a run, and half ones before the last of those.

    Before the last one only multiples of `every` steps count: where a run was stopped must not change its average.
    """
    steps = sorted(_list_steps(run), reverse=True)
    whole = [folder for folder in steps if (folder / MARKER).is_file()]
    kept = [*whole[:1], *(folder for folder in whole[1:] if int(folder.name.rpartition("-")[2]) % every == 0)]
    kept = kept[: max(1, keep)]
    for folder in steps:
        if kept and folder not in kept and folder < kept[0]:
            (folder / MARKER).unlink(missing_ok=True)
            shutil.rmtree(folder)


def read_tensors(path: Path) -> dict[str, "Tensor"]:
    """All tensors of a safetensors file, as float32.

    Raises:
        RetrieverError: The file is missing, cut short, or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise RetrieverError(f"{path}: this file of the model is missing")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RetrieverError(f"{path}: cut short or no safetensors file ({error}); fetch it again") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def fill_network(config: NetworkConfig, tensors: Mapping[str, "Tensor"], where: str) -> Network:
    """A network of a configuration with these weights.

    Raises:
        RetrieverError: Names or shapes do not fit; `where` names the source in the text.
    """
    network = build_network(config, device="meta")
    wanted = network.state_dict()
    faults = [f"{name} is missing" for name in wanted.keys() - tensors.keys()]
    faults += [f"{name} is not known" for name in tensors.keys() - wanted.keys()]
    faults += [
        f"{name} is {list(tensors[name].shape)}, not {list(wanted[name].shape)}"
        for name in wanted.keys() & tensors.keys()
        if tensors[name].shape != wanted[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise RetrieverError(f"{where}: the weights do not fit: {'; '.join(sorted(faults)[:3])}{more}")
    network.load_state_dict(dict(tensors), assign=True)
    return network.requires_grad_(True).eval()


def _write_weights(folder: Path, network: Network, *, half: bool, with_table: bool) -> None:
    import torch

    kind = torch.float16 if half else torch.float32
    kept = {name: tensor for name, tensor in network.state_dict().items() if with_table or name != TABLE}
    write_tensors({name: each.detach().to("cpu", kind).contiguous() for name, each in kept.items()}, folder / WEIGHTS)


def write_tensors(tensors: "Mapping[str, Tensor]", path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file.

    Raises:
        OSError: It could not be written, for want of room as a rule; the library has an error of its own for that.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from error


def _write_state(folder: Path, state: Mapping[str, Any] | None) -> None:
    import torch

    (folder / STATE).unlink(missing_ok=True)
    if state is not None:
        try:
            torch.save(dict(state), folder / STATE)
        except RuntimeError as error:  # torch's word for a disk that is full
            raise OSError(f"{folder / STATE}: could not be written, is the disk full? ({str(error)[:120]})") from error


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _write_marker(folder: Path) -> None:
    names = [name for name in (WEIGHTS, TOKENIZER, META, STATE) if (folder / name).is_file()]
    written = folder / f"{MARKER}.new"
    written.write_text(json.dumps({name: (folder / name).stat().st_size for name in names}), encoding="utf-8")
    written.replace(folder / MARKER)


def _list_steps(run: Path) -> list[Path]:
    return [folder for folder in run.glob("step-*") if re.fullmatch(r"step-\d+", folder.name)] if run.is_dir() else []
