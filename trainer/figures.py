"""Arranges an evaluation's JSON, as `compare.evaluation_json` writes it, into the tables of a page."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.drawing import draw_spans

_BASELINE = "BM25"
_TITLES = {
    "meaning": "By meaning alone",
    "fused": "As the app searches: meaning and keywords",
    "keywords": "By keywords alone",
}
_SPAN_LEFT, _SPAN_RIGHT = 150.0, 620.0

Row = dict[str, Any]


def find_headline(evaluations: Mapping[str, Row]) -> Row | None:
    """The judged system, the first other one, and the mean difference, of the last evaluation that has another one.

    Test sets come after development sets, which the precision was chosen on.
    """
    for name, evaluation in reversed(list(evaluations.items())):
        for row in evaluation.get("differences", []):
            own = (_BASELINE, row["system"], f"{row['system']}, fp32")
            if row["scope"] == "mean" and row["against_system"] not in own:
                [mean] = [each for each in evaluation["means"] if _identify(each) == _identify(row)]
                told = {"evaluation": name, "score": mean["ndcg10"], "sets": mean["sets"], "queries": mean["queries"]}
                return dict(row) | told | {"sure": _is_sure(row)}
    return None


def arrange_evaluations(evaluations: Mapping[str, Row]) -> list[Row]:
    """For each evaluation: a table a mode, a table of widths, and what the baseline is."""
    return [
        {
            "name": name,
            "baseline": evaluation.get("baseline", ""),
            "modes": [_arrange_mode(evaluation, mode) for mode in _TITLES if _measures(evaluation, mode)],
            "widths": _arrange_widths(evaluation),
        }
        for name, evaluation in evaluations.items()
    ]


def _measures(evaluation: Row, mode: str) -> bool:
    return any(row["mode"] == mode for row in evaluation["reports"])


def _arrange_mode(evaluation: Row, mode: str) -> Row:
    """Scores before and after: sets, their mean and languages as rows; the judged system as the last column."""
    judged, *others = evaluation["systems"]
    columns = [(_BASELINE, 0, _BASELINE)]
    columns += [(each["name"], each["widths"][0], mode) for each in (*others, judged)]
    columns = [column for column in columns if any(_identify(row) == column for row in evaluation["means"])]
    own = columns[-1]
    changes = [row for row in evaluation["differences"] if _identify(row) == own]
    rivals = [column for column in columns[:-1] if any(_identify(row, "against_") == column for row in changes)]
    reports = [*evaluation["reports"], *evaluation.get("others", [])]
    sets = [row for row in evaluation["reports"] if row["mode"] == mode]
    languages = [row for row in evaluation["languages"] if _identify(row) == own]
    return {
        "mode": mode, "title": _TITLES[mode], "judged": own[0],
        "heads": [column[0] for column in columns], "rivals": [rival[0] for rival in rivals],
        "sets": [
            _arrange_row(row["set"], row["queries"], reports, changes, columns, rivals, scope="set")
            | {"languages": ", ".join(row.get("languages", [])), "passages": row["passages"]}
            for row in sets
        ],
        "mean": _arrange_row("", sum(row["queries"] for row in sets), evaluation["means"], changes, columns, rivals,
                             scope="mean"),
        "languages": [
            _arrange_row(row["language"], row["queries"], evaluation["languages"], changes, columns, rivals,
                         scope="language")
            for row in languages
        ],
        "spans": _draw_differences(changes, rivals, [row["set"] for row in sets]),
    }  # fmt: skip


def _arrange_row(
    name: str, queries: int, scores: Sequence[Row], changes: Sequence[Row], columns: Sequence[tuple[str, int, str]],
    rivals: Sequence[tuple[str, int, str]], *, scope: str,
) -> Row:  # fmt: skip
    key = {"set": "set", "language": "language"}.get(scope, "")
    own = {_identify(row): row for row in scores if not key or row[key] == name}
    differences = {_identify(row, "against_"): row for row in changes if row["scope"] == scope and row["name"] == name}
    return {
        "name": name, "queries": queries,
        "scores": [own.get(column) for column in columns],
        "changes": [_mark(differences.get(rival)) for rival in rivals],
    }  # fmt: skip


def _draw_differences(changes: Sequence[Row], rivals: Sequence[tuple[str, int, str]], sets: Sequence[str]) -> list[Row]:
    """Intervals of the differences by set, a chart a rival; not with the baseline, whose scale is another."""
    charts = []
    for rival in (each for each in rivals if each[0] != _BASELINE):
        found = {(row["scope"], row["name"]): row for row in changes if _identify(row, "against_") == rival}
        keys = [("set", name) for name in sets if ("set", name) in found] + [("mean", "")]
        rows = [_mark(found[key]) for key in keys]
        spans = draw_spans(
            [(row["ndcg10_low"], row["ndcg10"], row["ndcg10_high"]) for row in rows if row],
            left=_SPAN_LEFT, right=_SPAN_RIGHT,
        )  # fmt: skip
        names = [name or "mean of the sets" for _, name in keys]
        charts.append({"rival": rival[0], "names": names, "rows": rows, "spans": spans})
    return charts


def _arrange_widths(evaluation: Row) -> Row:
    """Mean scores of the narrower vectors, after those of each system's own width, and against others' as narrow."""
    own = {each["name"]: each["widths"][0] for each in evaluation["systems"]}
    changes = {
        (*_identify(row), row["against_system"]): _mark(row)
        for row in evaluation["differences"] if row["scope"] == "mean" and row["width"] != own[row["system"]]
    }  # fmt: skip
    rivals = [name for name in own if any(name == rival != system for system, _, _, rival in changes)]
    narrowed = {(system, mode) for system, _, mode, _ in changes}
    rows = [row for row in evaluation["means"] if (row["system"], row["mode"]) in narrowed]
    ordered = [
        row | {"changes": [changes.get((*_identify(row), system)),
                           *(changes.get((*_identify(row), each)) if each != system else None for each in rivals)]}
        for system, width in own.items() for mode in _TITLES
        for row in sorted(rows, key=lambda row: (row["width"] != width, -row["width"]))
        if (row["system"], row["mode"]) == (system, mode)
    ]  # fmt: skip
    return {"rivals": rivals, "rows": ordered}


def _identify(row: Row, prefix: str = "") -> tuple[str, int, str]:
    return row[f"{prefix}system"], row[f"{prefix}width"], row[f"{prefix}mode"]


def _mark(row: Row | None) -> Row | None:
    return None if row is None else row | {"sure": _is_sure(row)}


def _is_sure(row: Row) -> bool:
    """Whether the interval leaves out zero."""
    return bool(row["ndcg10_low"] > 0 or row["ndcg10_high"] < 0)
