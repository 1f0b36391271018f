"""Owns the page that tells a run: gathers what lies in its folder and fills one self-contained HTML file.

It computes no figure and needs no network; the page runs no code, and whatever it shows of files is escaped. What is
missing in the folder is said on the page.
"""

import heapq
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from drama_app.errors import UsageError
from trainer.assets import find_assets
from trainer.drawing import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Curve, draw_curve, show_number
from trainer.figures import arrange_evaluations, find_headline
from trainer.records import Passage, Query, make_key, read_records

_Record = TypeVar("_Record", Passage, Query)
_CURVES = {
    "loss": "Loss", "right": "Queries whose answer comes first", "learning_rate": "Learning rate",
    "tokens_per_second": "Tokens a second",
}  # fmt: skip
_SAMPLES = 3
"""Queries a language."""
_EXCERPT = 400
"""Characters of a passage that are shown."""
_STAGES = ("corpus", "augment", "mine", "prune", "train", "export", "evaluate")
_FEW = 6
"""Figures by name; more become a table."""
_TOLD = frozenset({"seconds", "finished"})
"""Figures of a stage that the table of stages has."""


def write_report(run: Path, out: Path) -> list[str]:
    """Write the page of a run.

    Args:
        run: The folder of the run, finished or not.
        out: The HTML file.

    Returns:
        What the page could not tell, for want of its file.

    Raises:
        UsageError: The folder holds nothing of a run, or the page cannot be written.
    """
    parts = gather(run)
    page = render(parts)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror or error})") from error
    missing: list[str] = parts["missing"]
    return missing


def gather(run: Path) -> dict[str, Any]:
    """What the folder of a run has to tell, in the order and form in which the page shows it.

    Raises:
        UsageError: The folder holds nothing of a run.
    """
    missing: list[str] = []
    about = _read_mapping(run / "run.json", missing)
    stages = {name: dict(figures) for name, figures in _get(about, "stages").items() if isinstance(figures, Mapping)}
    history = _read_history(run / "train" / "history.jsonl", missing)
    headline, evaluations = _arrange_evaluations(run / "evaluation.json", missing)
    recipe = _read_text(run / "recipe.toml", missing)
    samples = _choose_samples(run, missing)
    if not (about or history or evaluations or recipe or samples):
        raise UsageError(f"{run}: holds nothing of a run (no run.json, no recipe.toml); name the folder of a run")
    return {
        "name": str(about.get("name") or run.name),
        "begun": _show_time(about.get("created")),
        "written": _show_time(time.time()),
        "missing": missing,
        "headline": headline,
        "evaluations": evaluations,
        "curves": _draw_curves(history),
        "steps": len(history),
        "stages": [_describe_stage(name, stages[name]) for name in _STAGES if name in stages],
        "languages": _rank(_get(stages.get("corpus", {}), "languages")),
        "rejected": _rank(_get(stages.get("corpus", {}), "rejected")),
        "tallies": [_describe_tally(kind, row) for kind, row in _find_tallies(run, stages).items()],
        "samples": samples,
        "mine": _flatten(stages.get("mine", {})),
        "prune": _flatten(stages.get("prune", {})),
        "train": _flatten(stages.get("train", {})),
        "export": _flatten(stages.get("export", {})),
        "recipe": recipe,
        "inputs": _flatten(_get(about, "inputs")) + ([("seed", about["seed"])] if "seed" in about else []),
        "versions": _flatten(_get(about, "versions")),
    }  # fmt: skip


