"""Owns the folder of a run: where each artifact lies, what the run was given, and which stages are done.

`run.json` is the run's memory: inputs, versions, and a row for each finished stage with its seconds and figures. It
does no stage's work.
"""

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from drama_app.errors import UsageError
from trainer.recipe import Recipe, read_recipe, save_recipe

STAGES = ("corpus", "augment", "mine", "prune", "train", "export", "evaluate", "report")
"""In their order; each reads files of those before it."""
OWN_INDEX = "index"
"""In place of a path: the passages that the app has indexed."""
_READ_BY = {
    "corpus": "corpus", "pairs": "corpus", "sets": "corpus", "local_llm": "augment", "llm_url": "augment",
    "llm_model": "augment", "retriever": "augment", "teacher": "mine", "backbone": "prune", "weights": "prune",
    "notice": "export",
}  # fmt: skip
"""The first stage that reads each input."""
_SCHEMA = 1
_FEW = 64
"""Passages of a language below which nothing is said of it."""
_PACKAGES = ("drama", "torch", "transformers", "tokenizers", "onnxruntime", "llama-cpp-python", "accelerate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run is made from; paths are absolute."""

    corpus: tuple[str, ...] = ()
    """Files and folders of texts, or `OWN_INDEX`."""
    pairs: tuple[str, ...] = ()
    """Files of questions with their answers."""
    local_llm: str = ""
    llm_url: str = ""
    llm_model: str = ""
    backbone: str = ""
    """Overrides the recipe's."""
    weights: str = ""
    """Training weights of a backbone that is a retriever folder."""
    retriever: str = ""
    """The present one, which mines, teaches and is compared with; "" is the one that is shipped."""
    teacher: str = ""
    """Another encoder, which mines and teaches in its place."""
    sets: str = ""
    """Test sets: measured at the end, and none of their texts may train."""
    notice: str = ""
    """File with the licences and notices of the data."""

    def __post_init__(self) -> None:
        # JSON has no tuples.
        object.__setattr__(self, "corpus", tuple(self.corpus))
        object.__setattr__(self, "pairs", tuple(self.pairs))


@dataclass(slots=True)
class RunFolder:
    """A run on disk."""

    path: Path
    recipe: Recipe
    inputs: Inputs
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each finished stage left to tell."""
    created: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds of attempts at a stage that did not end; those of an attempt that was killed are lost."""

    @classmethod
    def begin(cls, path: Path, recipe: Recipe, inputs: Inputs) -> "RunFolder":
        """Make the folder of a new run.

        Raises:
            UsageError: There is something in the folder already, or it cannot be written.
        """
        cls.refuse_other(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            save_recipe(recipe, path / "recipe.toml")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error
        folder = cls(path, recipe, inputs, created=time.time())
        folder.save()
        return folder

    @staticmethod
    def refuse_other(path: Path) -> None:
        """See that a new run may begin in a folder.

        Raises:
            UsageError: There is something in it.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            known = (path / "run.json").is_file()
            remedy = "add --resume to go on with it, or name another folder" if known else "name a new folder"
            raise UsageError(f"{path}: {'holds a run' if known else 'is there and not empty'}; {remedy}")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open the folder of a run that was begun.

        Raises:
            UsageError: It holds no run, or one that cannot be read.
        """
        try:
            content = json.loads((path / "run.json").read_text(encoding="utf-8"))
            known = {each.name for each in fields(Inputs)}
            inputs = Inputs(**{key: value for key, value in content["inputs"].items() if key in known})
            done, created, schema = dict(content["stages"]), float(content["created"]), content["schema"]
            spent = dict(content.get("spent", {}))
        except FileNotFoundError:
            raise UsageError(f"{path}: holds no run (run.json is missing); begin one with --corpus and --out") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path / 'run.json'}: cannot be read ({error}); begin the run anew") from error
        if schema != _SCHEMA:
            raise UsageError(f"{path}: was written by another version of drama (schema {schema}, not {_SCHEMA})")
        return cls(path, read_recipe(path / "recipe.toml"), inputs, done, created, spent)

    def save(self) -> None:
        """Write `run.json` whole or not at all."""
        content = {
            "schema": _SCHEMA, "name": self.recipe.name, "created": self.created, "seed": self.recipe.seed,
            "inputs": asdict(self.inputs), "versions": find_versions(), "stages": self.done,
            "spent": self.spent,
        }  # fmt: skip
        written = self.path / "run.json.new"
        written.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.replace(self.path / "run.json")

    def find_outdated(self, inputs: Inputs) -> dict[str, str]:
        """The inputs that differ from the run's and have been read: the first stage that did, by name."""
        return {
            name: stage for name, stage in _READ_BY.items()
            if stage in self.done and getattr(inputs, name) != getattr(self.inputs, name)
        }  # fmt: skip

    def list_done(self, before: str) -> dict[str, dict[str, Any]]:
        """What the finished stages before one left to tell, in their order."""
        return {stage: self.done[stage] for stage in STAGES[: STAGES.index(before)] if stage in self.done}

    def list_languages(self) -> tuple[str, ...]:
        """The languages of the corpus, those of a few passages aside."""
        counted = self.done.get("corpus", {}).get("languages", {})
        return tuple(name for name, count in counted.items() if name and count >= _FEW)

    def forget(self, stage: str) -> None:
        """Count a stage, and those that read its files, as not done; nothing is written."""
        for later in STAGES[STAGES.index(stage) :]:
            self.done.pop(later, None)

    def spend(self, stage: str, seconds: float) -> None:
        """Note the time of an attempt that did not end."""
        self.spent[stage] = self.spent.get(stage, 0.0) + seconds
        self.save()

    def finish(self, stage: str, seconds: float, figures: Mapping[str, Any]) -> None:
        """Note that a stage is done; what later stages made of its older files no longer counts.

        Earlier attempts at it count with their seconds.
        """
        seconds += self.spent.pop(stage, 0.0)
        self.forget(stage)
        self.done[stage] = {"seconds": round(seconds, 1), "finished": round(time.time())} | dict(figures)
        self.save()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out while this one works.

        Raises:
            UsageError: Another one is at work in the folder.
        """
        # The other processes of `accelerate launch` belong to this one.
        if os.environ.get("RANK", "0") != "0":
            yield
            return
        lock = FileLock(self.path / "run.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"{self.path}: another process is at work in this run") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def passages(self) -> Path:
        """All passages: the corpus and what answers the pairs."""
        return self.path / "corpus" / "passages.jsonl"

    @property
    def written(self) -> Path:
        """Queries of the pairs."""
        return self.path / "queries" / "written.jsonl"

    @property
    def crops(self) -> Path:
        """Queries that are cropped from passages."""
        return self.path / "queries" / "crop.jsonl"

    @property
    def generated(self) -> Path:
        """Queries that the LLM wrote."""
        return self.path / "queries" / "generated.jsonl"

    @property
    def triplets(self) -> Path:
        """Queries that the LLM wrote to passages of its own."""
        return self.path / "queries" / "triplets.jsonl"

    @property
    def invented(self) -> Path:
        """The passages of the triplets."""
        return self.path / "corpus" / "invented.jsonl"

    @property
    def training_queries(self) -> Path:
        """Queries whose documents train."""
        return self.path / "queries" / "training.jsonl"

    @property
    def training_passages(self) -> Path:
        """Passages without those held out."""
        return self.path / "corpus" / "training.jsonl"

    @property
    def reranked(self) -> Path:
        """Training groups that the LLM put in order."""
        return self.path / "queries" / "reranked.jsonl"

    @property
    def mined(self) -> Path:
        """Training groups while they are mined."""
        return self.path / "mined.jsonl"

    @property
    def groups(self) -> Path:
        """Training groups."""
        return self.path / "groups.jsonl"

    @property
    def vectors(self) -> Path:
        """Vectors that can be made again."""
        return self.path / "vectors"

    @property
    def development(self) -> Path:
        """Test sets of held-out queries, a language each."""
        return self.path / "development"

    @property
    def backbone(self) -> Path:
        """The network to train."""
        return self.path / "backbone"

    @property
    def training(self) -> Path:
        """Checkpoints and the curve."""
        return self.path / "train"

    @property
    def retriever(self) -> Path:
        """The finished retriever."""
        return self.path / "retriever"

    @property
    def evaluation(self) -> Path:
        """Figures."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report.html"


def find_versions() -> dict[str, str]:
    """Versions of what a run's figures depend on."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
