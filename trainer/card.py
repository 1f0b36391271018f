"""Owns what a person reads of a retriever: what it is, how it was made, how it scores, on what terms.

It measures nothing and writes no file; the figures are the export's.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_UNMEASURED = "Not measured: there were no development sets. How it is stored was checked by cosine alone."


def write_card(
    described: Mapping[str, Any], *, made: Mapping[str, Any], gate: Mapping[str, Any] | None, notices: Sequence[str],
    size: int,
) -> str:  # fmt: skip
    """The text of `card.md`.

    Args:
        described: What `retriever.json` holds.
        made: What it was made with, a row a key; a mapping below a key becomes a list.
        gate: What `export_gated` measured; None says that nothing was.
        notices: Of backbone and data.
        size: Of the graph, bytes.
    """
    parts = [
        f"# {described['name']}, version {described['version']}",
        f"A retriever of {size / 1e6:.0f} MB: texts and questions in, vectors out; what means the same lies close.",
        "\n".join(_list_facts(described)),
    ]
    if made:
        parts += ["## How it was made", "\n".join(_list_made(made))]
    parts += ["## How it scores", *(_tell_scores(gate) if gate and "float32" in gate else [_UNMEASURED])]
    parts += ["## Limits", "\n".join(_list_limits(described))]
    terms = described["licence"] or "not stated by the backbone"
    parts += ["## Licences and notices", f"Licence: {terms}. `NOTICE` holds these too:", *notices]
    return "\n\n".join(parts) + "\n"


def _list_facts(described: Mapping[str, Any]) -> list[str]:
    widths = ", ".join(map(str, described["dims"]))
    prefixes = {"question": described["query_prefix"], "passage": described["passage_prefix"]}
    before = [f"`{prefix}` before a {kind}" for kind, prefix in prefixes.items() if prefix]
    languages = described["languages_counted"]
    return [
        f"- **From** {described['backbone']}.",
        f"- **Use**: {' and '.join(before) or 'no prefix'}; cut the output to {widths} numbers "
        f"({described['default_dim']} unless told otherwise), then normalise; cosine.",
        f"- **Stored as**: {described['precision']}.",
        *([f"- **Languages of its data**: {', '.join(languages)}."] if languages else []),
    ]


def _list_made(made: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in made.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{inner} {_show(own)}" for inner, own in value.items() if _is_told(own))
        if _is_told(value):
            lines.append(f"- **{key.replace('_', ' ')}**: {_show(value)}")
    return lines


def _list_limits(described: Mapping[str, Any]) -> list[str]:
    lines = [f"- Texts over {described['max_tokens']} tokens are cut.", "- Names and codes are a keyword index's work."]
    if "int8" in described["precision"]:
        lines.append(
            "- Rounding depends a little on what else is in a batch. x86 processors without VNNI saturate in int8 "
            "products: measure there before relying on it."
        )
    return lines


def _tell_scores(gate: Mapping[str, Any]) -> list[str]:
    exact, chosen = gate["float32"], next(each for each in gate["tried"] if each["name"] == gate["chosen"])
    before, after = exact["by_language"], chosen["by_language"]
    rows = [
        [_name(each), f"{count:,}", f"{before[each]:.3f}", f"{after[each]:.3f}", f"{chosen['change'][each]:+.4f}"]
        for each, count in gate["queries"].items()
    ]
    rows.append(["all", f"{sum(gate['queries'].values()):,}", f"{exact['ndcg10']:.3f}", f"{chosen['ndcg10']:.3f}",
                 f"{chosen['ndcg10'] - exact['ndcg10']:+.4f}"])  # fmt: skip
    return [
        f"nDCG@10 on development sets ({', '.join(gate['sets'])}), exact ranking of their passages, width "
        f"{gate['width']}: the network in float32, and this retriever as it is stored.",
        _tabulate(("language", "queries", "float32", "as stored", "change"), rows, texts=1),
        f"How it is stored was chosen by these figures: the first of the following by which no language loses more "
        f"than {gate['largest_loss']}; of languages with few queries, what may be chance does not count.",
        _tabulate(
            ("tried", "MB", "mean cosine to float32", "nDCG@10", "passages/s", "largest change", "verdict"),
            [_tell_trial(each) for each in gate["tried"]],
            texts=1,
        ),
    ]


def _tell_trial(each: Mapping[str, Any]) -> list[str]:
    if "ndcg10" not in each:
        return [each["name"], f"{each['bytes'] / 1e6:.0f}", f"{each['cosine']:.4f}", "", "", "", "vectors too far off"]
    mean, low, high = each["worst_change"]
    unsure = f", too few queries to be sure of {', '.join(map(_name, each['unsure']))}" if each["unsure"] else ""
    verdict = "passes" if each["passes"] else f"fails: {', '.join(map(_name, each['failed']))}"
    return [
        each["name"], f"{each['bytes'] / 1e6:.0f}", f"{each['cosine']:.4f}", f"{each['ndcg10']:.4f}",
        f"{each['passages_per_second']:.0f}", f"{_name(each['worst'])} {mean:+.4f} ({low:+.4f} to {high:+.4f})",
        verdict + unsure,
    ]  # fmt: skip


def _tabulate(heads: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> str:
    rules = ["---" if place < texts else "---:" for place in range(len(heads))]
    return "\n".join(f"| {' | '.join(' '.join(cell.split()) for cell in row)} |" for row in (heads, rules, *rows))


def _is_told(value: object) -> bool:
    return value is not None and value not in ("", (), [], {})


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _name(language: str) -> str:
    return language or "not known"


def summarise_stages(done: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of a run's stages that fit a line each: numbers, texts and short lists, not the times of day."""
    return {
        stage: {
            key.replace("_", " "): value
            for key, value in figures.items()
            if isinstance(value, int | float | str) and key != "finished"
        }
        for stage, figures in done.items()
    }