def render(parts: Mapping[str, Any]) -> str:
    """The page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    world = Environment(
        loader=FileSystemLoader(find_assets("report")), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    world.filters["number"] = _show
    frame = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
    return world.get_template("page.html").render(frame=frame, **parts)


def _read_text(path: Path, missing: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        missing.append(f"{path.name}: not there")
        return ""


def _read_json(path: Path, missing: list[str]) -> Any:
    if not (text := _read_text(path, missing)):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        missing.append(f"{path.name}: cannot be read ({error})")
        return None


def _read_mapping(path: Path, missing: list[str]) -> dict[str, Any]:
    content = _read_json(path, missing)
    return content if isinstance(content, dict) else {}


def _arrange_evaluations(path: Path, missing: list[str]) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Headline and tables; the file holds one evaluation, or several by their names."""
    content = _read_mapping(path, missing)
    named = {"": content} if "reports" in content else content
    try:
        found = {name: each for name, each in named.items() if each["reports"]}
        return find_headline(found), arrange_evaluations(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        missing.append(f"{path.name}: was written by another version of drama ({error!r})")
        return None, []


def _read_history(path: Path, missing: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_read_text(path, missing).splitlines(), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            missing.append(f"{path.name}: line {number} cannot be read")  # cut short by a crash
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def _draw_curves(history: list[dict[str, Any]]) -> list[Curve]:
    curves = []
    for key, title in _CURVES.items():
        rows = [row for row in history if isinstance(row.get(key), int | float)]
        curves.append(draw_curve(title, [row["step"] for row in rows], [row[key] for row in rows]))
    return [curve for curve in curves if curve]


def _find_tallies(run: Path, stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Tallies of queries by kind, from the run's memory, else from the files beside the queries."""
    found = dict(_get(stages.get("augment", {}), "tallies"))
    for path in sorted((run / "queries").glob("*.report.json")):
        found.setdefault(path.name.partition(".")[0], _read_mapping(path, []))
    return {kind: row for kind, row in found.items() if isinstance(row, Mapping) and _get(row, "counts")}


def _describe_tally(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of a kind of queries: by reason, and by language."""
    counts = {language: dict(reasons) for language, reasons in row["counts"].items() if isinstance(reasons, Mapping)}
    reasons: Counter[str] = Counter()
    for own in counts.values():
        reasons.update({reason: int(count) for reason, count in own.items()})
    kept, made = reasons.pop("kept", 0), sum(sum(own.values()) for own in counts.values())
    seconds = float(row.get("seconds") or 0)
    rows = [(language, own.get("kept", 0), sum(own.values())) for language, own in counts.items()]
    return {
        "kind": kind, "kept": kept, "made": made, "share": 1 - kept / made if made else 0.0, "seconds": seconds,
        "rate": kept / seconds if seconds else 0.0, "reasons": _rank(reasons), "notes": _rank(_get(row, "notes")),
        "languages": sorted(rows, key=lambda each: (-each[1], each[0])),
    }  # fmt: skip


def _choose_samples(run: Path, missing: list[str]) -> list[dict[str, Any]]:
    """A few queries of each language that the LLM wrote, the same ones each time, with their passages."""
    queries = run / "queries" / "generated.jsonl"
    if not queries.is_file():
        missing.append("queries/generated.jsonl: not there, so there are no samples of generated queries")
        return []
    by_language: dict[str, list[tuple[str, Query]]] = {}
    for query in _read_whole(queries, Query, missing):
        best = by_language.setdefault(query.language, [])
        best.append((make_key(query.id), query))
        if len(best) > 50 * _SAMPLES:  # a bound, not a choice
            best[:] = _take_first(best)
    chosen = {language: [query for _, query in _take_first(best)] for language, best in by_language.items()}
    passages = _find_passages(run, {query.passage for own in chosen.values() for query in own}, missing)
    return [
        {"language": language, "queries": [(query, passages.get(query.passage, "")) for query in own]}
        for language, own in sorted(chosen.items())
    ]


def _take_first(keyed: list[tuple[str, Query]]) -> list[tuple[str, Query]]:
    return heapq.nsmallest(_SAMPLES, keyed, key=lambda each: each[0])


def _read_whole(path: Path, kind: type[_Record], missing: list[str]) -> Iterator[_Record]:
    """The records of a file as far as they can be read."""
    try:
        yield from read_records(path, kind)
    except UsageError as error:
        missing.append(f"{str(error).replace(str(path), path.name)}; what stands there and below is not shown")


def _find_passages(run: Path, wanted: set[str], missing: list[str]) -> dict[str, str]:
    path = run / "corpus" / "passages.jsonl"
    if not path.is_file():
        return {}
    found = (passage for passage in _read_whole(path, Passage, missing) if passage.id in wanted)
    return {each.id: each.embedded if len(each.embedded) <= _EXCERPT else each.embedded[:_EXCERPT] + " …"
            for each in found}  # fmt: skip


def _describe_stage(name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    seconds = figures.get("seconds")
    return {
        "name": name,
        "seconds": float(seconds) if isinstance(seconds, int | float) else None,
        "finished": _show_time(figures.get("finished")),
    }


def _flatten(figures: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Names and values; what is nested stands under "outer: inner", and what is a table stays one."""
    return list(_iterate_flat({key: value for key, value in figures.items() if key not in _TOLD}, ""))


def _iterate_flat(figures: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in figures.items():
        name = f"{above}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping) and _is_table(value):
            yield name, {"heads": ["", ""], "rows": [[str(inner), each] for inner, each in value.items()]}
        elif isinstance(value, Mapping):
            yield from _iterate_flat(value, f"{name}: ")
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            yield from _iterate_tables(value, name)
        elif value not in ("", None):
            yield name, value


def _is_table(figures: Mapping[str, Any]) -> bool:
    return len(figures) > _FEW and not any(isinstance(each, Mapping | list) for each in figures.values())


def _iterate_tables(rows: list[Mapping[str, Any]], name: str) -> Iterator[tuple[str, Any]]:
    """A table of the rows, and one for each of their columns that holds figures by name: names down, rows across."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    nested = [head for head in heads if any(isinstance(row.get(head), Mapping) for row in rows)]
    flat = [head for head in heads if head not in nested]
    yield name, {"heads": flat, "rows": [[row.get(head, "") for head in flat] for row in rows]}
    for head in nested:
        inner = dict.fromkeys(key for row in rows for key in _get(row, head))
        across = [row.get("name", number) for number, row in enumerate(rows, 1)]
        cells = [[key, *(_get(row, head).get(key, "") for row in rows)] for key in inner]
        yield f"{name}: {head.replace('_', ' ')}", {"heads": ["", *across], "rows": cells}


def _rank(counts: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Names with their counts, most first."""
    known = [(str(name), int(count)) for name, count in counts.items() if isinstance(count, int | float) and count]
    return sorted(known, key=lambda each: (-each[1], each[0]))


def _get(figures: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = figures.get(key)
    return value if isinstance(value, Mapping) else {}


def _show(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return show_number(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_show, value)) or "none"
    return str(value)


def _show_time(seconds: Any) -> str:
    if not isinstance(seconds, int | float) or not seconds:
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
